//! The thread that tells the local network our names (RFC 6762, RFC 6763), as long as there are
//! any to tell.
//!
//! Nothing depends on it: whatever goes wrong is a warning. The thread exists from the first name
//! on; the responder, with threads and sockets of its own, while there are names.
//!
//! ```text
//!  Resting ── names ──▶ can the port be shared? ── yes ──▶ Up ── a name is taken somewhere ──▶ Up without it there
//!   ▲  ▲                  │ no            ▲                 │
//!   │  │                  ▼               │ 30 s            │ its thread has ended
//!   │  └─── no names ── Refused ──────────┘ ◀───────────────┤
//!   └─────────────────────────────────────── no names, end ─┘  goodbyes are sent
//! ```

mod entry;
mod responder;

use entry::{Entry, Taken, entries};
use responder::{News, Responder};
use rip::route::LocalName;
use std::collections::BTreeSet;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// The mDNS agent. No call but its end waits for anything.
#[derive(Default)]
pub struct MdnsAgent {
    running: Option<Running>,
    /// What was told last.
    names: Vec<LocalName>,
    is_withdrawn: bool,
}

struct Running {
    inbox: Sender<Message>,
    /// Closed by the end of the thread.
    ended: Receiver<()>,
    thread: JoinHandle<()>,
}

/// What the thread waits for.
enum Message {
    /// These names shall be told, and no others.
    Names(Vec<LocalName>),
    /// The responder with this number has news.
    News(u64, News),
    /// The end.
    Stop,
}

impl MdnsAgent {
    /// One that has nothing to tell, and no thread.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on these names are told, and no others.
    pub fn tell(&mut self, names: Vec<LocalName>) {
        if self.is_withdrawn || names == self.names {
            return;
        }
        self.names.clone_from(&names);
        let running = match &self.running {
            Some(running) => running,
            None => match start() {
                Ok(running) => self.running.insert(running),
                Err(error) => return log::warn!("no name is told to the local network: {error}"),
            },
        };
        // It ends when it is asked to, or by a panic that has been printed by itself.
        let _ = running.inbox.send(Message::Names(names));
    }

    /// Takes every name back, once and for all.
    pub fn withdraw(&mut self) {
        self.tell(Vec::new());
        self.is_withdrawn = true;
    }

    /// Another process of this machine tells the names from now on: nothing is taken back, and nothing
    /// more is told of.
    pub fn hand_on(&mut self) {
        self.is_withdrawn = true;
        // Its end would be told to the network as that of the names. It ends with the process; until
        // then it answers what the other one does.
        std::mem::forget(self.running.take());
    }

    /// Takes back what has not been, which takes half a second at most, and ends.
    pub fn stop(self) {}
}

impl Drop for MdnsAgent {
    fn drop(&mut self) {
        let Some(Running { inbox, ended, thread }) = self.running.take() else { return };
        let _ = inbox.send(Message::Stop);
        match ended.recv_timeout(STOP_WAIT) {
            Err(RecvTimeoutError::Timeout) => {
                log::warn!(
                    "names may stay known in the local network: taking them back takes too long"
                );
            }
            Ok(()) | Err(RecvTimeoutError::Disconnected) => {
                if thread.join().is_err() {
                    log::error!("the mdns agent ended by a panic");
                }
            }
        }
    }
}

fn start() -> io::Result<Running> {
    let (inbox, messages) = channel();
    let (alive, ended) = channel();
    let sender = inbox.clone();
    let thread = Builder::new().name("mdns".to_owned()).spawn(move || {
        Agent::new(sender).run(&messages);
        drop::<Sender<()>>(alive);
    })?;
    Ok(Running { inbox, ended, thread })
}

/// What the thread knows.
struct Agent {
    inbox: Sender<Message>,
    state: State,
    /// What shall be told.
    names: Vec<LocalName>,
    /// Where it cannot be.
    taken: Taken,
    /// What follows from both.
    wanted: BTreeSet<Entry>,
    /// How many responders there have been.
    count: u64,
    /// What was wrong last: it is not told twice.
    trouble: Option<String>,
}

enum State {
    /// There is nothing to tell.
    Resting,
    /// There is no responder; it is tried again then.
    Refused(Instant),
    /// The responder with this number.
    Up(u64, Responder),
}

impl Agent {
    fn new(inbox: Sender<Message>) -> Self {
        Self {
            inbox,
            state: State::Resting,
            names: Vec::new(),
            taken: Taken::new(),
            wanted: BTreeSet::new(),
            count: 0,
            trouble: None,
        }
    }

    fn run(mut self, messages: &Receiver<Message>) {
        loop {
            let message = match self.next_deadline() {
                None => messages.recv().map_err(RecvTimeoutError::from),
                Some(at) => messages.recv_timeout(at.saturating_duration_since(Instant::now())),
            };
            match message {
                Ok(Message::Names(names)) => self.want(names),
                Ok(Message::News(number, news)) => self.hear(number, news),
                Err(RecvTimeoutError::Timeout) => self.settle(),
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.rest();
    }

    fn next_deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Resting => None,
            State::Refused(until) => Some(*until),
            State::Up(_, responder) => responder.next_deadline(),
        }
    }

    fn want(&mut self, names: Vec<LocalName>) {
        // A responder goes on with the name that it has found instead of a taken one: only another
        // one finds out whether that is free by now.
        if !std::mem::take(&mut self.taken).is_empty() {
            self.rest();
        }
        self.names = names;
        self.wanted = entries(&self.names, &self.taken);
        self.settle();
    }

    fn hear(&mut self, number: u64, news: News) {
        if !matches!(self.state, State::Up(current, _) if current == number) {
            return;
        }
        match news {
            News::HostTaken { host, interface } => {
                if self.taken.insert((host.clone(), interface.clone())) {
                    log::warn!(
                        "the network at {interface} has another {host}: that name is not told there"
                    );
                    self.wanted = entries(&self.names, &self.taken);
                }
            }
            News::LabelTaken { instead, interface } => {
                log::info!(
                    "the network at {interface} has another service of that name: {instead}"
                );
            }
            News::Trouble(what) => log::warn!("a name cannot be told to the network: {what}"),
            News::Ended => self.refuse("the responder has ended"),
        }
        self.settle();
    }

    /// Brings about what shall be.
    fn settle(&mut self) {
        let now = Instant::now();
        if self.wanted.is_empty() {
            return self.wind_down(now);
        }
        match &self.state {
            State::Refused(until) if *until > now => return,
            State::Up(..) => {}
            State::Resting | State::Refused(_) => {
                self.count += 1;
                let (number, inbox) = (self.count, self.inbox.clone());
                // Nobody is left to hear of the last responder's end.
                let tell = move |news| drop(inbox.send(Message::News(number, news)));
                match Responder::start(tell) {
                    Ok(responder) => {
                        self.trouble = None;
                        self.state = State::Up(number, responder);
                    }
                    Err(why) => return self.refuse(&why),
                }
            }
        }
        let State::Up(_, responder) = &mut self.state else { return };
        if let Err(why) = responder.tell(&self.wanted, now) {
            self.refuse(&why);
        }
    }

    /// Nothing is wanted any more: the responder ends when it has repeated its goodbyes.
    fn wind_down(&mut self, now: Instant) {
        if let State::Up(_, responder) = &mut self.state
            && responder.tell(&self.wanted, now).is_ok()
            && responder.next_deadline().is_some()
        {
            return;
        }
        self.rest();
    }

    fn refuse(&mut self, why: &str) {
        self.rest();
        self.state = State::Refused(Instant::now() + RETRY);
        if self.trouble.as_deref() != Some(why) {
            log::warn!("names are not told to the local network: {why}; it is tried again");
            self.trouble = Some(why.to_owned());
        }
    }

    fn rest(&mut self) {
        if let State::Up(_, responder) = std::mem::replace(&mut self.state, State::Resting) {
            responder.stop();
        }
    }
}

/// The server's end waits no longer for names to be taken back.
const STOP_WAIT: Duration = Duration::from_millis(500);
/// A responder that could not be started is tried again after this time.
const RETRY: Duration = Duration::from_secs(30);

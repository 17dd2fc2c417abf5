//! When an app is ready, and whether it serves a second connection while one is idle.
//!
//! ```text
//! Pausing ──▶ Asking ──good answer──▶ Second ──answered within a second──▶ ready, keep-alive
//!    ▲          │                        └──────otherwise─────▶ Parting ──▶ ready, a fresh
//!    └──────────┘ refused, closed, bad answer or silence                    connection each time
//! ```
//!
//! The gate opens by a good answer, by `READY=1`, or (when listening is enough) by the connect. Once
//! it is open nothing can make the app unready; what remains is the keep-alive check, and each of
//! its two questions has one second. An app that serves one connection at a time begins with the
//! second question when the idle connection is closed: it has one more second to be heard, for an
//! answer into a closed connection ends some apps.

use crate::answer::Answer;
use crate::connection::{Connection, Target};
use rip::contract::app::{HealthCheck, Ready};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// The prober of one app.
pub(crate) struct Prober {
    target: Target,
    question: Vec<u8>,
    path: String,
    only_success: bool,
    connect_is_enough: bool,
    patience: Duration,
    pause: Duration,
    open: bool,
    state: State,
    last: String,
}

enum State {
    Pausing { until: Instant },
    Asking { connection: Connection, until: Instant },
    Second { idle: Connection, connection: Connection, until: Instant },
    Parting { connection: Connection, until: Instant },
    Done { keep_alive: bool },
}

const PAUSE_MIN: Duration = Duration::from_millis(2);
/// For an app that does not listen yet: to knock costs it nothing.
const PAUSE_MAX: Duration = Duration::from_millis(100);
/// For one that hears the question and fails: each may be a line in its log.
const PAUSE_MAX_HEARD: Duration = Duration::from_secs(1);
/// For each question of the keep-alive check.
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);

impl Prober {
    /// A prober that begins at once.
    pub(crate) fn new(
        target: Target,
        check: &HealthCheck,
        ready: Ready,
        host: &str,
        now: Instant,
    ) -> Self {
        let question = format!(
            "GET {} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: rip-master-probe\r\nAccept: */*\r\n\r\n",
            check.path
        );
        Self {
            target,
            question: question.into_bytes(),
            path: check.path.clone(),
            only_success: check.explicit,
            connect_is_enough: ready == Ready::Listen,
            patience: Duration::from_millis(check.timeout_ms.max(1)),
            pause: PAUSE_MIN,
            open: false,
            state: State::Pausing { until: now },
            last: "it does not listen yet".to_owned(),
        }
    }

    /// The app said `READY=1`.
    pub(crate) fn app_says_ready(&mut self, now: Instant) {
        if !self.open {
            self.open = true;
            match &mut self.state {
                State::Pausing { until } => *until = now,
                State::Asking { until, .. } => *until = (*until).min(now + CHECK_TIMEOUT),
                State::Second { .. } | State::Parting { .. } | State::Done { .. } => {}
            }
        }
    }

    /// Moves on as far as possible now. `Some(keep_alive)`: the app is ready.
    pub(crate) fn turn(&mut self, now: Instant) -> Option<bool> {
        while self.step(now) {}
        match self.state {
            State::Done { keep_alive } => Some(keep_alive),
            _ => None,
        }
    }

    /// When [`Self::turn`] is due even if the connection stays silent.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Pausing { until }
            | State::Asking { until, .. }
            | State::Second { until, .. }
            | State::Parting { until, .. } => Some(*until),
            State::Done { .. } => None,
        }
    }

    /// The connection to wait for, and whether it also wants to write.
    pub(crate) fn waits_for(&self) -> Option<(BorrowedFd<'_>, bool)> {
        match &self.state {
            State::Asking { connection, .. }
            | State::Second { connection, .. }
            | State::Parting { connection, .. } => {
                Some((connection.as_fd(), connection.is_writing()))
            }
            State::Pausing { .. } | State::Done { .. } => None,
        }
    }

    /// What the last attempt met: the end of a sentence about an app that is not ready.
    pub(crate) fn last(&self) -> &str {
        &self.last
    }

    /// One transition; true when another may follow at once.
    fn step(&mut self, now: Instant) -> bool {
        match &mut self.state {
            State::Pausing { until } if *until <= now => self.connect(now),
            State::Asking { connection, until } => {
                let until = *until;
                connection.turn();
                self.judge(now, until)
            }
            State::Second { idle, connection, until } => {
                connection.turn();
                idle.turn();
                let answered = connection.answer().is_some_and(|answer| answer.reusable());
                let lost = connection.is_closed() || idle.is_closed();
                if answered && !lost {
                    self.state = State::Done { keep_alive: true };
                } else if lost || *until <= now {
                    self.part(now);
                    return true;
                }
                false
            }
            State::Parting { connection, until } => {
                connection.turn();
                let answered = connection.answer().is_some_and(Answer::ended);
                if answered || connection.is_closed() || *until <= now {
                    self.state = State::Done { keep_alive: false };
                }
                false
            }
            State::Pausing { .. } | State::Done { .. } => false,
        }
    }

    fn connect(&mut self, now: Instant) -> bool {
        match Connection::open(&self.target) {
            Ok(mut connection) => {
                self.open |= self.connect_is_enough;
                connection.ask(&self.question);
                let patience = if self.open { CHECK_TIMEOUT } else { self.patience };
                self.state = State::Asking { connection, until: now + patience };
            }
            Err(error) => {
                self.last = format!("it does not listen yet ({error})");
                // An app that said ready before it listens is asked again until it does.
                self.retry(now, PAUSE_MAX);
            }
        }
        true
    }

    /// What the first question has led to.
    fn judge(&mut self, now: Instant, until: Instant) -> bool {
        let State::Asking { connection, .. } = &self.state else { return false };
        let (status, ended, reusable) =
            connection.answer().map_or((None, false, false), |answer| {
                (answer.status(), answer.ended(), answer.reusable())
            });
        let over = ended || connection.is_closed() || until <= now;
        if let Some(status) = status {
            self.open |= if self.only_success { status / 100 == 2 } else { status < 500 };
            if !self.open {
                self.last = format!("GET {} answered {status}", self.path);
                self.retry(now, PAUSE_MAX_HEARD);
                return true;
            }
        }
        if over && reusable && !connection.is_closed() {
            return self.ask_second(now);
        }
        if over && self.open {
            self.state = State::Done { keep_alive: false };
            return false;
        }
        if over {
            self.last = if connection.is_closed() {
                format!("it closed the connection of GET {} without an answer", self.path)
            } else {
                format!("GET {} was not answered", self.path)
            };
            self.retry(now, PAUSE_MAX_HEARD);
        }
        over
    }

    fn ask_second(&mut self, now: Instant) -> bool {
        let asking = std::mem::replace(&mut self.state, State::Done { keep_alive: false });
        if let (State::Asking { connection: idle, .. }, Ok(mut connection)) =
            (asking, Connection::open(&self.target))
        {
            connection.ask(&self.question);
            self.state = State::Second { idle, connection, until: now + CHECK_TIMEOUT };
        }
        true
    }

    /// No keep-alive: closes the idle connection, and the second one when its answer was read.
    fn part(&mut self, now: Instant) {
        let second = std::mem::replace(&mut self.state, State::Done { keep_alive: false });
        if let State::Second { connection, .. } = second {
            self.state = State::Parting { connection, until: now + CHECK_TIMEOUT };
        }
    }

    /// The first tries are quick; from one to the next the pause doubles, up to `longest`.
    fn retry(&mut self, now: Instant, longest: Duration) {
        let pause = self.pause.min(longest);
        self.state = State::Pausing { until: now + pause };
        self.pause = pause * 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    struct App {
        listener: TcpListener,
        prober: Prober,
        now: Instant,
    }

    impl App {
        fn new(explicit: bool, ready: Ready) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            let port = listener.local_addr().expect("bound").port();
            let check = HealthCheck { explicit, ..HealthCheck::default() };
            let now = Instant::now();
            let prober = Prober::new(Target::Port(port), &check, ready, "example.org", now);
            Self { listener, prober, now }
        }

        fn accept(&mut self) -> TcpStream {
            assert_eq!(self.turn(), None);
            let (mut stream, _) = self.listener.accept().expect("the prober connects");
            let mut question = [0; 256];
            let count = stream.read(&mut question).expect("the question was sent");
            let text = String::from_utf8_lossy(&question[..count]);
            assert!(text.starts_with("GET /ready HTTP/1.1\r\nHost: example.org\r\n"), "{text}");
            assert!(text.contains("\r\nUser-Agent: rip-master-probe\r\n"), "{text}");
            stream
        }

        fn turn(&mut self) -> Option<bool> {
            self.prober.turn(self.now)
        }

        /// Turns when the connection has something to say.
        fn wait(&mut self) -> Option<bool> {
            if let Some((fd, _)) = self.prober.waits_for() {
                let mut fds = [nix::poll::PollFd::new(fd, nix::poll::PollFlags::POLLIN)];
                assert_eq!(nix::poll::poll(&mut fds, 5000_u16), Ok(1), "nothing arrived");
            }
            self.turn()
        }

        fn pass(&mut self, time: Duration) {
            self.now += time;
        }
    }

    fn say(stream: &mut TcpStream, text: &str) {
        stream.write_all(text.as_bytes()).expect("the prober reads");
    }

    const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

    #[test]
    fn two_answers_on_two_connections_are_keep_alive() {
        let mut app = App::new(false, Ready::Http);
        let mut first = app.accept();
        say(&mut first, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(app.wait(), None);
        let mut second = app.accept();
        say(&mut second, OK);
        assert_eq!(app.wait(), Some(true));
    }

    #[test]
    fn a_second_connection_that_is_not_served_means_fresh_connections() {
        let mut app = App::new(false, Ready::Http);
        let mut first = app.accept();
        say(&mut first, OK);
        assert_eq!(app.wait(), None);
        let _second = app.accept();
        app.pass(CHECK_TIMEOUT - Duration::from_millis(1));
        assert_eq!(app.turn(), None);
        app.pass(Duration::from_millis(1));
        assert_eq!(app.turn(), None);
        assert_eq!(first.read(&mut [0]).expect("an end"), 0, "the idle connection is closed");
        app.pass(CHECK_TIMEOUT);
        assert_eq!(app.turn(), Some(false));
    }

    #[test]
    fn a_server_of_one_connection_at_a_time_is_heard_before_its_connection_is_closed() {
        let mut app = App::new(false, Ready::Http);
        let mut first = app.accept();
        say(&mut first, OK);
        assert_eq!(app.wait(), None);
        app.pass(CHECK_TIMEOUT);
        assert_eq!(app.turn(), None);
        assert_eq!(first.read(&mut [0]).expect("an end"), 0);
        let (mut second, _) = app.listener.accept().expect("the second question waits");
        assert!(second.read(&mut [0; 256]).expect("the question was sent") > 0);
        say(&mut second, OK);
        assert_eq!(app.wait(), Some(false));
        drop(app);
        assert_eq!(second.read(&mut [0]).expect("an end, and no reset"), 0);
    }

    #[test]
    fn a_server_that_closes_is_ready_without_keep_alive() {
        let mut app = App::new(false, Ready::Http);
        let mut first = app.accept();
        say(&mut first, "HTTP/1.0 200 OK\r\n\r\nfine");
        drop(first);
        assert_eq!(app.wait(), Some(false));
    }

    #[test]
    fn only_success_counts_for_an_explicit_path() {
        let mut app = App::new(true, Ready::Http);
        for status in [404, 302, 503] {
            let mut stream = app.accept();
            say(&mut stream, &format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n"));
            assert_eq!(app.wait(), None);
            assert_eq!(app.prober.last(), format!("GET /ready answered {status}"));
            app.pass(PAUSE_MAX);
        }
        let mut stream = app.accept();
        say(&mut stream, OK);
        assert_eq!(app.wait(), None);
        let mut stream = app.accept();
        say(&mut stream, OK);
        assert_eq!(app.wait(), Some(true));
    }

    #[test]
    fn a_server_error_is_not_ready_by_default() {
        let mut app = App::new(false, Ready::Http);
        let mut stream = app.accept();
        say(&mut stream, "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(app.wait(), None);
        assert!(app.prober.waits_for().is_none(), "it pauses");
    }

    #[test]
    fn an_app_that_fails_is_asked_ever_less_often() {
        let mut app = App::new(false, Ready::Http);
        let begun = app.now;
        let mut asked = Vec::new();
        while app.now - begun < Duration::from_secs(30) {
            let mut stream = app.accept();
            asked.push(app.now - begun);
            say(&mut stream, "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n");
            assert_eq!(app.wait(), None);
            app.now = app.prober.deadline().expect("it pauses");
        }
        let within = |time| asked.iter().filter(|at| **at <= time).count();
        assert_eq!(within(Duration::from_millis(62)), 6, "quick at first: {asked:?}");
        assert!(within(Duration::from_secs(5)) < 15, "{asked:?}");
        assert!((30..45).contains(&asked.len()), "and every second: {asked:?}");
        // One that does not even listen costs nothing to look for.
        let App { listener, mut prober, mut now } = app;
        drop(listener);
        assert_eq!(prober.turn(now), None);
        while !prober.last().starts_with("it does not listen yet") {
            now = prober.deadline().expect("it goes on");
            assert_eq!(prober.turn(now), None);
        }
        assert_eq!(prober.deadline(), Some(now + PAUSE_MAX));
    }

    #[test]
    fn the_app_may_say_it_is_ready_itself() {
        let mut app = App::new(true, Ready::Http);
        let mut stream = app.accept();
        app.prober.app_says_ready(app.now);
        say(&mut stream, "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(app.wait(), None);
        let second = app.accept();
        drop(second);
        assert_eq!(app.wait(), Some(false));
    }

    #[test]
    fn a_connect_is_enough_where_listening_is_asked() {
        let mut app = App::new(true, Ready::Listen);
        let _stream = app.accept();
        app.pass(CHECK_TIMEOUT);
        assert_eq!(app.turn(), Some(false));
    }

    #[test]
    fn silence_is_asked_again() {
        let mut app = App::new(false, Ready::Http);
        let _silent = app.accept();
        app.pass(Duration::from_secs(2));
        assert_eq!(app.turn(), None);
        assert_eq!(app.prober.last(), "GET /ready was not answered");
        app.pass(PAUSE_MIN);
        let _again = app.accept();
    }
}

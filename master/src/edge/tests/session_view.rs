//! Who reads events of sessions, from a store that says what a test wants it to.

use super::*;
use crate::shared::mail::Farewell;
use crate::shared::store::{ReadJob, StoreAnswer, StoreOrder};
use rip::contract::sessions::SessionsConfig;
use rip::ids::{AppId, LoopIndex};
use rip::limits::EVENT_PAGE_BYTES;
use rip::session::claim::Attempt;
use rip::session::event::Closes;
use rip::session::look::View;
use rip::session::table::{Place, RunningTurn};
use rip::session::viewer::Page;
use rip::session::{
    Epoch, Event, EventId, Kind, Ledger, Nonce, Refusal, Seed, SessionId, TokenKey, encode,
};
use rip::time::UnixMillis;
use std::io::BufReader;

pub(super) const SESSION: SessionId = SessionId::new([0x9f; 16]);
pub(super) const KEY: [u8; 32] = [3; 32];

/// A store of one session, and a master in which its turns run, or not.
pub(super) struct Stage {
    pub(super) house: House,
    pub(super) store: Arc<Mutex<Store>>,
}

#[derive(Default)]
pub(super) struct Store {
    pub(super) events: Vec<Event>,
    /// Those before it are deleted.
    first: u64,
    running: Option<u64>,
    turn: u64,
    /// What it says in place of pages.
    pub(super) trouble: Option<&'static str>,
    /// How often it said so.
    pub(super) troubles: usize,
    /// How many pages it gave.
    pub(super) pages: usize,
    /// How many bytes of events were in them.
    pub(super) bytes: usize,
    /// How often it was looked at.
    looks: usize,
}

fn running(turn: u64) -> RunningTurn {
    let attempt = Attempt { session: SESSION, turn, number: 1, owner: Epoch(1) };
    RunningTurn { attempt, app: AppId::new("app"), since: rip::time::Instant::default() }
}

impl Store {
    fn last(&self) -> EventId {
        self.events.last().map_or_else(EventId::default, |event| event.id)
    }

    fn view(&self) -> View {
        let mut ledger = Ledger::new();
        ledger.extend(self.last());
        ledger.truncate(self.first);
        let seed = |kind| Seed { kind, turn: 0, nonce: Nonce([1; 16]) };
        let start = self.events.iter().find(|event| event.turn == self.turn);
        View {
            id: SESSION,
            status: "running",
            turn: self.turn,
            running: self.running.map(|_| Epoch(1)),
            ledger,
            turn_start: start.map_or(self.last().seq + 1, |event| event.id.seq),
            expires_at: UnixMillis(0),
            asked: None,
            token: seed(Kind::Continuation),
            resume: seed(Kind::Resume),
            may_write: false,
        }
    }

    fn page(&mut self, after: EventId, count: u32) -> Page {
        self.pages += 1;
        let first = after.seq.max(self.first.max(1) - 1);
        let mut bytes = 0;
        let fits = |event: &&Event| {
            bytes += event.byte_count();
            bytes <= EVENT_PAGE_BYTES
        };
        let events = self.events.iter().skip(first as usize).take(count as usize);
        let events: Vec<Event> = events.take_while(fits).cloned().collect();
        self.bytes += events.iter().map(Event::byte_count).sum::<usize>();
        Page { events, last: self.last(), first: self.first.max(1), running: self.running }
    }
}

impl Stage {
    pub(super) fn new() -> Self {
        let house = House::new(
            |config| {
                let app = config.apps[0].id.clone();
                config.sessions.push(SessionsConfig::new("/v1", app));
            },
            |_, _| {},
        );
        let queue = house.shared.sessions.queue.clone();
        queue.set_key(TokenKey::new(KEY));
        let store = Arc::new(Mutex::new(Store::default()));
        let served = Arc::clone(&store);
        thread::spawn(move || {
            while let Some(ReadJob::Order(job)) = queue.take_read() {
                let mut store = served.lock().unwrap();
                let answer = match &job.order {
                    StoreOrder::Page { after, count, .. } => {
                        StoreAnswer::Page(match store.trouble {
                            Some(reason) => {
                                store.troubles += 1;
                                Err(reason)
                            }
                            None => Ok(Some(store.page(*after, *count))),
                        })
                    }
                    StoreOrder::Look(order) => {
                        store.looks += 1;
                        let is_known = SessionId::parse(&order.session) == Some(SESSION);
                        let unknown = || Refusal::UnknownSession(order.session.clone());
                        let found = is_known.then(|| store.view()).ok_or_else(unknown);
                        StoreAnswer::Look(Box::new(found))
                    }
                    other => panic!("{other:?}"),
                };
                drop(store);
                job.answer(answer);
            }
        });
        Self { house, store }
    }

    /// A turn runs, here or in another master.
    pub(super) fn begin(&self, here: bool) {
        let mut store = self.store.lock().unwrap();
        store.turn += 1;
        store.running = Some(store.turn);
        let turn = store.turn;
        drop(store);
        if here {
            let told = self.house.shared.sessions.table().began(running(turn), RUNNER);
            self.stir(told);
        }
    }

    /// The turn says `count` things of so many bytes.
    pub(super) fn say(&self, count: u64, bytes: usize) {
        let text = format!("\"{}\"", "x".repeat(bytes));
        let mut store = self.store.lock().unwrap();
        let (turn, last) = (store.turn, store.last().seq);
        let event = |seq| Event::delta(EventId::new(Epoch(1), seq), turn, UnixMillis(0), &text);
        let events: Vec<Event> = (last + 1..=last + count).map(event).collect();
        store.events.extend_from_slice(&events);
        drop(store);
        self.store_told(&events);
    }

    /// The turn has ended, with one more event.
    pub(super) fn end(&self) {
        let is_here = self.is_here();
        let mut store = self.store.lock().unwrap();
        let id = EventId::new(Epoch(1), store.last().seq + 1);
        let mut event = Event::delta(id, store.turn, UnixMillis(0), "\"end\"");
        event.closes = Closes::Turn;
        store.events.push(event.clone());
        store.running = None;
        drop(store);
        self.store_told(&[event]);
        let told = self.house.shared.sessions.table().ended(SESSION, RUNNER);
        if is_here {
            self.stir(told);
        }
    }

    /// Tells who reads of what is stored, if the turn runs here.
    fn store_told(&self, events: &[Event]) {
        if self.is_here() {
            let told = self.house.shared.sessions.table().stored(SESSION, events);
            self.stir(told);
        }
    }

    fn is_here(&self) -> bool {
        self.house.shared.sessions.table().place(SESSION).is_some()
    }

    fn stir(&self, told: Vec<Place>) {
        let hubs = &self.house.shared.hubs;
        assert!(self.house.shared.sessions.stir(told, RUNNER.loop_index, hubs).is_empty());
    }

    fn ask(&self, method: &str, query: &str, fields: &str) -> BufReader<TcpStream> {
        self.ask_as("HTTP/1.1", method, query, fields)
    }

    fn ask_as(
        &self,
        version: &str,
        method: &str,
        query: &str,
        fields: &str,
    ) -> BufReader<TcpStream> {
        let mut client = self.house.client();
        let asks = format!(
            "{method} /v1/session/{SESSION}/events{query} {version}\r\nHost: a\r\n\
             Rip-Resume-Token: rt_x\r\n{fields}\r\n"
        );
        client.write_all(asks.as_bytes()).unwrap();
        BufReader::new(client)
    }

    fn stream(&self, query: &str) -> BufReader<TcpStream> {
        let mut client = self.ask("GET", query, "");
        let head = head(&mut client).unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert!(head.contains("\r\nContent-Type: text/event-stream\r\n"), "{head}");
        assert!(head.contains("\r\nTransfer-Encoding: chunked\r\n"), "{head}");
        client
    }

    fn json(&self, query: &str) -> (BufReader<TcpStream>, Instant) {
        (self.ask("GET", query, "Accept: application/json\r\n"), Instant::now())
    }

    /// The blocks of the events from number `first` on, as a stream has them.
    fn blocks(&self, first: u64) -> String {
        let store = self.store.lock().unwrap();
        let mut out = Vec::new();
        for event in &store.events[first as usize - 1..] {
            encode::event_block(event, SESSION, &TokenKey::new(KEY), &mut out);
        }
        String::from_utf8(out).unwrap()
    }

    pub(super) fn drain(&self) {
        let edges = self.house.edges.lock().unwrap();
        edges.as_ref().unwrap().drain(Farewell::until(Clock::read()));
    }

    pub(super) fn wait_until_drained(&self) {
        wait_until("it never drains", || {
            let mut mail = Vec::new();
            self.house.mail.lock().unwrap().drain(&mut mail);
            mail.iter().any(|mail| matches!(mail, ControlMessage::LoopDrained(_)))
        });
    }

    pub(super) fn viewers(&self) -> usize {
        self.house.shared.sessions.table().viewer_count()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.house.shared.sessions.queue.close();
    }
}

/// Whoever runs the turns: nobody's loop.
const RUNNER: Place = Place { loop_index: LoopIndex(9), key: 1 };
const START: &str = "retry: 1000\n\n";

/// The next chunk; empty at the end.
fn chunk(client: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    std::io::BufRead::read_line(client, &mut line).unwrap();
    let mut bytes = vec![0; usize::from_str_radix(line.trim(), 16).unwrap() + 2];
    client.read_exact(&mut bytes).unwrap();
    bytes.truncate(bytes.len() - 2);
    String::from_utf8(bytes).unwrap()
}

/// The next `bytes` bytes of a stream.
fn read(client: &mut BufReader<TcpStream>, bytes: usize) -> String {
    let mut text = String::new();
    while text.len() < bytes {
        let next = chunk(client);
        assert!(!next.is_empty(), "it ends behind {} bytes", text.len());
        text += &next;
    }
    text
}

/// Everything up to the end of a stream, which is a proper one.
fn rest(client: &mut BufReader<TcpStream>) -> String {
    let mut text = String::new();
    loop {
        match chunk(client) {
            next if next.is_empty() => return text,
            next => text += &next,
        }
    }
}

fn body(client: &mut BufReader<TcpStream>, status: &str) -> serde_json::Value {
    let text = response(client);
    assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{text}");
    assert!(text.contains("\r\nCache-Control: no-store\r\n"), "{text}");
    serde_json::from_str(text.split_once("\r\n\r\n").unwrap().1).unwrap()
}

#[test]
fn a_reader_gets_what_is_stored_then_what_comes_then_the_end() {
    let stage = Stage::new();
    stage.begin(true);
    stage.say(3, 10);
    let mut client = stage.stream("");
    let start = START.to_owned() + &stage.blocks(1);
    assert_eq!(read(&mut client, start.len()), start);
    stage.say(1, 5);
    assert_eq!(read(&mut client, 1), stage.blocks(4));
    stage.say(2, 7);
    assert_eq!(read(&mut client, 1), stage.blocks(5));
    let asked = stage.store.lock().unwrap().pages;
    assert_eq!(asked, 0, "what is in memory was read from the store");
    stage.end();
    assert_eq!(rest(&mut client), stage.blocks(7));
    wait_until("the reader stays", || stage.viewers() == 0);
    stage.house.shared.sessions.table().check_invariants();
}

#[test]
fn whoever_comes_again_gets_the_rest() {
    let stage = Stage::new();
    stage.begin(true);
    stage.say(9, 30);
    stage.end();
    let mut client = stage.stream("?last_event_id=earliest");
    assert_eq!(rest(&mut client), START.to_owned() + &stage.blocks(1));
    for seq in 1..10 {
        let id = EventId::new(Epoch(1), seq);
        let mut client = stage.stream(&format!("?last_event_id={id}"));
        assert_eq!(rest(&mut client), START.to_owned() + &stage.blocks(seq + 1), "{seq}");
    }
    let id = EventId::new(Epoch(1), 10);
    let mut client = stage.ask("GET", &format!("?last_event_id={id}"), "");
    let head = head(&mut client).unwrap();
    assert!(head.starts_with("HTTP/1.1 204 "), "{head}");
    assert!(!head.contains("Content-"), "{head}");
}

/// Bytes on their way to `client` that have left the server, when nothing moves any more.
pub(super) fn bytes_in_kernel(client: &TcpStream) -> usize {
    let own = format!(":{:04X}", client.local_addr().unwrap().port());
    let count = || {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let of = |line: &str| {
            let mut fields = line.split_whitespace().skip(1);
            let (here, there) = (fields.next()?.to_owned(), fields.next()?.to_owned());
            let (sent, received) = fields.nth(1)?.split_once(':')?;
            let queue = match () {
                () if here.ends_with(&own) => received,
                () if there.ends_with(&own) => sent,
                () => return None,
            };
            usize::from_str_radix(queue, 16).ok()
        };
        table.lines().filter_map(of).sum::<usize>()
    };
    let mut before = 0;
    wait_until("it never rests", || {
        thread::sleep(Duration::from_millis(300));
        std::mem::replace(&mut before, count()) == before
    });
    before
}

#[test]
fn what_waits_for_a_slow_reader_is_one_page() {
    let stage = Stage::new();
    stage.begin(false);
    // Each of the first is a page, and a smaller one than those that follow: where in a page the kernel has
    // enough depends on how many of them are read.
    stage.say(8, 200 * 1024);
    stage.say(600, 16 * 1024);
    stage.end();
    for first in 0..8 {
        let id = EventId::new(Epoch(1), first);
        let bytes_before = stage.store.lock().unwrap().bytes;
        let slow = stage.stream(&format!("?last_event_id={id}"));
        let left = bytes_in_kernel(slow.get_ref()) + slow.buffer().len();
        let read = stage.store.lock().unwrap().bytes - bytes_before;
        let waiting = read.saturating_sub(left);
        assert!(waiting <= EVENT_PAGE_BYTES * 5 / 4, "{waiting} of {read} bytes wait");
    }
}

#[test]
fn a_slow_reader_costs_a_page_or_two() {
    let stage = Stage::new();
    stage.begin(true);
    let mut slow = stage.stream("");
    let rounds = 96;
    for _ in 0..rounds {
        stage.say(64, 16 * 1024);
        stage.house.turn();
    }
    let length = stage.blocks(1).len();
    let asked = stage.store.lock().unwrap().pages * EVENT_PAGE_BYTES;
    // No kernel holds more than a few megabytes for a client.
    assert!(length > 96 << 20 && asked < 16 << 20, "{asked} of {length}");
    stage.end();
    let text = rest(&mut slow);
    assert!(text == START.to_owned() + &stage.blocks(1), "{} bytes", text.len());
}

#[test]
fn a_turn_of_another_master_is_followed_to_its_end() {
    let stage = Stage::new();
    stage.begin(false);
    stage.say(1, 3);
    let mut client = stage.stream("");
    assert_eq!(read(&mut client, START.len() + 1), START.to_owned() + &stage.blocks(1));
    for seq in 2..5 {
        stage.say(1, 3);
        assert_eq!(read(&mut client, 1), stage.blocks(seq));
    }
    stage.end();
    assert_eq!(rest(&mut client), stage.blocks(5));
}

#[test]
fn who_polls_is_answered_at_once_or_when_something_comes_or_in_time() {
    let stage = Stage::new();
    stage.begin(true);
    stage.say(3, 1);
    let (mut client, _) = stage.json("?limit=2&wait=10");
    let told = body(&mut client, "200");
    assert_eq!(told["events"].as_array().unwrap().len(), 2, "{told}");
    let second = "0001-000000000002";
    assert_eq!((&told["next"], &told["upToDate"]), (&second.into(), &false.into()), "{told}");
    let (mut client, _) = stage.json(&format!("?wait=10&last_event_id={second}"));
    let told = body(&mut client, "200");
    assert_eq!((&told["upToDate"], &told["closed"]), (&true.into(), &false.into()), "{told}");
    let next = told["next"].as_str().unwrap().to_owned();
    // Nothing comes.
    let (mut client, asked) = stage.json(&format!("?wait=1&last_event_id={next}"));
    let told = body(&mut client, "200");
    assert!((1..5).contains(&asked.elapsed().as_secs()), "{:?}", asked.elapsed());
    assert_eq!((&told["events"], &told["next"]), (&serde_json::json!([]), &(*next).into()));
    // Something comes.
    let (mut client, asked) = stage.json(&format!("?wait=10&last_event_id={next}"));
    wait_until("nobody waits", || stage.viewers() == 1);
    stage.say(1, 1);
    let told = body(&mut client, "200");
    assert_eq!(told["events"][0]["seq"], 4, "{told}");
    assert!(asked.elapsed() < Duration::from_secs(5));
    // A connection is kept, and a turn that begins elsewhere is found.
    stage.end();
    let asks = format!(
        "GET /v1/session/{SESSION}/events?wait=10&last_event_id=now HTTP/1.1\r\nHost: a\r\n\
         Rip-Resume-Token: rt_x\r\nAccept: application/json\r\n\r\n"
    );
    let looks = stage.store.lock().unwrap().looks;
    client.get_mut().write_all(asks.as_bytes()).unwrap();
    wait_until("nobody waits", || stage.store.lock().unwrap().looks > looks);
    stage.begin(false);
    stage.say(1, 1);
    assert_eq!(body(&mut client, "200")["events"][0]["seq"], 6);
}

#[test]
fn who_sends_nothing_more_gets_what_there_is() {
    let stage = Stage::new();
    stage.begin(false);
    stage.say(3, 10);
    // The store looks when the end has come.
    let end = |client: &TcpStream| client.shutdown(std::net::Shutdown::Write).unwrap();
    let store = stage.store.lock().unwrap();
    let mut stream = stage.ask("GET", "", "");
    let (mut json, _) = stage.json("?wait=30");
    end(stream.get_ref());
    end(json.get_ref());
    thread::sleep(Duration::from_millis(100));
    drop(store);
    let head = head(&mut stream).unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert_eq!(rest(&mut stream), START.to_owned() + &stage.blocks(1));
    assert_eq!(body(&mut json, "200")["events"][2]["seq"], 3);
    // Who has it all is not waited with.
    let mut stream = stage.stream("");
    read(&mut stream, START.len() + stage.blocks(1).len());
    end(stream.get_ref());
    assert_eq!(stream.read(&mut [0; 64]).unwrap_or(0), 0);
    wait_until("it stays", || stage.viewers() == 0);
}

#[test]
fn a_store_in_trouble_ends_streams_and_refuses_polls() {
    let stage = Stage::new();
    stage.begin(false);
    stage.say(1, 1);
    let mut client = stage.stream("");
    assert_eq!(read(&mut client, START.len() + 1), START.to_owned() + &stage.blocks(1));
    stage.store.lock().unwrap().trouble = Some("full");
    assert_eq!(rest(&mut client), "", "it ends as if nothing were wrong, and is asked for again");
    let (mut client, _) = stage.json("");
    let text = response(&mut client);
    assert!(text.starts_with("HTTP/1.1 503 ") && text.contains("\r\nRetry-After: 1\r\n"), "{text}");
    assert!(text.ends_with("{\"error\":\"session store: full\",\"code\":\"store\"}"), "{text}");
    stage.store.lock().unwrap().trouble = None;
    let mut client = stage.stream("?last_event_id=0001-000000000001");
    stage.end();
    assert_eq!(rest(&mut client), START.to_owned() + &stage.blocks(2));
}

#[test]
fn what_was_deleted_meanwhile_is_told() {
    let stage = Stage::new();
    stage.begin(false);
    stage.say(4, 1);
    stage.store.lock().unwrap().first = 3;
    let mut client = stage.stream("?last_event_id=0001-000000000001");
    let reset = |from: &str| {
        format!(
            "id: {from}\ndata: {{\"type\":\"reset\",\"reason\":\"truncated\",\"from\":\"{from}\"}}\n\n"
        )
    };
    let start = START.to_owned() + &reset("0001-000000000002") + &stage.blocks(3);
    assert_eq!(read(&mut client, start.len()), start);
    {
        // It is deleted before it is read.
        let mut store = stage.store.lock().unwrap();
        store.first = 7;
        for seq in 5..=8 {
            let id = EventId::new(Epoch(1), seq);
            store.events.push(Event::delta(id, 1, UnixMillis(0), "\"x\""));
        }
    }
    let more = reset("0001-000000000006") + &stage.blocks(7);
    assert_eq!(read(&mut client, more.len()), more);
    let (mut client, _) = stage.json("?last_event_id=0001-000000000001");
    assert_eq!(body(&mut client, "410")["reason"], "truncated");
}

#[test]
fn who_only_asks_for_the_head_waits_for_nothing() {
    let stage = Stage::new();
    stage.begin(true);
    stage.say(1, 1);
    let mut client = stage.ask("HEAD", "", "");
    let first = head(&mut client).unwrap();
    assert!(first.starts_with("HTTP/1.1 200 ") && first.contains("text/event-stream"), "{first}");
    let asks = format!(
        "HEAD /v1/session/{SESSION}/events?wait=60&last_event_id=now HTTP/1.1\r\nHost: a\r\n\
         Rip-Resume-Token: rt_x\r\nAccept: application/json\r\n\r\nGET /server HTTP/1.1\r\n\
         Host: a\r\n\r\n"
    );
    client.get_mut().write_all(asks.as_bytes()).unwrap();
    let second = head(&mut client).unwrap();
    assert!(second.starts_with("HTTP/1.1 200 ") && second.contains("Content-Length: "), "{second}");
    assert!(response(&mut client).ends_with("ok"));
    assert_eq!(stage.viewers(), 0);
}

#[test]
fn old_clients_read_until_the_connection_ends() {
    let stage = Stage::new();
    stage.begin(true);
    stage.say(2, 9);
    let mut client = stage.ask_as("HTTP/1.0", "GET", "", "Connection: keep-alive\r\n");
    let head = head(&mut client).unwrap();
    assert!(!head.contains("chunked") && head.contains("Connection: close\r\n"), "{head}");
    stage.say(1, 4);
    stage.end();
    let mut text = String::new();
    client.read_to_string(&mut text).unwrap();
    assert_eq!(text, START.to_owned() + &stage.blocks(1));
}

#[test]
fn a_reader_who_leaves_is_forgotten() {
    let stage = Stage::new();
    stage.begin(true);
    let (first, (second, _)) = (stage.stream(""), stage.json("?wait=60&last_event_id=now"));
    wait_until("nobody reads", || stage.viewers() == 2);
    drop((first, second));
    wait_until("readers stay who have left", || stage.viewers() == 0);
    let mut other = stage.house.client();
    let asks = "GET /v1/session/s_0/events HTTP/1.1\r\nHost: a\r\nRip-Resume-Token: rt_x\r\n\r\n";
    other.write_all(asks.as_bytes()).unwrap();
    assert!(response(&mut other).starts_with("HTTP/1.1 404 "));
    assert_eq!(stage.viewers(), 0);
}

#[test]
fn a_server_that_drains_lets_go_of_all_but_the_readers_of_its_own_turns() {
    let stage = Stage::new();
    stage.begin(true);
    stage.say(1, 2);
    let mut client = stage.stream("");
    let start = START.to_owned() + &stage.blocks(1);
    assert_eq!(read(&mut client, start.len()), start);
    let (mut poll, asked) = stage.json("?wait=60&last_event_id=now");
    wait_until("nobody waits", || stage.viewers() == 2);
    stage.drain();
    let told = response(&mut poll);
    assert!(told.contains("\r\nConnection: close\r\n"), "{told}");
    assert!(asked.elapsed() < Duration::from_secs(5), "it is not waited for");
    stage.say(1, 2);
    assert_eq!(read(&mut client, 1), stage.blocks(2));
    stage.end();
    assert_eq!(rest(&mut client), stage.blocks(3));
    stage.wait_until_drained();

    let stage = Stage::new();
    stage.begin(false);
    stage.say(1, 2);
    let mut client = stage.stream("");
    assert_eq!(read(&mut client, start.len()), start);
    stage.drain();
    assert_eq!(rest(&mut client), "", "the turn is another master's");
    stage.wait_until_drained();
}

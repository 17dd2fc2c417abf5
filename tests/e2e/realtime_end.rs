//! Workers die, configurations change, the server stops: what WebSocket clients notice of it.

use crate::harness::websocket::{Socket, quoted, rooms};
use crate::harness::{Server, Setup, eventually, processes, until};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const REALTIME: &str = "realtime \"/realtime\" app=\"rooms\"";

fn house() -> Server {
    let server = Setup::rooms(REALTIME).start();
    server.wait_for_workers(2);
    server
}

#[test]
fn a_message_that_kills_its_worker_is_reported_and_the_next_one_is_heard() {
    let server = house();
    let mut socket = Socket::open(&server, "/realtime");
    socket.say("!die");
    socket.say(r#"{"after":1}"#);
    assert_eq!(socket.hear_json(), json!({"after": 1}));
    let texts = server.posted("text");
    let id = texts[0].field("x-request-id").expect("an id");
    // The access line has its id as well, and may be told first.
    let client = texts[0].client();
    let is_report = |line: &str| [id, client, "got no answer"].iter().all(|it| line.contains(it));
    eventually("the report", || server.log().lines().any(is_report));
    assert_eq!(texts.len(), 2, "it was not sent twice");
}

/// Says numbers, several at once, until `is_enough`; how many it said, and what it heard of them.
fn count_up(mut socket: Socket, is_enough: &AtomicBool) -> (u64, Vec<u64>) {
    let (mut said, mut heard) = (0, Vec::new());
    // The last ones are said when nobody is killed any more.
    let mut is_last = false;
    socket.client().patience(Duration::from_secs(4));
    while !is_last {
        is_last = is_enough.load(Ordering::Relaxed);
        for _ in 0..6 {
            socket.say(&format!("!sleep 0.004 {{\"n\":{said}}}"));
            said += 1;
        }
        while heard.last() != Some(&(said - 1)) {
            // Without an answer to the last one the next ones are said.
            let Ok(frame) = socket.try_hear() else { break };
            let told: Value = serde_json::from_slice(&frame.payload).expect("what was said");
            heard.push(told["n"].as_u64().expect("a number"));
        }
    }
    (said, heard)
}

#[test]
fn of_workers_that_are_killed_only_what_they_were_at_is_lost_and_that_is_reported() {
    const CLIENTS: usize = 10;
    const KILLS: usize = 6;
    let server = house();
    let sockets: Vec<_> = (0..CLIENTS).map(|_| Socket::open(&server, "/realtime")).collect();
    let is_enough = AtomicBool::new(false);
    let counts: Vec<_> = std::thread::scope(|scope| {
        let count = |socket| scope.spawn(|| count_up(socket, &is_enough));
        let clients: Vec<_> = sockets.into_iter().map(count).collect();
        for kill in 0..KILLS {
            eventually("two workers", || server.ready_workers().len() == 2);
            let said = server.posts().len();
            eventually("work", || server.posts().len() > said + 20);
            let worker = server.worker_ids()[kill % 2];
            processes::signal(server.app_pid(worker), Signal::SIGKILL);
            eventually("its end", || !server.worker_ids().contains(&worker));
        }
        is_enough.store(true, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().expect("a client")).collect()
    });
    let mut lost = 0;
    for (said, heard) in &counts {
        assert!(heard.is_sorted_by(|one, next| one < next), "{heard:?}");
        lost += *said as usize - heard.len();
    }
    let texts = server.posted("text");
    let said: u64 = counts.iter().map(|(said, _)| said).sum();
    assert!(lost <= KILLS, "{lost} of {said} lost in {KILLS} kills");
    // What a worker was at may have been run by it, and is run by nobody else.
    let each: BTreeSet<_> = texts.iter().map(|text| (text.client(), text.body())).collect();
    assert_eq!(each.len(), texts.len(), "none was run twice");
    eventually("each is reported", || server.log().matches(" got no answer: ").count() == lost);
}

#[test]
fn a_stop_tells_every_client_and_the_app_of_every_client() {
    const COUNT: usize = 60;
    let mut server = Setup::rooms(REALTIME).flag("--drain-timeout-ms", 4000).start();
    server.wait_for_workers(2);
    let clients: Vec<_> = (0..COUNT).map(|_| Socket::open(&server, "/realtime")).collect();
    server.signal(Signal::SIGTERM);
    let closes: Vec<_> = std::thread::scope(|scope| {
        let close = |mut socket: Socket| scope.spawn(move || socket.hear_close());
        let closings: Vec<_> = clients.into_iter().map(close).collect();
        closings.into_iter().map(|closing| closing.join().expect("a close")).collect()
    });
    assert!(closes.iter().all(|(code, _)| *code == 1001), "{closes:?}");
    assert_eq!(server.exit_code(), 0);
    let posts = server.wait_for_posts("close", COUNT);
    let told: BTreeSet<_> = posts.iter().map(|post| post.client()).collect();
    assert_eq!(told.len(), COUNT, "each once");
    assert!(posts.iter().all(|post| post.body().contains("1001")), "{posts:?}");
}

#[test]
fn a_stop_ends_with_clients_that_do_not_answer() {
    let mut server = Setup::rooms(REALTIME).flag("--drain-timeout-ms", 2000).start();
    let _deaf: Vec<_> = (0..10).map(|_| Socket::open(&server, "/realtime")).collect();
    assert_eq!(server.stop(), 0);
    assert_eq!(server.posted("close").len(), 10);
}

#[test]
fn a_reload_that_ends_a_place_closes_its_clients_and_no_others() {
    let server =
        Setup::rooms("realtime \"/one\" app=\"rooms\"; realtime \"/two\" app=\"rooms\"").start();
    let mut one = Socket::open(&server, "/one");
    let mut two = Socket::open(&server, "/two");
    server.take_up(&rooms("realtime \"/two\" app=\"rooms\" max-message=\"100B\"", ""));
    assert_eq!(one.hear_close().0, 1001);
    let closes = server.wait_for_posts("close", 1);
    assert_eq!(closes[0].client(), server.posted("open")[0].client());
    two.assert_nothing_told();
    two.say(&format!("{{\"text\":\"{}\"}}", "x".repeat(200)));
    assert_eq!(two.hear_close().0, 1009, "its limits are the new ones");
}

#[test]
fn clients_keep_their_groups_through_rolls_and_reloads() {
    let file = |env: u32, history: &str| {
        rooms(
            &format!("realtime \"/realtime\" app=\"rooms\" {{ {history} }}"),
            &format!("env ROUND=\"{env}\""),
        )
    };
    let server = Setup::edgefile(&file(0, "")).with_rooms().word("--no-watch").start();
    let join = format!("/realtime?open={}", quoted(r#"{"+":["/g"]}"#));
    let mut sockets: Vec<_> = (0..5).map(|_| Socket::open(&server, &join)).collect();
    for round in 1..=3 {
        server.take_up(&file(round, if round == 2 { "history \"/g\"" } else { "" }));
        server.order(&["ctl", "restart"]);
        sockets[0].say(&format!(r#"{{"@":["/g"],"round":{round}}}"#));
        for socket in &mut sockets {
            let told = socket.hear_json();
            assert_eq!(told["round"], round);
            assert_eq!(told.get("#").is_some(), round == 2, "{told}");
        }
    }
    assert!(server.posted("close").is_empty());
    let opened = until("their opens", || Some(server.posted("open").len()));
    assert_eq!(opened, 5, "nobody came back: nobody was gone");
}

#[test]
fn a_stop_that_is_too_short_for_every_close_counts_the_rest() {
    const COUNT: usize = 20;
    let mut server = Setup::rooms(REALTIME).flag("--drain-timeout-ms", 1500).start();
    server.wait_for_workers(2);
    let slow = format!("/realtime?close={}", quoted("{}"));
    let mut clients: Vec<_> = (0..COUNT).map(|_| Socket::open(&server, &slow)).collect();
    // Both workers are at something that takes longer than the stop.
    for client in &mut clients[..2] {
        client.say("!gate never {}");
    }
    server.wait_for_posts("text", 2);
    server.signal(Signal::SIGTERM);
    let code = server.exit_code();
    assert!(matches!(code, 0 | 1), "{code}");
    let told = server.posted("close").len();
    assert!(told < COUNT, "{told} of {COUNT}");
    let log = server.log();
    let counted = log
        .lines()
        .any(|line| line.contains("close") && line.contains(&(COUNT - told).to_string()));
    assert!(counted, "{} are not told of: {log}", COUNT - told);
}

//! WebSocket clients of an app that speaks HTTP: what it instructs is what they are told.

use crate::harness::websocket::{BINARY, CLOSE, Socket, TEXT, UPGRADE, masked, quoted};
use crate::harness::{Server, Setup, eventually};
use serde_json::json;
use std::time::Duration;

const PLAIN: &str = "realtime \"/realtime\" app=\"rooms\"";

fn rooms() -> Server {
    let server = Setup::rooms(PLAIN).start();
    server.wait_for_workers(2);
    server
}

/// Where a client opens that is answered with these instructions.
fn opens(instructions: &str) -> String {
    format!("/realtime?open={}", quoted(instructions))
}

/// A client that the app instructs so when it comes, and its id.
#[track_caller]
fn comes(server: &Server, instructions: &str) -> (Socket, String) {
    let before = server.posted("open").len();
    let socket = Socket::open(server, &opens(instructions));
    let posts = server.posted("open");
    assert_eq!(posts.len(), before + 1);
    (socket, posts[before].client().to_owned())
}

#[test]
fn a_burst_of_a_hundred_frames_is_answered_in_order_by_one_worker() {
    let server = Setup::builtin("realtime").workers(1).start();
    let mut socket = Socket::open(&server, "/realtime");
    let numbers = (0..100).map(|number| number.to_string());
    let burst: Vec<u8> =
        numbers.clone().flat_map(|number| masked(TEXT, number.as_bytes())).collect();
    socket.send_bytes(&burst).unwrap();
    for number in numbers {
        assert_eq!(socket.hear_text(), number);
    }
}

#[test]
fn one_client_is_answered_in_order_by_many_workers() {
    let server = Setup::rooms(PLAIN).start();
    server.order(&["ctl", "scale", "4"]);
    let mut socket = Socket::open(&server, "/realtime");
    for number in 0..60 {
        // Those that take longer are not overtaken.
        let pause = if number % 3 == 0 { 0.02 } else { 0.0 };
        socket.say(&format!("!sleep {pause} {{\"number\":{number}}}"));
    }
    for number in 0..60 {
        assert_eq!(socket.hear_json(), json!({"number": number}));
    }
    let posts = server.posted("text");
    let said: Vec<_> = posts.iter().map(|post| post.body().to_owned()).collect();
    for (number, said) in said.iter().enumerate() {
        assert!(said.ends_with(&format!("{{\"number\":{number}}}")), "{number}: {said}");
    }
}

#[test]
fn a_client_that_the_app_refuses_hears_the_status() {
    let server = rooms();
    for (status, fields) in
        [(401, ""), (403, ""), (302, "&location=%2Flogin"), (500, ""), (404, ""), (429, "")]
    {
        let target = format!("/realtime?status={status}&raw=no+entry{fields}");
        let refusal = Socket::try_open(server.connect(), "a.test", &target, "").err();
        let refusal = refusal.expect("a refusal");
        assert_eq!((refusal.status, refusal.text()), (status, "no entry".to_owned()));
        if status == 302 {
            assert_eq!(refusal.field("Location"), "/login");
        }
        assert_eq!(refusal.values("Sec-WebSocket-Accept"), [""; 0]);
    }
    // They were never there.
    Socket::open(&server, "/realtime").close(1000, "");
    server.wait_for_posts("close", 1);
}

#[test]
fn a_refused_client_may_ask_again_on_its_connection() {
    let server = rooms();
    let mut client = server.connect();
    client.request("GET", "/realtime?status=401", UPGRADE, b"");
    assert_eq!(client.response().status, 401);
    assert_eq!(client.ask("GET", "/page").text(), "page of /page");
    client.request("GET", "/realtime", UPGRADE, b"");
    assert!(Socket::switched(client).is_ok());
}

#[test]
fn an_open_that_is_answered_with_garbage_lets_the_client_in_and_says_nothing() {
    let server = rooms();
    for garbage in ["", "no json", "5", "[1]", "\"text\"", "{\"+\":5}", "{\"x\":", "null"] {
        let mut socket = Socket::open(&server, &format!("/realtime?raw={}", quoted(garbage)));
        socket.assert_nothing_told();
    }
}

#[test]
fn an_answer_that_is_none_reaches_nobody_and_is_told_with_its_request() {
    let server = rooms();
    let (mut one, _) = comes(&server, r#"{"+":["/g"]}"#);
    let (mut other, _) = comes(&server, r#"{"+":["/g"]}"#);
    for said in [
        "!status 500",
        "!status 404",
        "!status 302",
        "!raw no json",
        "!raw {\"@\":[\"/g\"],\"cut\":",
        "!raw \"/g\"",
        "!raw {\"@\":\"/g\",\"x\":1}",
        "!raw {\"@\":[5],\"x\":1}",
        "!raw {\"$text\":5,\"@\":[\"/g\"]}",
        "!raw {\"$binary\":\"not base 64\",\"@\":[\"/g\"]}",
        "!raw [\"x\"]",
    ] {
        one.say(said);
    }
    one.say(r#"{"@":["/g"],"after":"all"}"#);
    for socket in [&mut one, &mut other] {
        assert_eq!(socket.hear_json(), json!({"after": "all"}));
    }
    let failed = &server.posted("text")[0];
    let id = failed.field("x-request-id").expect("an id");
    server.wait_for_log(id);
    let log = server.log();
    let line = log.lines().find(|line| line.contains(id) && line.contains("500"));
    assert!(line.is_some(), "{log}");
}

#[test]
fn of_several_items_each_stands_alone() {
    let server = rooms();
    let (mut socket, id) = comes(&server, r#"{"+":["/g"]}"#);
    let items = format!(
        r#"[{{"first":1}},{{"+":["lobby"],"second":2}},{{"@":["/g"],"third":3}},{{"@":["{id}"],"fourth":4}}]"#
    );
    socket.say(&items);
    for told in [json!({"first": 1}), json!({"third": 3}), json!({"fourth": 4})] {
        assert_eq!(socket.hear_json(), told);
    }
    server.wait_for_log("lobby");
    let log = server.log();
    let line = log.lines().find(|line| line.contains("lobby")).expect("a line");
    assert!(line.contains('/') && line.contains("item 2"), "{line}");
}

#[test]
fn groups_are_joined_told_and_left() {
    let server = rooms();
    let (mut ann, ann_id) = comes(&server, r#"{"+":["/lobby","/ann"]}"#);
    let (mut ben, ben_id) = comes(&server, r#"{"+":["/lobby"]}"#);
    let (mut cat, _) = comes(&server, "{}");

    ann.say(r#"{"@":["/lobby"],"to":"all"}"#);
    assert_eq!(ann.hear_json(), json!({"to": "all"}));
    assert_eq!(ben.hear_json(), json!({"to": "all"}));

    // Whoever is named several times is told once.
    ann.say(&format!(
        r#"{{"@":["/lobby","/ann","{ann_id}","/nobody","{}"],"to":"each"}}"#,
        "0".repeat(32)
    ));
    for socket in [&mut ann, &mut ben] {
        assert_eq!(socket.hear_json(), json!({"to": "each"}));
    }

    ann.say(&format!(r#"{{"@":["/lobby"],">":["{ann_id}"],"to":"others"}}"#));
    assert_eq!(ben.hear_json(), json!({"to": "others"}));
    ann.assert_nothing_told();

    // Who joins are the targets, which cat is none of.
    cat.say(r#"{"+":["/lobby"],"@":["/lobby"],"by":"cat"}"#);
    for socket in [&mut ann, &mut ben] {
        assert_eq!(socket.hear_json(), json!({"by": "cat"}));
    }
    cat.assert_nothing_told();

    // A client without a group is still there.
    ben.say(r#"{"-":["/lobby"]}"#);
    ben.assert_nothing_told();
    ann.say(&format!(r#"[{{"@":["/lobby"],"to":"those left"}},{{"@":["{ben_id}"],"to":"you"}}]"#));
    assert_eq!(ben.hear_json(), json!({"to": "you"}));
    assert_eq!(ann.hear_json(), json!({"to": "those left"}));

    // Somebody else may be moved, too.
    ann.say(&format!(r#"{{"@":["{ben_id}"],"+":["/back"]}}"#));
    ann.say(r#"{"@":["/back"],"to":"ben"}"#);
    assert_eq!(ben.hear_json(), json!({"to": "ben"}));
}

#[test]
fn what_open_instructs_follows_the_switch_in_order() {
    let server = rooms();
    let (mut one, _) = comes(&server, r#"[{"+":["/g"]},{"@":["/g"],"came":1},{"$text":"hello"}]"#);
    assert_eq!(one.hear_json(), json!({"came": 1}));
    assert_eq!(one.hear_text(), "hello");
    let (mut other, _) = comes(&server, r#"[{"+":["/g"]},{"@":["/g"],"came":2}]"#);
    assert_eq!(other.hear_json(), json!({"came": 2}));
    assert_eq!(one.hear_json(), json!({"came": 2}));
}

#[test]
fn texts_and_bytes_are_told_as_they_are() {
    let server = rooms();
    let (mut socket, _) = comes(&server, r#"{"+":["/g"]}"#);
    socket.say(r#"[{"$text":"\u0000 é \"quoted\""},{"@":["/g"],"$binary":"AP+A"},{"$text":""}]"#);
    assert_eq!(socket.hear_text(), "\0 é \"quoted\"");
    let bytes = socket.hear();
    assert_eq!((bytes.first, bytes.payload), (BINARY, vec![0, 255, 128]));
    assert_eq!(socket.hear_text(), "");
    let sent: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    socket.send(BINARY, &sent);
    let back = socket.hear();
    assert!(back.first == BINARY && back.payload == sent, "bytes come back");
    let post = &server.posted("binary")[0];
    assert_eq!(post.field("content-type"), Some("application/octet-stream"));
    let post = &server.posted("text")[0];
    assert_eq!(post.field("content-type"), Some("text/plain; charset=utf-8"));
}

#[test]
fn the_app_closes_clients_after_what_it_tells_them() {
    let server = rooms();
    for (closing, close) in [
        (r#"{"code":4000,"reason":"so it is"}"#, (4000, "so it is")),
        (r#""enough""#, (1000, "enough")),
        (r#"{"code":3999}"#, (3999, "")),
        (r#""""#, (1000, "")),
    ] {
        let (mut socket, _) = comes(&server, "{}");
        socket.say(&format!(r#"{{"last":"words","*":{closing}}}"#));
        assert_eq!(socket.hear_json(), json!({"last": "words"}));
        assert_eq!(socket.hear_close(), (close.0, close.1.to_owned()));
    }
    let closes = server.wait_for_posts("close", 4);
    let told = closes.iter().filter(|close| close.body() == r#"{"code":4000,"reason":"so it is"}"#);
    assert_eq!(told.count(), 1);
    // A group, but for one.
    let (mut one, one_id) = comes(&server, r#"{"+":["/g"]}"#);
    let (mut two, _) = comes(&server, r#"{"+":["/g"]}"#);
    let (mut three, _) = comes(&server, r#"{"+":["/g"]}"#);
    one.say(&format!(r#"{{"@":["/g","{one_id}"],"*":{{"code":4001,"reason":"all"}}}}"#));
    for socket in [&mut one, &mut two, &mut three] {
        assert_eq!(socket.hear_close(), (4001, "all".to_owned()));
    }
    server.wait_for_posts("close", 7);
}

#[test]
fn a_client_that_open_closes_comes_in_and_is_closed() {
    let server = rooms();
    let mut socket =
        Socket::open(&server, &opens(r#"{"you":"may not","*":{"code":4403,"reason":"go"}}"#));
    assert_eq!(socket.hear_json(), json!({"you": "may not"}));
    assert_eq!(socket.hear_close(), (4403, "go".to_owned()));
    assert_eq!(server.wait_for_posts("close", 1)[0].body(), r#"{"code":4403,"reason":"go"}"#);
}

/// Who closes, how, and the code that the app is told; 0 where it depends.
type Way = (&'static str, fn(Socket), u16);

#[test]
fn close_is_told_once_whoever_closes_and_what_it_instructs_is_done() {
    let server = rooms();
    let (mut witness, _) = comes(&server, r#"{"+":["/g"]}"#);
    let leaving = quoted(r#"{"@":["/g"],"left":true}"#);
    let target = format!("/realtime?close={leaving}");
    let ways: [Way; 7] = [
        (
            "the client",
            |mut socket| {
                socket.close(4321, "bye");
                assert_eq!(socket.hear_close(), (4321, "bye".to_owned()));
            },
            4321,
        ),
        (
            "the client without a code",
            |mut socket| {
                socket.send(CLOSE, b"");
                assert_eq!(socket.hear_close().0, 1005);
            },
            1005,
        ),
        ("its network", |socket| socket.reset(), 1006),
        ("its end", |socket| drop(socket.into_client()), 1006),
        (
            "the app",
            |mut socket| {
                socket.say(r#"{"*":{"code":4000}}"#);
                assert_eq!(socket.hear_close().0, 4000);
            },
            4000,
        ),
        (
            "what it says",
            |mut socket| {
                socket.send_bytes(&[TEXT, 0]).unwrap();
                assert_eq!(socket.hear_close().0, 1002);
            },
            1002,
        ),
        (
            "both at once",
            |mut socket| {
                socket.say(r#"{"*":{"code":4002}}"#);
                socket.close(4003, "");
                let code = socket.hear().close().0;
                assert!(matches!(code, 4002 | 4003), "{code}");
            },
            0,
        ),
    ];
    for (index, (who, way, code)) in ways.into_iter().enumerate() {
        way(Socket::open(&server, &target));
        assert_eq!(witness.hear_json(), json!({"left": true}), "{who}");
        let closes = server.wait_for_posts("close", index + 1);
        let told: serde_json::Value = serde_json::from_str(closes[index].body()).expect("JSON");
        if code > 0 {
            assert_eq!(told["code"], code, "{who}: {told}");
        }
        assert!(told["reason"].is_string(), "{who}: {told}");
        assert_eq!(closes[index].client(), server.posted("open")[index + 1].client(), "{who}");
    }
    witness.assert_nothing_told();
    assert_eq!(server.posted("close").len(), 7);
}

#[test]
fn a_client_that_leaves_before_open_is_answered_is_told_of_all_the_same() {
    let server = rooms();
    let mut client = server.connect();
    client.request("GET", "/realtime?gate=go", UPGRADE, b"");
    server.wait_for_posts("open", 1);
    drop(client);
    server.open_gate("go");
    let closes = server.wait_for_posts("close", 1);
    assert_eq!(closes[0].client(), server.posted("open")[0].client());
}

#[test]
fn the_client_own_fields_arrive_with_every_post_and_those_of_the_handshake_do_not() {
    let server = rooms();
    let fields = "Cookie: session=abc; theme=dark\r\nAuthorization: Bearer of-mine\r\nX-Own: 7\r\n\
        Sec-WebSocket-Extensions: permessage-deflate\r\nAccept-Encoding: gzip\r\n\
        Rip-Client-Id: forged\r\nSec-WebSocket-Frame: close\r\nRip-Realtime-Query: forged\r\n\
        User-Agent: tests\r\n";
    let mut socket = Socket::open_with(&server, "/realtime?room=7&raw=%7B%7D", fields);
    socket.say("{}");
    socket.send(BINARY, b"b");
    assert_eq!(socket.hear().first, BINARY);
    socket.close(1000, "");
    server.wait_for_posts("close", 1);
    let posts = server.posts();
    let words: Vec<_> = posts.iter().map(|post| post.word()).collect();
    assert_eq!(words, ["open", "text", "binary", "close"]);
    let ids: std::collections::BTreeSet<_> =
        posts.iter().map(|post| post.field("x-request-id").expect("an id").to_owned()).collect();
    assert_eq!(ids.len(), 4, "each has an id of its own");
    for post in &posts {
        assert_eq!(post.0["method"], "POST");
        for (name, value) in [
            ("cookie", "session=abc; theme=dark"),
            ("authorization", "Bearer of-mine"),
            ("x-own", "7"),
            ("user-agent", "tests"),
            ("rip-realtime-query", "room=7&raw=%7B%7D"),
            ("rip-edge", "realtime"),
            ("host", "a.test"),
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-proto", "http"),
        ] {
            assert_eq!(post.field(name), Some(value), "{name}: {post:?}");
        }
        for name in [
            "sec-websocket-key",
            "sec-websocket-version",
            "sec-websocket-extensions",
            "upgrade",
            "connection",
        ] {
            assert_eq!(post.field(name), None, "{name}: {post:?}");
        }
        let id = post.client();
        assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        assert_eq!(id, posts[0].client());
    }
    assert_eq!(posts[0].body(), "");
    assert_eq!(posts[3].body(), r#"{"code":1000,"reason":""}"#);
}

#[test]
fn a_subprotocol_is_chosen_by_the_app_among_those_offered() {
    let server = rooms();
    let offers = "Sec-WebSocket-Protocol: chat.v1, chat.v2\r\n";
    for (chosen, agreed) in
        [("chat.v2", Some("chat.v2")), ("chat.v3", None), ("chat.V2", None), ("", None)]
    {
        let target = format!("/realtime?protocol={chosen}");
        let socket = Socket::open_with(&server, &target, offers);
        assert_eq!(socket.field("Sec-WebSocket-Protocol"), agreed, "{chosen}");
    }
    let socket = Socket::open(&server, "/realtime?protocol=chat.v1");
    assert_eq!(socket.field("Sec-WebSocket-Protocol"), None);
    let posts = server.posted("open");
    assert_eq!(posts[0].field("sec-websocket-protocol"), Some("chat.v1, chat.v2"));
}

#[test]
fn a_hub_is_one_apps_own() {
    let file = "version 1\nedge { http \"127.0.0.1:PORT\" }\n\
         app \"one\" { entry \"rooms.py\"; workers 1 }\n\
         app \"two\" { entry \"builtin:realtime\"; workers 1 }\n\
         site \"*\" { realtime \"/one\" app=\"one\"; realtime \"/also\" app=\"one\"; realtime \"/two\" app=\"two\" }\n";
    let server = Setup::edgefile(file).with_rooms().word("--no-watch").start();
    server.wait_for_workers(2);
    let join = quoted(r#"{"+":["/g"]}"#);
    let mut one = Socket::open(&server, &format!("/one?open={join}"));
    let mut also = Socket::open(&server, &format!("/also?open={join}"));
    let mut two = Socket::open(&server, "/two?join=/g");
    one.say(r#"{"@":["/g"],"of":"one"}"#);
    for socket in [&mut one, &mut also] {
        assert_eq!(socket.hear_json(), json!({"of": "one"}));
    }
    two.say("of two");
    assert_eq!(two.hear_text(), "of two", "the first it hears");
    assert!(also.is_silent_for(Duration::from_millis(100)));
}

#[test]
fn clients_of_every_loop_are_told() {
    let server = Setup::builtin("realtime").workers(2).flag("--loops", 4).start();
    let mut sockets: Vec<_> =
        (0..40).map(|_| Socket::open(&server, "/realtime?join=/all")).collect();
    for round in 0..3 {
        for teller in [0, 13, 39] {
            sockets[teller].say(&format!("{round} {teller}"));
            for socket in &mut sockets {
                assert_eq!(socket.hear_text(), format!("{round} {teller}"));
            }
        }
    }
}

#[test]
fn everybody_hears_a_group_in_one_order() {
    let server = Setup::builtin("realtime").workers(3).flag("--loops", 3).start();
    let listener = || Socket::open(&server, "/realtime?join=/g");
    let mut listeners: Vec<_> = (0..9).map(|_| listener()).collect();
    std::thread::scope(|scope| {
        for talker in 0..4 {
            let server = &server;
            scope.spawn(move || {
                let mut socket = Socket::open(server, "/realtime?join=/g");
                for number in 0..50 {
                    socket.say(&format!("{talker} {number}"));
                }
                // It hears everybody, itself included.
                let own = |text: &String| text.starts_with(&format!("{talker} "));
                let mut heard = 0;
                while heard < 50 {
                    heard += usize::from(own(&socket.hear_text()));
                }
                socket.close(1000, "");
            });
        }
    });
    let first: Vec<_> = (0..200).map(|_| listeners[0].hear_text()).collect();
    for listener in &mut listeners[1..] {
        let heard: Vec<_> = (0..200).map(|_| listener.hear_text()).collect();
        assert_eq!(heard, first);
    }
    for talker in 0..4 {
        let own = first.iter().filter(|text| text.starts_with(&format!("{talker} ")));
        let numbers: Vec<_> = own.map(|text| text[2..].parse::<u32>().unwrap()).collect();
        assert_eq!(numbers, (0..50).collect::<Vec<_>>());
    }
}

#[test]
fn a_client_waits_for_a_worker_like_any_request() {
    let server = Setup::rooms(PLAIN).start();
    server.order(&["ctl", "scale", "1"]);
    let mut busy = Socket::open(&server, "/realtime");
    busy.say("!gate go {\"done\":1}");
    server.wait_for_posts("text", 1);
    let mut client = server.connect();
    client.request("GET", "/realtime", UPGRADE, b"");
    eventually("a queue", || server.queue_depth() == 1);
    server.open_gate("go");
    assert_eq!(busy.hear_json(), json!({"done": 1}));
    assert!(Socket::switched(client).is_ok());
}

#[test]
fn answers_of_any_size_are_told_and_too_large_ones_are_not() {
    let server = rooms();
    let mut socket = Socket::open(&server, "/realtime");
    socket.say("!size 3000000");
    assert_eq!(socket.hear_text().len(), 3_000_000, "more than may wait, but it is alone");
    socket.say("!size 5000000");
    socket.assert_nothing_told();
    let id = server.posted("text")[1].field("x-request-id").expect("an id").to_owned();
    eventually("a word about it", || {
        server.log().lines().any(|line| line.contains(&id) && line.contains("got no answer"))
    });
    server.wait_for_workers(2);
}

#[test]
fn comings_and_goings_are_told() {
    let server = rooms();
    let mut socket = Socket::open(&server, "/realtime");
    socket.close(4123, "had enough");
    assert_eq!(socket.hear_close().0, 4123);
    let close = server.wait_for_posts("close", 1);
    server.wait_for_told("ws_open", 1);
    server.wait_for_told("ws_close", 1);
    let told = server.told("ws_open")[0].clone() + &server.told("ws_close")[0];
    for word in ["app=rooms", "clientId=", "4123", "had enough"] {
        assert!(told.contains(word), "{word}: {told}");
    }
    assert_eq!(told.matches(close[0].client()).count(), 2, "{told}");
    // Both requests to the app are in the log, and the client's own.
    for line in ["mark=open", "mark=close", " 101 "] {
        server.wait_for_log(line);
    }
}

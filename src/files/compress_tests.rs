use super::*;
use crate::http1::server::Read;
use crate::http1::{Client, ClientRead, Limits, Server};

const GZIP: Wish = Wish { coding: Encoding::Gzip, streams: false };
const PLAIN: Wish = Wish { coding: Encoding::Identity, streams: false };
const STREAMS: Wish = Wish { coding: Encoding::Gzip, streams: true };
const HTML: &str = "Content-Type: text/html; charset=utf-8\r\n";

fn wish(compress: Compress, line: &str, fields: &str) -> Option<Wish> {
    let text = format!("{line}\r\nHost: a\r\n{fields}\r\n");
    let (mut server, mut head) = (Server::new(), RequestHead::new());
    let read = server.read(text.as_bytes(), &mut head, &Limits::default());
    let Ok(Read::Head { consumed }) = read else { panic!("{text}: {read:?}") };
    Wish::of(compress, &head, &text.as_bytes()[..consumed])
}

/// An answer's head as it was read, and its text.
fn answer(status: u16, fields: &str, to_head: bool) -> (ResponseHead, String) {
    let text = format!("HTTP/1.1 {status} Some\r\n{fields}\r\n");
    let (mut client, mut head) = (Client::new(), ResponseHead::new());
    client.request(to_head);
    let read = client.read(text.as_bytes(), false, &mut head);
    assert!(matches!(read, Ok(ClientRead::Head { .. })), "{text}: {read:?}");
    (head, text)
}

fn planned(wish: &Wish, status: u16, fields: &str) -> Plan {
    planned_with(wish, status, fields, None)
}

fn planned_with(wish: &Wish, status: u16, fields: &str, changes: Option<&dyn Changes>) -> Plan {
    let (head, text) = answer(status, fields, false);
    let unbuffered = fields::signals(&head, text.as_bytes()).unbuffered;
    plan(wish, &head, text.as_bytes(), unbuffered, false, changes, || b"")
}

fn passed_on(plan: Plan, fields: &str) -> String {
    passed_on_with(plan, fields, None)
}

fn passed_on_with(plan: Plan, fields: &str, changes: Option<&dyn Changes>) -> String {
    let (head, text) = answer(200, fields, false);
    let mut out = Vec::new();
    let mut writer = FieldWriter::new(&mut out).changed_by(changes);
    forward_response(&head, text.as_bytes(), plan, &mut writer);
    writer.finish();
    String::from_utf8(out).unwrap()
}

#[derive(Debug)]
struct Sets(&'static str, &'static str);

impl Changes for Sets {
    fn touch(&self, name: &[u8]) -> bool {
        name.eq_ignore_ascii_case(self.0.as_bytes())
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("{}: {}\r\n", self.0, self.1).as_bytes());
    }
}

#[test]
fn the_request_says_what_may_be_sent() {
    let (on, off) = (Compress::default(), Compress { enabled: false, streams: false });
    let get = "GET / HTTP/1.1";
    for (line, fields, expected) in [
        (get, "", Encoding::Identity),
        (get, "Accept-Encoding: gzip, br, zstd\r\n", Encoding::Zstd),
        (get, "Accept-Encoding: gzip, br\r\n", Encoding::Br),
        (get, "Accept-Encoding: gzip;q=1, br;q=0.5\r\n", Encoding::Gzip),
        (get, "Accept-Encoding: gzip;q=0.5\r\nAccept-Encoding: br\r\n", Encoding::Br),
        (get, "Accept-Encoding: deflate\r\n", Encoding::Identity),
        // Nothing is acceptable: what there is is sent.
        (get, "Accept-Encoding: *;q=0\r\n", Encoding::Identity),
        (get, "Accept-Encoding: gzip\r\nCache-Control: no-transform\r\n", Encoding::Identity),
        (get, "Accept-Encoding: gzip\r\nCache-Control: no-cache\r\n", Encoding::Gzip),
        ("GET / HTTP/1.0", "Accept-Encoding: gzip\r\n", Encoding::Identity),
        ("POST / HTTP/1.1", "Accept-Encoding: gzip\r\n", Encoding::Gzip),
    ] {
        assert_eq!(wish(on, line, fields).unwrap().coding, expected, "{line} {fields}");
        assert_eq!(wish(off, line, fields), None);
    }
    let streams = Compress { enabled: true, streams: true };
    assert!(wish(streams, get, "").unwrap().streams && !wish(on, get, "").unwrap().streams);
}

#[test]
fn long_text_is_compressed_for_who_takes_it() {
    let coded = Plan::Coded(Encoding::Gzip);
    for (fields, expected) in [
        ("Content-Length: 1025\r\n", coded),
        ("Content-Length: 1024\r\n", Plan::Untouched),
        ("Content-Length: 0\r\n", Plan::Untouched),
        ("Transfer-Encoding: chunked\r\n", Plan::Undecided(Encoding::Gzip)),
        ("", Plan::Undecided(Encoding::Gzip)),
        ("Content-Length: 9999\r\nContent-Encoding: br\r\n", Plan::Untouched),
        ("Content-Length: 9999\r\nContent-Encoding: identity\r\n", Plan::Untouched),
        ("Content-Length: 9999\r\nCache-Control: max-age=1, No-Transform\r\n", Plan::Untouched),
        ("Content-Length: 9999\r\nCache-Control: max-age=1\r\n", coded),
        ("Content-Length: 9999\r\nContent-Range: bytes 0-9998/10000\r\n", Plan::Untouched),
        ("Content-Length: 9999\r\nX-Accel-Buffering: no\r\n", Plan::Untouched),
    ] {
        for status in [200, 201, 404, 500] {
            assert_eq!(planned(&GZIP, status, &format!("{HTML}{fields}")), expected, "{fields}");
        }
        let other = if expected == Plan::Untouched { expected } else { Plan::Plain };
        assert_eq!(planned(&PLAIN, 200, &format!("{HTML}{fields}")), other, "{fields}");
    }
    for media in ["image/png", "application/octet-stream", "text/event-stream", ""] {
        let fields = format!("Content-Type: {media}\r\nContent-Length: 9999\r\n");
        assert_eq!(planned(&GZIP, 200, &fields), Plan::Untouched, "{media}");
    }
    assert_eq!(planned(&GZIP, 200, "Content-Length: 9999\r\n"), Plan::Untouched, "no type");
}

#[test]
fn answers_without_a_whole_body_pass_as_they_are() {
    for status in [204, 205, 206, 304] {
        let fields = format!("{HTML}Content-Length: 9999\r\n");
        assert_eq!(planned(&GZIP, status, &fields), Plan::Untouched, "{status}");
    }
}

#[test]
fn streams_are_compressed_only_where_the_operator_asked_for_it() {
    for media in ["text/event-stream", "Text/Event-Stream; charset=utf-8", "application/x-ndjson"] {
        let fields = format!("Content-Type: {media}\r\n");
        assert_eq!(planned(&GZIP, 200, &fields), Plan::Untouched, "{media}");
        assert_eq!(planned(&STREAMS, 200, &fields), Plan::Coded(Encoding::Gzip), "{media}");
    }
    let fields = format!("{HTML}X-Accel-Buffering: no\r\n");
    assert_eq!(planned(&STREAMS, 200, &fields), Plan::Coded(Encoding::Gzip));
    let fields = "Content-Type: video/mp4\r\nX-Accel-Buffering: no\r\n";
    assert_eq!(planned(&STREAMS, 200, fields), Plan::Untouched);
}

#[test]
fn the_answer_to_head_is_that_of_get() {
    for (fields, expected) in [
        ("Content-Length: 9999\r\n", Plan::Coded(Encoding::Gzip)),
        ("Content-Length: 10\r\n", Plan::Untouched),
        ("", Plan::Coded(Encoding::Gzip)),
    ] {
        let (head, text) = answer(200, &format!("{HTML}{fields}"), true);
        let found = plan(&GZIP, &head, text.as_bytes(), false, true, None, || b"");
        assert_eq!(found, expected, "{fields}");
    }
}

#[test]
fn the_operator_has_the_last_word() {
    let fields = format!("{HTML}Content-Length: 9999\r\n");
    let planned = |changes: Sets| planned_with(&GZIP, 200, &fields, Some(&changes));
    let coded = Plan::Coded(Encoding::Gzip);
    assert_eq!(planned(Sets("Content-Encoding", "zstd")), Plan::Untouched);
    assert_eq!(planned(Sets("Cache-Control", "public, no-transform")), Plan::Untouched);
    assert_eq!(planned(Sets("cache-control", "public")), coded);
    assert_eq!(planned(Sets("X-Other", "no-transform")), coded);
    let forbidden = format!("{fields}Cache-Control: no-transform\r\n");
    let set = Sets("Cache-Control", "no-cache");
    assert_eq!(planned_with(&GZIP, 200, &forbidden, Some(&set)), coded);
}

#[test]
fn a_compressed_answer_is_another_representation() {
    let fields = "ETag: \"a\"\r\nAccept-Ranges: bytes\r\nContent-MD5: x\r\nRepr-Digest: y\r\n\
                  Last-Modified: z\r\nSet-Cookie: b\r\nSet-Cookie: c\r\nContent-Length: 2000\r\n";
    assert_eq!(
        passed_on(Plan::Coded(Encoding::Br), fields),
        "ETag: W/\"a\"\r\nLast-Modified: z\r\nSet-Cookie: b\r\nSet-Cookie: c\r\n\
         Content-Encoding: br\r\nVary: Accept-Encoding\r\n\r\n"
    );
    let weak = "ETag: W/\"a\"\r\n";
    assert!(passed_on(Plan::Coded(Encoding::Zstd), weak).starts_with("ETag: W/\"a\"\r\n"));
    for plan in [Plan::Plain, Plan::Undecided(Encoding::Br)] {
        let kept = fields.replace("Content-Length: 2000\r\n", "");
        assert_eq!(passed_on(plan, fields), format!("{kept}Vary: Accept-Encoding\r\n\r\n"));
    }
    assert_eq!(passed_on(Plan::Untouched, "ETag: \"a\"\r\n"), "ETag: \"a\"\r\n\r\n");
}

#[test]
fn vary_is_said_once_and_with_what_the_app_says() {
    for (fields, expected) in [
        ("", "Vary: Accept-Encoding\r\n\r\n"),
        ("Vary: Cookie\r\n", "Vary: Cookie, Accept-Encoding\r\n\r\n"),
        ("vary:\r\n", "vary: \r\nVary: Accept-Encoding\r\n\r\n"),
        ("Vary: Cookie, accept-encoding\r\n", "Vary: Cookie, accept-encoding\r\n\r\n"),
        ("Vary: *\r\n", "Vary: *\r\n\r\n"),
        ("Vary: A\r\nVary: B\r\n", "Vary: A, Accept-Encoding\r\nVary: B\r\n\r\n"),
        ("Vary: A\r\nVary: Accept-Encoding\r\n", "Vary: A\r\nVary: Accept-Encoding\r\n\r\n"),
    ] {
        assert_eq!(passed_on(Plan::Plain, fields), expected, "{fields}");
    }
    // An operator's `Vary` does not make caches mix up the codings.
    assert_eq!(
        passed_on_with(Plan::Plain, "Vary: A\r\n", Some(&Sets("Vary", "B"))),
        "Vary: Accept-Encoding\r\nVary: B\r\n\r\n"
    );
}

#[test]
fn a_304_has_the_tag_that_the_client_was_given() {
    let not_modified = |tag: &str, asked: &'static str| {
        let (head, text) = answer(304, &format!("ETag: {tag}\r\nVary: Cookie\r\n"), false);
        let plan = plan(&GZIP, &head, text.as_bytes(), false, false, None, || asked.as_bytes());
        let mut out = Vec::new();
        let mut writer = FieldWriter::new(&mut out);
        forward_response(&head, text.as_bytes(), plan, &mut writer);
        writer.finish();
        String::from_utf8(out).unwrap()
    };
    let weak = "ETag: W/\"a\"\r\nVary: Cookie, Accept-Encoding\r\n\r\n";
    assert_eq!(not_modified("\"a\"", "W/\"a\""), weak);
    assert_eq!(not_modified("\"a\"", "\"b\", W/\"a\""), weak);
    for (tag, asked) in
        [("\"a\"", "\"a\""), ("\"a\"", ""), ("\"a\"", "W/\"ab\""), ("W/\"a\"", "W/\"a\"")]
    {
        let kept = format!("ETag: {tag}\r\nVary: Cookie\r\n\r\n");
        assert_eq!(not_modified(tag, asked), kept, "{tag} {asked}");
    }
}

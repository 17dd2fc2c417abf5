//! Answers that are compressed on their way.

use super::*;
use std::io::{BufRead, BufReader};

const ASK: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n";

/// A client of one connection, and what it has decoded.
struct Reader {
    stream: BufReader<TcpStream>,
    decoder: flate2::write::GzDecoder<Vec<u8>>,
}

impl Reader {
    fn ask(house: &House, request: &[u8]) -> (Self, String) {
        let mut stream = house.client();
        stream.write_all(request).unwrap();
        let mut stream = BufReader::new(stream);
        let head = head(&mut stream).expect("an answer");
        (Self { stream, decoder: flate2::write::GzDecoder::new(Vec::new()) }, head)
    }

    /// The next chunk; an empty one is the last, `None` that the connection ended.
    fn chunk(&mut self) -> Option<Vec<u8>> {
        let mut line = String::new();
        self.stream.read_line(&mut line).ok()?;
        let size = usize::from_str_radix(line.trim_end(), 16).ok()?;
        let mut chunk = vec![0; size + 2];
        self.stream.read_exact(&mut chunk).ok()?;
        chunk.truncate(size);
        Some(chunk)
    }

    fn plain(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            match self.chunk().expect("a whole body") {
                chunk if chunk.is_empty() => return body,
                chunk => body.extend(chunk),
            }
        }
    }

    /// Reads until so many bytes are decoded.
    fn decode(&mut self, bytes: usize) -> &[u8] {
        while self.decoder.get_ref().len() < bytes {
            let chunk = self.chunk().expect("a chunk");
            assert!(!chunk.is_empty(), "the body ends after {}", self.decoder.get_ref().len());
            self.decoder.write_all(&chunk).unwrap();
            self.decoder.flush().unwrap();
        }
        self.decoder.get_ref()
    }
}

fn body(bytes: usize) -> Vec<u8> {
    (0..).flat_map(|line: u32| format!("<li>line {line}</li>\n").into_bytes()).take(bytes).collect()
}

/// A worker that answers every request like this, and then waits for `go` before it ends.
fn house(answer: Vec<u8>) -> House {
    House::new(
        |_| {},
        move |_, mut stream| {
            while head(&mut stream).is_some() {
                if stream.write_all(&answer).is_err() {
                    return;
                }
            }
        },
    )
}

#[test]
fn a_long_text_is_compressed_and_comes_out_byte_by_byte() {
    let body = body(700_000);
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nETag: \"1\"\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let house = house([head.as_bytes(), &body].concat());
    let (mut reader, head) = Reader::ask(&house, ASK);
    for field in [
        "Content-Encoding: gzip",
        "Vary: Accept-Encoding",
        "ETag: W/\"1\"",
        "Transfer-Encoding: chunked",
    ] {
        assert!(head.contains(field), "{head}");
    }
    assert!(!head.contains("Content-Length"), "{head}");
    assert!(reader.decode(body.len()) == body);
    while !reader.chunk().expect("an end").is_empty() {}
    // The connection serves on, and the encoder with it.
    for _ in 0..3 {
        let (mut reader, _) = Reader::ask(&house, ASK);
        assert!(reader.decode(body.len()) == body);
    }
    assert_eq!(house.inflight(), 0);
}

#[test]
fn a_short_body_of_unknown_length_stays_as_it_is() {
    for bytes in [0, 1, 1024] {
        let body = body(bytes);
        let mut answer =
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n"
                .to_vec();
        if bytes > 0 {
            answer.extend(format!("{bytes:x}\r\n").into_bytes());
            answer.extend_from_slice(&body);
            answer.extend_from_slice(b"\r\n");
        }
        answer.extend_from_slice(b"0\r\n\r\n");
        let house = house(answer);
        let (mut reader, head) = Reader::ask(&house, ASK);
        assert!(!head.contains("Content-Encoding"), "{head}");
        assert!(head.contains("Vary: Accept-Encoding"), "{head}");
        assert_eq!(reader.plain(), body);
    }
}

#[test]
fn a_slow_page_is_seen_as_it_grows() {
    let (go, gone) = mpsc::channel::<()>();
    let house = House::new(
        |_| {},
        move |_, mut stream| {
            head(&mut stream).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\nfirst ").unwrap();
            for _ in 0..4 {
                gone.recv().unwrap();
                stream.write_all(&body(5000)).unwrap();
            }
            gone.recv().unwrap();
        },
    );
    let (mut reader, head) = Reader::ask(&house, ASK);
    assert!(head.contains("Content-Encoding: gzip"), "{head}");
    assert_eq!(reader.decode(6), b"first ");
    for turn in 1..5 {
        go.send(()).unwrap();
        assert_eq!(reader.decode(6 + 5000 * turn).len(), 6 + 5000 * turn);
    }
    go.send(()).unwrap();
    while !reader.chunk().expect("an end").is_empty() {}
}

#[test]
fn a_worker_that_dies_before_anything_was_sent_is_replaced() {
    let house = House::new(
        |_| {},
        |number, mut stream| {
            head(&mut stream).unwrap();
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked";
            stream.write_all(format!("{head}\r\n\r\n5\r\ndying\r\n").as_bytes()).unwrap();
            if number > 0 {
                stream.write_all(b"5\r\nlived\r\n0\r\n\r\n").unwrap();
            }
        },
    );
    let (mut reader, head) = Reader::ask(&house, ASK);
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(reader.plain(), b"dyinglived");
}

#[test]
fn a_body_that_is_cut_short_does_not_end() {
    let house = House::new(
        |_| {},
        |_, mut stream| {
            head(&mut stream).unwrap();
            let head =
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 90000\r\n\r\n";
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(&body(50_000)).unwrap();
        },
    );
    let (mut reader, head) = Reader::ask(&house, ASK);
    assert!(head.contains("Content-Encoding: gzip"), "{head}");
    while let Some(chunk) = reader.chunk() {
        assert!(!chunk.is_empty(), "it ends as if it were whole");
    }
    wait_until("the lease never ends", || house.inflight() == 0);
}

#[test]
fn a_stream_is_compressed_where_the_operator_asked_and_every_event_passes() {
    let (go, gone) = mpsc::channel::<()>();
    let house = House::new(
        |config| config.routes.iter_mut().for_each(|rule| rule.compress.streams = true),
        move |_, mut stream| {
            head(&mut stream).unwrap();
            stream.write_all(STREAM).unwrap();
            gone.recv().unwrap();
            stream.write_all(b"data: 2\n\n").unwrap();
            let _ = gone.recv();
        },
    );
    let (mut reader, head) = Reader::ask(&house, ASK);
    assert!(head.contains("Content-Encoding: gzip"), "{head}");
    assert_eq!(reader.decode(9), b"data: 1\n\n");
    go.send(()).unwrap();
    assert_eq!(reader.decode(18), b"data: 1\n\ndata: 2\n\n");
}

#[test]
fn a_route_that_compresses_nothing_says_nothing_of_it() {
    let body = body(5000);
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n", 5000);
    let answer = [head.as_bytes(), &body].concat();
    let house = House::new(
        |config| config.routes.iter_mut().for_each(|rule| rule.compress.enabled = false),
        move |_, mut stream| {
            head_and_answer(&mut stream, &answer);
        },
    );
    let mut client = house.client();
    client.write_all(ASK).unwrap();
    let text = response(&mut client);
    assert!(!text.contains("Vary") && !text.contains("Content-Encoding"), "{text}");
    assert!(text.as_bytes().ends_with(&body));
}

#[test]
fn what_an_upstream_says_is_compressed_and_a_tunnel_to_it_is_not() {
    let text = body(30_000);
    let address = super::proxy::peer({
        let text = text.clone();
        move |_, mut stream| {
            while let Some(asked) = head(&mut stream) {
                let answer = if asked.to_lowercase().contains("upgrade: websocket") {
                    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\
                     Upgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
                     Content-Type: text/html\r\n\r\n"
                } else {
                    "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n"
                };
                stream.write_all(answer.as_bytes()).unwrap();
                if answer.contains("101") {
                    stream.write_all(&text).unwrap();
                    return;
                }
                for piece in text.chunks(7777) {
                    stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).unwrap();
                    stream.write_all(piece).unwrap();
                    stream.write_all(b"\r\n").unwrap();
                }
                stream.write_all(b"0\r\n\r\n").unwrap();
            }
        }
    });
    let house = super::proxy::house(super::proxy::upstream(&[format!("http://{address}")]));
    let (mut reader, head) = Reader::ask(&house, ASK);
    assert!(head.contains("\r\nContent-Encoding: gzip\r\n"), "{head}");
    assert!(head.contains("\r\nVary: Accept-Encoding\r\n"), "{head}");
    assert!(reader.decode(text.len()) == text);
    let (mut plain, head) = Reader::ask(&house, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(!head.contains("Content-Encoding") && head.contains("Vary: Accept-Encoding\r\n"));
    assert!(plain.plain() == text);
    let upgrade = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Accept-Encoding: gzip\r\n\r\n";
    let (mut tunnel, head) = Reader::ask(&house, upgrade);
    assert!(head.starts_with("HTTP/1.1 101 ") && !head.contains("Content-Encoding"), "{head}");
    let mut bytes = vec![0; text.len()];
    tunnel.stream.read_exact(&mut bytes).unwrap();
    assert!(bytes == text, "a tunnel passes bytes as they are");
}

fn head_and_answer(stream: &mut UnixStream, answer: &[u8]) {
    if head(stream).is_some() {
        let _ = stream.write_all(answer);
    }
}

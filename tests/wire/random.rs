//! Random requests, broken at random and cut at random, are understood as they are when whole.

use crate::reading::{read, refusal};
use rip::entropy::{Entropy, Xoshiro};
use rip::http1::Limits;

const ROUNDS: u64 = 4000;

#[test]
fn no_cut_changes_what_is_understood() {
    let limits = Limits {
        head_bytes: 600,
        target_bytes: 60,
        body_bytes: 200,
        field_count: 8,
        empty_host: false,
    };
    let (mut refused, mut accepted) = (0, 0);
    for seed in 0..ROUNDS {
        let mut random = Xoshiro::new(seed);
        let text = connection(&mut random);
        let whole = read(&[&text], &limits);
        match refusal(&whole) {
            Some(_) => refused += 1,
            None => accepted += 1,
        }
        let single: Vec<&[u8]> = text.chunks(1).collect();
        let name = text.escape_ascii().to_string();
        assert_eq!(read(&single, &limits), whole, "seed {seed}, byte by byte: {name}");
        for _ in 0..4 {
            let pieces = cut(&text, &mut random);
            assert_eq!(read(&pieces, &limits), whole, "seed {seed}, cut: {name}");
        }
    }
    // Both sides of the door are tried.
    assert!(refused > ROUNDS / 10 && accepted > ROUNDS / 10, "{refused} refused, {accepted} not");
}

fn cut<'t>(text: &'t [u8], random: &mut Xoshiro) -> Vec<&'t [u8]> {
    let mut rest = text;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let longest = 1 + random.below(40);
        let length = (1 + random.below(longest) as usize).min(rest.len());
        let (piece, after) = rest.split_at(length);
        pieces.push(piece);
        rest = after;
    }
    pieces
}

fn connection(random: &mut Xoshiro) -> Vec<u8> {
    let mut text = Vec::new();
    for _ in 0..=random.below(3) {
        request(random, &mut text);
    }
    if random.below(2) == 0 {
        for _ in 0..=random.below(3) {
            damage(random, &mut text);
        }
    }
    // Ends whatever was left open: what is refused only at the end of a head must get there.
    text.extend_from_slice(b"\r\n\r\n\r\n\r\n");
    text
}

fn request(random: &mut Xoshiro, text: &mut Vec<u8>) {
    let one = |random: &mut Xoshiro, of: &[&str]| {
        of[random.below(of.len() as u64) as usize].as_bytes().to_vec()
    };
    text.extend(one(random, &["GET", "POST", "HEAD", "OPTIONS", "M-SEARCH", "TRACE"]));
    text.push(b' ');
    text.extend(one(random, &["/", "/a/b?c=%20", "http://h/x", "*", "/a/../b", "/%2e%2e/", "/é"]));
    if random.below(20) == 0 {
        text.extend(std::iter::repeat_n(b'x', random.below(90) as usize));
    }
    text.extend(one(random, &[" HTTP/1.1", " HTTP/1.1", " HTTP/1.1", " HTTP/1.0", " HTTP/2.0"]));
    text.extend_from_slice(b"\r\nHost: a\r\n");
    for _ in 0..random.below(5) {
        text.extend(one(
            random,
            &[
                "X-A: b\r\n",
                "Accept:text/html \r\n",
                "Connection: close\r\n",
                "Connection: keep-alive, x-a\r\n",
                "Expect: 100-continue\r\n",
                "a_b: \t\r\n",
                "Cookie: a=b; c=d\r\n",
            ],
        ));
    }
    match random.below(4) {
        0 => {
            let length = random.below(30);
            text.extend_from_slice(format!("Content-Length: {length}\r\n\r\n").as_bytes());
            text.extend((0..length).map(|_| random.below(256) as u8));
        }
        1 => {
            text.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
            for _ in 0..random.below(4) {
                let length = 1 + random.below(80);
                text.extend_from_slice(format!("{length:x}").as_bytes());
                text.extend(one(random, &["", "", ";a=b", " ;c"]));
                text.extend_from_slice(b"\r\n");
                text.extend((0..length).map(|_| random.below(256) as u8));
                text.extend_from_slice(b"\r\n");
            }
            text.extend(one(
                random,
                &["0\r\n\r\n", "00\r\nT: u\r\n\r\n", "0;x\r\nT:\r\nU: v\r\n\r\n"],
            ));
        }
        _ => text.extend_from_slice(b"\r\n"),
    }
}

fn damage(random: &mut Xoshiro, text: &mut Vec<u8>) {
    let at = random.below(text.len() as u64) as usize;
    match random.below(5) {
        0 => drop(text.remove(at)),
        1 => text.insert(at, b"\0\t\r\n :;,%#.0aA\x7f\xc3"[random.below(16) as usize]),
        2 => text[at] = random.below(256) as u8,
        3 => text.insert(at, b'\n'),
        _ => {
            let other = random.below(text.len() as u64) as usize;
            text.swap(at, other);
        }
    }
    if text.is_empty() {
        text.push(b'x');
    }
}

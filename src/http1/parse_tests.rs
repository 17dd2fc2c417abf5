//! What is read in one pass is understood as it is when httparse takes it apart.

use super::*;
use crate::entropy::{Entropy, Xoshiro};

const REQUESTS: &[&str] = &[
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /a/../b?c=%20d HTTP/1.1\r\nHost: a.test:80\r\nCookie: a=b; c=d\r\nX-Own:\t a \t\r\n\r\n",
    "POST /x HTTP/1.0\r\nContent-Length: 5\r\nconnection: keep-alive, x-a\r\nX-A: 1\r\nX_B:2\r\n\r\n",
    "PUT http://b/%2e%2e HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\
     Sec-Ch-Ua: \"Not/A)Brand\";v=\"8\"\r\nEmpty:\r\nBlank:   \r\nUpgrade-Insecure-Requests: 1\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: [::1]:80\r\nHost: twice\r\nAccept-Language: caf\u{e9}\r\n\
     User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\r\n\r\n",
];
const ANSWERS: &[&str] = &[
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n",
    "HTTP/1.1 200 \r\nSet-Cookie: session=0123456789abcdef; Path=/\r\nConnection: close\r\n\r\n",
    "HTTP/1.0 404 Not\tFound, caf\u{e9}\r\nX_A: b\r\nRip-Mark:  a  \r\n\r\n",
    "HTTP/1.1 099 Low\r\nTransfer-Encoding: chunked\r\nRetry-After: 1\r\n\r\n",
    "HTTP/1.1 304\r\n\r\n",
];
/// What is put in the place of bytes, or between them.
const ODD: &[&str] = &[
    "\r\n", "\n", "\r", " ", "\t", ":", "_", "\0", "\x7f", "\u{e9}", "-", "a", "1", "%", ",", "/",
];

/// Every text as it is, and broken at random in many ways.
fn for_each_text(texts: &[&str], mut look: impl FnMut(&[u8]) -> bool) {
    let mut random = Xoshiro::new(11);
    let (mut taken, mut left) = (0, 0);
    for text in texts {
        for round in 0..4000 {
            let mut bytes = text.as_bytes().to_vec();
            for _ in 0..(if round == 0 { 0 } else { 1 + random.below(3) }) {
                let at = random.below(bytes.len() as u64) as usize;
                let odd = ODD[random.below(ODD.len() as u64) as usize].as_bytes();
                let end = bytes.len().min(at + random.below(3) as usize);
                bytes.splice(at..end, odd.iter().copied());
            }
            if look(&bytes) { taken += 1 } else { left += 1 }
        }
    }
    assert!(taken > 500 && left > 500, "{taken} were read in one pass, {left} were not");
}

#[test]
fn requests_read_in_one_pass_are_understood_as_the_others() {
    let limits = Limits { field_count: 7, body_bytes: 100, ..Limits::default() };
    for_each_text(REQUESTS, |text| {
        let (mut head, mut other) = (RequestHead::new(), RequestHead::new());
        let Some((line, end)) = plain::request(text, 0, limits.target_bytes, &mut head.fields)
        else {
            return false;
        };
        begin_request(&mut head, text, line);
        let read = finish_request(&mut head, text, &limits).map(|()| Some(end));
        let expected = any_request(text, 0, text, &mut Scan::default(), &mut other, &limits);
        assert_eq!(read, expected, "{}", text.escape_ascii());
        assert_eq!(format!("{head:?}"), format!("{other:?}"), "{}", text.escape_ascii());
        true
    });
}

#[test]
fn answers_read_in_one_pass_are_understood_as_the_others() {
    for_each_text(ANSWERS, |text| {
        let (mut head, mut other) = (ResponseHead::new(), ResponseHead::new());
        let Some((line, end)) = plain::response(text, &mut head.fields) else { return false };
        (head.version, head.status) = (line.version, line.status);
        let places = Places { input: text, end };
        let read = finish_response(&mut head, &places, false).map(|()| Some(end));
        let expected = any_response(text, text, &mut Scan::default(), &mut other, false);
        assert_eq!(read.map_err(Malformed::of_worker), expected, "{}", text.escape_ascii());
        assert_eq!(format!("{head:?}"), format!("{other:?}"), "{}", text.escape_ascii());
        true
    });
}

#[test]
fn what_is_written_well_is_read_in_one_pass() {
    for text in REQUESTS.iter().filter(|text| text.is_ascii()) {
        let mut head = RequestHead::new();
        let read = plain::request(text.as_bytes(), 0, 100, &mut head.fields);
        assert_eq!(read.map(|(_, end)| end), Some(text.len()), "{text}");
        for end in 0..text.len() {
            head.clear();
            let read = plain::request(&text.as_bytes()[..end], 0, 100, &mut head.fields);
            assert_eq!(read, None, "{}", &text[..end]);
        }
    }
    let mut many = b"GET / HTTP/1.1\r\n".to_vec();
    many.extend(b"A: b\r\n".repeat(limits::FORWARDED_FIELD_COUNT));
    for (more, is_read) in [(&b""[..], true), (b"A: b\r\n", false)] {
        let text = [&many, more, b"\r\n"].concat();
        let read = plain::request(&text, 0, 100, &mut RequestHead::new().fields);
        assert_eq!(read.is_some(), is_read);
    }
}

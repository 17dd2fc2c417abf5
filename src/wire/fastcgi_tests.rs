use super::*;
use crate::entropy::{Entropy, Xoshiro};

fn built(make: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    make(&mut out);
    out
}

/// Records as an application would read them: kind, id, content. Nothing may be left over.
fn records(mut bytes: &[u8]) -> Vec<(u8, u16, Vec<u8>)> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let (header, rest) = bytes.split_at(HEADER_BYTES);
        assert_eq!((header[0], header[7]), (VERSION, 0));
        let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
        let id = u16::from_be_bytes([header[2], header[3]]);
        found.push((header[1], id, rest[..length].to_vec()));
        bytes = &rest[length + usize::from(header[6])..];
    }
    found
}

/// The pairs of one record, each of which must be whole in it.
fn pairs(mut bytes: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let length = |bytes: &mut &[u8]| {
        let (count, mask) = if bytes[0] < LONG { (1, u32::MAX) } else { (4, u32::MAX >> 1) };
        let (digits, rest) = bytes.split_at(count);
        *bytes = rest;
        let value = digits.iter().fold(0_u32, |sum, digit| sum << 8 | u32::from(*digit));
        (value & mask) as usize
    };
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let (name, value) = (length(&mut bytes), length(&mut bytes));
        let (pair, rest) = bytes.split_at(name + value);
        found.push((pair[..name].to_vec(), pair[name..].to_vec()));
        bytes = rest;
    }
    found
}

#[test]
fn a_request_is_what_the_specification_says() {
    assert_eq!(
        built(begin),
        [1, 1, 0, 1, 0, 8, 0, 0, /* responder */ 0, 1, /* keep */ 1, 0, 0, 0, 0, 0]
    );
    assert_eq!(
        built(|out| variables([(&b"AB"[..], &b"c"[..])].into_iter(), out).unwrap()),
        [1, 4, 0, 1, 0, 5, 3, 0, 2, 1, b'A', b'B', b'c', 0, 0, 0, 1, 4, 0, 1, 0, 0, 0, 0]
    );
    assert_eq!(built(|out| body(b"x", out)), [1, 5, 0, 1, 0, 1, 7, 0, b'x', 0, 0, 0, 0, 0, 0, 0]);
    assert!(built(|out| body(b"", out)).is_empty());
    assert_eq!(built(end_body), [1, 5, 0, 1, 0, 0, 0, 0]);
    assert_eq!(built(abort), [1, 2, 0, 1, 0, 0, 0, 0]);
    assert_eq!(built(ask_values)[..10], [1, 9, 0, 0, 0, 17, 0, 0, 15, 0]);
    assert_eq!(built(ask_values).len(), 8 + 17);
}

#[test]
fn variables_of_every_length_stand_whole_in_their_records() {
    let mut random = Xoshiro::new(5);
    let mut expected = Vec::new();
    for length in [0, 1, 127, 128, 129, 255, 256, 65_000, 65_510, 3] {
        let name = format!("NAME_{length}").into_bytes();
        expected.push((name, (0..length).map(|_| random.below(256) as u8).collect::<Vec<_>>()));
    }
    let all = expected.iter().map(|(name, value)| (name.as_slice(), value.as_slice()));
    let records = records(&built(|out| variables(all, out).unwrap()));
    let (end, contents) = records.split_last().unwrap();
    assert_eq!(*end, (kind::PARAMS, REQUEST, Vec::new()));
    assert!(contents.len() >= 3);
    let read: Vec<_> = contents.iter().flat_map(|(_, _, content)| pairs(content)).collect();
    assert_eq!(read, expected);

    let long = vec![b'x'; CONTENT_BYTES];
    let all = [(&b"A"[..], &b"b"[..]), (b"LONG", &long)];
    assert_eq!(variables(all.into_iter(), &mut Vec::new()), Err(TooLong));
    assert_eq!(
        records_of_none(),
        [(kind::PARAMS, REQUEST, Vec::new())],
        "no variables: only their end"
    );
}

fn records_of_none() -> Vec<(u8, u16, Vec<u8>)> {
    records(&built(|out| variables(std::iter::empty(), out).unwrap()))
}

#[test]
fn a_long_body_is_many_records() {
    let data: Vec<u8> = (0..200_000_u32).map(|at| at as u8).collect();
    let records = records(&built(|out| body(&data, out)));
    assert_eq!(records.len(), 4);
    assert!(records.iter().all(|(kind, id, _)| (*kind, *id) == (kind::STDIN, REQUEST)));
    assert_eq!(records.into_iter().flat_map(|(_, _, piece)| piece).collect::<Vec<_>>(), data);
}

/// Everything that is said, joined, however it came.
#[derive(Debug, Default, Eq, PartialEq)]
struct Heard {
    output: Vec<u8>,
    errors: Vec<u8>,
    ends: Vec<(u32, Option<Refused>, usize)>,
    values: usize,
    fault: Option<Malformed>,
}

fn hear<'p>(pieces: impl IntoIterator<Item = &'p [u8]>) -> Heard {
    let (mut reader, mut heard, mut input) = (Reader::default(), Heard::default(), Vec::new());
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            let consumed = match reader.read(&input) {
                Ok(Read::More) => break,
                Ok(Read::Nothing { consumed }) => consumed,
                Ok(Read::Output { consumed, data }) => {
                    heard.output.extend_from_slice(&input[data]);
                    consumed
                }
                Ok(Read::Errors { consumed, data }) => {
                    heard.errors.extend_from_slice(&input[data]);
                    consumed
                }
                Ok(Read::End { consumed, status, refused }) => {
                    heard.ends.push((status, refused, heard.output.len()));
                    consumed
                }
                Ok(Read::Values { consumed }) => {
                    heard.values += 1;
                    consumed
                }
                Err(fault) => {
                    heard.fault = Some(fault);
                    return heard;
                }
            };
            assert!(consumed > 0 && consumed <= input.len());
            input.drain(..consumed);
        }
    }
    heard
}

/// One record of an answer, with any padding.
fn said(kind: u8, id: u16, content: &[u8], padding: u8) -> Vec<u8> {
    let [high, low] = (content.len() as u16).to_be_bytes();
    let [id_high, id_low] = id.to_be_bytes();
    let mut out = vec![VERSION, kind, id_high, id_low, high, low, padding, 0];
    out.extend_from_slice(content);
    out.resize(out.len() + usize::from(padding), 0xee);
    out
}

#[test]
fn an_answer_is_read_however_it_is_cut() {
    for seed in 0..300 {
        let mut random = Xoshiro::new(seed);
        let mut expected = Heard::default();
        let mut bytes = Vec::new();
        for _ in 0..=random.below(12) {
            let content: Vec<u8> = (0..random.below(70)).map(|_| random.next_u64() as u8).collect();
            let padding = random.below(9) as u8;
            match random.below(6) {
                0 | 1 => {
                    expected.output.extend_from_slice(&content);
                    bytes.extend(said(kind::STDOUT, REQUEST, &content, padding));
                }
                2 => {
                    expected.errors.extend_from_slice(&content);
                    bytes.extend(said(kind::STDERR, REQUEST, &content, padding));
                }
                3 => {
                    let status = random.next_u64() as u32;
                    let mut end = status.to_be_bytes().to_vec();
                    end.extend_from_slice(&[0, 1, 2, 3]);
                    end.extend_from_slice(&content);
                    expected.ends.push((status, None, expected.output.len()));
                    bytes.extend(said(kind::END_REQUEST, REQUEST, &end, padding));
                }
                // What is said to others, or by a later version's grace.
                4 => {
                    bytes.extend(said(kind::STDOUT, 2 + random.below(9) as u16, &content, padding))
                }
                _ => {
                    let unknown = [8, 11, 77][random.below(3) as usize];
                    bytes.extend(said(unknown, 0, &content, padding));
                }
            }
        }
        assert_eq!(hear([bytes.as_slice()]), expected, "seed {seed}, whole");
        assert_eq!(hear(bytes.chunks(1)), expected, "seed {seed}, byte by byte");
        let size = 1 + random.below(30) as usize;
        assert_eq!(hear(bytes.chunks(size)), expected, "seed {seed}, by {size}");
    }
}

#[test]
fn nonsense_is_refused_and_never_more() {
    for seed in 0..2000 {
        let mut random = Xoshiro::new(seed);
        let length = random.below(400) as usize;
        let mut bytes: Vec<u8> = (0..length).map(|_| random.next_u64() as u8).collect();
        // Half of it begins as FastCGI would.
        if seed % 2 == 0 {
            let kind = random.below(12) as u8;
            bytes.splice(0..0, [VERSION, kind, 0, random.below(2) as u8]);
        }
        let whole = hear([bytes.as_slice()]);
        assert_eq!(hear(bytes.chunks(1)), whole, "seed {seed}");
    }
    assert!(hear([&b"HTTP/1.1 200 OK\r\n"[..]]).fault.is_some());
    assert!(hear([said(kind::END_REQUEST, REQUEST, &[0; 7], 1).as_slice()]).fault.is_some());
}

#[test]
fn what_was_not_taken_says_why() {
    let refused = |protocol| {
        let end = said(kind::END_REQUEST, REQUEST, &[0, 0, 0, 0, protocol, 0, 0, 0], 0);
        hear([end.as_slice()]).ends[0].1
    };
    assert_eq!(refused(1), Some(Refused::Multiplexing));
    assert_eq!(refused(2), Some(Refused::Overloaded));
    assert_eq!(refused(3), Some(Refused::Role));
    assert_eq!(refused(9), Some(Refused::Unknown(9)));
    let values = said(kind::GET_VALUES_RESULT, 0, b"\x0f\x01FCGI_MPXS_CONNS0", 6);
    assert_eq!(hear(values.chunks(3)).values, 1);
}

use super::*;
use crate::entropy::{Entropy, Xoshiro};

fn one(first: u64, last: u64) -> Selection {
    Selection::One(ByteRange { first, last })
}

fn many(ranges: &[(u64, u64)]) -> Selection {
    Selection::Many(ranges.iter().map(|&(first, last)| ByteRange { first, last }).collect())
}

#[test]
fn examples_of_rfc_9110_section_14_1_2() {
    let select = |value: &str| select(value.as_bytes(), 10_000);
    assert_eq!(select("bytes=0-499"), one(0, 499));
    assert_eq!(select("bytes=500-999"), one(500, 999));
    assert_eq!(select("bytes=-500"), one(9500, 9999));
    assert_eq!(select("bytes=9500-"), one(9500, 9999));
    assert_eq!(select("bytes=0-0,-1"), many(&[(0, 0), (9999, 9999)]));
    assert_eq!(select("bytes= 0-999, 4500-5499, -1000"), {
        many(&[(0, 999), (4500, 5499), (9000, 9999)])
    });
    // "Other valid (but not canonical) specifications of the second 500 bytes".
    assert_eq!(select("bytes=500-600,601-999"), one(500, 999));
    assert_eq!(select("bytes=500-700,601-999"), one(500, 999));
}

#[test]
fn one_range_in_every_form() {
    for (value, size, expected) in [
        ("bytes=0-", 10, one(0, 9)),
        ("bytes=0-9", 10, one(0, 9)),
        ("bytes=0-10", 10, one(0, 9)),
        ("bytes=9-", 10, one(9, 9)),
        ("bytes=9-9", 10, one(9, 9)),
        ("bytes=-1", 10, one(9, 9)),
        ("bytes=-10", 10, one(0, 9)),
        ("bytes=-11", 10, one(0, 9)),
        ("bytes=003-0005", 10, one(3, 5)),
        ("BYTES=1-2", 10, one(1, 2)),
        ("bytes=,1-2,", 10, one(1, 2)),
        ("bytes= \t1-2 ", 10, one(1, 2)),
        ("bytes=0-99999999999999999999999999", 10, one(0, 9)),
        ("bytes=-99999999999999999999999999", 10, one(0, 9)),
        ("bytes=18446744073709551614-", u64::MAX, one(u64::MAX - 1, u64::MAX - 1)),
        ("bytes=0-", 1, one(0, 0)),
    ] {
        assert_eq!(select(value.as_bytes(), size), expected, "{value} of {size}");
    }
}

#[test]
fn what_is_no_range_of_bytes_is_ignored() {
    for value in [
        "",
        "bytes",
        "bytes=",
        "bytes=,",
        "bytes=-",
        "bytes=--1",
        "bytes=-1-",
        "bytes=1",
        "bytes=a-b",
        "bytes=1-b",
        "bytes=0x1-2",
        "bytes=+1-2",
        "bytes=1 -2",
        "bytes=1- 2",
        "bytes=5-4",
        "bytes=1-2-3",
        "bytes=1-2;3-4",
        "bytes=1-2 3-4",
        "bytes=1-2,x",
        "bytes=1-2,5-4",
        "bytes:1-2",
        "bytes =1-2",
        " bytes=1-2",
        "byte=1-2",
        "items=1-2",
        "none",
        "1-2",
        "=1-2",
        "bytes=1.5-2",
        "bytes=99999999999999999999-5",
    ] {
        assert_eq!(select(value.as_bytes(), 10), Selection::Whole, "{value}");
    }
}

#[test]
fn ranges_of_nothing_that_exists_are_unsatisfiable() {
    for (value, size) in [
        ("bytes=10-", 10),
        ("bytes=10-20", 10),
        ("bytes=-0", 10),
        ("bytes=10-,20-30,-0", 10),
        ("bytes=99999999999999999999-", 10),
        ("bytes=0-", 0),
        ("bytes=0-0", 0),
        ("bytes=-0", 0),
    ] {
        assert_eq!(select(value.as_bytes(), size), Selection::Unsatisfiable, "{value} of {size}");
    }
    // One that exists is enough.
    assert_eq!(select(b"bytes=10-,3-4,-0", 10), one(3, 4));
    // The last bytes of an empty file are all of it.
    assert_eq!(select(b"bytes=-5", 0), Selection::Whole);
}

#[test]
fn ranges_that_touch_are_joined_where_the_first_stood() {
    for (value, expected) in [
        ("bytes=0-1,4-5", many(&[(0, 1), (4, 5)])),
        ("bytes=4-5,0-1", many(&[(4, 5), (0, 1)])),
        ("bytes=0-1,2-3", one(0, 3)),
        ("bytes=2-3,0-1", one(0, 3)),
        ("bytes=0-0,0-0,0-0", one(0, 0)),
        ("bytes=0-9,3-4", one(0, 9)),
        ("bytes=3-4,0-9", one(0, 9)),
        ("bytes=0-1,4-5,2-3", one(0, 5)),
        ("bytes=0-1,8-9,4-5,2-3", many(&[(0, 5), (8, 9)])),
        ("bytes=8-9,0-1,4-5,2-3", many(&[(8, 9), (0, 5)])),
        ("bytes=0-1,8-9,5-6,7-7", many(&[(0, 1), (5, 9)])),
        ("bytes=0-,-5", one(0, 99)),
        ("bytes=90-,0-1,-5", many(&[(90, 99), (0, 1)])),
    ] {
        assert_eq!(select(value.as_bytes(), 100), expected, "{value}");
    }
}

#[test]
fn too_many_ranges_are_the_whole_file() {
    let ask = |count: usize| {
        let list: Vec<_> = (0..count).map(|at| format!("{0}-{0}", at * 2)).collect();
        select(format!("bytes={}", list.join(",")).as_bytes(), 1000)
    };
    assert!(matches!(ask(RANGE_COUNT), Selection::Many(ranges) if ranges.len() == RANGE_COUNT));
    assert_eq!(ask(RANGE_COUNT + 1), Selection::Whole);
    // Also when they would join, or do not exist: asking was expensive already.
    let same = vec!["0-"; 1000].join(",");
    assert_eq!(select(format!("bytes={same}").as_bytes(), 1000), Selection::Whole);
    let beyond = vec!["2000-"; 17].join(",");
    assert_eq!(select(format!("bytes={beyond}").as_bytes(), 1000), Selection::Whole);
}

#[test]
fn random_sets_cover_exactly_what_was_asked_for() {
    let mut random = Xoshiro::new(42);
    for _ in 0..20_000 {
        let size = random.below(40);
        let mut wanted = vec![false; size as usize];
        let count = 1 + random.below(RANGE_COUNT as u64);
        let mut list = Vec::new();
        for _ in 0..count {
            let (left, right) = (random.below(45), random.below(45));
            let (spec, span) = match random.below(3) {
                0 => (format!("{left}-"), left..size),
                1 => {
                    let (first, last) = (left.min(right), left.max(right));
                    (format!("{first}-{last}"), first..(last + 1).min(size))
                }
                _ => (format!("-{left}"), size.saturating_sub(left)..size),
            };
            list.push(spec);
            for at in span {
                wanted[at as usize] = true;
            }
        }
        let value = format!("bytes={}", list.join(","));
        let ranges = match select(value.as_bytes(), size) {
            Selection::One(range) => vec![range],
            Selection::Many(ranges) => {
                assert!(ranges.len() > 1, "{value} of {size}");
                ranges
            }
            Selection::Unsatisfiable => Vec::new(),
            Selection::Whole => {
                assert_eq!(size, 0, "{value} of {size}");
                continue;
            }
        };
        let mut found = vec![false; size as usize];
        for (at, range) in ranges.iter().enumerate() {
            for byte in range.first..=range.last {
                assert!(!found[byte as usize], "{value} of {size} sends byte {byte} twice");
                found[byte as usize] = true;
            }
            let apart = ranges.iter().skip(at + 1).all(|other| !other.touches(*range));
            assert!(apart, "{value} of {size}: {ranges:?}");
        }
        assert_eq!(found, wanted, "{value} of {size}");
    }
}

fn body(parts: &Multipart, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for (at, range) in parts.ranges().iter().enumerate() {
        parts.head(at, &mut out);
        out.extend_from_slice(&content[range.first as usize..=range.last as usize]);
    }
    parts.end(&mut out);
    out
}

#[test]
fn a_multipart_body_looks_like_the_one_in_the_rfc() {
    let ranges = vec![ByteRange { first: 0, last: 1 }, ByteRange { first: 8, last: 9 }];
    let parts = Multipart::new(ranges, 10, "text/plain", [0x0123, 0xf]);
    let boundary = "rip-f0000000000000003210000000000000";
    let mut content_type = Vec::new();
    parts.content_type(&mut content_type);
    assert_eq!(
        String::from_utf8(content_type).unwrap(),
        format!("multipart/byteranges; boundary={boundary}")
    );
    let expected = format!(
        "--{boundary}\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-1/10\r\n\r\nab\r\n\
         --{boundary}\r\nContent-Type: text/plain\r\nContent-Range: bytes 8-9/10\r\n\r\nij\r\n\
         --{boundary}--\r\n"
    );
    assert_eq!(String::from_utf8(body(&parts, b"abcdefghij")).unwrap(), expected);
    assert_eq!(parts.length(), expected.len() as u64);
    let mut out = Vec::new();
    parts.head(2, &mut out);
    assert!(out.is_empty());
}

#[test]
fn the_length_of_a_multipart_body_is_exact() {
    let mut random = Xoshiro::new(7);
    let content = vec![b'x'; 200_000];
    for _ in 0..300 {
        let size = 1 + random.below(content.len() as u64);
        let list: Vec<_> = (0..16)
            .map(|_| {
                let first = random.below(size);
                format!("{first}-{}", first + random.below(100))
            })
            .collect();
        let value = format!("bytes={}", list.join(","));
        if let Selection::Many(ranges) = select(value.as_bytes(), size) {
            let chance = [random.next_u64(), random.next_u64()];
            let parts = Multipart::new(ranges, size, "image/png", chance);
            assert_eq!(parts.length(), body(&parts, &content).len() as u64, "{value} of {size}");
        }
    }
    let all = vec![ByteRange { first: 0, last: u64::MAX }];
    assert_eq!(Multipart::new(all, u64::MAX, "a/b", [0, 0]).length(), u64::MAX);
}

#[test]
fn content_ranges_are_written_as_in_the_rfc() {
    let mut out = Vec::new();
    content_range(ByteRange { first: 42, last: 1233 }, 1234, &mut out);
    assert_eq!(out, b"bytes 42-1233/1234");
    out.clear();
    content_range_of_none(1234, &mut out);
    assert_eq!(out, b"bytes */1234");
}

use super::*;

/// 1994-11-06T08:49:37.5Z, and a moment long after it.
const CHANGED: Modified = Modified { secs: 784_111_777, nanos: 500_000_000 };
const NOW: UnixMillis = UnixMillis(1_790_000_000_000);
const SAME: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const EARLIER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";
const TAG: &str = "\"784111777500000000-10\"";
const WEAK: &str = "W/\"784111777500000000-10\"";

const GO: Verdict = Verdict::Proceed { ranges: true };
const WHOLE: Verdict = Verdict::Proceed { ranges: false };
const NOT_MODIFIED: Verdict = Verdict::NotModified;
const FAILED: Verdict = Verdict::PreconditionFailed;

fn conditions<'b>(fields: &[(&str, &'b str)]) -> Conditions<'b> {
    let mut conditions = Conditions::default();
    for (name, value) in fields {
        let lines = match *name {
            "If-Match" => &mut conditions.if_match,
            "If-None-Match" => &mut conditions.if_none_match,
            "If-Modified-Since" => &mut conditions.if_modified_since,
            "If-Unmodified-Since" => &mut conditions.if_unmodified_since,
            "If-Range" => &mut conditions.if_range,
            name => panic!("{name}"),
        };
        lines.push(value.as_bytes());
    }
    conditions
}

#[track_caller]
fn verdict_at(now: UnixMillis, method: Method, fields: &[(&str, &str)]) -> Verdict {
    let tag = EntityTag::new(CHANGED, 10, Encoding::Identity, now);
    evaluate(&conditions(fields), method, &tag, CHANGED, now)
}

#[track_caller]
fn check(fields: &[(&str, &str)], expected: Verdict) {
    for method in [Method::Get, Method::Head] {
        assert_eq!(verdict_at(NOW, method, fields), expected, "{method:?} {fields:?}");
    }
}

#[test]
fn tags_name_time_size_and_encoding() {
    let tag = |modified, encoding, now| {
        let tag = EntityTag::new(modified, 10, encoding, now);
        assert_eq!(tag.is_weak(), tag.as_bytes().starts_with(b"W/"));
        String::from_utf8(tag.as_bytes().to_vec()).unwrap()
    };
    assert_eq!(tag(CHANGED, Encoding::Identity, NOW), TAG);
    assert_eq!(tag(CHANGED, Encoding::Br, NOW), "\"784111777500000000-10-br\"");
    assert_eq!(tag(CHANGED, Encoding::Zstd, NOW), "\"784111777500000000-10-zstd\"");
    // Two seconds are counted from the nanosecond.
    assert_eq!(tag(CHANGED, Encoding::Identity, UnixMillis(784_111_779_500)), TAG);
    assert_eq!(tag(CHANGED, Encoding::Identity, UnixMillis(784_111_779_499)), WEAK);
    let future = Modified { secs: 2_000_000_000, nanos: 0 };
    assert!(tag(future, Encoding::Gzip, NOW).starts_with("W/\"2000000000000000000-10-gzip\""));
    let before = Modified { secs: -1, nanos: 999_999_999 };
    assert_eq!(tag(before, Encoding::Identity, NOW), "\"-1-10\"");
    for secs in [i64::MIN, i64::MAX] {
        for encoding in [Encoding::Identity, Encoding::Zstd] {
            let longest = Modified { secs, nanos: 999_999_999 };
            let tag = EntityTag::new(longest, u64::MAX, encoding, NOW);
            assert!(tag.as_bytes().ends_with(b"\"") && tag.as_bytes().len() < TAG_BYTES);
            if encoding == Encoding::Identity {
                let coded = tag.compressed(Encoding::Zstd);
                assert!(
                    coded.as_bytes().ends_with(b"-zstd\"") && coded.as_bytes().len() < TAG_BYTES
                );
            }
        }
    }
}

#[test]
fn a_tag_is_weakened_once() {
    for (tag, expected) in [(TAG, WEAK), (WEAK, WEAK)] {
        let mut out = Vec::new();
        weaken(tag.as_bytes(), &mut out);
        assert_eq!(out, expected.as_bytes());
    }
}

#[test]
fn what_is_compressed_has_a_weak_tag_of_its_own() {
    for now in [NOW, UnixMillis(0)] {
        let tag = EntityTag::new(CHANGED, 10, Encoding::Identity, now).compressed(Encoding::Gzip);
        assert_eq!(tag.as_bytes(), b"W/\"784111777500000000-10-gzip\"");
        assert!(tag.is_weak());
    }
}

#[test]
fn last_modified_is_never_in_the_future() {
    assert_eq!(CHANGED.last_modified(NOW), UnixMillis(784_111_777_000));
    assert_eq!(CHANGED.last_modified(UnixMillis(5)), UnixMillis(5));
    assert_eq!(Modified { secs: -5, nanos: 0 }.last_modified(NOW), UnixMillis(0));
    assert_eq!(Modified { secs: i64::MAX, nanos: 0 }.last_modified(NOW), NOW);
}

#[test]
fn comparison_table_of_rfc_9110_section_8_8_3_2() {
    let settled = |text: &'static [u8]| {
        let mut tag = EntityTag::new(CHANGED, 10, Encoding::Identity, NOW);
        tag.is_weak = text.starts_with(b"W/");
        tag.text[..text.len()].copy_from_slice(text);
        tag.length = text.len() as u8;
        tag
    };
    for (ours, theirs, strong, weak) in [
        (&b"W/\"1\""[..], &b"W/\"1\""[..], false, true),
        (b"W/\"1\"", b"W/\"2\"", false, false),
        (b"W/\"1\"", b"\"1\"", false, true),
        (b"\"1\"", b"W/\"1\"", false, true),
        (b"\"1\"", b"\"1\"", true, true),
    ] {
        let other = Tags(theirs).next().unwrap();
        assert_eq!(settled(ours).matches_strongly(&other), strong);
        assert_eq!(settled(ours).matches_weakly(&other), weak);
    }
}

#[test]
fn without_preconditions_the_request_is_answered() {
    check(&[], GO);
}

#[test]
fn if_match_wants_a_strong_match() {
    for (value, expected) in [
        (TAG, GO),
        ("*", GO),
        (" * ", GO),
        ("\"x\", \"784111777500000000-10\"", GO),
        ("\"x\",\"784111777500000000-10\",\"y\"", GO),
        (",, \"784111777500000000-10\" ,", GO),
        (WEAK, FAILED),
        ("\"x\"", FAILED),
        ("\"784111777500000000-10-br\"", FAILED),
        ("784111777500000000-10", FAILED),
        ("", FAILED),
        ("\"", FAILED),
        ("\"784111777500000000-10", FAILED),
        ("*, \"x\"", FAILED),
        ("w/\"784111777500000000-10\"", FAILED),
        // The tag stands inside another one.
        ("\"a, \"784111777500000000-10\"\"", FAILED),
    ] {
        check(&[("If-Match", value)], expected);
    }
    check(&[("If-Match", "\"x\""), ("If-Match", TAG)], GO);
    check(&[("If-Match", "\"x\""), ("If-Match", "*")], FAILED);
}

#[test]
fn if_unmodified_since_counts_only_without_if_match() {
    for (value, expected) in [
        (SAME, GO),
        (LATER, GO),
        (EARLIER, FAILED),
        ("Sunday, 06-Nov-94 08:49:36 GMT", FAILED),
        ("Sun Nov  6 08:49:36 1994", FAILED),
        ("Wed, 31 Dec 1969 23:59:59 GMT", FAILED),
        ("yesterday", GO),
        ("", GO),
    ] {
        check(&[("If-Unmodified-Since", value)], expected);
        check(&[("If-Unmodified-Since", value), ("If-Match", TAG)], GO);
        check(&[("If-Unmodified-Since", value), ("If-Match", "\"x\"")], FAILED);
    }
    // A date on two lines is none.
    check(&[("If-Unmodified-Since", EARLIER), ("If-Unmodified-Since", EARLIER)], GO);
}

#[test]
fn if_none_match_takes_a_weak_match() {
    for (value, expected) in [
        (TAG, NOT_MODIFIED),
        (WEAK, NOT_MODIFIED),
        ("*", NOT_MODIFIED),
        ("\"x\", W/\"784111777500000000-10\"", NOT_MODIFIED),
        ("\"a,b\",\"784111777500000000-10\"", NOT_MODIFIED),
        ("junk, \"784111777500000000-10\"", NOT_MODIFIED),
        ("\"x\"y, \"784111777500000000-10\"", NOT_MODIFIED),
        ("\"x\"", GO),
        ("W/\"x\"", GO),
        ("", GO),
        ("784111777500000000-10", GO),
        ("\"784111777500000000-10\"x", GO),
        ("\"a,\"784111777500000000-10", GO),
        ("\"784111777500000000-10-gzip\"", GO),
    ] {
        check(&[("If-None-Match", value)], expected);
    }
    check(&[("If-None-Match", "\"x\""), ("If-None-Match", TAG)], NOT_MODIFIED);
    let other = verdict_at(NOW, Method::Put, &[("If-None-Match", "*")]);
    assert_eq!(other, FAILED);
}

#[test]
fn if_modified_since_counts_only_without_if_none_match() {
    for (value, expected) in [
        (SAME, NOT_MODIFIED),
        (LATER, NOT_MODIFIED),
        ("Sunday, 06-Nov-94 08:49:37 GMT", NOT_MODIFIED),
        ("Sun Nov  6 08:49:37 1994", NOT_MODIFIED),
        ("Fri, 31 Dec 9999 23:59:59 GMT", NOT_MODIFIED),
        (EARLIER, GO),
        ("Wed, 31 Dec 1969 23:59:59 GMT", GO),
        ("784111777", GO),
        ("Sun, 06 Nov 1994 08:49:37", GO),
        ("", GO),
    ] {
        check(&[("If-Modified-Since", value)], expected);
        check(&[("If-Modified-Since", value), ("If-None-Match", "\"x\"")], GO);
        check(&[("If-Modified-Since", value), ("If-None-Match", TAG)], NOT_MODIFIED);
    }
    check(&[("If-Modified-Since", LATER), ("If-Modified-Since", LATER)], GO);
    let other = verdict_at(NOW, Method::Put, &[("If-Modified-Since", LATER)]);
    assert_eq!(other, GO);
}

#[test]
fn the_order_is_that_of_section_13_2_2() {
    // A failed If-Match is told before a matching If-None-Match, and so is a failed date.
    check(&[("If-Match", "\"x\""), ("If-None-Match", TAG)], FAILED);
    check(&[("If-Unmodified-Since", EARLIER), ("If-None-Match", TAG)], FAILED);
    check(&[("If-Unmodified-Since", EARLIER), ("If-Modified-Since", LATER)], FAILED);
    // After a good one the others still count.
    check(&[("If-Match", TAG), ("If-None-Match", TAG)], NOT_MODIFIED);
    check(&[("If-Match", "*"), ("If-Modified-Since", LATER)], NOT_MODIFIED);
    check(&[("If-Unmodified-Since", LATER), ("If-None-Match", "*")], NOT_MODIFIED);
    // If-Range is last.
    check(&[("If-None-Match", TAG), ("If-Range", "\"x\"")], NOT_MODIFIED);
    check(&[("If-None-Match", "\"x\""), ("If-Range", "\"x\"")], WHOLE);
    check(&[("If-Match", TAG), ("If-Range", TAG)], GO);
}

#[test]
fn if_range_is_one_strong_validator() {
    let both = format!("{TAG}, {TAG}");
    for (value, expected) in [
        (TAG, GO),
        (SAME, GO),
        ("Sunday, 06-Nov-94 08:49:37 GMT", GO),
        (WEAK, WHOLE),
        ("\"x\"", WHOLE),
        ("*", WHOLE),
        ("", WHOLE),
        ("junk", WHOLE),
        (&both, WHOLE),
        // Not "since": the very date.
        (LATER, WHOLE),
        (EARLIER, WHOLE),
    ] {
        check(&[("If-Range", value)], expected);
    }
    check(&[("If-Range", TAG), ("If-Range", TAG)], WHOLE);
}

#[test]
fn a_young_file_has_no_strong_validator() {
    let young = UnixMillis(784_111_778_000);
    let verdict = |name, value| verdict_at(young, Method::Get, &[(name, value)]);
    for value in [TAG, WEAK, SAME] {
        assert_eq!(verdict("If-Range", value), WHOLE, "{value}");
    }
    assert_eq!(verdict("If-Match", TAG), FAILED);
    assert_eq!(verdict("If-Match", "*"), GO);
    assert_eq!(verdict("If-None-Match", TAG), NOT_MODIFIED);
    assert_eq!(verdict("If-None-Match", WEAK), NOT_MODIFIED);
    assert_eq!(verdict("If-Modified-Since", SAME), NOT_MODIFIED);
}

#[test]
fn every_list_ends() {
    use crate::entropy::{Entropy, Xoshiro};
    let mut random = Xoshiro::new(11);
    let parts = ["\"", "\"a\"", "W/", ",", " ", "*", "x", "\t", "é"];
    for _ in 0..50_000 {
        let text: String = (0..random.below(10)).map(|_| parts[random.below(9) as usize]).collect();
        for tag in Tags(text.as_bytes()) {
            assert!(tag.opaque.len() >= 2 && tag.opaque.starts_with(b"\""), "{text}");
            assert!(tag.opaque.ends_with(b"\""), "{text}");
        }
    }
}

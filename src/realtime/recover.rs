//! Where a client that comes back had got to.

use super::group::GroupName;
use super::message::quoted;
use crate::limits::CLIENT_GROUP_COUNT;
use std::collections::HashSet;

/// The last message of a group that a client has.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Position {
    /// The group.
    pub group: GroupName,
    /// Which count of its messages.
    pub epoch: u64,
    /// The number of the message.
    pub offset: u64,
}

/// An entry of `recover=` is no position.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("an entry of recover= is not <group>:<epoch>:<offset>")]
pub struct Malformed;

/// The positions in a query: `recover=<group>:<epoch>:<offset>,…`, the names percent-encoded, or the
/// whole value once more, as form encoders do it. Of several for one group the first counts, and more
/// than a client may be in are left out. Nothing between two commas says nothing.
///
/// # Errors
/// An entry says something else: to leave it out would lose messages, and nobody would know.
pub fn parse(query: &[u8]) -> Result<Vec<Position>, Malformed> {
    let values =
        query.split(|byte| *byte == b'&').filter_map(|pair| pair.strip_prefix(b"recover="));
    let mut positions = Vec::new();
    let mut seen = HashSet::new();
    for value in values {
        let is_plain = value.contains(&b':');
        let value = if is_plain { value.to_vec() } else { decode(value) };
        for entry in value.split(|byte| *byte == b',').filter(|entry| !entry.is_empty()) {
            if positions.len() == CLIENT_GROUP_COUNT {
                return Ok(positions);
            }
            let position = position(entry).ok_or(Malformed)?;
            if seen.insert(position.group.clone()) {
                positions.push(position);
            }
        }
    }
    Ok(positions)
}

/// The position of a reader of server-sent events: its last id is `<epoch>:<offset>`.
pub fn last_event_id(group: &GroupName, id: &[u8]) -> Option<Position> {
    let (epoch, offset) = std::str::from_utf8(id).ok()?.split_once(':')?;
    Some(Position { group: group.clone(), epoch: number(epoch)?, offset: number(offset)? })
}

/// Where the groups stand in which a client cannot get what it missed:
/// `{"reset":{"/lobby":{"epoch":…,"offset":…}}}`, `{}` for those that keep nothing.
pub(super) fn reset(groups: &[(GroupName, Option<(u64, u64)>)]) -> String {
    let entry = |(group, position): &(GroupName, Option<(u64, u64)>)| match position {
        Some((epoch, offset)) => {
            format!(r#"{}:{{"epoch":{epoch},"offset":{offset}}}"#, quoted(group))
        }
        None => format!("{}:{{}}", quoted(group)),
    };
    let entries: Vec<String> = groups.iter().map(entry).collect();
    format!(r#"{{"reset":{{{}}}}}"#, entries.join(","))
}

fn position(entry: &[u8]) -> Option<Position> {
    // From the right: a name may have colons.
    let mut parts = entry.rsplitn(3, |byte| *byte == b':');
    let offset = number(std::str::from_utf8(parts.next()?).ok()?)?;
    let epoch = number(std::str::from_utf8(parts.next()?).ok()?)?;
    let name = String::from_utf8(decode(parts.next()?)).ok()?;
    Some(Position { group: GroupName::new(&name).ok()?, epoch, offset })
}

fn number(text: &str) -> Option<u64> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    is_plain.then(|| text.parse().ok()).flatten()
}

/// Percent-decodes; what is no escape stays as it is.
fn decode(bytes: &[u8]) -> Vec<u8> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).map(|digit| digit as u8);
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((first, behind)) = rest.split_first() {
        let escaped = match behind {
            [high, low, ..] if *first == b'%' => digit(high).zip(digit(low)),
            _ => None,
        };
        let taken = match escaped {
            Some((high, low)) => {
                out.push(high << 4 | low);
                3
            }
            None => {
                out.push(*first);
                1
            }
        };
        rest = rest.get(taken..).unwrap_or_default();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(query: &str) -> Vec<String> {
        let one = |at: Position| format!("{} {} {}", at.group, at.epoch, at.offset);
        parse(query.as_bytes()).expect(query).into_iter().map(one).collect()
    }

    #[test]
    fn positions_are_read_however_they_are_encoded() {
        for (query, expected) in [
            ("recover=%2Flobby:1:5", &["/lobby 1 5"][..]),
            ("recover=/lobby:1:5", &["/lobby 1 5"]),
            ("recover=%2Flobby%3A1%3A5", &["/lobby 1 5"]),
            ("recover=%252Flobby%3A1%3A5%2C%252Fa%252Cb%3A2%3A0", &["/lobby 1 5", "/a,b 2 0"]),
            ("token=x&recover=%2Fa:1:2,%2Fb:3:4&x=y", &["/a 1 2", "/b 3 4"]),
            ("recover=/a:1:2&recover=/b:3:4", &["/a 1 2", "/b 3 4"]),
            ("recover=%2Fa%2Cb%3Ac:1:2", &["/a,b:c 1 2"]),
            ("recover=/a:b:1:2", &["/a:b 1 2"]),
            ("recover=%2F%C3%A9:0:0", &["/é 0 0"]),
            ("recover=/a:1:2,/a:9:9", &["/a 1 2"]),
            ("recover=/a%:1:2,/b%2:1:2,/c%zz:1:2", &["/a% 1 2", "/b%2 1 2", "/c%zz 1 2"]),
            ("recover=/a:18446744073709551615:2", &["/a 18446744073709551615 2"]),
        ] {
            assert_eq!(shown(query), expected, "{query}");
        }
    }

    #[test]
    fn what_says_nothing_asks_for_nothing() {
        for query in [
            "",
            "recover",
            "recover=",
            "recover=,,",
            "xrecover=/a:1:2",
            "xrecover=/a",
            "Recover=/a",
        ] {
            assert_eq!(shown(query), [""; 0], "{query}");
        }
        assert_eq!(shown("recover=,/a:1:2,&recover="), ["/a 1 2"]);
        let many: Vec<String> = (0..300).map(|n| format!("/{n}:1:2")).collect();
        assert_eq!(shown(&format!("recover={}", many.join(","))).len(), 256);
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for query in [
            "recover=,,:",
            "recover=/a",
            "recover=/a:1",
            "recover=lobby:1:2",
            "recover=/a:-1:2",
            "recover=/a:+1:2",
            "recover=/a:1:2.0",
            "recover=/a:1:",
            "recover=/a::1",
            "recover=/a:18446744073709551616:2",
            "recover=%2F%ff:1:2",
            "recover=/a:1:2,nonsense,/b:3:4",
            "recover=/a:1:2&recover=x",
        ] {
            assert_eq!(parse(query.as_bytes()), Err(Malformed), "{query}");
        }
        let long = format!("recover=/{}:1:2", "x".repeat(256));
        assert_eq!(parse(long.as_bytes()), Err(Malformed));
    }

    #[test]
    fn the_id_of_an_event_is_a_position() {
        let group = GroupName::new("/a").unwrap();
        let at = last_event_id(&group, b"7:3").unwrap();
        assert_eq!((at.epoch, at.offset, at.group), (7, 3, group.clone()));
        for id in [&b""[..], b"7", b"7:", b":3", b"7:3:1", b"a:b", b"\xff:1"] {
            assert_eq!(last_event_id(&group, id), None);
        }
    }

    #[test]
    fn a_reset_says_where_groups_stand() {
        let group = |name| GroupName::new(name).unwrap();
        assert_eq!(
            reset(&[(group("/a\""), Some((7, 3))), (group("/b"), None)]),
            r#"{"reset":{"/a\"":{"epoch":7,"offset":3},"/b":{}}}"#
        );
    }
}

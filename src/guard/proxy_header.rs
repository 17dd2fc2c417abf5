//! The PROXY protocol, versions 1 and 2: a proxy in front says for whom it connected, in a header
//! before the first byte of the client's own.
//!
//! Where a listener expects the header there is no connection without one: the specification
//! forbids guessing, because a client could then write its own. It is taken from trusted peers only;
//! who else connects there is refused before it is read.
//!
//! ```text
//! v1   PROXY TCP4 192.0.2.1 198.51.100.1 35646 80\r\n          TCP4, TCP6 or UNKNOWN; 107 bytes at most
//! v2   signature 12 │ version, command 1 │ family 1 │ length 2 │ addresses │ type 1, length 2, value … │ …
//! ```
//!
//! Beyond the addresses a v2 header carries typed values. They are checked to fit and skipped; only
//! the checksum (`PP2_TYPE_CRC32C`) is verified when it is there.

use crate::limits::{PROXY_V1_BYTES, PROXY_V2_BYTES};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What the bytes so far say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Progress {
    /// They are the beginning of a header: ask again with these bytes and more behind them.
    More,
    /// A whole header.
    Header {
        /// Its bytes; the client's own come behind them.
        consumed: usize,
        /// For whom the connection is.
        source: Source,
    },
    /// They are no header, and no byte behind them makes them one: the connection must be closed
    /// without an answer. The text is for the log.
    Malformed(&'static str),
}

/// For whom a proxy connected.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Source {
    /// For a client.
    Client {
        /// Where the client connected from; never an IPv4-mapped IPv6 address.
        from: SocketAddr,
        /// Where it connected to.
        to: SocketAddr,
    },
    /// For itself, usually to see whether we are well: the peer is the client.
    Local,
    /// For somebody that it cannot name. The peer's address is all there is, but the client is not
    /// the peer: such a connection is never local.
    Unknown,
}

/// Reads a header at the start of `bytes`, which are all bytes of the connection so far. Never wants
/// more than [`PROXY_V1_BYTES`], or 16 and [`PROXY_V2_BYTES`].
pub fn read(bytes: &[u8]) -> Progress {
    let read = match bytes.first() {
        None => return Progress::More,
        Some(b'P') => read_text(bytes),
        Some(_) => read_binary(bytes),
    };
    match read {
        Ok(Some((consumed, source))) => Progress::Header { consumed, source },
        Ok(None) => Progress::More,
        Err(what) => Progress::Malformed(what),
    }
}

/// A header's length and source; `None` while it is not complete.
type Reading = Result<Option<(usize, Source)>, &'static str>;

fn read_text(bytes: &[u8]) -> Reading {
    if !begins_like(bytes, b"PROXY ") {
        return Err(NO_HEADER);
    }
    let head = bytes.get(..PROXY_V1_BYTES).unwrap_or(bytes);
    let Some(feed) = head.iter().position(|byte| *byte == b'\n') else {
        return if head.len() < PROXY_V1_BYTES { Ok(None) } else { Err("the line is too long") };
    };
    let line = head
        .get(..feed)
        .and_then(|line| line.strip_suffix(b"\r"))
        .ok_or("the line ends without a carriage return")?;
    let line = std::str::from_utf8(line).map_err(|_| "the line is not text")?;
    let mut words = line.split(' ').skip(1);
    let source = match words.next() {
        // What follows means nothing.
        Some("UNKNOWN") => return Ok(Some((feed + 1, Source::Unknown))),
        Some("TCP4") => text_source::<Ipv4Addr>(&mut words),
        Some("TCP6") => text_source::<Ipv6Addr>(&mut words),
        _ => return Err("the family is neither TCP4 nor TCP6 nor UNKNOWN"),
    };
    match (source, words.next()) {
        (Some(source), None) => Ok(Some((feed + 1, source))),
        _ => Err("the line has no two addresses and two ports"),
    }
}

/// The addresses and ports of a line, of the family `A`.
fn text_source<'t, A>(words: &mut impl Iterator<Item = &'t str>) -> Option<Source>
where
    A: std::str::FromStr + Into<IpAddr>,
{
    let mut address = || words.next()?.parse::<A>().ok().map(Into::into);
    let addresses = [address()?, address()?];
    let mut port = || {
        let text = words.next()?;
        let plain = text.bytes().all(|byte| byte.is_ascii_digit())
            && (text.len() == 1 || !text.starts_with('0'));
        text.parse::<u16>().ok().filter(|_| plain)
    };
    let ports = [port()?, port()?];
    Some(client(addresses, ports))
}

fn read_binary(bytes: &[u8]) -> Reading {
    if !begins_like(bytes, SIGNATURE) {
        return Err(NO_HEADER);
    }
    let Some((version, family)) = bytes.get(12).zip(bytes.get(13)) else { return Ok(None) };
    if version >> 4 != 2 {
        return Err("the version is neither 1 nor 2");
    }
    let is_local = match version & 15 {
        0 => true,
        1 => false,
        _ => return Err("the command is neither LOCAL nor PROXY"),
    };
    // RFC 1700 order: the most significant byte first.
    let Some(length) = number(bytes.get(14..16)) else { return Ok(None) };
    if length > PROXY_V2_BYTES {
        return Err("the header is too long");
    }
    let consumed = 16 + length;
    let Some(header) = bytes.get(..consumed) else { return Ok(None) };
    if is_local {
        // Everything else, the family included, means nothing.
        return Ok(Some((consumed, Source::Local)));
    }
    let block = header.get(16..).unwrap_or_default();
    let address_length = match (family >> 4, family & 15) {
        (4.., _) | (_, 3..) => return Err("the family is not known"),
        (0, _) => return Ok(Some((consumed, Source::Unknown))),
        (1, _) => 12,
        (2, _) => 36,
        _ => 216,
    };
    let Some((addresses, values)) = block.split_at_checked(address_length) else {
        return Err("the header is too short for its addresses");
    };
    check_values(header, values)?;
    let source = match family & 15 {
        // Neither a stream nor datagrams: the sender does not know what it forwards.
        0 => Source::Unknown,
        _ => binary_source(addresses).unwrap_or(Source::Unknown),
    };
    Ok(Some((consumed, source)))
}

/// The addresses and ports of a block; `None` for those of Unix sockets.
fn binary_source(block: &[u8]) -> Option<Source> {
    let width = match block.len() {
        12 => 4,
        36 => 16,
        _ => return None,
    };
    let (from, rest) = block.split_at_checked(width)?;
    let (to, ports) = rest.split_at_checked(width)?;
    let address = |bytes: &[u8]| match width {
        4 => Some(IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        _ => Some(IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?)),
    };
    let port = |at: usize| u16::try_from(number(ports.get(at..at + 2))?).ok();
    Some(client([address(from)?, address(to)?], [port(0)?, port(2)?]))
}

fn client(addresses: [IpAddr; 2], ports: [u16; 2]) -> Source {
    let [from, to] = addresses.map(|address| address.to_canonical());
    let [from_port, to_port] = ports;
    Source::Client { from: SocketAddr::new(from, from_port), to: SocketAddr::new(to, to_port) }
}

/// Whether the typed values fill their place exactly, and whether the checksum is right when there
/// is one.
fn check_values(header: &[u8], values: &[u8]) -> Result<(), &'static str> {
    const OVERFLOW: &str = "a value does not fit into the header";
    let mut rest = values;
    let mut has_checksum = false;
    while let Some((kind, after)) = rest.split_first() {
        let length = number(after.get(..2)).ok_or(OVERFLOW)?;
        let value = after.get(2..2 + length).ok_or(OVERFLOW)?;
        if *kind == CHECKSUM_TYPE {
            let place = header.len() - rest.len() + 3;
            let expected = <[u8; 4]>::try_from(value).map_err(|_| "the checksum has no 32 bits")?;
            if std::mem::replace(&mut has_checksum, true) {
                return Err("there are two checksums");
            }
            if crc32c_without(header, place) != u32::from_be_bytes(expected) {
                return Err("the checksum is wrong");
            }
        }
        rest = after.get(2 + length..).unwrap_or_default();
    }
    Ok(())
}

/// Two bytes in network order.
fn number(bytes: Option<&[u8]>) -> Option<usize> {
    Some(usize::from(u16::from_be_bytes(bytes?.try_into().ok()?)))
}

/// Whether `bytes` and `start` agree as far as both go.
fn begins_like(bytes: &[u8], start: &[u8]) -> bool {
    bytes.iter().zip(start).all(|(byte, expected)| byte == expected)
}

/// CRC-32C (RFC 9260 appendix A) of `header` with zeros for the four bytes at `place`.
fn crc32c_without(header: &[u8], place: usize) -> u32 {
    let bytes = header
        .iter()
        .enumerate()
        .map(|(at, byte)| if (place..place + 4).contains(&at) { 0 } else { *byte });
    !bytes.fold(u32::MAX, |crc, byte| (crc >> 8) ^ CRC32C[usize::from(crc as u8 ^ byte)])
}

/// The remainder of each byte, reflected, by the polynomial of Castagnoli.
static CRC32C: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const CHECKSUM_TYPE: u8 = 3;
const NO_HEADER: &str = "there is no PROXY header";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::{Entropy, Xoshiro};

    fn source(from: &str, to: &str) -> Source {
        Source::Client { from: from.parse().unwrap(), to: to.parse().unwrap() }
    }

    /// Every proper prefix is unfinished, and what stands behind the header changes nothing.
    fn assert_header(header: &[u8], expected: Source) {
        for cut in 0..header.len() {
            assert_eq!(read(&header[..cut]), Progress::More, "{}", header[..cut].escape_ascii());
        }
        for behind in [&b""[..], b"GET / HTTP/1.1\r\n", b"\r\n", b"\n", b"PROXY ", &[0; 300]] {
            let bytes = [header, behind].concat();
            let progress = Progress::Header { consumed: header.len(), source: expected };
            assert_eq!(read(&bytes), progress, "{}", bytes.escape_ascii());
        }
    }

    /// Once refused, refused with every byte that follows; before that, unfinished.
    fn assert_malformed(bytes: &[u8]) {
        let refused = (0..=bytes.len())
            .position(|cut| read(&bytes[..cut]) != Progress::More)
            .unwrap_or_else(|| panic!("not refused: {}", bytes.escape_ascii()));
        let first = read(&bytes[..refused]);
        assert!(matches!(first, Progress::Malformed(_)), "{first:?} {}", bytes.escape_ascii());
        for cut in refused..=bytes.len() {
            assert_eq!(read(&bytes[..cut]), first, "{}", bytes[..cut].escape_ascii());
        }
    }

    /// A v2 header of these parts, with its length.
    fn binary(version: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let length = u16::try_from(block.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[version, family], &length, block].concat()
    }

    fn value(kind: u8, bytes: &[u8]) -> Vec<u8> {
        let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
        [&[kind], &length[..], bytes].concat()
    }

    const FOUR: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 7, 0x8b, 0x3e, 0, 80];

    fn six() -> Vec<u8> {
        let addresses =
            ["2001:db8::1", "2001:db8::2"].map(|text| text.parse::<Ipv6Addr>().unwrap());
        let [from, to] = addresses.map(|address| address.octets());
        [&from[..], &to, &[0xff, 0xff, 1, 0xbb]].concat()
    }

    #[test]
    fn version_1_is_read_at_every_cut() {
        assert_header(
            b"PROXY TCP4 192.0.2.1 198.51.100.7 35646 80\r\n",
            source("192.0.2.1:35646", "198.51.100.7:80"),
        );
        assert_header(
            b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 0\r\n",
            source("255.255.255.255:65535", "255.255.255.255:0"),
        );
        assert_header(
            b"PROXY TCP6 2001:db8::1 2001:DB8::2 65535 443\r\n",
            source("[2001:db8::1]:65535", "[2001:db8::2]:443"),
        );
        assert_header(
            b"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:198.51.100.7 1 2\r\n",
            source("192.0.2.1:1", "198.51.100.7:2"),
        );
        assert_header(b"PROXY UNKNOWN\r\n", Source::Unknown);
        assert_header(b"PROXY UNKNOWN anything: at\x01all\r\n", Source::Unknown);
    }

    #[test]
    fn the_longest_line_has_107_bytes() {
        let full = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        let longest = format!("PROXY UNKNOWN {full} {full} 65535 65535\r\n");
        assert_eq!(longest.len(), PROXY_V1_BYTES);
        assert_header(longest.as_bytes(), Source::Unknown);
        assert_malformed(longest.replace("\r\n", "0\r\n").as_bytes());
        assert_malformed(&[b'P'; 1000]);
        assert_malformed(format!("PROXY UNKNOWN {}", "x".repeat(1000)).as_bytes());
    }

    #[test]
    fn what_is_not_exactly_version_1_is_refused() {
        for line in [
            "GET / HTTP/1.1\r\n",
            "proxy TCP4 192.0.2.1 198.51.100.7 1 2\r\n",
            "PROXY\r\n",
            "PROXY \r\n",
            "PROXY  TCP4 192.0.2.1 198.51.100.7 1 2\r\n",
            "PROXY UDP4 192.0.2.1 198.51.100.7 1 2\r\n",
            "PROXY UNKNOWNS\r\n",
            "PROXY tcp4 192.0.2.1 198.51.100.7 1 2\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.7 1 2\n",
            "PROXY TCP4 192.0.2.1 198.51.100.7 1 2 \r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.7 1 2 3\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.7 1  2\r\n",
            "PROXY TCP4 192.0.2.1\t198.51.100.7 1 2\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.7 1\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.7 1 \r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.7 01 2\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.7 +1 2\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.7 1 65536\r\n",
            "PROXY TCP4 192.0.2.01 198.51.100.7 1 2\r\n",
            "PROXY TCP4 192.0.2 198.51.100.7 1 2\r\n",
            "PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
            "PROXY TCP6 192.0.2.1 198.51.100.7 1 2\r\n",
            "PROXY TCP6 fe80::1%1 2001:db8::2 1 2\r\n",
            "PROXY TCP6 [2001:db8::1] 2001:db8::2 1 2\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.7 1 2\r\r\n",
            "PROXY TCP4 \u{e9} 198.51.100.7 1 2\r\n",
        ] {
            assert_malformed(line.as_bytes());
        }
        assert_malformed(b"PROXY UNKNOWN \xff\r\n");
        assert_malformed(b"\r\n\r\nGET / HTTP/1.1\r\n");
    }

    #[test]
    fn version_2_is_read_at_every_cut() {
        let four = source("192.0.2.1:35646", "198.51.100.7:80");
        assert_header(&binary(0x21, 0x11, &FOUR), four);
        assert_header(&binary(0x21, 0x12, &FOUR), four);
        assert_header(
            &binary(0x21, 0x21, &six()),
            source("[2001:db8::1]:65535", "[2001:db8::2]:443"),
        );
        let mapped: Vec<u8> = ["192.0.2.1", "198.51.100.7"]
            .iter()
            .flat_map(|text| text.parse::<Ipv4Addr>().unwrap().to_ipv6_mapped().octets())
            .chain([0x8b, 0x3e, 0, 80])
            .collect();
        assert_header(&binary(0x21, 0x21, &mapped), four);
    }

    #[test]
    fn local_and_unnamed_sources_are_told_apart() {
        assert_header(&binary(0x20, 0x00, b""), Source::Local);
        assert_header(&binary(0x20, 0x11, &FOUR), Source::Local);
        assert_header(&binary(0x20, 0xff, b"what means nothing"), Source::Local);
        assert_header(&binary(0x21, 0x00, b""), Source::Unknown);
        assert_header(&binary(0x21, 0x01, b"what means nothing"), Source::Unknown);
        assert_header(&binary(0x21, 0x10, &FOUR), Source::Unknown);
        assert_header(&binary(0x21, 0x31, &[b'/'; 216]), Source::Unknown);
    }

    #[test]
    fn values_are_skipped_when_they_fit() {
        let four = source("192.0.2.1:35646", "198.51.100.7:80");
        let values = [value(1, b"h2"), value(4, b""), value(0xea, &[7; 300])].concat();
        assert_header(&binary(0x21, 0x11, &[&FOUR[..], &values].concat()), four);
        let fill = value(4, &vec![0; PROXY_V2_BYTES - FOUR.len() - 3]);
        assert_header(&binary(0x21, 0x11, &[&FOUR[..], &fill].concat()), four);
        for broken in [&[1][..], &[1, 0], &[1, 0, 1], &[1, 0xff, 0xff, 0], &[4, 0, 0, 1]] {
            assert_malformed(&binary(0x21, 0x11, &[&FOUR[..], broken].concat()));
        }
    }

    #[test]
    fn the_checksum_is_verified() {
        // The check value of CRC-32C.
        assert_eq!(crc32c_without(b"123456789", 100), 0xe306_9283);
        let sum = |before: &[u8], after: &[u8]| {
            let zeros = value(CHECKSUM_TYPE, &[0; 4]);
            let mut header = binary(0x21, 0x11, &[&FOUR[..], before, &zeros, after].concat());
            let place = 16 + FOUR.len() + before.len() + 3;
            let crc = !header.iter().fold(u32::MAX, |mut crc, byte| {
                crc ^= u32::from(*byte);
                for _ in 0..8 {
                    crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
                }
                crc
            });
            header[place..place + 4].copy_from_slice(&crc.to_be_bytes());
            header
        };
        let (before, after) = (value(1, b"http/1.1"), value(2, b"a.example"));
        for header in [sum(b"", b""), sum(&before, b""), sum(b"", &after), sum(&before, &after)] {
            assert_header(&header, source("192.0.2.1:35646", "198.51.100.7:80"));
            for at in 16..header.len() {
                let mut broken = header.clone();
                broken[at] ^= 1;
                let progress = read(&broken);
                // A changed type hides the checksum; everything else must be noticed.
                let hides =
                    broken[at] ^ 1 == CHECKSUM_TYPE && matches!(progress, Progress::Header { .. });
                assert!(hides || matches!(progress, Progress::Malformed(_)), "{at}: {progress:?}");
            }
        }
        let twice = sum(b"", &value(CHECKSUM_TYPE, &[9; 4]));
        assert_eq!(read(&twice), Progress::Malformed("there are two checksums"));
        assert_malformed(&twice);
        let short = value(CHECKSUM_TYPE, &[0; 3]);
        assert_malformed(&binary(0x21, 0x11, &[&FOUR[..], &short].concat()));
    }

    #[test]
    fn what_is_not_exactly_version_2_is_refused() {
        for at in 0..SIGNATURE.len() {
            let mut header = binary(0x21, 0x11, &FOUR);
            header[at] ^= 1;
            assert_malformed(&header);
        }
        for version in [0x11, 0x31, 0x01, 0x22, 0x2f] {
            assert_malformed(&binary(version, 0x11, &FOUR));
        }
        for family in [0x13, 0x1f, 0x41, 0xf1, 0x03] {
            assert_malformed(&binary(0x21, family, &FOUR));
            let room = [&[0; 216][..], &value(4, b"")].concat();
            assert_malformed(&binary(0x21, family, &room));
        }
        assert_malformed(&binary(0x21, 0x11, &FOUR[..11]));
        assert_malformed(&binary(0x21, 0x11, b""));
        assert_malformed(&binary(0x21, 0x21, &FOUR));
        assert_malformed(&binary(0x21, 0x31, &[b'/'; 215]));
        // Refused as soon as the length is known, for both commands.
        for command in [0x20, 0x21] {
            let long = binary(command, 0x11, &vec![0; PROXY_V2_BYTES + 1]);
            assert_malformed(&long);
            assert!(matches!(read(&long[..16]), Progress::Malformed(_)));
        }
    }

    #[test]
    fn no_bytes_make_it_stumble_or_want_more_than_the_limit() {
        let mut random = Xoshiro::new(11);
        for round in 0..20_000 {
            let mut bytes = match round % 3 {
                0 => b"PROXY TCP6 2001:db8::1 2001:db8::2 65535 443\r\n".to_vec(),
                1 => {
                    binary(0x21, 0x11, &[&FOUR[..], &value(1, b"h2"), &value(3, &[1; 4])].concat())
                }
                _ => binary(0x21, 0x21, &six()),
            };
            for _ in 0..=random.below(3) {
                let at = random.below(bytes.len() as u64) as usize;
                bytes[at] = random.next_u64() as u8;
            }
            for cut in 0..=bytes.len() {
                if let Progress::Header { consumed, .. } = read(&bytes[..cut]) {
                    assert!(consumed <= cut);
                }
            }
            bytes.resize(16 + PROXY_V2_BYTES, b' ');
            assert_ne!(read(&bytes), Progress::More, "{}", bytes.escape_ascii());
        }
    }
}

//! Networks in CIDR notation (RFC 4632, RFC 4291 §2.3), and sets of them.
//!
//! A socket that takes both families shows an IPv4 peer as `::ffff:192.0.2.1`. Such an address is
//! the IPv4 address everywhere here: `10.0.0.0/8` contains `::ffff:10.1.2.3`, and for that reason
//! no IPv6 network contains an IPv4 address, not even `::/0`.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// One network. Prints, and is in JSON, `10.0.0.0/8`; a single address prints without its length.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Cidr {
    /// Every bit behind the prefix is 0; never an IPv4-mapped IPv6 address.
    network: IpAddr,
    length: u8,
}

/// Why a text is no network.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CidrError {
    /// What stands before the slash is no address.
    #[error("that is neither an IPv4 nor an IPv6 address")]
    Address,
    /// What stands after the slash is no number, or larger than the address.
    #[error("the prefix length is a number from 0 to {0}")]
    Length(u8),
    /// Bits behind the prefix are set: which network is meant is a guess.
    #[error("the address has bits behind its prefix; the network is {0}")]
    HostBits(Cidr),
}

impl Cidr {
    /// The network of `address` whose first `length` bits are given; `None` when the address has
    /// not that many. The bits behind are cleared.
    pub fn new(address: IpAddr, length: u8) -> Option<Self> {
        let (address, length) = match (address, address.to_canonical()) {
            // The first 96 bits of a mapped address only say that it is one.
            (IpAddr::V6(_), four @ IpAddr::V4(_)) if length >= 96 => (four, length - 96),
            _ => (address, length),
        };
        let network = match address {
            IpAddr::V4(four) if length <= 32 => {
                IpAddr::V4(Ipv4Addr::from_bits(four.to_bits() & prefix_mask_v4(length)))
            }
            IpAddr::V6(six) if length <= 128 => {
                IpAddr::V6(Ipv6Addr::from_bits(six.to_bits() & prefix_mask_v6(length)))
            }
            _ => return None,
        };
        Some(Self { network, length })
    }

    /// The network's first address.
    pub fn network(&self) -> IpAddr {
        self.network
    }

    /// How many bits are given.
    pub fn length(&self) -> u8 {
        self.length
    }

    /// Whether `address` is in the network.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (first, last) = self.range();
        (first..=last).contains(&Point::of(address))
    }

    /// The first and the last address.
    fn range(&self) -> (Point, Point) {
        match self.network {
            IpAddr::V4(four) => {
                let first = four.to_bits();
                let last = first | !prefix_mask_v4(self.length);
                (Point::V4(first), Point::V4(last))
            }
            IpAddr::V6(six) => {
                let first = six.to_bits();
                let last = first | !prefix_mask_v6(self.length);
                (Point::V6(first), Point::V6(last))
            }
        }
    }
}

impl From<IpAddr> for Cidr {
    /// The network of this one address.
    fn from(address: IpAddr) -> Self {
        let network = address.to_canonical();
        Self { network, length: if network.is_ipv4() { 32 } else { 128 } }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_single = self.length == if self.network.is_ipv4() { 32 } else { 128 };
        match is_single {
            true => self.network.fmt(out),
            false => write!(out, "{}/{}", self.network, self.length),
        }
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    /// Reads `10.0.0.0/8`, `2001:db8::/32`, or one address alone.
    fn from_str(text: &str) -> Result<Self, CidrError> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| CidrError::Address)?;
        let Some(length) = length else { return Ok(Self::from(address)) };
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let is_number = (1..=3).contains(&length.len())
            && length.bytes().all(|byte| byte.is_ascii_digit())
            && (length.len() == 1 || !length.starts_with('0'));
        let length = length.parse().ok().filter(|_| is_number);
        let cidr = length
            .and_then(|length| Self::new(address, length))
            .ok_or(CidrError::Length(longest))?;
        // A mapped address with a shorter prefix than that of all mapped ones is not canonical.
        let given = if cidr.network.is_ipv4() { address.to_canonical() } else { address };
        match cidr.network == given {
            true => Ok(cidr),
            false => Err(CidrError::HostBits(cidr)),
        }
    }
}

impl Serialize for Cidr {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cidr {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A set of networks, asked by binary search. In JSON the list of its networks as they were given.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CidrSet {
    networks: Vec<Cidr>,
    /// First and last addresses; ascending, none overlaps another.
    ranges: Vec<(Point, Point)>,
}

impl CidrSet {
    /// Whether `address` is in one of the networks.
    pub fn contains(&self, address: IpAddr) -> bool {
        let point = Point::of(address);
        let above = self.ranges.partition_point(|(first, _)| *first <= point);
        above
            .checked_sub(1)
            .and_then(|at| self.ranges.get(at))
            .is_some_and(|(_, last)| point <= *last)
    }

    /// The networks in the order they were given.
    pub fn networks(&self) -> &[Cidr] {
        &self.networks
    }

    /// True when no address is in it.
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty()
    }
}

impl FromIterator<Cidr> for CidrSet {
    fn from_iter<I: IntoIterator<Item = Cidr>>(from: I) -> Self {
        let networks: Vec<_> = from.into_iter().collect();
        let mut sorted: Vec<_> = networks.iter().map(Cidr::range).collect();
        sorted.sort_unstable();
        let mut ranges: Vec<(Point, Point)> = Vec::with_capacity(sorted.len());
        for (first, last) in sorted {
            match ranges.last_mut() {
                Some((_, end)) if first <= *end => *end = last.max(*end),
                _ => ranges.push((first, last)),
            }
        }
        Self { networks, ranges }
    }
}

impl Serialize for CidrSet {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        self.networks.serialize(out)
    }
}

impl<'de> Deserialize<'de> for CidrSet {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(Vec::<Cidr>::deserialize(from)?.into_iter().collect())
    }
}

/// An address among all addresses: those of IPv4 come first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Point {
    V4(u32),
    V6(u128),
}

impl Point {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(four) => Self::V4(four.to_bits()),
            IpAddr::V6(six) => Self::V6(six.to_bits()),
        }
    }
}

fn prefix_mask_v4(length: u8) -> u32 {
    !u32::MAX.checked_shr(u32::from(length)).unwrap_or(0)
}

fn prefix_mask_v6(length: u8) -> u128 {
    !u128::MAX.checked_shr(u32::from(length)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::{Entropy, Xoshiro};

    fn cidr(text: &str) -> Cidr {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn networks_print_as_they_are_read() {
        for text in [
            "10.0.0.0/8",
            "0.0.0.0/0",
            "192.0.2.1",
            "::/0",
            "2001:db8::/32",
            "2001:db8::1",
            "fe80::/10",
            "128.0.0.0/1",
            "8000::/1",
        ] {
            assert_eq!(cidr(text).to_string(), text);
        }
        assert_eq!(cidr("192.0.2.1/32").to_string(), "192.0.2.1");
        assert_eq!(cidr("2001:DB8:0::1/128").to_string(), "2001:db8::1");
        assert_eq!(cidr("::ffff:10.0.0.0/104"), cidr("10.0.0.0/8"));
        assert_eq!(cidr("::ffff:0:0/96"), cidr("0.0.0.0/0"));
        assert_eq!(cidr("::ffff:192.0.2.1"), cidr("192.0.2.1"));
    }

    #[test]
    fn everything_else_is_refused_with_its_reason() {
        for text in [
            "",
            "/",
            "/8",
            "10.0.0/8",
            "10.0.0.0.0/8",
            "010.0.0.0/8",
            "256.0.0.0/8",
            "fe80::%1/64",
            "[::1]",
            " 10.0.0.0/8",
            "10.0.0.0:80",
            "example",
        ] {
            assert_eq!(text.parse::<Cidr>(), Err(CidrError::Address), "{text}");
        }
        for text in [
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/08",
            "10.0.0.0/+8",
            "10.0.0.0/-1",
            "10.0.0.0/8/8",
            "10.0.0.0/8 ",
            "10.0.0.0/256",
            "10.0.0.0/255.0.0.0",
        ] {
            assert_eq!(text.parse::<Cidr>(), Err(CidrError::Length(32)), "{text}");
        }
        assert_eq!("::/129".parse::<Cidr>(), Err(CidrError::Length(128)));
        assert_eq!("10.0.0.1/8".parse::<Cidr>(), Err(CidrError::HostBits(cidr("10.0.0.0/8"))));
        assert_eq!("::1/127".parse::<Cidr>(), Err(CidrError::HostBits(cidr("::/127"))));
        assert_eq!(
            "::ffff:10.0.0.1/104".parse::<Cidr>(),
            Err(CidrError::HostBits(cidr("10.0.0.0/8")))
        );
        assert_eq!("::ffff:0:0/80".parse::<Cidr>(), Err(CidrError::HostBits(cidr("::/80"))));
        let both = cidr("::fffe:0:0/95");
        assert_eq!("::ffff:0:0/95".parse::<Cidr>(), Err(CidrError::HostBits(both)));
        assert!(!both.contains(ip("0.0.0.0")), "an IPv4 address is in no IPv6 network");
    }

    #[test]
    fn a_network_contains_what_lies_between_its_ends() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.255.255", "11.0.0.0"),
            ("10.0.0.0/8", "::ffff:10.0.0.0", "::10.0.0.0"),
            ("192.0.2.128/25", "192.0.2.128", "192.0.2.127"),
            ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
            ("0.0.0.0/0", "255.255.255.255", "::"),
            ("::/0", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "1.2.3.4"),
            ("::/0", "::", "::ffff:1.2.3.4"),
            ("2001:db8::/33", "2001:db8:7fff::", "2001:db8:8000::"),
        ] {
            assert!(cidr(network).contains(ip(inside)), "{network} {inside}");
            assert!(!cidr(network).contains(ip(outside)), "{network} {outside}");
        }
    }

    #[test]
    fn a_set_contains_what_one_of_its_networks_contains() {
        let mut random = Xoshiro::new(4);
        // Few bits differ, so that networks touch, overlap, and hold each other.
        let mut address = |wide: bool| {
            let bits = (random.below(64) as u32) << 26 | random.below(16) as u32;
            let six = u128::from(bits) << 96 | u128::from(random.below(4));
            if wide { IpAddr::from(Ipv6Addr::from_bits(six)) } else { Ipv4Addr::from(bits).into() }
        };
        let mut lengths = Xoshiro::new(5);
        for _ in 0..300 {
            let networks: Vec<Cidr> = (0..lengths.below(12))
                .map(|_| {
                    let wide = lengths.below(2) == 0;
                    let longest = if wide { 128 } else { 32 };
                    let length = longest - lengths.below(33) as u8;
                    Cidr::new(address(wide), length).unwrap()
                })
                .collect();
            let set: CidrSet = networks.iter().copied().collect();
            assert_eq!(set.networks(), networks);
            for _ in 0..100 {
                let asked = address(lengths.below(2) == 0);
                let expected = networks.iter().any(|network| network.contains(asked));
                assert_eq!(set.contains(asked), expected, "{asked} in {networks:?}");
            }
        }
        assert!(!CidrSet::default().contains(ip("127.0.0.1")) && CidrSet::default().is_empty());
    }

    #[test]
    fn a_set_is_a_list_of_texts_in_json() {
        let text = r#"["10.0.0.0/8","::1","192.0.2.7"]"#;
        let set: CidrSet = serde_json::from_str(text).unwrap();
        assert!(set.contains(ip("::1")) && set.contains(ip("10.1.1.1")));
        assert_eq!(serde_json::to_string(&set).unwrap(), text);
        let error = serde_json::from_str::<CidrSet>(r#"["10.0.0.1/8"]"#).unwrap_err();
        assert!(error.to_string().contains("10.0.0.0/8"), "{error}");
    }
}

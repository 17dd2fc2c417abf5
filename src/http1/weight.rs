//! Weights: how much a client wants what it names (RFC 9110 §12.4.2).

/// The weight of what carries no `q`, and the largest there is, in thousandths.
pub const FULL: u32 = 1000;

/// The weight that a `q` parameter gives, in thousandths; `None` for every other parameter. A broken
/// one counts as 0: what is marked in a way nobody can read is not wanted.
pub fn weight(parameter: &[u8]) -> Option<u32> {
    let [b'q' | b'Q', b'=', value @ ..] = parameter else { return None };
    let (whole, fraction) = match value {
        [whole] => (whole, &[][..]),
        [whole, b'.', fraction @ ..] if fraction.len() <= 3 => (whole, fraction),
        _ => return Some(0),
    };
    let mut thousandths = 0;
    for place in 0..3 {
        let digit = fraction.get(place).copied().unwrap_or(b'0');
        if !digit.is_ascii_digit() {
            return Some(0);
        }
        thousandths = thousandths * 10 + u32::from(digit - b'0');
    }
    match (whole, thousandths) {
        (b'0', fraction) => Some(fraction),
        (b'1', 0) => Some(FULL),
        _ => Some(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_thousandths_and_broken_ones_are_none_at_all() {
        for (parameter, expected) in [
            ("q=1", Some(1000)),
            ("Q=1.000", Some(1000)),
            ("q=0.5", Some(500)),
            ("q=0.123", Some(123)),
            ("q=0", Some(0)),
            ("q=0.", Some(0)),
            ("q=1.001", Some(0)),
            ("q=2", Some(0)),
            ("q=-1", Some(0)),
            ("q=.5", Some(0)),
            ("q=0.1234", Some(0)),
            ("q=0.x", Some(0)),
            ("q=", Some(0)),
            ("level=1", None),
            ("q", None),
            ("", None),
        ] {
            assert_eq!(weight(parameter.as_bytes()), expected, "{parameter}");
        }
    }
}

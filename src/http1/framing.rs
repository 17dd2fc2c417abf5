//! Where a body ends (RFC 9112 §6.3), decided without mercy: a message that two readers could
//! frame in two ways is refused.

use super::head::{BodyLength, ResponseBody, Version};
use super::status;

/// Why a message cannot be framed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Unframed {
    /// It is ambiguous or wrong; the text says how.
    Invalid(&'static str),
    /// `Content-Length` is a number beyond every limit.
    TooLarge,
    /// It names a transfer coding that is not spoken here.
    UnknownCoding,
}

/// What the fields of one head say about its body.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Framing {
    length: Option<u64>,
    codings: bool,
    chunked: bool,
    other_coding: bool,
}

impl Framing {
    /// A `Content-Length` was read: one only, 1*DIGIT (RFC 9110 §8.6).
    pub(crate) fn content_length(&mut self, value: &[u8]) -> Result<(), Unframed> {
        if self.length.is_some() {
            return Err(Unframed::Invalid("more than one Content-Length"));
        }
        if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
            return Err(Unframed::Invalid("Content-Length is not a number"));
        }
        let mut length = 0_u64;
        for digit in value {
            length = length
                .checked_mul(10)
                .and_then(|tens| tens.checked_add(u64::from(digit - b'0')))
                .ok_or(Unframed::TooLarge)?;
        }
        self.length = Some(length);
        Ok(())
    }

    /// A `Transfer-Encoding` was read; several are one list (RFC 9112 §6.1).
    pub(crate) fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), Unframed> {
        self.codings = true;
        for coding in value.split(|byte| *byte == b',') {
            let coding = coding.trim_ascii();
            if self.chunked {
                return Err(Unframed::Invalid("chunked is not the one final transfer coding"));
            }
            if coding.eq_ignore_ascii_case(b"chunked") {
                self.chunked = true;
            } else if !coding.is_empty() && coding.iter().all(|byte| is_token(*byte)) {
                self.other_coding = true;
            } else {
                return Err(Unframed::Invalid("Transfer-Encoding is not a list of codings"));
            }
        }
        Ok(())
    }

    /// `Content-Length` as it was read.
    pub(crate) fn length(&self) -> Option<u64> {
        self.length
    }

    /// How a request's body ends.
    pub(crate) fn request(&self, version: Version) -> Result<BodyLength, Unframed> {
        if !self.codings {
            return Ok(self.length.map_or(BodyLength::None, BodyLength::Length));
        }
        self.check_chunked(version)?;
        Ok(BodyLength::Chunked)
    }

    /// How the body of a response with this `status` ends; `to_head`: the request was `HEAD`.
    pub(crate) fn response(
        &self,
        version: Version,
        status: u16,
        to_head: bool,
    ) -> Result<ResponseBody, Unframed> {
        if self.codings {
            self.check_chunked(version)?;
        }
        Ok(if to_head || status::is_bodiless(status) {
            ResponseBody::None
        } else if self.codings {
            ResponseBody::Chunked
        } else {
            self.length.map_or(ResponseBody::UntilClose, ResponseBody::Length)
        })
    }

    /// Whether `chunked`, alone, in a version that has it, says how the body ends.
    fn check_chunked(&self, version: Version) -> Result<(), Unframed> {
        if version == Version::Http10 {
            return Err(Unframed::Invalid("Transfer-Encoding in HTTP/1.0"));
        }
        if self.length.is_some() {
            return Err(Unframed::Invalid("Content-Length with Transfer-Encoding"));
        }
        if self.other_coding { Err(Unframed::UnknownCoding) } else { Ok(()) }
    }
}

/// True for the characters of a token (RFC 9110 §5.6.2).
pub(crate) const fn is_token(byte: u8) -> bool {
    TOKEN[byte as usize]
}

static TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = (byte as u8).is_ascii_alphanumeric()
            || matches!(
                byte as u8,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            );
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    fn codings(values: &[&str]) -> Result<BodyLength, Unframed> {
        let mut framing = Framing::default();
        for value in values {
            framing.transfer_encoding(value.as_bytes())?;
        }
        framing.request(Version::Http11)
    }

    #[test]
    fn only_one_final_chunked_is_accepted() {
        for good in ["chunked", "Chunked", " chunked ", "chunked\t"] {
            assert_eq!(codings(&[good]), Ok(BodyLength::Chunked), "{good}");
        }
        for unknown in [&["gzip, chunked"][..], &["gzip", "chunked"], &["xchunked"], &["identity"]]
        {
            assert_eq!(codings(unknown), Err(Unframed::UnknownCoding), "{unknown:?}");
        }
        for bad in [
            &["chunked, chunked"][..],
            &["chunked", "chunked"],
            &["chunked, gzip"],
            &["chunked;q=1"],
            &[""],
            &["chunked,"],
            &[",chunked"],
            &["\x0bchunked"],
            &["\"chunked\""],
            &["chun ked"],
        ] {
            assert!(matches!(codings(bad), Err(Unframed::Invalid(_))), "{bad:?}");
        }
    }

    #[test]
    fn content_length_is_one_plain_number() {
        let read = |value: &str| {
            let mut framing = Framing::default();
            framing.content_length(value.as_bytes())?;
            framing.request(Version::Http11)
        };
        assert_eq!(read("0"), Ok(BodyLength::Length(0)));
        assert_eq!(read("00012"), Ok(BodyLength::Length(12)));
        assert_eq!(read("18446744073709551615"), Ok(BodyLength::Length(u64::MAX)));
        assert_eq!(read("18446744073709551616"), Err(Unframed::TooLarge));
        for bad in ["", "-1", "+1", "1 1", "1,1", "0x1", "1_0", "\u{661}"] {
            assert!(matches!(read(bad), Err(Unframed::Invalid(_))), "{bad}");
        }
        let mut twice = Framing::default();
        assert!(twice.content_length(b"5").is_ok());
        assert!(twice.content_length(b"5").is_err());
    }

    #[test]
    fn responses_end_as_their_status_and_request_say() {
        let mut length = Framing::default();
        length.content_length(b"5").unwrap();
        let mut chunked = Framing::default();
        chunked.transfer_encoding(b"chunked").unwrap();
        let open = Framing::default();
        let v = Version::Http11;
        assert_eq!(length.response(v, 200, false), Ok(ResponseBody::Length(5)));
        assert_eq!(length.response(v, 200, true), Ok(ResponseBody::None));
        assert_eq!(length.response(v, 304, false), Ok(ResponseBody::None));
        assert_eq!(chunked.response(v, 200, false), Ok(ResponseBody::Chunked));
        assert_eq!(chunked.response(v, 204, false), Ok(ResponseBody::None));
        assert_eq!(open.response(v, 200, false), Ok(ResponseBody::UntilClose));
        assert!(chunked.response(Version::Http10, 200, false).is_err());
    }
}

use super::*;
use rip::entropy::{Entropy, Xoshiro};
use std::io::Read;

/// Decodes what has come so far.
enum Decoder {
    /// All that came, and all that it means.
    Brotli(Vec<u8>, Vec<u8>),
    Gzip(Box<flate2::write::GzDecoder<Vec<u8>>>),
    Zstd(Box<(zstd_safe::DCtx<'static>, Vec<u8>)>),
}

impl Decoder {
    fn new(coding: Encoding) -> Self {
        match coding {
            Encoding::Br => Self::Brotli(Vec::new(), Vec::new()),
            Encoding::Gzip => Self::Gzip(Box::new(flate2::write::GzDecoder::new(Vec::new()))),
            _ => Self::Zstd(Box::new((zstd_safe::DCtx::create(), Vec::new()))),
        }
    }

    fn decode(&mut self, bytes: &[u8]) -> &[u8] {
        match self {
            Self::Brotli(encoded, decoded) => {
                encoded.extend_from_slice(bytes);
                decoded.clear();
                // It fails where the end is missing; what it has read until then counts.
                let _ = brotli::Decompressor::new(&encoded[..], 4096).read_to_end(decoded);
                decoded
            }
            Self::Gzip(writer) => {
                writer.write_all(bytes).unwrap();
                writer.flush().unwrap();
                writer.get_ref()
            }
            Self::Zstd(state) => {
                let (context, decoded) = &mut **state;
                let mut input = InBuffer::around(bytes);
                loop {
                    decoded.reserve(64 * 1024);
                    let at = decoded.len();
                    let mut output = OutBuffer::around_pos(decoded, at);
                    context.decompress_stream(&mut output, &mut input).unwrap();
                    if input.pos() == bytes.len() && decoded.len() < decoded.capacity() {
                        return decoded;
                    }
                }
            }
        }
    }
}

const ALL: [Encoding; 3] = [Encoding::Br, Encoding::Gzip, Encoding::Zstd];

fn text(bytes: usize, entropy: &mut Xoshiro) -> Vec<u8> {
    let words = ["a leaf", "<li>", "of", "stone ", "0x", "\n", "water", "</li>", "falling"];
    let mut text = Vec::new();
    while text.len() < bytes {
        text.extend_from_slice(words[entropy.below(words.len() as u64) as usize].as_bytes());
    }
    text.truncate(bytes);
    text
}

#[test]
fn what_was_fed_in_pieces_of_any_size_comes_out_and_a_flush_shows_it() {
    let mut encoders = Encoders::default();
    for seed in 0..12 {
        let mut entropy = Xoshiro::new(seed);
        for coding in ALL {
            let length = entropy.below(300_000) as usize;
            let body = match seed % 3 {
                0 => (0..length).map(|_| entropy.next_u64() as u8).collect(),
                _ => text(length, &mut entropy),
            };
            let known = (seed % 2 == 0).then_some(length as u64);
            let mut encoder = encoders.lend(coding, known).unwrap();
            let mut decoder = Decoder::new(coding);
            let (mut out, mut fed) = (Vec::new(), 0);
            while fed < length {
                let most = [1, 100, 70_000][entropy.below(3) as usize];
                let piece = (1 + entropy.below(most) as usize).min(length - fed);
                encoder.feed(&body[fed..fed + piece], &mut out).unwrap();
                fed += piece;
                // Not too often: a test is no benchmark.
                if entropy.below(20) == 0 {
                    encoder.flush(&mut out).unwrap();
                    let decoded = decoder.decode(&out);
                    assert_eq!(decoded.len(), fed, "{coding:?}, seed {seed}");
                    out.clear();
                }
                if fed > 20_000 && most == 1 {
                    // The rest in one go.
                    encoder.feed(&body[fed..], &mut out).unwrap();
                    fed = length;
                }
            }
            encoder.finish(&mut out).unwrap();
            assert!(decoder.decode(&out) == body, "{coding:?}, seed {seed}");
            encoders.take_back(encoder);
        }
    }
}

#[test]
fn an_empty_body_and_a_flush_of_nothing_are_well_formed() {
    let mut encoders = Encoders::default();
    for coding in ALL {
        let mut encoder = encoders.lend(coding, None).unwrap();
        let mut out = Vec::new();
        for _ in 0..3 {
            encoder.flush(&mut out).unwrap();
        }
        encoder.feed(b"", &mut out).unwrap();
        encoder.finish(&mut out).unwrap();
        assert!(!out.is_empty());
        assert_eq!(Decoder::new(coding).decode(&out), b"");
    }
}

#[test]
fn a_flush_is_whole_wherever_the_room_for_output_ends() {
    for coding in ALL {
        for filled in (0..ROOM_BYTES).step_by(1021).chain(ROOM_BYTES - 40..ROOM_BYTES) {
            let mut encoder = Encoders::default().lend(coding, None).unwrap();
            let mut out = Vec::with_capacity(2 * ROOM_BYTES);
            out.resize(ROOM_BYTES + filled, 0);
            let body = text(9000, &mut Xoshiro::new(filled as u64));
            encoder.feed(&body, &mut out).unwrap();
            encoder.flush(&mut out).unwrap();
            let mut decoder = Decoder::new(coding);
            assert!(decoder.decode(&out[ROOM_BYTES + filled..]) == body, "{coding:?}, {filled}");
        }
    }
}

#[test]
fn one_that_was_left_in_the_middle_serves_again_as_if_it_were_new() {
    let mut encoders = Encoders::default();
    let mut entropy = Xoshiro::new(1);
    for coding in ALL {
        let mut first = encoders.lend(coding, Some(1 << 20)).unwrap();
        first.feed(&text(50_000, &mut entropy), &mut Vec::new()).unwrap();
        encoders.take_back(first);
        let mut second = encoders.lend(coding, None).unwrap();
        let (body, mut out) = (text(5000, &mut entropy), Vec::new());
        second.feed(&body, &mut out).unwrap();
        second.finish(&mut out).unwrap();
        assert!(Decoder::new(coding).decode(&out) == body);
        encoders.take_back(second);
    }
    assert_eq!((encoders.lent, encoders.gzip.len(), encoders.zstd.len()), (0, 1, 1));
}

#[test]
fn no_more_are_lent_than_the_loop_may_have_and_no_more_are_kept_than_are_wanted() {
    let mut encoders = Encoders::default();
    let lent: Vec<_> =
        (0..limits::ENCODER_COUNT).map(|_| encoders.lend(Encoding::Gzip, None).unwrap()).collect();
    assert!(encoders.lend(Encoding::Zstd, None).is_none());
    assert!(encoders.lend(Encoding::Identity, None).is_none());
    lent.into_iter().for_each(|encoder| encoders.take_back(encoder));
    assert_eq!((encoders.lent, encoders.gzip.len()), (0, KEPT_COUNT));
    assert!(encoders.lend(Encoding::Zstd, None).is_some());
}

#[test]
fn a_body_that_breaks_its_promise_is_an_error_and_not_a_short_body() {
    let mut encoders = Encoders::default();
    let mut encoder = encoders.lend(Encoding::Zstd, Some(100)).unwrap();
    encoder.feed(b"short", &mut Vec::new()).unwrap();
    assert!(encoder.finish(&mut Vec::new()).is_err());
    let mut encoder = encoders.lend(Encoding::Br, None).unwrap();
    encoder.finish(&mut Vec::new()).unwrap();
    assert!(encoder.feed(b"more", &mut Vec::new()).is_err());
    assert!(encoder.finish(&mut Vec::new()).is_err());
}

#[test]
fn windows_are_small() {
    let mut entropy = Xoshiro::new(3);
    let body = text(2_000_000, &mut entropy);
    let mut encoders = Encoders::default();
    let mut encoder = encoders.lend(Encoding::Zstd, None).unwrap();
    encoder.feed(&body, &mut Vec::new()).unwrap();
    let Encoder::Zstd(context) = &encoder else { panic!("another coding") };
    assert!(context.sizeof() <= 2 << 20, "{} bytes", context.sizeof());
}

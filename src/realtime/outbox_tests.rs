use super::*;
use crate::entropy::{Entropy, Xoshiro};

const TAKEN: Pushed = Pushed::Taken { dropped: 0 };

fn frame(name: u32, length: usize) -> Frame {
    let mut bytes = vec![b'.'; length.max(4)];
    bytes[..4].copy_from_slice(&name.to_be_bytes());
    Frame::binary(&bytes)
}

fn names(outbox: &mut Outbox) -> Vec<u32> {
    let mut bytes: Vec<u8> = outbox.pieces().flatten().copied().collect();
    outbox.written(bytes.len());
    let mut names = Vec::new();
    while !bytes.is_empty() {
        let header = match bytes[1] {
            127 => 10,
            126 => 4,
            _ => 2,
        };
        let length = match bytes[1] {
            127 => u64::from_be_bytes(bytes[2..10].try_into().unwrap()) as usize,
            126 => usize::from(u16::from_be_bytes(bytes[2..4].try_into().unwrap())),
            short => usize::from(short),
        };
        if bytes[0] == 0x82 {
            names.push(u32::from_be_bytes(bytes[header..header + 4].try_into().unwrap()));
        }
        bytes.drain(..header + length);
    }
    names
}

/// Pushes frames of 64 KiB until one more does not fit: fifteen.
fn full(lossy: bool) -> Outbox {
    let mut outbox = Outbox::new();
    for name in 0..15 {
        assert_eq!(outbox.push(&frame(name, 64 * 1024), lossy), TAKEN);
    }
    outbox
}

#[test]
fn frames_are_shared_and_not_copied() {
    let shared = frame(1, 100);
    let (mut one, mut two) = (Outbox::new(), Outbox::new());
    assert_eq!((one.push(&shared, false), two.push(&shared, false)), (TAKEN, TAKEN));
    let address = |outbox: &Outbox| outbox.pieces().next().map(<[u8]>::as_ptr);
    assert_eq!(address(&one), address(&two));
    assert_eq!(address(&one), Some(shared.as_bytes().as_ptr()));
}

#[test]
fn what_is_written_partly_goes_on_where_it_stopped() {
    let mut outbox = Outbox::new();
    assert_eq!(
        (outbox.push(&Frame::text("abc"), false), outbox.push(&Frame::text("de"), false)),
        (TAKEN, TAKEN)
    );
    let rest = |outbox: &Outbox| outbox.pieces().flatten().copied().collect::<Vec<_>>();
    outbox.written(3);
    assert_eq!(rest(&outbox), b"bc\x81\x02de");
    assert_eq!(outbox.byte_count(), 6);
    outbox.written(2);
    assert_eq!(rest(&outbox), b"\x81\x02de");
    outbox.written(4);
    assert!(outbox.is_empty() && !outbox.is_finished());
}

#[test]
fn a_slow_client_is_told_from_a_lossy_one() {
    let mut outbox = full(false);
    assert_eq!(outbox.push(&frame(15, 64 * 1024), false), Pushed::Slow);
    assert_eq!(outbox.push(&frame(15, 64 * 1024), true), Pushed::Dropped);
    assert_eq!(outbox.push(&frame(15, 60), false), TAKEN, "a small one fits");
    assert_eq!(names(&mut outbox), (0..16).collect::<Vec<_>>());
    let mut outbox = full(true);
    assert_eq!(outbox.push(&frame(15, 64 * 1024), true), Pushed::Taken { dropped: 1 });
    assert_eq!(outbox.push(&frame(16, 128 * 1024), false), Pushed::Taken { dropped: 2 });
    assert_eq!(names(&mut outbox), (3..17).collect::<Vec<_>>());
}

#[test]
fn a_frame_that_is_partly_written_is_never_dropped() {
    let mut outbox = full(true);
    outbox.written(1);
    assert_eq!(outbox.push(&frame(15, 64 * 1024), true), Pushed::Taken { dropped: 1 });
    outbox.written(frame(0, 64 * 1024).byte_count() - 1);
    assert_eq!(names(&mut outbox), (2..16).collect::<Vec<_>>());
    // Even when everything else would have to go.
    let mut outbox = Outbox::new();
    assert_eq!(outbox.push(&frame(1, 1000), true), TAKEN);
    outbox.written(1);
    assert_eq!(outbox.push(&frame(2, OUTBOX_BYTES - 1000), true), Pushed::Dropped);
}

#[test]
fn nothing_is_dropped_in_vain() {
    let mut outbox = Outbox::new();
    assert_eq!(outbox.push(&frame(1, 600_000), false), TAKEN);
    assert_eq!(outbox.push(&frame(2, 100_000), true), TAKEN);
    assert_eq!(outbox.push(&frame(3, 600_000), true), Pushed::Dropped);
    assert_eq!(outbox.push(&frame(4, 600_000), false), Pushed::Slow);
    assert_eq!(names(&mut outbox), [1, 2]);
}

#[test]
fn alone_a_frame_may_be_of_any_size() {
    let mut outbox = Outbox::new();
    assert_eq!(outbox.push(&frame(1, 2 * OUTBOX_BYTES), false), TAKEN);
    assert_eq!(outbox.push(&frame(2, 1), false), Pushed::Slow);
    assert_eq!(names(&mut outbox), [1]);
    assert_eq!(outbox.push(&frame(2, 1), false), TAKEN);
}

#[test]
fn what_was_missed_does_not_count() {
    let mut outbox = Outbox::new();
    for name in 0..4 {
        assert!(outbox.push_missed(&frame(name, OUTBOX_BYTES)));
    }
    assert_eq!(outbox.push(&frame(4, OUTBOX_BYTES), false), TAKEN);
    assert_eq!(outbox.push(&frame(5, 1), false), Pushed::Slow);
    assert_eq!(names(&mut outbox), [0, 1, 2, 3, 4]);
}

#[test]
fn nothing_comes_after_a_close() {
    let mut outbox = Outbox::new();
    assert_eq!(outbox.push(&frame(1, 1), false), TAKEN);
    outbox.close(Frame::close(1000, ""));
    assert_eq!(outbox.push(&frame(2, 1), false), Pushed::Closing);
    assert!(!outbox.push_missed(&frame(3, 1)));
    let before = outbox.byte_count();
    outbox.close(Frame::close(1001, ""));
    outbox.fail(Frame::close(1013, ""));
    assert_eq!(outbox.byte_count(), before);
    assert!(!outbox.is_finished());
    assert_eq!(names(&mut outbox), [1]);
    assert!(outbox.is_finished());
}

#[test]
fn a_failure_keeps_what_is_partly_written_alone() {
    let close = Frame::close(1013, "slow");
    let mut outbox = full(false);
    outbox.fail(close.clone());
    assert_eq!(outbox.pieces().collect::<Vec<_>>(), [close.as_bytes()]);
    let mut outbox = full(false);
    outbox.written(frame(0, 64 * 1024).byte_count() + 7);
    outbox.fail(close.clone());
    let first = frame(1, 64 * 1024);
    assert_eq!(outbox.pieces().collect::<Vec<_>>(), [&first.as_bytes()[7..], close.as_bytes()]);
    assert!(outbox.is_closing());
}

#[test]
fn many_small_frames_are_bounded_too_and_an_empty_outbox_keeps_nothing() {
    let mut outbox = Outbox::new();
    let mut count = 0;
    while outbox.push(&Frame::text(""), false) == TAKEN {
        count += 1;
    }
    assert!(count * size_of::<Piece>() <= OUTBOX_BYTES, "{count} frames");
    outbox.check_invariants();
    outbox.written(outbox.byte_count());
    assert_eq!(outbox.pieces.capacity(), 0);
    assert!(size_of::<Outbox>() <= 64 && size_of::<Piece>() <= 24);
}

#[test]
fn behaves_like_a_list_that_is_searched() {
    for seed in 0..60 {
        let mut random = Xoshiro::new(seed);
        let mut outbox = Outbox::new();
        let mut model: VecDeque<(Frame, Sort)> = VecDeque::new();
        let mut begun = 0;
        for name in 0..300 {
            let lengths = [4, 60_000, 300_000, 1_100_000];
            let length = lengths[random.below(4).min(random.below(4)) as usize];
            let weigh = |frame: &Frame| frame.byte_count() + size_of::<Piece>();
            match random.below(8) {
                0..=4 => {
                    let frame = frame(name, length);
                    let lossy = random.below(3) > 0;
                    let total = |model: &VecDeque<(Frame, Sort)>| -> usize {
                        model
                            .iter()
                            .filter(|(_, sort)| *sort != Sort::Free)
                            .map(|(f, _)| weigh(f))
                            .sum()
                    };
                    let fits = |taken| taken == 0 || taken + weigh(&frame) <= OUTBOX_BYTES;
                    let mut tried = model.clone();
                    let mut dropped = 0;
                    while !fits(total(&tried)) {
                        let skip = usize::from(begun > 0);
                        let oldest = (skip..tried.len()).find(|at| tried[*at].1 == Sort::Lossy);
                        let Some(oldest) = oldest else { break };
                        tried.remove(oldest);
                        dropped += 1;
                    }
                    let said = outbox.push(&frame, lossy);
                    if fits(total(&tried)) {
                        assert_eq!(said, Pushed::Taken { dropped });
                        tried.push_back((frame, if lossy { Sort::Lossy } else { Sort::Kept }));
                        model = tried;
                    } else {
                        assert_eq!(said, if lossy { Pushed::Dropped } else { Pushed::Slow });
                    }
                }
                5 => {
                    let frame = frame(name, length);
                    assert!(outbox.push_missed(&frame));
                    model.push_back((frame, Sort::Free));
                }
                _ => {
                    let count = random.below(outbox.byte_count() as u64 + 1) as usize;
                    let count = if random.below(2) == 0 { count } else { count.min(70_000) };
                    outbox.written(count);
                    begun += count;
                    while let Some((first, _)) = model.front()
                        && first.byte_count() <= begun
                    {
                        begun -= first.byte_count();
                        model.pop_front();
                    }
                }
            }
            outbox.check_invariants();
            let expected: Vec<&[u8]> = model.iter().map(|(frame, _)| frame.as_bytes()).collect();
            let mut pieces: Vec<&[u8]> = outbox.pieces().collect();
            if let (Some(first), Some(whole)) = (pieces.first_mut(), expected.first()) {
                assert_eq!(*first, &whole[begun..]);
                *first = whole;
            }
            assert!(pieces == expected, "seed {seed}");
        }
    }
}

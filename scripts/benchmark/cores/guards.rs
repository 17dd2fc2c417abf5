//! What every request passes: its limit, its name, its deadlines.

use crate::Core;
use rip::entropy::Xoshiro;
use rip::guard::phase::{Deadlines, Phase};
use rip::guard::rate::{Rates, Verdict};
use rip::guard::request_id::RequestId;
use rip::time::Instant;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

pub fn cores() -> Vec<Core> {
    let mut cores = Vec::new();
    for clients in [1_u32, 10_000] {
        let mut rates = Rates::new(1_000_000, Duration::from_secs(60));
        let address = |number: u32| IpAddr::V4(Ipv4Addr::from(number));
        for number in 0..clients {
            rates.check(address(number), Instant::from_millis(1));
        }
        let mut turn = 0_u32;
        cores.push(Core::new("guard", format!("rate limit, {clients} clients"), move || {
            turn += 1;
            let client = address(turn.wrapping_mul(2_654_435_769) % clients);
            let verdict = rates.check(client, Instant::from_millis(u64::from(turn)));
            assert!(matches!(black_box(verdict), Verdict::Allowed { .. }));
        }));
    }
    let mut random = Xoshiro::new(1);
    cores.push(Core::new("guard", "a new request id", move || {
        black_box(RequestId::new(None, &mut random));
    }));
    let mut random = Xoshiro::new(1);
    cores.push(Core::new("guard", "a client's own request id, 36 bytes", move || {
        let own = black_box(&b"4bf92f35-77b3-4da6-a3ce-929d0e0e4736"[..]);
        black_box(RequestId::new(Some(own), &mut random));
    }));
    let mut deadlines = Deadlines::new();
    cores.push(Core::new("guard", "set, look up and clear a deadline", move || {
        deadlines.set(Phase::Write, black_box(Instant::from_millis(5)));
        black_box((deadlines.next(), deadlines.expired(Instant::from_millis(4))));
        deadlines.clear(Phase::Write);
    }));
    cores
}

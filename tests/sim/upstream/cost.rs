//! What the use of an upstream costs: no allocation.

use rip::entropy::Xoshiro;
use rip::http1::Method;
use rip::time::Instant;
use rip::upstream::{Choice, Failure, Outcome, Upstream, UpstreamSettings};

#[test]
fn a_request_allocates_nothing() {
    let targets = ["http://a", "http://b", "http://c"].map(Into::into).to_vec();
    let settings = UpstreamSettings { targets, check: None, attempts: 2 };
    let mut upstream = Upstream::new(settings, Instant::from_millis(0));
    let mut random = Xoshiro::new(1);
    let allocated = allocation_counter::measure(|| {
        for millis in 0..10_000 {
            let now = Instant::from_millis(millis);
            let mut tries = upstream.tries();
            let mut choose = |upstream: &mut Upstream| match upstream.choose(&mut tries, now) {
                Choice::Target(claim) => claim,
                Choice::NoneHealthy => panic!("everybody is well"),
            };
            let claim = choose(&mut upstream);
            if millis % 10 < 9 {
                upstream.end(claim, Outcome::Finished, &mut random, now);
                continue;
            }
            upstream.end(claim, Outcome::Failed, &mut random, now);
            let again = choose(&mut upstream);
            upstream.end(again, Outcome::Finished, &mut random, now);
            assert!(!tries.failed(Failure::Connect, Method::Get, true, false));
            assert!(upstream.poll_output().is_none());
        }
    });
    assert_eq!(allocated.count_total, 0);
}

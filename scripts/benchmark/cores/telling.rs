//! What is told of a request that has ended.

use crate::Core;
use rip::ids::WorkerId;
use rip::observe::access::Access;
use rip::observe::note::{Entry, Trail};
use rip::observe::notes::Notes;
use rip::observe::timings::bucket_of;
use rip::time::UnixMillis;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

pub fn cores() -> Vec<Core> {
    let mut out = Vec::with_capacity(1000);
    let mut json = out.clone();
    let mut cores = vec![
        Core::new("observe", "an access line in JSON", move || {
            json.clear();
            black_box(&access()).write_json(&mut json);
            black_box(&mut json);
        }),
        Core::new("observe", "an access line for people", move || {
            out.clear();
            black_box(&access()).write_human(&mut out);
            black_box(&mut out);
        }),
    ];
    let (mut notes, trail) = (Notes::default(), Trail::default());
    cores.push(Core::new("observe", "note a request", move || {
        let entry = Entry {
            at: UnixMillis(1_700_000_000_123),
            method: b"GET",
            target: b"/users/42?tab=all",
            host: b"api.example.com",
            app: b"api",
            client: Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))),
            status: 200,
            bytes_out: 1234,
            worker: Some(WorkerId(3)),
            total: Duration::from_micros(4400),
            ..Entry::of(b"req-a8f3b2c1d4e5", &trail)
        };
        notes.push(black_box(&entry));
    }));
    cores.push(Core::new("observe", "the bucket of a duration", || {
        black_box(bucket_of(black_box(Duration::from_micros(4400))));
    }));
    cores
}

fn access() -> Access<'static> {
    Access {
        at: UnixMillis(1_700_000_000_123),
        request_id: b"req-a8f3b2c1d4e5",
        client_ip: b"192.0.2.1",
        host: b"api.example.com",
        app: "api",
        worker: Some(WorkerId(3)),
        method: b"GET",
        path: b"/users/42?tab=all",
        status: 200,
        total: Duration::from_micros(4400),
        queued: Some(Duration::from_micros(12)),
        served: Some(Duration::from_micros(4300)),
        content_type: b"application/json",
        bytes_in: 0,
        bytes_out: 1234,
        mark: None,
        reason: None,
    }
}

//! What it costs to tell many, and what an idle client takes.

use rip::contract::realtime::HistoryRule;
use rip::entropy::Xoshiro;
use rip::ids::LoopIndex;
use rip::realtime::bucket::Bucket;
use rip::realtime::lane::{Accepted, Lane, Post};
use rip::realtime::outbox::{Outbox, Pushed};
use rip::realtime::pulse::Pulse;
use rip::realtime::{ClientId, Deed, Frame, Hub, HubSettings, Item, Letter, Roll, instruct};
use rip::time::Instant;
use std::time::Duration;

/// One loop with so many members of `/kept/room`.
struct Room {
    hub: Hub,
    roll: Roll,
}

impl Room {
    fn new(member_count: u64) -> Self {
        let rule =
            HistoryRule { pattern: "/kept/*".into(), messages: 10, ttl: Duration::from_secs(9) };
        let hub = Hub::new(&HubSettings { history: vec![rule], lossy: Vec::new() }, 1);
        let mut room = Self { hub, roll: Roll::new() };
        let mut random = Xoshiro::new(7);
        for key in 0..member_count {
            let client = ClientId::mint(&mut random);
            room.roll.enter(client, key);
            let mut mail = Vec::new();
            let mut post = |_, letter| mail.push(letter);
            let item = item(r#"{"+":["/kept/room"]}"#);
            room.hub.open(client, LoopIndex(0), vec![item], &[], NOW, &mut post);
            for letter in mail {
                room.roll.apply(&letter, &mut |_, _| true);
            }
        }
        room
    }

    fn say(&mut self, words: &str) -> Letter {
        let mut mail = Vec::new();
        self.hub.apply(item(words), None, None, NOW, &mut |_, letter| mail.push(letter));
        if let Some(settled) = self.roll.take_settled() {
            self.hub.settle(LoopIndex(0), settled);
        }
        mail.remove(0)
    }
}

#[test]
fn telling_many_allocates_no_more_than_telling_few() {
    let counts = [10, 1000].map(|member_count| {
        let mut room = Room::new(member_count);
        let mut told = 0;
        let warm = room.say(WORDS);
        room.roll.apply(&warm, &mut |_, _| true);
        let letter = room.say(WORDS);
        let allocated = allocation_counter::measure(|| {
            room.roll.apply(&letter, &mut |_, deed| {
                told += u64::from(matches!(deed, Deed::Send { .. }));
                true
            });
        });
        assert_eq!(told, member_count);
        allocated.count_total
    });
    assert_eq!(counts[0], counts[1]);
    assert!(counts[0] <= 3, "{} allocations", counts[0]);
}

#[test]
fn an_idle_client_takes_little() {
    const COUNT: u64 = 10_000;
    let mut room = None;
    let allocated = allocation_counter::measure(|| room = Some(Room::new(COUNT)));
    let each = allocated.bytes_current / COUNT as i64;
    let own = size_of::<Lane>() + size_of::<Outbox>() + size_of::<Bucket>() + size_of::<Pulse>();
    println!("on hub and roll {each} bytes, of its own {own}");
    assert!(each <= 320, "{each} bytes on hub and roll");
    assert!(own <= 200, "{own} bytes");
    // Once it is idle again it keeps nothing.
    let mut client = None;
    let allocated = allocation_counter::measure(|| {
        let (mut lane, mut outbox) = (Lane::new(), Outbox::new());
        lane.opened();
        for _ in 0..50 {
            assert_eq!(lane.message(Post::Text(vec![b'x'; 1000])), Accepted::Yes);
            let frame = Frame::binary(&[0; 1000]);
            assert_eq!(outbox.push(&frame, false), Pushed::Taken { dropped: 0 });
        }
        while lane.next_post().is_some() {
            lane.answered();
        }
        outbox.written(outbox.byte_count());
        client = Some((lane, outbox));
    });
    assert_eq!(allocated.bytes_current, 0);
    drop((room, client));
}

#[cfg(not(debug_assertions))]
#[test]
#[allow(clippy::disallowed_methods, reason = "a measurement needs a clock")]
fn telling_one_member_takes_nanoseconds() {
    let nanos = [100, 10_000].map(|member_count| {
        let mut room = Room::new(member_count);
        let once = |room: &mut Room| {
            let letter = room.say(WORDS);
            let mut told = 0_u64;
            let began = std::time::Instant::now();
            room.roll.apply(&letter, &mut |key, _| {
                told += std::hint::black_box(key) & 1;
                true
            });
            std::hint::black_box(told);
            began.elapsed().as_nanos() as u64 / member_count
        };
        (0..50).map(|_| once(&mut room)).min().unwrap_or(u64::MAX)
    });
    println!("one of 100 takes {} ns, one of 10 000 {} ns", nanos[0], nanos[1]);
    // Far above what is measured: it catches a search, not a busy machine.
    assert!(nanos[1] < 500, "{nanos:?}");
}

fn item(words: &str) -> Item {
    instruct::parse(words.as_bytes()).expect("JSON").remove(0).expect("an item")
}

const WORDS: &str = r#"{"@":["/kept/room"],"text":"hello, everybody"}"#;
const NOW: Instant = Instant::from_millis(1000);

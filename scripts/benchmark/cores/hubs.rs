//! WebSocket clients: who is told what.

use crate::Core;
use rip::entropy::Xoshiro;
use rip::ids::LoopIndex;
use rip::realtime::outbox::{Outbox, Pushed};
use rip::realtime::{ClientId, Deed, Frame, Hub, HubSettings, Item, Letter, Roll, instruct};
use rip::time::Instant;
use std::hint::black_box;

const WORDS: &str =
    r#"{"@":["/room"],"text":"sixty-four bytes of what one of them said to everybody."}"#;
const JOIN: &str = r#"{"+":["/room"]}"#;
const LEAVE: &str = r#"{"-":["/room"]}"#;
const NOW: Instant = Instant::from_millis(1000);

pub fn cores() -> Vec<Core> {
    let mut cores = vec![Core::new("realtime", "read an instruction", || {
        black_box(item(WORDS));
    })];
    for members in [1, 100] {
        let mut room = Room::new(members);
        let name = format!("publish to {members}, from the instruction to each outbox");
        cores.push(Core::new("realtime", name, move || room.say(WORDS)));
    }
    let mut room = Room::new(100);
    let client = room.newcomer;
    cores.push(Core::new("realtime", "join a group of 100, and leave it", move || {
        room.order(JOIN, Some(client));
        room.order(LEAVE, Some(client));
    }));
    cores
}

/// One loop with so many members of `/room`, and one client more.
struct Room {
    hub: Hub,
    roll: Roll,
    outboxes: Vec<Outbox>,
    letters: Vec<Letter>,
    newcomer: ClientId,
}

impl Room {
    fn new(members: u64) -> Self {
        let mut random = Xoshiro::new(7);
        let newcomer = ClientId::mint(&mut random);
        let mut room = Self {
            hub: Hub::new(&HubSettings::default(), 1),
            roll: Roll::new(),
            outboxes: (0..=members).map(|_| Outbox::new()).collect(),
            letters: Vec::new(),
            newcomer,
        };
        for key in 0..members {
            room.enter(ClientId::mint(&mut random), key, vec![item(JOIN)]);
        }
        room.enter(newcomer, members, Vec::new());
        room
    }

    fn enter(&mut self, client: ClientId, key: u64, items: Vec<Item>) {
        self.roll.enter(client, key);
        let letters = &mut self.letters;
        let mut post = |_, letter| letters.push(letter);
        self.hub.open(client, LoopIndex(0), items, &[], NOW, &mut post);
        self.deliver();
    }

    fn say(&mut self, words: &str) {
        self.order(words, None);
    }

    fn order(&mut self, words: &str, origin: Option<ClientId>) {
        let letters = &mut self.letters;
        let mut post = |_, letter| letters.push(letter);
        self.hub.apply(item(words), origin, None, NOW, &mut post);
        self.deliver();
    }

    /// What the loop does: each frame goes to its outbox and, where there is room, out.
    fn deliver(&mut self) {
        for letter in self.letters.drain(..) {
            let outboxes = &mut self.outboxes;
            self.roll.apply(&letter, &mut |key, deed| {
                let Deed::Send { frame, is_lossy, .. } = deed else { return false };
                take(&mut outboxes[key as usize], frame, is_lossy)
            });
        }
        if let Some(settled) = self.roll.take_settled() {
            self.hub.settle(LoopIndex(0), settled);
        }
    }
}

fn take(outbox: &mut Outbox, frame: &Frame, is_lossy: bool) -> bool {
    let pushed = outbox.push(frame, is_lossy);
    black_box(outbox.pieces().map(<[u8]>::len).sum::<usize>());
    outbox.written(outbox.byte_count());
    matches!(pushed, Pushed::Taken { .. })
}

fn item(words: &str) -> Item {
    instruct::parse(black_box(words).as_bytes()).expect("JSON").remove(0).expect("an item")
}

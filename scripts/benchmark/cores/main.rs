//! The pure cores, each doing its work again and again: what `scripts/bench cores` runs under
//! callgrind, which counts instructions while [`counted`] runs. What is printed here is the rest of that
//! table: room, name, how often each core did its work meanwhile, and how often it asked for memory.
//! Arguments are words that the room or the name contains; without any it is all cores.

#![allow(clippy::disallowed_methods, reason = "it says what it does")]

mod guards;
mod hubs;
mod messages;
mod pools;
mod routes;
mod sessions;
mod telling;

/// How often each core does its work while instructions are counted.
const TURNS: u64 = 1000;
/// How often before: room is made then, and what is done for the first time.
const WARM_TURNS: u64 = 2000;

/// One piece of work that can be done any number of times.
pub struct Core {
    room: &'static str,
    name: String,
    turn: Box<dyn FnMut()>,
}

impl Core {
    /// The work `turn` of the room `room`.
    pub fn new(room: &'static str, name: impl Into<String>, turn: impl FnMut() + 'static) -> Self {
        Self { room, name: name.into(), turn: Box::new(turn) }
    }
}

fn main() {
    // The first one does nothing: what it costs is in all the others as well.
    let mut cores = vec![Core::new("", "nothing", || {})];
    cores.extend(messages::cores());
    cores.extend(routes::cores());
    cores.extend(pools::cores());
    cores.extend(guards::cores());
    cores.extend(telling::cores());
    cores.extend(hubs::cores());
    cores.extend(sessions::cores());
    let words: Vec<String> = std::env::args().skip(1).collect();
    let is_wanted = |core: &Core| {
        let is_in = |word: &String| core.room == word || core.name.contains(word.as_str());
        core.room.is_empty() || words.is_empty() || words.iter().any(is_in)
    };
    for Core { room, name, mut turn } in cores.into_iter().filter(is_wanted) {
        (0..WARM_TURNS).for_each(|_| turn());
        let asked = allocation_counter::measure(|| (0..TURNS).for_each(|_| turn())).count_total;
        counted(&mut turn);
        ended();
        println!("{room}\t{name}\t{TURNS}\t{asked}");
    }
}

/// Callgrind counts while this runs.
#[inline(never)]
fn counted(turn: &mut dyn FnMut()) {
    for _ in 0..TURNS {
        turn();
    }
}

/// Callgrind writes down what it counted when this is called, and starts anew.
#[inline(never)]
fn ended() {
    std::hint::black_box(());
}

//! `ctl top`: what a running master does, as it does it.
//!
//! Each second its report is asked for and drawn (top/frame.rs), on a screen of its own where there is a
//! terminal (top/screen.rs); elsewhere once.

mod frame;
mod screen;

use super::args::Top;
use super::client::{Reply, ask};
use super::ctl::{accepted, say, understood};
use super::exit::{Exit, Failure};
use super::masters::{self, Master};
use super::table::Paint;
use crate::sys::terminal;
use frame::{Sort, View, frame};
use rip::observe::report::Report;
use screen::{Input, Screen};
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

/// Shows it.
///
/// # Errors
/// No master, or one that does not answer any more.
pub fn top(flags: &Top) -> Result<Exit, Failure> {
    let master = masters::select(flags.ask.name.as_deref())?;
    let reply = report(&master, flags.ask.timeout)?;
    if flags.ask.json {
        return say(&reply.body);
    }
    let first: Report = understood(&reply)?;
    let is_seen = io::stdout().is_terminal() && io::stdin().is_terminal();
    let paint = Paint::for_stdout();
    if flags.once || !is_seen {
        let (sort, width) = (Sort::Id, usize::MAX);
        let view = View { width, height: usize::MAX, sort, paint, has_keys: false };
        return say(&frame(&first, None, &master.name, &view).join("\n"));
    }
    let screen = Screen::open().map_err(|error| lost(&error))?;
    watch(screen, &master, first, paint, flags.ask.timeout)
}

fn watch(
    mut screen: Screen,
    master: &Master,
    first: Report,
    paint: Paint,
    timeout: Duration,
) -> Result<Exit, Failure> {
    let (mut now, mut before) = (first, None);
    let mut sort = Sort::default();
    let mut due = Instant::now() + INTERVAL;
    loop {
        let (width, height) = terminal::size().unwrap_or(USUAL);
        let (width, height) = (usize::from(width), usize::from(height));
        let view = View { width, height, sort, paint, has_keys: true };
        let lines = frame(&now, before.as_ref(), &master.name, &view);
        screen.show(&lines).map_err(|error| lost(&error))?;
        let left = due.saturating_duration_since(Instant::now());
        match screen.wait(left).map_err(|error| lost(&error))? {
            Input::End | Input::Key(b'q' | b'Q' | CTRL_C | CTRL_D) => return Ok(Exit::Done),
            Input::Key(key) => sort = Sort::of_key(key).unwrap_or(sort),
            Input::Nothing => {}
        }
        if Instant::now() >= due {
            due = Instant::now() + INTERVAL;
            let next = understood(&report(master, timeout)?)?;
            before = Some(std::mem::replace(&mut now, next));
        }
    }
}

fn report(master: &Master, timeout: Duration) -> Result<Reply, Failure> {
    let deadline = Instant::now() + timeout;
    accepted(ask(&master.control_socket(), "GET", "/diagnostics", None, deadline)?)
}

fn lost(error: &io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("the terminal cannot be used: {error}"))
        .tip("--once prints what it would show, once")
}

/// Between two reports.
const INTERVAL: Duration = Duration::from_secs(1);
/// Of a terminal that does not say how large it is.
const USUAL: (u16, u16) = (80, 24);
const CTRL_C: u8 = 3;
const CTRL_D: u8 = 4;

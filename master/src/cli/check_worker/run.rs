//! Carrying out the steps of a case.

use super::case::{Answer, Mismatch, Step};
use super::wire::Wire;
use rip::limits;
use std::collections::BTreeMap;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// Where and how a server is asked.
pub struct Runner<'a> {
    /// Its socket.
    pub socket: &'a Path,
    /// A connection may carry several requests.
    pub keep_alive: bool,
    /// For each answer.
    pub patience: Duration,
}

impl Runner<'_> {
    /// Does what `steps` say. Returns the last answer.
    ///
    /// # Errors
    /// The first thing that is not as it must be.
    pub fn run(&self, steps: &[Step]) -> Result<Answer, Mismatch> {
        let mut wires = BTreeMap::new();
        let mut last = Answer::default();
        for step in steps {
            self.step(step, &mut wires, &mut last)?;
        }
        Ok(last)
    }

    fn step(
        &self,
        step: &Step,
        wires: &mut BTreeMap<usize, Wire>,
        last: &mut Answer,
    ) -> Result<(), Mismatch> {
        match step {
            Step::Send(on, bytes) => self.wire(wires, *on)?.send(bytes),
            Step::Answer(on, wanted) => {
                *last = self.wire(wires, *on)?.answer(wanted, self.patience)?;
            }
            Step::Next(on) => {
                let stays = wires.get(on).is_some_and(|wire| wire.reusable);
                if !stays || !self.keep_alive {
                    wires.remove(on);
                }
                self.wire(wires, *on)?;
            }
            Step::Quiet(on, time) => self.wire(wires, *on)?.quiet(*time, false)?,
            Step::Stays(on, time) => self.wire(wires, *on)?.quiet(*time, true)?,
            Step::End(on) => self.wire(wires, *on)?.end(self.patience)?,
            Step::Abandon(on) => self.wire(wires, *on)?.abandon(limits::ABANDON_GRACE),
            Step::Drop(on) => drop(wires.remove(on)),
            Step::Pause(time) => {
                let until = Instant::now() + *time;
                for wire in wires.values_mut() {
                    wire.flush(until);
                }
                thread::sleep(until.saturating_duration_since(Instant::now()));
            }
        }
        Ok(())
    }

    fn wire<'w>(
        &self,
        wires: &'w mut BTreeMap<usize, Wire>,
        on: usize,
    ) -> Result<&'w mut Wire, Mismatch> {
        use std::collections::btree_map::Entry;
        match wires.entry(on) {
            Entry::Occupied(wire) => Ok(wire.into_mut()),
            Entry::Vacant(place) => Ok(place.insert(Wire::open(self.socket)?)),
        }
    }
}

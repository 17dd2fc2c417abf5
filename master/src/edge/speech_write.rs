//! What a client is told, on its way to the kernel; and signs of life.

use super::speech::{Speaker, Stage};
use super::turn::Edge;
use crate::reactor::outbox::Flush;
use crate::reactor::slab::Key;
use rip::guard::phase::Phase;
use rip::realtime::Frame;
use rip::realtime::pulse::Beat;
use std::io::{self, IoSlice};

/// How writing went.
enum Written {
    /// The kernel has everything.
    All,
    /// It takes no more now.
    Some,
    /// The connection is gone.
    Gone,
}

impl Edge {
    /// Writes what the kernel takes of what a client is told. False when its connection is gone.
    pub(super) fn flush_speech(&mut self, front_key: Key, speaker: Speaker) -> bool {
        loop {
            match self.write_speech(front_key, speaker) {
                Written::All => {}
                Written::Some => return true,
                Written::Gone => return false,
            }
            // Who reads at its own speed gets more when it has taken everything.
            let Speaker::Talk(key) = speaker else { break };
            if !self.refill_talk(key) {
                break;
            }
        }
        let Some(speech) = self.speech(speaker) else { return true };
        if speech.stage == (Stage::Closing { heard: true }) && speech.outbox.is_finished() {
            self.end_speech(front_key, speaker);
        }
        true
    }

    fn write_speech(&mut self, front_key: Key, speaker: Speaker) -> Written {
        let now = self.clock.now();
        let Some(front) = self.fronts.get_mut(front_key) else { return Written::Gone };
        let speech = match speaker {
            Speaker::Client(key) => self.sockets.slab.get_mut(key).map(|found| &mut found.speech),
            Speaker::Talk(key) => self.sessions.talks.get_mut(key).map(|found| &mut found.speech),
        };
        let Some(speech) = speech else { return Written::Some };
        let mut has_moved = false;
        let mut result = Ok(Flush::Done);
        while !speech.outbox.is_empty() {
            let mut pieces = [IoSlice::new(&[]); PIECES];
            let mut count = 0;
            for (slot, piece) in pieces.iter_mut().zip(speech.outbox.pieces()) {
                *slot = IoSlice::new(piece);
                count += 1;
            }
            match front.transport.write_pieces(&pieces[..count], &mut self.tls) {
                Ok(0) => break,
                Ok(count) => {
                    speech.outbox.written(count);
                    has_moved = true;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    result = Ok(Flush::Blocked);
                    break;
                }
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        if matches!(result, Ok(Flush::Done)) && front.transport.unsent() > 0 {
            result = front.transport.flush(&mut front.output, &mut self.tls);
        }
        match result {
            Ok(Flush::Done) => {
                front.deadlines.clear(Phase::Write);
                Written::All
            }
            Ok(Flush::Blocked) => {
                if has_moved || front.deadlines.at(Phase::Write).is_none() {
                    let at = now + self.phases().write;
                    self.front_deadline(front_key, Phase::Write, at);
                }
                Written::Some
            }
            Err(_) => {
                self.close_front(front_key);
                Written::Gone
            }
        }
    }

    /// It is time for a sign of life, or for none having come; or, once it was closed, or the server
    /// drains, for its end.
    pub(super) fn pulse(&mut self, front_key: Key, speaker: Speaker) {
        let now = self.clock.now();
        if let Speaker::Client(key) = speaker
            && self.sockets.slab.get(key).is_some_and(|socket| socket.view.is_some())
        {
            return self.view_pulse(front_key, key);
        }
        let Some(speech) = self.speech(speaker) else { return };
        match speech.stage {
            Stage::Closing { .. } | Stage::Gone => return self.close_front(front_key),
            Stage::Opening => return,
            Stage::Open => {}
        }
        if let Some(drain) = &self.drain {
            let (code, reason) = match drain.is_succeeded {
                true => (SERVICE_RESTART, "the server is replaced: connect again"),
                false => (GOING_AWAY, "the server is stopping"),
            };
            match speaker {
                Speaker::Client(_) => self.close_speaker(speaker, code, reason),
                Speaker::Talk(key) => self.drain_talk(key),
            }
        }
        let Some(speech) = self.speech(speaker).filter(|speech| speech.stage == Stage::Open) else {
            self.flush_front(front_key);
            return;
        };
        match speech.pulse.beat(now) {
            Some(Beat::Dead) => return self.close_front(front_key),
            Some(Beat::Ping) => {
                // One that has no room for it is found out by what filled it.
                let _ = speech.outbox.push(&Frame::ping(b""), false);
            }
            None => {}
        }
        let next = speech.pulse.next();
        self.front_deadline(front_key, Phase::Idle, next);
        self.flush_front(front_key);
    }
}

/// RFC 6455 §7.4.1.
pub(super) const GOING_AWAY: u16 = 1001;
/// From the IANA registry of close codes: connect again.
pub(super) const SERVICE_RESTART: u16 = 1012;
/// Frames written at once.
const PIECES: usize = 16;

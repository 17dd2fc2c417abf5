//! What a client says over its connection.

use super::frames::Heard;
use super::front::Front;
use super::speech::{Speaker, Stage};
use super::turn::Edge;
use crate::reactor::buffers::Buffer;
use crate::reactor::slab::Key;
use rip::guard::phase::Phase;
use rip::realtime::Frame;
use rip::realtime::lane::Post;

impl Edge {
    /// Takes in what was read of a client's connection. True when it wants more.
    pub(super) fn hear(&mut self, front_key: Key, speaker: Speaker, input: &mut Buffer) -> bool {
        let now = self.clock.now();
        loop {
            if self.fronts.get(front_key).is_none_or(Front::is_behind) {
                return false;
            }
            let Some(speech) = self.speech(speaker) else { return false };
            let is_open = match speech.stage {
                // Its words have to wait for the app's.
                Stage::Opening | Stage::Gone => return false,
                Stage::Open => true,
                Stage::Closing { heard: false } => false,
                Stage::Closing { heard: true } => {
                    input.consume(input.len());
                    return false;
                }
            };
            if self.only_reads(speaker) {
                input.consume(input.len());
                return true;
            }
            if is_open && self.has_to_wait(speaker) {
                return false;
            }
            let Some(speech) = self.speech(speaker) else { return false };
            if !input.is_empty() {
                speech.pulse.heard(now);
            }
            match speech.read(input) {
                Ok(None) => {
                    // It is not ahead of its app any more.
                    if let Some(front) = self.fronts.get_mut(front_key) {
                        front.deadlines.clear(Phase::Queue);
                    }
                    return true;
                }
                Ok(Some(Heard::Close { code, reason })) => {
                    self.client_closes(speaker, code, &reason);
                }
                Err(violation) => self.break_off(speaker, violation.code, &violation.what),
                Ok(Some(_)) if !is_open => {}
                Ok(Some(Heard::Ping(bytes))) => {
                    // One that has no room for it is found out by what filled it.
                    let _ = speech.outbox.push(&Frame::pong(&bytes), false);
                }
                Ok(Some(Heard::Pong)) => {}
                Ok(Some(Heard::Text(text))) => match speaker {
                    Speaker::Client(key) => self.take_message(key, Post::Text(text)),
                    Speaker::Talk(key) => self.talk_said(key, &text),
                },
                Ok(Some(Heard::Binary(bytes))) => match speaker {
                    Speaker::Client(key) => self.take_message(key, Post::Binary(bytes)),
                    Speaker::Talk(_) => self.close_speaker(speaker, 1003, "text only"),
                },
            }
        }
    }

    /// It is no WebSocket, but reads a group.
    fn only_reads(&self, speaker: Speaker) -> bool {
        let Speaker::Client(key) = speaker else { return false };
        self.sockets.slab.get(key).is_some_and(|socket| socket.view.is_some())
    }

    /// What it said last is not taken yet: nothing more is read before it is.
    fn has_to_wait(&mut self, speaker: Speaker) -> bool {
        match speaker {
            Speaker::Client(key) => {
                self.sockets.slab.get(key).is_some_and(|socket| socket.held.is_some())
            }
            Speaker::Talk(key) => self.talk_has_to_wait(key),
        }
    }
}

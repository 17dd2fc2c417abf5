//! How a conversation ends, and by whom.

use super::speech::{Speaker, Stage};
use super::turn::Edge;
use crate::reactor::slab::Key;
use rip::guard::phase::Phase;
use rip::http1::server::After;
use rip::time::Instant;
use std::time::Duration;

impl Edge {
    /// Closes a client's connection: it hears of it with the next flush, and has some time to answer.
    pub(super) fn close_speaker(&mut self, speaker: Speaker, code: u16, reason: &str) {
        let Some(speech) = self.speech(speaker) else { return };
        if speech.close(code, reason) {
            self.note_close(speaker, code, reason);
        }
        self.see_off(speaker);
    }

    /// The client broke the protocol: nothing it says is understood any more.
    pub(super) fn break_off(&mut self, speaker: Speaker, code: u16, what: &str) {
        log::debug!("{speaker:?}: the client broke the protocol: {what}");
        let Some(speech) = self.speech(speaker) else { return };
        let was_open = speech.close(code, "");
        speech.stage = Stage::Closing { heard: true };
        if was_open {
            self.note_close(speaker, code, "");
        }
        self.see_off(speaker);
    }

    /// The client closes, or answers our close.
    pub(super) fn client_closes(&mut self, speaker: Speaker, code: u16, reason: &str) {
        let Some(speech) = self.speech(speaker) else { return };
        if speech.closed_by_client(code, reason) {
            self.note_close(speaker, code, reason);
        }
        self.see_off(speaker);
    }

    fn note_close(&mut self, speaker: Speaker, code: u16, reason: &str) {
        if let Speaker::Client(key) = speaker
            && let Some(socket) = self.sockets.slab.get_mut(key)
        {
            socket.note_close(code, reason);
        }
    }

    /// A close frame waits to be sent: who has to know is told, and the connection's time is limited.
    pub(super) fn see_off(&mut self, speaker: Speaker) {
        let Some(speech) = self.speech(speaker) else { return };
        let front = speech.front;
        if let Speaker::Client(key) = speaker {
            self.part(key);
        }
        if let Some(front) = front {
            self.front_deadline(front, Phase::Idle, self.clock.now() + CLOSE_PATIENCE);
        }
    }

    /// The server stops: every client is told so, one after the other until `until`.
    pub(super) fn spread_closes(&mut self, until: Instant) {
        let now = self.clock.now();
        let mut fronts: Vec<Key> = self.fronts.keys().collect();
        fronts.retain(|key| {
            let speaker = self.fronts.get(*key).and_then(|front| front.speaker);
            let speech = speaker.and_then(|speaker| self.speech(speaker));
            speech.is_some_and(|speech| speech.stage == Stage::Open)
        });
        let count = u32::try_from(fronts.len()).unwrap_or(u32::MAX).max(1);
        let pause = until.since(now) / count;
        for (turn, front) in (0..).zip(fronts) {
            self.front_deadline(front, Phase::Idle, now + pause * turn);
        }
    }

    /// Where the client sends nothing more it is gone: the app has not said yet whether it may come
    /// in, or it only reads.
    pub(super) fn ends_with_client(&self, speaker: Option<Speaker>) -> bool {
        let Some(Speaker::Client(key)) = speaker else { return false };
        self.sockets
            .slab
            .get(key)
            .is_some_and(|socket| socket.speech.stage == Stage::Opening || socket.view.is_some())
    }

    /// Everything was said on both sides, or is not expected any more: the connection ends.
    pub(super) fn end_speech(&mut self, front_key: Key, speaker: Speaker) {
        if let Some(front) = self.fronts.get_mut(front_key) {
            front.speaker = None;
        }
        // With bytes unread a close is a reset, and our close frame may be lost to it.
        self.answer_ended(front_key, After::Linger);
        self.speaker_gone(speaker);
    }

    /// Its connection is closed.
    pub(super) fn speaker_gone(&mut self, speaker: Speaker) {
        match speaker {
            Speaker::Client(key) => {
                self.socket_gone(key);
                self.forget_socket_if_over(key);
            }
            Speaker::Talk(key) => self.talk_gone(key),
        }
    }
}

/// What a client may take to answer a close frame.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

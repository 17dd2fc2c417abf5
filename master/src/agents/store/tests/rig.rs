//! A store in a directory of its own, and short ways to say what it is to do.

use crate::agents::store::database::Database;
use crate::agents::store::fault::Faults;
use crate::agents::store::place::Place;
use crate::agents::store::trouble::Trouble;
use crate::shared::store::{StoreAnswer, StoreOrder};
use crate::sys::test_dir::TestDir;
use rip::session::claim::{Attempt, Claim, MessageOrder, Right, Run, StartOrder, WakeOrder};
use rip::session::end::{AppendOrder, Appended, End, EndOrder, Ended};
use rip::session::look::{Cancel, CancelOrder, Delete, DeleteOrder, LookOrder, View};
use rip::session::viewer::Page;
use rip::session::{
    Access, Asked, Epoch, Event, EventId, Key, Kind, Nonce, Outcome, Refusal, Seed, SessionId,
    State, Token, TokenKey, key,
};
use rip::time::UnixMillis;
use std::path::{Path, PathBuf};

pub(super) const SCOPE: &str = "a /v1 app";
pub(super) const NOW: UnixMillis = UnixMillis(1_773_489_600_000);

/// A store, and the directory it is in.
pub(super) struct Rig {
    pub(super) database: Database,
    pub(super) now: UnixMillis,
    pub(super) dir: Option<TestDir>,
    pub(super) path: PathBuf,
}

impl Rig {
    pub(super) fn new() -> Self {
        let dir = TestDir::make();
        let path = dir.path().join("state/sessions.db");
        Self { dir: Some(dir), ..Self::at(&path) }
    }

    pub(super) fn at(path: &Path) -> Self {
        let opened = Database::open(&Place::of(path), None, Faults::default(), NOW);
        let (database, moved) = opened.unwrap();
        assert!(moved.is_empty(), "{moved:?}");
        Self { database, now: NOW, dir: None, path: path.to_owned() }
    }

    /// The same store in a further life.
    pub(super) fn reopen(self) -> Self {
        let Self { database, now, dir, path } = self;
        drop(database);
        Self { dir, now, ..Self::at(&path) }
    }

    pub(super) fn key(&self) -> &TokenKey {
        self.database.key()
    }

    pub(super) fn token(&self, id: SessionId, turn: u64) -> Token {
        self.key().token(id, &Seed { kind: Kind::Continuation, turn, nonce: nonce(turn) })
    }

    pub(super) fn run(&mut self, orders: &[StoreOrder]) -> (Vec<StoreAnswer>, Option<Trouble>) {
        self.database.carry_out(orders, self.now)
    }

    #[track_caller]
    pub(super) fn one(&mut self, order: StoreOrder) -> StoreAnswer {
        let (mut answers, trouble) = self.run(&[order]);
        assert_eq!(trouble, None);
        answers.pop().unwrap()
    }

    #[track_caller]
    pub(super) fn claim(&mut self, order: StoreOrder) -> (Claim, Option<String>) {
        match self.one(order) {
            StoreAnswer::Claim { claim, state } => (*claim, state),
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub(super) fn ran(&mut self, order: StoreOrder) -> Run {
        match self.claim(order).0 {
            Claim::Run(run) => run,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub(super) fn refused(&mut self, order: StoreOrder) -> Refusal {
        match self.claim(order).0 {
            Claim::Refused(refusal) => refusal,
            other => panic!("{other:?}"),
        }
    }

    /// The next turn, claimed with its token.
    pub(super) fn message(&self, id: SessionId, turn: u64) -> StoreOrder {
        message(id, Some(self.token(id, turn)), None)
    }

    #[track_caller]
    pub(super) fn append(&mut self, run: &Run, after: u64, count: u64) -> Appended {
        match self.one(append(run, after, count)) {
            StoreAnswer::Appended(Ok(appended)) => appended,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub(super) fn end(&mut self, order: StoreOrder) -> Ended {
        match self.one(order) {
            StoreAnswer::Ended(Ok(ended)) => ended,
            other => panic!("{other:?}"),
        }
    }

    /// A session with `turns` committed turns of three events each.
    #[track_caller]
    pub(super) fn session(&mut self, number: u8, turns: u64) -> SessionId {
        let id = name(number);
        for turn in 1..=turns {
            let run =
                if turn == 1 { self.ran(start(number)) } else { self.ran(self.message(id, turn)) };
            self.append(&run, run.last.seq, 2);
            self.end(finish(&run, turn));
        }
        id
    }

    #[track_caller]
    pub(super) fn look(&mut self, id: SessionId, turn: u64) -> Result<View, Refusal> {
        let access = Access { continuation: Some(self.token(id, turn)), resume: None };
        let order = LookOrder { session: id.to_string(), scope: SCOPE.into(), access, turn: None };
        match self.one(StoreOrder::Look(order)) {
            StoreAnswer::Look(view) => *view,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub(super) fn page(&mut self, id: SessionId, after: u64) -> Option<Page> {
        let after = EventId::new(Epoch(0), after);
        match self.one(StoreOrder::Page { session: id, after, count: 10_000 }) {
            StoreAnswer::Page(Ok(page)) => page,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    /// The sessions whose timer is due, the first few.
    pub(super) fn due(&self) -> Vec<(SessionId, String)> {
        self.database.due(self.now, &mut Default::default(), 9).unwrap()
    }

    /// Session `number`, which waits until `at`.
    pub(super) fn parked(&mut self, number: u8, at: UnixMillis) -> SessionId {
        let run = self.ran(start(number));
        let wait = "{\"id\":\"w\"}".to_owned();
        let parked = Outcome::Parked { wait, until: Some(at) };
        self.end(end(run.attempt, End::Outcome(parked, State::Same)));
        name(number)
    }

    pub(super) fn cancel(&mut self, id: SessionId, turn: u64) -> Cancel {
        let right = Right::Token(Some(self.token(id, turn)));
        let order = CancelOrder { session: id.to_string(), scope: SCOPE.into(), right };
        match self.one(StoreOrder::Cancel(order)) {
            StoreAnswer::Cancel(cancel) => cancel,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub(super) fn delete(&mut self, id: SessionId, turn: u64) -> Delete {
        match self.one(self.deletion(id, turn)) {
            StoreAnswer::Delete(delete) => delete,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn deletion(&self, id: SessionId, turn: u64) -> StoreOrder {
        let right = Right::Token(Some(self.token(id, turn)));
        StoreOrder::Delete(DeleteOrder { session: id.to_string(), scope: SCOPE.into(), right })
    }

    /// The database has no fault, and what is said of each session is true.
    #[track_caller]
    pub(super) fn check(&self) {
        let conn = &self.database.conn;
        let verdict: String =
            conn.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(verdict, "ok");
        let orphans = conn.prepare("PRAGMA foreign_key_check").unwrap().exists([]).unwrap();
        assert!(!orphans, "a row belongs to no session");
        let all = crate::agents::store::rows::sessions(conn, "", []).unwrap();
        for (_, session) in all {
            let session = session.unwrap();
            let count: i64 = conn
                .query_row(
                    "SELECT count(*) FROM events WHERE session = ?1 AND seq BETWEEN ?2 AND ?3",
                    rusqlite::params![
                        session.id.as_bytes(),
                        session.ledger.first() as i64,
                        session.ledger.last().seq as i64
                    ],
                    |row| row.get(0),
                )
                .unwrap();
            let told = session.ledger.last().seq + 1 - session.ledger.first();
            assert_eq!(count as u64, told, "events are missing");
        }
    }
}

pub(super) fn name(number: u8) -> SessionId {
    SessionId::new([number; 16])
}

pub(super) fn nonce(turn: u64) -> Nonce {
    Nonce([turn as u8; 16])
}

pub(super) fn asked(number: u8) -> Asked {
    let key = Key::new(&[number; 16]).unwrap().digest(SCOPE);
    Asked { key, fingerprint: key::fingerprint("POST", "/v1/session", "{}", b"") }
}

pub(super) fn start(number: u8) -> StoreOrder {
    start_asked(number, None, false)
}

pub(super) fn start_asked(number: u8, asked: Option<Asked>, is_told: bool) -> StoreOrder {
    StoreOrder::Start(StartOrder {
        owner: Epoch(0),
        session: name(number),
        scope: SCOPE.into(),
        token: nonce(1),
        resume: nonce(0),
        asked,
        is_told,
    })
}

pub(super) fn message(id: SessionId, token: Option<Token>, asked: Option<Asked>) -> StoreOrder {
    StoreOrder::Message(MessageOrder {
        owner: Epoch(0),
        session: id.to_string(),
        scope: SCOPE.into(),
        right: Right::Token(token),
        asked,
        is_told: false,
    })
}

pub(super) fn timer(id: SessionId) -> StoreOrder {
    let session = id.to_string();
    StoreOrder::Wake(WakeOrder {
        owner: Epoch(0),
        session,
        scope: None,
        wake: None,
        is_told: false,
    })
}

pub(super) fn deltas(run: &Run, after: u64, count: u64) -> Vec<Event> {
    let epoch = run.attempt.owner.max(run.last.epoch);
    let delta = |seq| {
        Event::delta(EventId::new(epoch, seq), run.attempt.turn, NOW, &format!("\"{seq} tä\""))
    };
    (after + 1..=after + count).map(delta).collect()
}

pub(super) fn append(run: &Run, after: u64, count: u64) -> StoreOrder {
    let events = deltas(run, after, count);
    StoreOrder::Append(AppendOrder { attempt: run.attempt, events })
}

pub(super) fn finish(run: &Run, output: u64) -> StoreOrder {
    let state = State::New(format!("{{\"turns\":{output}}}"));
    end(run.attempt, End::Outcome(Outcome::Finished { output: output.to_string() }, state))
}

pub(super) fn end(attempt: Attempt, end: End) -> StoreOrder {
    let next = nonce(attempt.turn + 1);
    StoreOrder::End(EndOrder { attempt, events: Vec::new(), end, next })
}

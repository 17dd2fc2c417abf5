//! Durable sessions: the decision who runs the next turn. Under callgrind SHA-256 is computed without
//! the processor's help, which a turn has in service.

use crate::Core;
use rip::session::claim::{self, Claim, MessageOrder, Right, StartOrder};
use rip::session::{Epoch, Found, Nonce, Session, SessionId, Token, TokenKey, Write};
use rip::time::UnixMillis;
use std::hint::black_box;

const NOW: UnixMillis = UnixMillis(1_700_000_000_123);

pub fn cores() -> Vec<Core> {
    let key = TokenKey::new([5; 32]);
    let mut session = started(&key);
    session.running = None;
    let order = MessageOrder {
        owner: Epoch(3),
        session: session.id.to_string(),
        scope: "a /v1 app".to_owned(),
        right: Right::Token(Some(key.token(session.id, &session.token.seed))),
        asked: None,
        is_told: false,
    };
    let presented = key.token(session.id, &session.token.seed);
    vec![
        Core::new("session", "claim a turn with a token", move || {
            let found = Found { session: Some(session.clone()), key: None, ending: None };
            let step = claim::message(black_box(&order), found, NOW);
            assert!(matches!(black_box(&step).reply, Claim::Run(_)));
        }),
        Core::new("session", "the SHA-256 of a token", move || {
            black_box(Token::presented(presented.expose()).digest());
        }),
    ]
}

fn started(key: &TokenKey) -> Session {
    let order = StartOrder {
        owner: Epoch(3),
        session: SessionId::new([7; 16]),
        scope: "a /v1 app".to_owned(),
        token: Nonce([1; 16]),
        resume: Nonce([2; 16]),
        asked: None,
        is_told: false,
    };
    let step = claim::start(&order, Found::default(), key, NOW);
    let session = step.writes.into_iter().find_map(|write| match write {
        Write::Session(session) => Some(*session),
        _ => None,
    });
    session.expect("a session")
}

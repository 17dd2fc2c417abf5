//! What is found, and that nothing is blamed that is not to blame.

use super::*;
use crate::contract::event::Event;
use crate::ids::{AppId, Generation};
use crate::observe::note::{Entry, Trail};

const AT: u64 = 1_000_000;

fn note(reason: Option<Reason>, trail: &Trail, change: impl Fn(&mut Entry<'_>)) -> Note {
    let mut entry = Entry {
        at: UnixMillis(AT),
        method: b"POST",
        target: b"/orders?token=1",
        host: b"shop.example",
        app: b"api",
        status: reason.map_or(200, Reason::status),
        worker: Some(WorkerId(3)),
        reason,
        total: Duration::from_millis(5),
        queued: Some(Duration::ZERO),
        leased: Some(Duration::from_millis(3)),
        ..Entry::of(b"req-1", trail)
    };
    change(&mut entry);
    Note::of(&entry)
}

fn finding(note: &Note, chronicle: &Chronicle) -> Finding {
    Finding::of(&Evidence::new(note, chronicle))
}

/// Worker 3 of `api` has joined.
fn serving() -> Chronicle {
    let mut chronicle = Chronicle::default();
    let (app, worker_id, generation) = (AppId::new("api"), WorkerId(3), Generation(1));
    let start = Event::WorkerStart { app: app.clone(), worker_id, generation, pid: 11 };
    chronicle.hear(&start, UnixMillis(10));
    let ready = Event::WorkerReady { app, worker_id, generation, app_pid: 12, took_ms: 1 };
    chronicle.hear(&ready, UnixMillis(20));
    chronicle
}

fn exit(status: &str, expected: bool) -> Event {
    Event::WorkerExit {
        app: AppId::new("api"),
        worker_id: WorkerId(3),
        pid: 11,
        status: status.to_owned(),
        expected,
        stderr: vec!["Traceback".to_owned(), "KeyError: 'x'".to_owned()],
    }
}

#[test]
fn a_worker_that_is_lost_is_blamed_by_how_it_ended() {
    let trail = Trail { handler: Handler::App, stage: Stage::Answering, ..Trail::default() };
    let gone = note(Some(Reason::WorkerGone), &trail, |_| {});
    let mut chronicle = serving();
    let evidence = Evidence::new(&gone, &chronicle);
    assert!(
        evidence.is_unsettled(UnixMillis(AT + 100))
            && !evidence.is_unsettled(UnixMillis(AT + 9_000))
    );
    let found = finding(&gone, &chronicle);
    assert_eq!(found.cause, Cause::WorkerClosed);
    assert!(found.because.contains("and lives"), "{}", found.because);

    chronicle.hear(&exit("killed by SIGKILL", false), UnixMillis(AT + 900));
    let found = finding(&gone, &chronicle);
    assert_eq!(found.cause, Cause::WorkerKilled);
    assert_eq!(
        found.because,
        "worker w3 (pid 12) was killed by SIGKILL 2.0 ms after it got the request; its last \
         words: KeyError: 'x'"
    );
    assert!(found.remedy.contains("oom") && found.last_words.len() == 2);

    let mut exited = serving();
    exited.hear(&exit("exited 1", false), UnixMillis(AT + 20));
    let found = finding(&gone, &exited);
    assert_eq!(found.cause, Cause::WorkerExited);
    assert!(found.because.contains("exited with status 1"), "{}", found.because);

    // One that ended an hour later is not to blame.
    let mut later = serving();
    later.hear(&exit("exited 1", false), UnixMillis(AT + 3_600_000));
    assert_eq!(finding(&gone, &later).cause, Cause::WorkerClosed);

    let mut retired = serving();
    retired.hear(&exit("killed by SIGKILL", true), UnixMillis(AT + 20));
    let found = finding(&gone, &retired);
    assert!(found.because.contains("while it was being retired"), "{}", found.because);
}

#[test]
fn who_waits_in_vain_is_told_what_for() {
    let trail =
        Trail { handler: Handler::App, stage: Stage::Waiting, position: 4, ..Trail::default() };
    let waited = note(Some(Reason::QueueTimeout), &trail, |entry| {
        (entry.worker, entry.leased) = (None, None);
        entry.total = Duration::from_secs(30);
    });
    let found = finding(&waited, &serving());
    assert_eq!(found.cause, Cause::QueueTimeout);
    assert_eq!(
        found.because,
        "it waited 30.0 s as number 4 of the queue: all 1 ready worker of api was busy"
    );
    assert!(found.remedy.contains("ctl scale api N"), "{}", found.remedy);
    assert_eq!(finding(&waited, &Chronicle::default()).cause, Cause::NoWorkerReady);

    let mut paused = serving();
    paused.held(&AppId::new("api"), true, UnixMillis(AT - 5_000));
    let found = finding(&waited, &paused);
    assert_eq!((found.cause, &*found.remedy), (Cause::AppPaused, "`rip-master ctl resume api`"));

    let mut broken = Chronicle::default();
    let restart = Event::WorkerRestart {
        app: AppId::new("api"),
        worker_id: WorkerId(9),
        attempt: 1,
        backoff_ms: 1,
        reason: "exited 3".to_owned(),
    };
    broken.hear(&restart, UnixMillis(AT));
    assert_eq!(finding(&waited, &broken).cause, Cause::StartFailed);
}

#[test]
fn a_client_that_left_is_told_by_where_it_left() {
    for (stage, begun, cause) in [
        (Stage::Receiving, false, Cause::ClientGoneSending),
        (Stage::Waiting, false, Cause::ClientGoneWaiting),
        (Stage::Answering, false, Cause::ClientGoneWorking),
        (Stage::Answering, true, Cause::ClientGoneAnswering),
        (Stage::Tunnelling, true, Cause::ClientGoneAnswering),
        (Stage::Edge, false, Cause::ClientGoneAnswering),
    ] {
        let trail = Trail { handler: Handler::App, stage, begun, ..Trail::default() };
        let left = note(Some(Reason::ClientGone), &trail, |_| {});
        assert_eq!(finding(&left, &serving()).cause, cause, "{stage:?} {begun}");
    }
}

#[test]
fn every_reason_has_a_cause_in_words_without_a_secret() {
    for reason in Reason::ALL {
        for handler in [Handler::Edge, Handler::App, Handler::Upstream, Handler::File] {
            let trail = Trail { handler, limit: 300, detail: "what", ..Trail::default() };
            let found = finding(&note(Some(reason), &trail, |_| {}), &serving());
            assert!(!found.because.is_empty(), "{reason:?}");
            let told = format!("{}{}", found.because, found.remedy);
            assert!(!told.contains("token") && !told.contains("  "), "{reason:?}: {told}");
        }
    }
}

#[test]
fn what_was_answered_is_told_by_whom() {
    let mut trail = Trail { handler: Handler::App, answered: 200, ..Trail::default() };
    assert_eq!(finding(&note(None, &trail, |_| {}), &serving()).cause, Cause::Answered);
    trail.tried(2, TryEnd::Busy, Duration::from_millis(1));
    let found = finding(&note(None, &trail, |_| {}), &serving());
    assert_eq!(found.cause, Cause::AnsweredAfterRetry);
    assert_eq!(
        found.because,
        "worker w2 said that it is busy; then worker w3 (pid 12) answered 200"
    );
    trail.answered = 500;
    assert_eq!(finding(&note(None, &trail, |_| {}), &serving()).cause, Cause::AppError);
    trail.upgrade = true;
    trail.answered = 403;
    assert_eq!(finding(&note(None, &trail, |_| {}), &serving()).cause, Cause::WebsocketRefused);
    let running = note(None, &Trail::default(), |entry| entry.running = true);
    assert_eq!(finding(&running, &serving()).cause, Cause::Running);
}

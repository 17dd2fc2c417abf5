use super::*;
use crate::shared::cert_files;
use crate::shared::certs::{CertSet, Served};
use crate::shared::tls::Tls;
use crate::sys::test_dir::TestDir;
use rcgen::{CertificateParams, KeyPair};
use rip::contract::cert::TlsCertRecord;
use rip::contract::config::{AcmeConfig, Fallback};
use rip::tls::select::ByName;
use std::sync::{Arc, Mutex};

type Answered = (CertTicket, Result<(), String>);

/// What a keeper has said.
#[derive(Clone, Default)]
struct Said {
    events: Arc<Mutex<Vec<Event>>>,
    answers: Arc<Mutex<Vec<Answered>>>,
    notes: Arc<Mutex<Vec<(String, u64, String)>>>,
}

fn keeper(dir: &TestDir) -> (Keeper, Said) {
    let said = Said::default();
    let Said { events, answers, notes } = said.clone();
    let means = Means {
        certs: dir.path().join("certs"),
        tls: Arc::new(Tls::new().unwrap()),
        load: Box::new(|| {}),
        note: Box::new(move |name, at, result| {
            notes.lock().unwrap().push((name.to_owned(), at, result.to_owned()));
        }),
        tell: Box::new(move |event| events.lock().unwrap().push(event)),
        answer: Box::new(move |ticket, result| answers.lock().unwrap().push((ticket, result))),
        seed: 7,
    };
    (Keeper::new(means), said)
}

/// An authority at a port where nobody listens.
fn wish(hosts: &[&str], directory: &str, plain: &[u16]) -> Wish {
    let directory = directory.to_owned();
    let acme = AcmeConfig { email: None, directory, ca: None, fallback: Fallback::SelfSigned };
    let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
    Wish { acme: Some(acme), hosts, plain: plain.to_vec(), secure: Vec::new() }
}

fn order(keeper: &mut Keeper, name: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(keeper.order(name));
}

fn write_certificate(keeper: &Keeper, name: &str) {
    let key = KeyPair::generate().unwrap();
    let cert = CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap();
    keeper.store.write(name, &cert.pem(), &key.serialize_pem()).unwrap();
}

const NOBODY: &str = "https://127.0.0.1:1/dir";
const OTHER: &str = "https://127.0.0.1:2/dir";

#[test]
fn names_that_no_authority_vouches_for_are_told_of_once_and_not_kept() {
    let dir = TestDir::make();
    let (mut keeper, said) = keeper(&dir);
    let hosts = ["a.x", "localhost", "printer.local", "10.0.0.1", "*.a.x", "../a.x", "bare"];
    for _ in 0..2 {
        keeper.follow(wish(&hosts, NOBODY, &[80]));
        assert_eq!(keeper.cares.keys().collect::<Vec<_>>(), ["a.x"]);
        assert_eq!(said.events.lock().unwrap().len(), 6);
    }
    keeper.want(RenewOrder { name: "bare".to_owned(), ticket: CertTicket(1) });
    let answers = said.answers.lock().unwrap();
    assert!(matches!(answers.as_slice(), [(CertTicket(1), Err(why))] if why.contains("bare")));
}

#[test]
fn without_a_listener_or_an_authority_nothing_is_ordered_and_it_is_tried_again_soon() {
    for (plain, expected) in [(&[][..], "no listener"), (&[80], "https://127.0.0.1:1/dir: ")] {
        let dir = TestDir::make();
        let (mut keeper, said) = keeper(&dir);
        keeper.follow(wish(&["a.x"], NOBODY, plain));
        keeper.want(RenewOrder { name: "A.x".to_owned(), ticket: CertTicket(3) });
        assert!(matches!(keeper.next(wall()), Next::Order(name) if name == "a.x"));
        order(&mut keeper, "a.x");
        let events = said.events.lock().unwrap();
        let [Event::CertFailed { reason, kept: false, retry_ms: Some(retry), .. }] = &events[..]
        else {
            panic!("{events:?}")
        };
        assert!(*retry >= 9000 && *retry <= 12_000, "{reason}: {retry}");
        assert!(reason.contains(expected), "{reason}");
        assert_eq!(*said.answers.lock().unwrap(), [(CertTicket(3), Err(reason.clone()))]);
        let notes = said.notes.lock().unwrap();
        assert!(matches!(&notes[..], [(name, _, said)] if name == "a.x" && said == reason));
        let memory = Memory::read(&keeper.means.certs, "a.x");
        assert_eq!(memory.result.as_ref(), Some(reason));
        assert_eq!((memory.past.unreached, memory.past.refused), (1, 0));
        assert!(matches!(keeper.next(wall()), Next::Sleep(until) if until > wall() + 7));
        assert!(!keeper.accounts.has(keeper.wish.acme.as_ref().unwrap()), "no account was made");
    }
}

#[test]
fn what_cannot_be_written_down_is_not_ordered() {
    let dir = TestDir::make();
    let (mut keeper, said) = keeper(&dir);
    std::fs::write(dir.path().join("certs"), "a file").unwrap();
    keeper.follow(wish(&["a.x"], NOBODY, &[80]));
    assert!(matches!(keeper.next(wall()), Next::Order(_)));
    order(&mut keeper, "a.x");
    let events = said.events.lock().unwrap();
    let [Event::CertFailed { reason, .. }] = &events[..] else { panic!("{events:?}") };
    assert!(reason.contains("cannot be written"), "{reason}");
}

#[test]
fn a_good_certificate_is_kept_unless_another_authority_is_wanted() {
    let dir = TestDir::make();
    let (mut keeper, _) = keeper(&dir);
    write_certificate(&keeper, "a.x");
    keeper.follow(wish(&["a.x"], NOBODY, &[80]));
    assert!(!matches!(keeper.next(wall()), Next::Order(_)), "it may be anybody's");
    let memory = Memory { authority: Some(NOBODY.to_owned()), ..Memory::default() };
    memory.write(&keeper.means.certs, "a.x").unwrap();
    keeper.follow(Wish::default());
    keeper.follow(wish(&["a.x"], NOBODY, &[80]));
    assert!(!matches!(keeper.next(wall()), Next::Order(_)));
    keeper.follow(wish(&["a.x"], OTHER, &[80]));
    assert!(matches!(keeper.next(wall()), Next::Order(_)));
}

#[test]
fn what_another_authority_was_asked_for_costs_nothing() {
    let dir = TestDir::make();
    let (mut keeper, said) = keeper(&dir);
    let mut memory = Memory { asked: Some(OTHER.to_owned()), ..Memory::default() };
    memory.past.attempted = Some(5);
    memory.past.pause_until = wall() + 3600;
    memory.result = Some("no".to_owned());
    memory.write(&keeper.means.certs, "a.x").unwrap();
    keeper.follow(wish(&["a.x"], OTHER, &[80]));
    assert!(matches!(keeper.next(wall()), Next::Sleep(_)));
    keeper.follow(wish(&["a.x"], NOBODY, &[80]));
    assert!(matches!(keeper.next(wall()), Next::Order(_)));
    assert_eq!(said.notes.lock().unwrap()[0], ("a.x".to_owned(), 5, "no".to_owned()));
}

#[test]
fn what_somebody_else_has_renewed_is_taken_up_instead_of_ordered() {
    let dir = TestDir::make();
    let (mut keeper, _) = keeper(&dir);
    keeper.follow(wish(&["a.x"], NOBODY, &[80]));
    write_certificate(&keeper, "a.x");
    assert!(!matches!(keeper.next(wall()), Next::Order(_)));
    assert!(keeper.cares["a.x"].renewal.held().is_some());
}

#[test]
fn one_of_two_servers_orders_a_name_and_the_other_takes_what_came() {
    let dir = TestDir::make();
    let ((mut one, _), (mut other, said)) = (keeper(&dir), keeper(&dir));
    for keeper in [&mut one, &mut other] {
        keeper.follow(wish(&["a.x"], NOBODY, &[80]));
    }
    assert!(matches!(one.next(wall()), Next::Order(_)));
    let now = wall();
    assert!(matches!(other.next(now), Next::Sleep(until) if until == now + OTHERS_PAUSE));
    other.want(RenewOrder { name: "a.x".to_owned(), ticket: CertTicket(4) });
    assert!(matches!(other.next(now), Next::Sleep(until) if until == now + OTHERS_PAUSE));
    assert!(said.answers.lock().unwrap().is_empty(), "who wants one waits as well");
    write_certificate(&one, "a.x");
    drop(one);
    assert!(!matches!(other.next(wall()), Next::Order(_)));
    assert!(other.cares["a.x"].renewal.held().is_some());
    assert_eq!(*said.answers.lock().unwrap(), [(CertTicket(4), Ok(()))]);
}

/// Serves what is in files of an operator's own, good for so many more seconds.
fn give(keeper: &Keeper, name: &str, left: u64) {
    let key = KeyPair::generate().unwrap();
    let cert = CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap();
    let leaf = cert_files::parse(cert.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap();
    let record = leaf.record(CertSource::Manual, "/dir/site.crt", "/dir/site.key");
    let record = TlsCertRecord { not_after: wall() + left, ..record };
    let mut by_name = ByName::default();
    by_name.add(name, 0);
    let served = vec![Served { record, key: leaf.key }];
    keeper.means.tls.certs.replace(CertSet { served, by_name });
}

#[test]
fn nothing_is_ordered_for_names_that_files_are_there_for() {
    let dir = TestDir::make();
    let (mut keeper, said) = keeper(&dir);
    give(&keeper, "*.a.x", 1000);
    keeper.follow(wish(&["b.a.x"], NOBODY, &[80]));
    let now = wall();
    assert!(matches!(keeper.next(now), Next::Sleep(until) if until > now + 900));
    keeper.want(RenewOrder { name: "b.a.x".to_owned(), ticket: CertTicket(5) });
    assert!(matches!(keeper.next(now), Next::Sleep(_)));
    let answers = said.answers.lock().unwrap();
    let [(CertTicket(5), Err(why))] = &answers[..] else { panic!("{answers:?}") };
    assert!(why.contains("/dir/site.crt"), "{why}");
    assert!(matches!(keeper.next(now + 2000), Next::Order(_)), "they have expired");
    keeper.follow(wish(&["c.x"], NOBODY, &[80]));
    assert!(matches!(keeper.next(now), Next::Order(_)), "they are not for it");
}

#[test]
fn the_turn_ends_with_the_order() {
    let dir = TestDir::make();
    let ((mut one, _), (mut other, _)) = (keeper(&dir), keeper(&dir));
    for keeper in [&mut one, &mut other] {
        keeper.follow(wish(&["a.x"], NOBODY, &[]));
    }
    assert!(matches!(one.next(wall()), Next::Order(_)));
    assert!(matches!(other.next(wall()), Next::Sleep(_)));
    order(&mut one, "a.x");
    assert!(matches!(other.next(wall()), Next::Order(_)), "it failed there");
}

#[test]
fn who_waits_for_a_name_that_goes_is_answered() {
    let dir = TestDir::make();
    let (mut keeper, said) = keeper(&dir);
    keeper.follow(wish(&["a.x", "b.x"], NOBODY, &[80]));
    keeper.want(RenewOrder { name: "a.x".to_owned(), ticket: CertTicket(9) });
    keeper.follow(wish(&["b.x"], NOBODY, &[80]));
    let answers = said.answers.lock().unwrap();
    assert!(matches!(answers.as_slice(), [(CertTicket(9), Err(_))]));
    assert_eq!(keeper.cares.keys().collect::<Vec<_>>(), ["b.x"]);
}

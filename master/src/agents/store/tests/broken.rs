//! Databases that make no sense: moved aside, never deleted, and the server goes on.

use super::rig::{NOW, Rig};
use crate::agents::store::database::Database;
use crate::agents::store::fault::Faults;
use crate::agents::store::open::Broken;
use crate::agents::store::place::{Place, beside};
use crate::agents::store::trouble::Kind;
use rip::session::Epoch;
use std::fs;
use std::path::{Path, PathBuf};

/// Opens the store at `path`; what was moved aside is returned. It works, and it stays.
#[track_caller]
fn opens(path: &Path) -> Vec<PathBuf> {
    let place = Place::of(path);
    let (database, moved) = Database::open(&place, None, Faults::default(), NOW).unwrap();
    let mut rig = Rig { database, now: NOW, dir: None, path: path.to_owned() };
    rig.check();
    if !moved.is_empty() {
        rig.session(77, 2);
    }
    rig.check();
    drop(rig);
    // Once: what was put in its place is good.
    assert!(Database::open(&place, None, Faults::default(), NOW).unwrap().1.is_empty());
    moved.into_iter().map(|moved| moved.to).collect()
}

/// A store with something in it, closed: its directory, and its path.
fn closed() -> (crate::sys::test_dir::TestDir, PathBuf) {
    let mut rig = Rig::new();
    for number in 1..30 {
        rig.session(number, 3);
    }
    let (dir, path) = (rig.dir.take().unwrap(), rig.path.clone());
    drop(rig);
    (dir, path)
}

#[test]
fn garbage_is_moved_aside_as_it_is() {
    let (_dir, path) = closed();
    let garbage = vec![0x5a; 10_000];
    fs::write(&path, &garbage).unwrap();
    let moved = opens(&path);
    assert_eq!(moved.len(), 1);
    assert_eq!(fs::read(&moved[0]).unwrap(), garbage);
}

#[test]
fn a_truncated_database_is_moved_aside() {
    let (_dir, path) = closed();
    let whole = fs::read(&path).unwrap();
    for part in 1..8 {
        let left = &whole[..whole.len() * part / 8];
        fs::write(&path, left).unwrap();
        let moved = opens(&path);
        assert_eq!(moved.len(), 1, "{part}/8");
        assert_eq!(fs::read(&moved[0]).unwrap().len(), left.len());
    }
}

#[test]
fn a_database_with_a_bad_page_is_moved_aside_or_loses_nothing() {
    let (_dir, path) = closed();
    let whole = fs::read(&path).unwrap();
    let mut aside = 0;
    for page in (0..whole.len() / 4096).step_by(3) {
        let mut bad = whole.clone();
        bad[page * 4096..(page + 1) * 4096].fill(0xa5);
        fs::write(&path, &bad).unwrap();
        let moved = opens(&path);
        aside += moved.len();
        for moved in moved {
            assert!(fs::read(moved).unwrap() == bad, "page {page}");
        }
    }
    assert!(aside > 3);
}

#[test]
fn an_empty_database_with_a_log_is_not_taken_for_a_new_one() {
    let (_dir, path) = closed();
    fs::write(&path, b"").unwrap();
    fs::write(beside(&path, "-wal"), vec![1; 5000]).unwrap();
    let moved = opens(&path);
    assert_eq!(moved.len(), 1);
    assert_eq!(fs::read(beside(&moved[0], "-wal")).unwrap().len(), 5000);
}

#[test]
fn what_is_somebody_elses_is_left_alone() {
    let (_dir, path) = closed();
    let conn = rusqlite::Connection::open(&path).unwrap();
    conn.execute_batch("PRAGMA user_version = 2").unwrap();
    drop(conn);
    let later = fs::read(&path).unwrap();
    let open = || Database::open(&Place::of(&path), None, Faults::default(), NOW);
    let kind = |result: Result<_, crate::agents::store::trouble::Trouble>| {
        result.map(|_: (Database, _)| ()).unwrap_err().kind
    };
    assert_eq!(kind(open()), Kind::Unusable);
    assert!(fs::read(&path).unwrap() == later);
    fs::remove_file(&path).unwrap();
    rusqlite::Connection::open(&path).unwrap().execute_batch("CREATE TABLE t(x)").unwrap();
    assert_eq!(kind(open()), Kind::Unusable);
    assert!(path.exists());
}

#[test]
fn epochs_run_out_and_begin_again() {
    let (_dir, path) = closed();
    let conn = rusqlite::Connection::open(&path).unwrap();
    conn.execute("UPDATE meta SET value = 65535", []).unwrap();
    drop(conn);
    assert_eq!(opens(&path).len(), 1);
    let rig = Rig::at(&path);
    assert_eq!(rig.database.epoch(), Epoch(3));
}

#[test]
fn a_new_database_does_not_take_the_epoch_of_a_master_that_lives() {
    let mut old = Rig::new();
    old.session(1, 1);
    let path = old.path.clone();
    let open = |identity| {
        let broken = Some(Broken { reason: "a test", identity });
        Database::open(&Place::of(&path), broken, Faults::default(), NOW)
    };
    let other = open(Some((0, 0))).unwrap();
    assert_eq!((other.1.len(), other.0.epoch()), (0, Epoch(2)), "it is not what was broken");
    drop(other);
    let opened = open(old.database.identity());
    let (new, moved) = opened.unwrap();
    assert_eq!((moved.len(), new.epoch()), (1, Epoch(2)));
    assert!(!old.database.is_in_place() && new.is_in_place());
    old.check();
}

#[test]
fn a_key_that_is_none_is_replaced_and_kept() {
    let (_dir, path) = closed();
    let key = path.with_file_name("session.key");
    let before = fs::read(&key).unwrap();
    fs::write(&key, &before[..31]).unwrap();
    let (database, moved) =
        Database::open(&Place::of(&path), None, Faults::default(), NOW).unwrap();
    assert_eq!(fs::read(&moved[0].to).unwrap(), &before[..31]);
    let after = fs::read(&key).unwrap();
    assert!(after.len() == 32 && after != before);
    drop(database);
}

//! The thread that notices when certificates change: on disk, or by growing old.

use super::{Desk, WAKER, Watch};
use crate::shared::mail::ControlMessage;
use crate::sys::watch::Tree;
use mio::unix::SourceFd;
use mio::{Events, Interest, Token};
use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

impl Watch {
    /// Starts the thread. With `polls` the kernel is not asked what has changed.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(self, polls: bool) -> io::Result<()> {
        let Self { poll, keeper } = self;
        let mut watcher =
            Watcher { poll, polls, tree: None, planted: BTreeSet::new(), unrest: None };
        std::thread::Builder::new()
            .name("certs".to_owned())
            .spawn(move || watcher.serve(&keeper.desk))?;
        Ok(())
    }
}

struct Watcher {
    poll: mio::Poll,
    polls: bool,
    tree: Option<Tree>,
    /// What the tree was made for.
    planted: BTreeSet<PathBuf>,
    /// Something has changed: when that was noticed first, and when last.
    unrest: Option<(Instant, Instant)>,
}

impl Watcher {
    fn serve(&mut self, desk: &Desk) {
        let mut events = Events::with_capacity(8);
        loop {
            let tickets = std::mem::take(&mut desk.active().tickets);
            self.unrest = None;
            let mut places = desk.look();
            // What has changed before it was watched was not told of, and may lie elsewhere by now.
            while self.plant(places) {
                places = desk.look();
            }
            for ticket in tickets {
                desk.control.send(ControlMessage::CertsDone { ticket, result: Ok(()) });
            }
            loop {
                let active = desk.active();
                let (is_stopped, is_wanted) = (active.is_stopped, active.is_wanted);
                drop(active);
                if is_stopped {
                    return;
                }
                // What was left when there was too much is not told of again.
                self.notice();
                let wait = self.wait();
                if is_wanted || wait.is_zero() {
                    break;
                }
                match self.poll.poll(&mut events, Some(wait)) {
                    Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                        log::error!("certificates are watched no longer: {error}");
                        return;
                    }
                    _ => {}
                }
                if !self.notice() && events.is_empty() && self.unrest.is_none() {
                    // Time has passed: certificates may have grown old.
                    break;
                }
            }
        }
    }

    /// How long nothing is to be done, if nothing happens.
    fn wait(&self) -> Duration {
        match self.unrest {
            Some((first, last)) => {
                let due = (last + QUIET).min(first + PATIENCE);
                due.saturating_duration_since(Instant::now())
            }
            None if self.tree.is_none() => POLL_PAUSE,
            None => LOOK_PAUSE,
        }
    }

    /// Takes what the kernel has to tell; true when something has changed.
    fn notice(&mut self) -> bool {
        let Some(tree) = &mut self.tree else { return false };
        let mut seen = Vec::new();
        for _ in 0..TURN_COUNT {
            match tree.turn(&mut seen) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    log::warn!("certificates are looked at now and then instead: {error}");
                    self.uproot();
                    return true;
                }
            }
        }
        // A directory that is gone tells nothing any more; what it held is gone as well.
        if seen.is_empty() && !tree.has_lost() {
            return false;
        }
        if tree.has_lost() {
            self.uproot();
        }
        let now = Instant::now();
        let first = self.unrest.map_or(now, |(first, _)| first);
        self.unrest = Some((first, now));
        true
    }

    /// Watches `places`; true when they are others than before.
    fn plant(&mut self, places: BTreeSet<PathBuf>) -> bool {
        if self.polls {
            return false;
        }
        let places: BTreeSet<_> = places.iter().filter_map(|place| existing(place)).collect();
        if self.tree.is_some() && places == self.planted {
            return false;
        }
        self.uproot();
        match self.grow(&places) {
            Ok(tree) => self.tree = Some(tree),
            Err(error) => {
                log::warn!("certificates are looked at now and then, not watched: {error}");
                self.polls = true;
            }
        }
        self.planted = places;
        true
    }

    fn grow(&self, places: &BTreeSet<PathBuf>) -> io::Result<Tree> {
        let tree = Tree::plant_flat(places.iter().cloned().collect())?;
        let fd = tree.as_raw_fd();
        self.poll.registry().register(&mut SourceFd(&fd), TREE, Interest::READABLE)?;
        Ok(tree)
    }

    fn uproot(&mut self) {
        let Some(tree) = self.tree.take() else { return };
        // It goes with its descriptor in any case.
        let _ = self.poll.registry().deregister(&mut SourceFd(&tree.as_raw_fd()));
        self.planted.clear();
    }
}

/// The directory itself, or the nearest one above it that is there: in which it would appear.
fn existing(place: &Path) -> Option<PathBuf> {
    place.ancestors().find(|place| place.is_dir()).map(Path::to_owned)
}

/// Pieces of what the kernel has to tell that are taken before anything is done about them.
const TURN_COUNT: usize = 64;
const TREE: Token = Token(WAKER.0 + 1);
/// Changes have come to rest.
const QUIET: Duration = Duration::from_millis(250);
/// They are looked at anyway.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two looks where the kernel does not tell.
const POLL_PAUSE: Duration = Duration::from_secs(1);
/// Between two looks where it does: time passes as well.
const LOOK_PAUSE: Duration = Duration::from_secs(60);

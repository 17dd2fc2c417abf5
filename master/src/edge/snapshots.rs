//! The configurations a loop works with: the active one, and older ones that requests were born
//! with and have not ended yet.

use crate::shared::snapshot::Snapshot;
use rip::contract::config::EdgeConfig;
use rip::contract::listen::ListenAddress;
use std::sync::Arc;

/// The active snapshot and those that are still needed.
pub(super) struct Snapshots {
    active: Arc<Snapshot>,
    active_key: SnapshotKey,
    /// Keys are positions: one is used again when its snapshot is gone.
    held: Vec<Option<Held>>,
    /// Listeners that the active one does not have any more: clients may still come from there.
    departed: Vec<(ListenAddress, Beginning)>,
}

/// How the connections of a listener begin.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Beginning {
    /// With a PROXY header, before anything else.
    pub(super) has_header: bool,
    /// With the hello of TLS.
    pub(super) is_secure: bool,
    /// Only the operator's endpoints are served.
    pub(super) is_admin: bool,
}

impl Beginning {
    fn of(edge: &EdgeConfig, at: ListenAddress) -> Self {
        Self {
            has_header: edge.proxy_protocol.contains(&at),
            is_secure: edge.is_secure(at),
            is_admin: edge.is_admin(at),
        }
    }
}

/// Which snapshot an exchange was born with. Valid until it is given back.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct SnapshotKey(usize);

struct Held {
    snapshot: Arc<Snapshot>,
    exchanges: usize,
}

impl Snapshots {
    /// `active` is the active one.
    pub(super) fn new(active: Arc<Snapshot>) -> Self {
        let held = vec![Some(Held { snapshot: Arc::clone(&active), exchanges: 0 })];
        Self { active, active_key: SnapshotKey(0), held, departed: Vec::new() }
    }

    /// How connections of the listener `at` begin: as the active one says, or the last that had it.
    pub(super) fn beginning(&self, at: ListenAddress) -> Beginning {
        let departed = self.departed.iter().find(|(departed, _)| *departed == at);
        departed.map_or_else(|| Beginning::of(&self.active.config.edge, at), |(_, found)| *found)
    }

    /// The active one.
    pub(super) fn active(&self) -> &Arc<Snapshot> {
        &self.active
    }

    /// The one an exchange was born with.
    pub(super) fn get(&self, key: SnapshotKey) -> Option<&Arc<Snapshot>> {
        Some(&self.held.get(key.0)?.as_ref()?.snapshot)
    }

    /// An exchange is born with the active one; [`Self::unpin`] gives it back.
    pub(super) fn pin(&mut self) -> SnapshotKey {
        if let Some(Some(held)) = self.held.get_mut(self.active_key.0) {
            held.exchanges += 1;
        }
        self.active_key
    }

    /// An exchange has ended.
    pub(super) fn unpin(&mut self, key: SnapshotKey) {
        let Some(place) = self.held.get_mut(key.0) else { return };
        let Some(held) = place else { return };
        debug_assert!(held.exchanges > 0);
        held.exchanges = held.exchanges.saturating_sub(1);
        if held.exchanges == 0 && key != self.active_key {
            *place = None;
        }
    }

    /// Another one is active from now on.
    pub(super) fn activate(&mut self, snapshot: Arc<Snapshot>) {
        let (before, after) = (&self.active.config.edge, &snapshot.config.edge);
        let known = before.listeners().into_iter().map(|at| (at, Beginning::of(before, at)));
        self.departed.extend(known);
        self.departed.retain(|(at, _)| !after.has_listener(*at));
        if let Some(place) = self.held.get_mut(self.active_key.0)
            && place.as_ref().is_some_and(|held| held.exchanges == 0)
        {
            *place = None;
        }
        let free = self.held.iter().position(Option::is_none).unwrap_or_else(|| {
            self.held.push(None);
            self.held.len() - 1
        });
        self.active_key = SnapshotKey(free);
        self.active = Arc::clone(&snapshot);
        if let Some(place) = self.held.get_mut(free) {
            *place = Some(Held { snapshot, exchanges: 0 });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rip::contract::config::Config;

    fn snapshot(version: u64) -> Arc<Snapshot> {
        Arc::new(Snapshot::new(version, Config::default(), Vec::new()))
    }

    fn versions(snapshots: &Snapshots) -> Vec<u64> {
        snapshots.held.iter().flatten().map(|held| held.snapshot.version).collect()
    }

    #[test]
    fn clients_of_a_listener_that_is_gone_begin_as_they_were_told_to() {
        let at = |port| ListenAddress { ip: None, port };
        let with = |version, http: &[u16], https: &[u16]| {
            let mut config = Config::default();
            config.edge.http = http.iter().copied().map(at).collect();
            config.edge.https = https.iter().copied().map(at).collect();
            config.edge.proxy_protocol = vec![at(81)];
            Arc::new(Snapshot::new(version, config, Vec::new()))
        };
        let plain = Beginning::default();
        let secure = Beginning { is_secure: true, ..plain };
        let mut snapshots = Snapshots::new(with(1, &[80, 81], &[443]));
        assert_eq!((snapshots.beginning(at(80)), snapshots.beginning(at(443))), (plain, secure));
        for version in 2..5 {
            snapshots.activate(with(version, &[80], &[]));
            assert_eq!(snapshots.beginning(at(443)), secure);
            assert!(snapshots.beginning(at(81)).has_header);
        }
        snapshots.activate(with(5, &[443], &[80]));
        assert_eq!((snapshots.beginning(at(80)), snapshots.beginning(at(443))), (secure, plain));
        assert_eq!(snapshots.departed.len(), 1);
    }

    #[test]
    fn an_old_snapshot_lives_as_long_as_an_exchange_needs_it() {
        let mut snapshots = Snapshots::new(snapshot(1));
        let (first, second) = (snapshots.pin(), snapshots.pin());
        snapshots.activate(snapshot(2));
        assert_eq!(snapshots.active().version, 2);
        assert_eq!(snapshots.get(first).map(|found| found.version), Some(1));
        snapshots.unpin(first);
        assert_eq!(versions(&snapshots), [1, 2]);
        snapshots.unpin(second);
        assert_eq!(versions(&snapshots), [2]);
    }

    #[test]
    fn one_that_nobody_was_born_with_goes_at_once_and_its_place_is_used_again() {
        let mut snapshots = Snapshots::new(snapshot(1));
        for version in 2..100 {
            snapshots.activate(snapshot(version));
            let key = snapshots.pin();
            assert_eq!(snapshots.get(key).map(|found| found.version), Some(version));
            snapshots.unpin(key);
        }
        assert!(snapshots.held.len() <= 2);
    }
}

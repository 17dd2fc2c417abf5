//! Links to upstreams: how one is had, and how it comes to stand.

use super::link::{ConnectError, Duty, Link, Place};
use super::turn::Edge;
use super::wire::Wire;
use crate::reactor::slab::Key;
use crate::shared::target::Target;
use std::io;
use std::sync::Arc;

impl Edge {
    /// A new link to `target` that begins with `duty`, and how many addresses the target has. It may
    /// not stand yet: [`Self::link_opens`] goes on with it.
    pub(super) fn connect_to_target(
        &mut self,
        target: &Arc<Target>,
        duty: Duty,
    ) -> Result<(Key, usize), ConnectError> {
        let (address, count) = target.address()?;
        let wire = Wire::connect(&address, target.tls.as_ref())?;
        let key = self.add_link(Link::new(wire, Place::Target(Arc::clone(target)), duty))?;
        Ok((key, count))
    }

    /// Something happened on a link that does not stand yet.
    pub(super) fn link_opens(&mut self, key: Key) {
        let Some(link) = self.links.slab.get_mut(key) else { return };
        let stands = match link.wire.open() {
            Ok(true) => true,
            Ok(false) if link.ended => {
                return self.link_failed(key, &io::ErrorKind::UnexpectedEof.into());
            }
            Ok(false) => return,
            Err(error) => return self.link_failed(key, &error),
        };
        link.opening = !stands;
        // What came with the last of the handshake is in the session, and raises no event.
        link.readable = true;
        match &link.duty {
            Duty::Busy { exchange } => {
                let exchange = *exchange;
                self.target_linked(exchange, key);
            }
            Duty::Checking(_) => self.send_check(key),
            Duty::Idle | Duty::Abandoned { .. } => self.close_link(key),
        }
    }

    fn link_failed(&mut self, key: Key, error: &io::Error) {
        let Some(link) = self.links.slab.get(key) else { return };
        if let Place::Target(target) = &link.place {
            log::debug!("cannot connect to {}: {error}", target.name);
            target.unreached();
        }
        match &link.duty {
            Duty::Busy { exchange } => {
                let exchange = *exchange;
                self.note_unreached(exchange, error);
                self.target_unreached(exchange, key);
            }
            Duty::Checking(_) => self.check_answered(key, false),
            Duty::Idle | Duty::Abandoned { .. } => self.close_link(key),
        }
    }
}

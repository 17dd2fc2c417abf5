//! How many clients the process has descriptors for.

use rip::contract::config::Config;

/// What was found out about the process at its start.
#[derive(Clone, Copy, Debug)]
pub struct Capacity {
    /// Descriptors it may have open.
    pub descriptors: u64,
    /// Edge loops.
    pub loops: u16,
}

impl Capacity {
    /// Client connections at once under `config`. A connection needs a descriptor for its client
    /// and at times one for its worker; each loop may hold a link to each worker, and the rest of
    /// the process needs its own.
    ///
    /// A configured number is held to what the descriptors allow: beyond it workers could be
    /// neither reached nor started again, and the control socket would be mute.
    pub fn connections(&self, config: &Config) -> u32 {
        let workers = config.apps.iter().map(|app| u64::from(app.workers)).sum::<u64>();
        let links = u64::from(self.loops).saturating_mul(workers);
        let left = self.descriptors.saturating_sub(OWN_DESCRIPTOR_COUNT).saturating_sub(links);
        let cap = |count| u32::try_from(count).unwrap_or(u32::MAX).max(LEAST_CONNECTION_COUNT);
        let Some(wanted) = config.edge.limits.connections else { return cap(left / 2) };
        if wanted > cap(left) {
            log::warn!(
                "at most {} of {wanted} connections: the limit of open files is {}",
                cap(left),
                self.descriptors
            );
        }
        wanted.min(cap(left))
    }
}

/// Descriptors that are not clients' or links': agents, pipes, control connections.
const OWN_DESCRIPTOR_COUNT: u64 = 512;
/// Fewer connections than this are no server.
const LEAST_CONNECTION_COUNT: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_what_is_left_is_for_clients_and_a_chosen_number_is_held_to_it() {
        let capacity = Capacity { descriptors: 2512, loops: 2 };
        let mut config = Config::default();
        assert_eq!(capacity.connections(&config), 1000);
        config.edge.limits.connections = Some(1500);
        assert_eq!(capacity.connections(&config), 1500);
        config.edge.limits.connections = Some(100_000);
        assert_eq!(capacity.connections(&config), 2000);
        let poor = Capacity { descriptors: 100, loops: 2 };
        assert_eq!(poor.connections(&config), LEAST_CONNECTION_COUNT);
    }
}

//! From the wish for a worker to its process.

use super::Crew;
use super::hosted::{Hosted, Watched};
use super::news::News;
use crate::control::boot_pipe::BootPipe;
use crate::control::workshop::Workshop;
use crate::reactor::clock::Clock;
use crate::sys::random::random;
use mio::Interest;
use mio::unix::SourceFd;
use nix::sys::signal::Signal;
use rip::contract::app::{AppDescriptor, Launch, Listen};
use rip::contract::event::Event;
use rip::ids::{Generation, WorkerId};
use rip::wire::spec::WorkerSpec;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::Duration;

impl Crew {
    pub(super) fn spawn(
        &mut self,
        (worker, generation, slot): (WorkerId, Generation, usize),
        shop: &Workshop,
        clock: &Clock,
        news: &mut Vec<News>,
    ) {
        let hosted = self.hatch(worker, generation, slot, shop, clock);
        match hosted {
            Ok(hosted) => {
                let pid = hosted.pid().unwrap_or_default();
                self.workers.insert(worker, hosted);
                let app = self.app_id();
                let event = Event::WorkerStart { app, worker_id: worker, generation, pid };
                news.push(News::Event(event));
                self.core.forked(worker, Clock::read());
            }
            Err(error) => {
                let reason = format!("exec: {error}");
                self.core.fork_failed(worker, reason, Clock::read());
            }
        }
    }

    fn hatch(
        &mut self,
        worker: WorkerId,
        generation: Generation,
        slot: usize,
        shop: &Workshop,
        clock: &Clock,
    ) -> io::Result<Hosted> {
        let socket = match &self.app.user {
            Some(user) if self.app.launch.listen == Listen::Path => {
                shop.runtime.socket_of_user(self.pool.number, user, worker)?
            }
            _ => shop.runtime.worker_socket(worker),
        };
        let token = random_token()?;
        let spec = self.spec(worker, generation, &token, &socket, shop);
        let mut hatched = shop.hatch(&spec)?;
        self.gear.log.adopt(worker, self.app_id(), hatched.stdout, hatched.stderr);
        if let Err(error) = self.watch(&mut hatched.child, Watched::Child(worker)) {
            // A process whose end nobody sees must not be.
            let _gone_already = hatched.child.kill_group(Signal::SIGKILL);
            hatched.child.wait()?;
            return Err(error);
        }
        let boot = BootPipe::new(hatched.boot);
        if let Err(error) = self.watch(&mut SourceFd(&boot.as_raw_fd()), Watched::Boot(worker)) {
            log::error!("the boot reports of {worker} are not heard: {error}");
        }
        Ok(Hosted {
            child: Some(hatched.child),
            boot: Some(boot),
            token,
            slot,
            socket,
            started_wall: clock.wall().0,
            started: clock.now(),
            app_pid: None,
            keep_alive: false,
            reloads: 0,
            ended: None,
            last_lines: Vec::new(),
        })
    }

    fn spec(
        &self,
        worker: WorkerId,
        generation: Generation,
        token: &str,
        socket: &Path,
        shop: &Workshop,
    ) -> WorkerSpec {
        let app = &self.app;
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        WorkerSpec {
            app_id: app.id.clone(),
            worker_id: worker,
            generation,
            token: token.to_owned(),
            control_socket: shop.runtime.worker_control().display().to_string(),
            socket: socket.display().to_string(),
            launch: Launch {
                setup: app.launch.setup.clone().filter(|_| self.core.needs_setup(generation)),
                ..app.launch.clone()
            },
            user: app.user.clone(),
            limits: app.limits,
            concurrency: app.concurrency,
            reload: app.reload,
            health_check: app.health_check.clone(),
            probe_host: probe_host(app),
            env: app.env.clone(),
            urls: self.urls.clone(),
            start_timeout_ms: millis(app.timeouts.start),
            kill_timeout_ms: millis(app.timeouts.kill),
            master_pid: std::process::id(),
        }
    }

    fn watch(&self, source: &mut impl mio::event::Source, what: Watched) -> io::Result<()> {
        self.gear.registry.register(source, what.into(), Interest::READABLE)
    }
}

/// Whom questions to a worker are addressed to.
pub(super) fn probe_host(app: &AppDescriptor) -> String {
    app.hosts.first().cloned().unwrap_or_else(|| "localhost".to_owned())
}

/// A secret of 256 bits in hexadecimal.
fn random_token() -> io::Result<String> {
    let mut bytes = [0; 32];
    random(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

//! Reading the [`WorkerSpec`] the master handed over.

use crate::report::Failure;
use nix::sys::signal::Signal;
use rip::limits;
use rip::wire::boot::BootStage;
use rip::wire::spec::WorkerSpec;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;

/// Reads the spec to its end and checks what the boot relies on.
pub(crate) fn read(from: OwnedFd) -> Result<WorkerSpec, Failure> {
    let mut text = String::new();
    File::from(from).read_to_string(&mut text).map_err(|error| {
        Failure::io(BootStage::Spec, "the worker's spec cannot be read", &error)
    })?;
    understand(&text)
}

fn understand(text: &str) -> Result<WorkerSpec, Failure> {
    let refuse = |message| Failure::plain(BootStage::Spec, message);
    let spec: WorkerSpec = serde_json::from_str(text)
        .map_err(|error| refuse(format!("the worker's spec is not understood: {error}")))?;
    if spec.launch.argv.iter().all(String::is_empty) {
        return Err(refuse("the app has no entry: nothing to start".to_owned()));
    }
    if spec.socket.len() > limits::SOCKET_PATH_BYTES {
        return Err(refuse(format!(
            "the socket path {} is longer than {} bytes; use a shorter runtime directory",
            spec.socket,
            limits::SOCKET_PATH_BYTES
        )));
    }
    stop_signal(&spec)?;
    Ok(spec)
}

/// The signal that asks the app to stop.
pub(crate) fn stop_signal(spec: &WorkerSpec) -> Result<Signal, Failure> {
    let name = spec.launch.stop_signal.trim_start_matches("SIG");
    format!("SIG{name}").parse().map_err(|_| {
        Failure::plain(BootStage::Spec, format!("stop-signal {name} is not the name of a signal"))
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use rip::contract::app::{HealthCheck, Launch, Listen, Ready, Runtime};
    use rip::ids::{AppId, Generation, WorkerId};

    /// A spec to start from.
    pub(crate) fn spec() -> WorkerSpec {
        WorkerSpec {
            app_id: AppId::new("api"),
            worker_id: WorkerId(3),
            generation: Generation(7),
            token: "secret-token".to_owned(),
            control_socket: "/tmp/ctl.sock".to_owned(),
            socket: "/tmp/w3.sock".to_owned(),
            launch: Launch {
                runtime: Runtime::Command,
                argv: vec!["true".to_owned()],
                cwd: "/".to_owned(),
                listen: Listen::Fd,
                ready: Ready::Http,
                stop_signal: "TERM".to_owned(),
                setup: None,
            },
            user: None,
            limits: Default::default(),
            concurrency: 1,
            reload: Default::default(),
            health_check: HealthCheck::default(),
            probe_host: "localhost".to_owned(),
            env: Default::default(),
            urls: vec!["http://a/".to_owned(), "http://b/".to_owned()],
            start_timeout_ms: 1000,
            kill_timeout_ms: 1000,
            master_pid: 1,
        }
    }

    #[test]
    fn a_spec_that_cannot_be_used_is_refused_with_a_sentence() {
        let refused = |change: &dyn Fn(&mut WorkerSpec)| {
            let mut spec = spec();
            change(&mut spec);
            let text = serde_json::to_string(&spec).expect("a spec is always JSON");
            understand(&text).err().map(|failure| failure.message)
        };
        assert_eq!(refused(&|_| ()), None);
        assert_eq!(refused(&|spec| spec.launch.stop_signal = "SIGINT".to_owned()), None);
        let message = refused(&|spec| spec.launch.stop_signal = "BREAK".to_owned());
        assert!(message.is_some_and(|text| text.contains("BREAK")));
        let message = refused(&|spec| spec.launch.argv.clear());
        assert!(message.is_some_and(|text| text.contains("no entry")));
        let message = refused(&|spec| spec.socket = "x".repeat(108));
        assert!(message.is_some_and(|text| text.contains("107 bytes")));
        assert!(understand("{}").is_err());
    }
}

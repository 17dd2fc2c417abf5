//! A machine that exists only in this file.

use rip::contract::app::{Launch, Ready, Runtime};
use rip::contract::attempt::AttemptCode;
use rip::edgefile::surroundings::{Asked, Resolved, Surroundings, Trouble};

/// Four cores, `/srv`, and what its answers below say is there.
pub struct Machine;

fn trouble<T>(code: AttemptCode, message: String, hint: &str) -> Result<T, Trouble> {
    let hint = Some(hint.to_owned()).filter(|hint| !hint.is_empty());
    Err(Trouble { code, message, hint })
}

fn launch(runtime: Runtime, argv: Vec<String>, asked: &Asked<'_>) -> Launch {
    Launch {
        runtime,
        argv,
        cwd: asked.cwd.map_or("/srv".to_owned(), absolute),
        listen: runtime.listens().unwrap_or_default(),
        ready: Ready::default(),
        stop_signal: "TERM".to_owned(),
        setup: None,
    }
}

fn absolute(path: &str) -> String {
    match path.strip_prefix("./").unwrap_or(path) {
        path if path.starts_with('/') => path.to_owned(),
        path => format!("/srv/{path}"),
    }
}

impl Surroundings for Machine {
    fn directory(&self) -> &str {
        "/srv"
    }

    fn cores(&self) -> u32 {
        4
    }

    fn entry(&self, entry: &str, asked: &Asked<'_>) -> Result<Resolved, Trouble> {
        if entry.contains("missing") {
            let message = format!("'{entry}' not found: looked for {}", absolute(entry));
            return trouble(AttemptCode::EntryMissing, message, "did you mean 'app.py'?");
        }
        let shown = entry.to_owned();
        if let Some(name) = entry.strip_prefix("builtin:") {
            let launch = launch(Runtime::Builtin, vec![name.to_owned()], asked);
            return Ok(Resolved { shown, launch, watch: Vec::new() });
        }
        let runtime = asked.runtime.and_then(Runtime::named).unwrap_or(Runtime::Python);
        let watch = runtime.sources().iter().map(|glob| (*glob).to_owned()).collect();
        let launch = launch(runtime, vec![absolute(entry)], asked);
        Ok(Resolved { shown, launch, watch })
    }

    fn command(&self, argv: &[String], asked: &Asked<'_>) -> Result<Resolved, Trouble> {
        let program = argv.first().map(String::as_str).unwrap_or_default();
        if program.contains("missing") {
            let message = format!("program '{program}' not found in PATH (/usr/bin)");
            return trouble(AttemptCode::EntryMissing, message, "install it, or give its path");
        }
        let launch = launch(Runtime::Command, argv.to_vec(), asked);
        Ok(Resolved { shown: argv.join(" "), launch, watch: Vec::new() })
    }

    fn existing_directory(&self, path: &str) -> Result<String, Trouble> {
        if path.contains("missing") || path.ends_with(".db") {
            let message = format!("there is no directory {}", absolute(path));
            return trouble(AttemptCode::EntryMissing, message, "make it, or name another");
        }
        Ok(absolute(path))
    }

    fn readable_file(&self, path: &str) -> Result<(String, bool), Trouble> {
        if path.contains("missing") {
            let message = format!("{} cannot be read: no such file", absolute(path));
            return trouble(AttemptCode::CertUnreadable, message, "");
        }
        Ok((absolute(path), path.contains("open")))
    }

    fn secret_file(&self, path: &str) -> Result<(String, bool), Trouble> {
        let found = self.readable_file(path)?;
        if path.contains("empty") {
            let message = format!("there is no secret in {}: the file is empty", found.0);
            return trouble(AttemptCode::Invalid, message, "openssl rand -hex 32 makes one");
        }
        Ok(found)
    }

    fn certificate(&self, cert: &str, key: &str) -> Result<Option<Trouble>, Trouble> {
        if key.contains("other") {
            let message = format!("{key} is not the key of {cert}");
            return trouble(AttemptCode::CertUnreadable, message, "name the key it was made with");
        }
        Ok(cert.contains("old").then(|| Trouble {
            code: AttemptCode::CertUnreadable,
            message: "the certificate expired on 2021-01-01".to_owned(),
            hint: Some("renew it".to_owned()),
        }))
    }

    fn authorities(&self, path: &str) -> Result<String, Trouble> {
        let (found, _) = self.readable_file(path)?;
        if path.contains("empty") {
            let message = format!("{found} has no certificate in it");
            return trouble(AttemptCode::CertUnreadable, message, "export it as PEM");
        }
        Ok(found)
    }

    fn is_readable_by_others(&self) -> bool {
        false
    }

    fn may_listen(&self, port: u16, _: bool) -> Result<(), Trouble> {
        if (1..80).contains(&port) {
            let message = format!("port {port} needs a right that this process does not have");
            let hint = "take a port from 1024 on, or grant CAP_NET_BIND_SERVICE";
            return trouble(AttemptCode::ListenFailed, message, hint);
        }
        Ok(())
    }

    fn user(&self, name: &str) -> Result<(), Trouble> {
        if name == "nobody-knows" {
            let message = format!("there is no user '{name}'");
            return trouble(AttemptCode::Invalid, message, "useradd makes one");
        }
        Ok(())
    }
}

/// The same machine, where others than its owner may read the Edgefile.
pub struct OpenMachine;

impl Surroundings for OpenMachine {
    fn directory(&self) -> &str {
        "/srv"
    }

    fn cores(&self) -> u32 {
        Machine.cores()
    }

    fn entry(&self, entry: &str, asked: &Asked<'_>) -> Result<Resolved, Trouble> {
        Machine.entry(entry, asked)
    }

    fn command(&self, argv: &[String], asked: &Asked<'_>) -> Result<Resolved, Trouble> {
        Machine.command(argv, asked)
    }

    fn existing_directory(&self, path: &str) -> Result<String, Trouble> {
        Machine.existing_directory(path)
    }

    fn readable_file(&self, path: &str) -> Result<(String, bool), Trouble> {
        Machine.readable_file(path)
    }

    fn secret_file(&self, path: &str) -> Result<(String, bool), Trouble> {
        Machine.secret_file(path)
    }

    fn certificate(&self, cert: &str, key: &str) -> Result<Option<Trouble>, Trouble> {
        Machine.certificate(cert, key)
    }

    fn authorities(&self, path: &str) -> Result<String, Trouble> {
        Machine.authorities(path)
    }

    fn is_readable_by_others(&self) -> bool {
        true
    }

    fn may_listen(&self, port: u16, is_secure: bool) -> Result<(), Trouble> {
        Machine.may_listen(port, is_secure)
    }

    fn user(&self, name: &str) -> Result<(), Trouble> {
        Machine.user(name)
    }
}

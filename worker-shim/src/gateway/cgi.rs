//! The CGI gateway (RFC 3875): for every request a process of the script that the path leads to.

use super::is_probe;
use super::pump::{self, Ran};
use super::script::{Script, not_started};
use super::site::{Leads, Place, Site};
use super::warden::Warden;
use crate::exchange::Exchange;
use crate::serve::serve_gateway;
use rip::wire::cgi::{self, Variable};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

/// How often one request may be led on within the server.
const LOCAL_REDIRECT_COUNT: usize = 10;

/// Serves the scripts at the path that is the first argument; the second, if it is `--probes`, says
/// that the gateway answers probes itself. Returns the exit code.
pub(super) fn main(mut args: impl Iterator<Item = OsString>) -> i32 {
    let entry = PathBuf::from(args.next().unwrap_or_default());
    let answers_probes = args.next().is_some_and(|word| word == "--probes");
    let served = Warden::start().and_then(|warden| {
        let gateway = Gateway { site: Site::new(entry), base: base(), answers_probes, warden };
        serve_gateway(move |exchange| gateway.answer(exchange))
    });
    match served {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("the CGI gateway cannot serve: {error}");
            1
        }
    }
}

struct Gateway {
    site: Site,
    /// What every script's environment begins with.
    base: Vec<(OsString, OsString)>,
    answers_probes: bool,
    warden: Arc<Warden>,
}

/// One request, be it the client's or what a script has made of it.
struct Asked {
    method: Vec<u8>,
    target: Vec<u8>,
    has_body: bool,
    /// A script has led here.
    is_led: bool,
}

impl Gateway {
    fn answer(&self, exchange: &mut Exchange<'_>) -> io::Result<()> {
        if self.answers_probes && is_probe(exchange) {
            return exchange.refuse(200, "ready\n");
        }
        if !exchange.is_length_known() {
            return exchange.refuse(411, "a script has to be told the length of the body\n");
        }
        let mut asked = Asked {
            method: exchange.method().to_vec(),
            target: exchange.target().to_vec(),
            has_body: has_body(exchange),
            is_led: false,
        };
        for _ in 0..=LOCAL_REDIRECT_COUNT {
            let place = match self.site.find(&asked.target) {
                Leads::To(place) => place,
                Leads::Slash => return add_slash(exchange, &asked.target),
                Leads::Nowhere => return exchange.refuse(404, "there is no such script\n"),
            };
            match self.run(exchange, &asked, &place)? {
                Ran::Answered => return Ok(()),
                Ran::Again(target) => {
                    asked =
                        Asked { method: b"GET".to_vec(), target, has_body: false, is_led: true };
                }
                Ran::Failed(fault) => {
                    return failed(exchange, &format!("{}: {fault}", place.file.display()));
                }
            }
        }
        let target = String::from_utf8_lossy(&asked.target).into_owned();
        failed(exchange, &format!("scripts lead to each other without an end, at last to {target}"))
    }

    fn run(&self, exchange: &mut Exchange<'_>, asked: &Asked, place: &Place) -> io::Result<Ran> {
        let variables = variables(exchange, asked, place);
        let mut command = Command::new(&place.file);
        command
            .env_clear()
            .envs(self.base.iter().map(|(name, value)| (name, value)))
            .envs(
                variables
                    .into_iter()
                    .map(|(name, value)| (OsString::from_vec(name), OsString::from_vec(value))),
            )
            // §7.2: a script starts where it lies.
            .current_dir(place.file.parent().unwrap_or(Path::new("/")));
        match Script::start(&mut command, asked.has_body, &self.warden) {
            Ok(script) => pump::pump(exchange, script, asked.has_body),
            Err(error) => Ok(Ran::Failed(not_started(&place.file, &error))),
        }
    }
}

fn variables(exchange: &Exchange<'_>, asked: &Asked, place: &Place) -> Vec<Variable> {
    let script = cgi::Script {
        name: &place.name,
        path_info: &place.path_info,
        file: place.file.as_os_str().as_bytes(),
        root: place.root.as_os_str().as_bytes(),
    };
    // What a script has asked for has no body, and so nothing that describes one.
    let passes = |name: &[u8]| {
        !asked.is_led || !name.get(..8).is_some_and(|start| start.eq_ignore_ascii_case(b"Content-"))
    };
    let fields = exchange.fields().filter(|(name, _)| passes(name));
    let script = match place.name.is_empty() {
        true => cgi::Script::of_everything(script.file, script.root, script.path_info),
        false => script,
    };
    cgi::variables(&asked.method, &asked.target, fields, &script)
}

/// The environment that every script gets: the gateway's own, without what could be taken for a part
/// of a request.
fn base() -> Vec<(OsString, OsString)> {
    const OURS: [&str; 5] =
        ["LISTEN_FDNAMES", "LISTEN_FDS", "LISTEN_PID", "RIP_STATUS_FD", "RIP_WORKER_SOCKET"];
    const OF_A_REQUEST: [&str; 7] = [
        "AUTH_TYPE",
        "CONTENT_LENGTH",
        "CONTENT_TYPE",
        "HTTPS",
        "PATH_INFO",
        "PATH_TRANSLATED",
        "REMOTE_USER",
    ];
    let passes = |name: &OsStr| {
        !name.as_bytes().starts_with(b"HTTP_")
            && !OURS.iter().chain(&OF_A_REQUEST).any(|known| name == *known)
    };
    std::env::vars_os().filter(|(name, _)| passes(name)).collect()
}

fn has_body(exchange: &Exchange<'_>) -> bool {
    exchange
        .fields()
        .any(|(name, value)| name.eq_ignore_ascii_case(b"Content-Length") && value != b"0")
}

/// Nothing was answered: the log says why.
fn failed(exchange: &mut Exchange<'_>, why: &str) -> io::Result<()> {
    eprintln!("{why}");
    exchange.refuse(500, "the script has failed\n")
}

fn add_slash(exchange: &mut Exchange<'_>, target: &[u8]) -> io::Result<()> {
    let end = target.iter().position(|byte| *byte == b'?').unwrap_or(target.len());
    let (path, query) = target.split_at(end);
    let location = [path, b"/", query].concat();
    exchange.begin(301, Some(0), [(&b"Location"[..], &location[..])]);
    Ok(())
}

//! The FastCGI gateway: PHP's processes, the requests that are put to them, and the files beside the
//! scripts.

use super::document::{Documents, Leads};
use super::process::{Kind, Processes};
use super::sent;
use super::talk::{name_of, talk};
use crate::boot;
use crate::exchange::Exchange;
use crate::host::STATUS_FD;
use crate::serve::{hold_stop_signals, listener, serve_gateway_on};
use rip::wire::cgi::{self, Script};
use rip::wire::fastcgi::{self, TooLong};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

/// Serves a PHP app. The arguments: what kind of program runs PHP, its path, how many requests it has
/// at once, and the app's script or directory. Returns the exit code.
pub(super) fn main(args: impl Iterator<Item = OsString>) -> i32 {
    boot::reset_signals();
    let args: Vec<OsString> = args.collect();
    let [kind, program, count, entry] = args.as_slice() else { return 64 };
    let kind = if kind == "php-fpm" { Kind::Fpm } else { Kind::Cgi };
    let count = count.to_str().and_then(|count| count.parse().ok()).unwrap_or(1);
    match serve(kind, Path::new(program), count, Path::new(entry)) {
        Ok(()) => 0,
        Err(why) => {
            eprintln!("{why}");
            1
        }
    }
}

fn serve(kind: Kind, program: &Path, count: usize, entry: &Path) -> Result<(), String> {
    // Both are ours alone: what is started must not hold them.
    let listener = listener().map_err(|error| error.to_string())?;
    let status = boot::take_inherited(STATUS_FD).map(File::from);
    let started = Documents::new(entry)
        .map_err(|error| format!("{} cannot be served: {error}", entry.display()))
        .and_then(|documents| {
            hold_stop_signals().map_err(|error| error.to_string())?;
            let processes = Processes::start(kind, program, count)
                .map_err(|error| format!("{} cannot be started: {error}", program.display()))?;
            Ok(Arc::new(Gateway { documents, processes }))
        });
    if let (Err(why), Ok(mut status)) = (&started, status) {
        let _ = writeln!(status, "STATUS={why}");
    }
    let gateway = started?;
    let serving = Arc::clone(&gateway);
    let served = serve_gateway_on(listener, move |exchange| serving.answer(exchange));
    gateway.processes.stop();
    served.map_err(|error| format!("the FastCGI gateway cannot serve: {error}"))
}

struct Gateway {
    documents: Documents,
    processes: Processes,
}

impl Gateway {
    fn answer(&self, exchange: &mut Exchange<'_>) -> io::Result<()> {
        let target = exchange.target();
        let end = target.iter().position(|byte| *byte == b'?').unwrap_or(target.len());
        let (path, query) = target.split_at(end);
        match self.documents.find(path) {
            Leads::Script { file, path_info } => self.run(exchange, &file, &path_info),
            Leads::File(file) => sent::send(exchange, self.documents.beneath(), &file),
            Leads::Slash => {
                let location = [path, b"/", query].concat();
                exchange.begin(308, Some(0), [(&b"Location"[..], &location[..])]);
                Ok(())
            }
            Leads::Nowhere => exchange.refuse(404, "there is no such page\n"),
        }
    }

    fn run(&self, exchange: &mut Exchange<'_>, file: &[u8], path_info: &[u8]) -> io::Result<()> {
        if !exchange.is_length_known() {
            return exchange.refuse(411, "a script has to be told the length of the body\n");
        }
        let Ok(question) = self.question(exchange, file, path_info) else {
            return exchange.refuse(431, "a field is too long for PHP\n");
        };
        let told = self.processes.with(|process| {
            let stream = process.connect()?;
            let told = talk(exchange, &stream, question);
            match &told {
                Ok(told) if told.is_whole => process.keep(stream),
                // It works on, perhaps, and gets no other request before it has noticed.
                _ => {
                    drop(stream);
                    process.settle();
                }
            }
            told
        })?;
        match told.fault {
            None => Ok(()),
            Some(fault) => {
                let script = self.documents.path_of(file);
                eprintln!("request {}: {}: {fault}", name_of(exchange), script.display());
                exchange.refuse(500, "the script has failed\n")
            }
        }
    }

    /// All of a request but its body.
    fn question(
        &self,
        exchange: &Exchange<'_>,
        file: &[u8],
        path_info: &[u8],
    ) -> Result<Vec<u8>, TooLong> {
        let path = self.documents.path_of(file);
        let name = [b"/", file].concat();
        let script = Script {
            name: &name,
            path_info,
            file: path.as_os_str().as_bytes(),
            root: self.documents.root().as_os_str().as_bytes(),
        };
        let told = cgi::variables(exchange.method(), exchange.target(), exchange.fields(), &script);
        // PHP would run what PATH_TRANSLATED names, were it told so.
        let told = told
            .iter()
            .map(|(name, value)| (name.as_slice(), value.as_slice()))
            .filter(|(name, _)| *name != b"PATH_TRANSLATED")
            .chain([(&b"REDIRECT_STATUS"[..], &b"200"[..])]);
        let mut question = Vec::with_capacity(2048);
        fastcgi::begin(&mut question);
        fastcgi::variables(told, &mut question)?;
        Ok(question)
    }
}

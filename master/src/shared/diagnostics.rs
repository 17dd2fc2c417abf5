//! Diagnostics: what the code says of itself by `log`, and what a panic says last.
//!
//! Before the log agent runs they are written to standard error at once; from then on they go its
//! way, as lines of whatever kind was asked for, and nobody who says something waits for a reader.

use super::log::LogSink;
use crate::reactor::clock::Clock;
use env_logger::Logger;
use log::{Level, Log, Metadata, Record};
use rip::observe::diagnostic::Diagnostic;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt;
use std::io::Write;
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

/// Begins to tell diagnostics: those that `$RIP_LOG` selects, else warnings and errors, with `debug`
/// more. Does nothing where somebody tells them already.
pub fn begin(debug: bool, json: bool) {
    JSON.store(json, Ordering::Relaxed);
    let level = if debug { "debug" } else { "warn" };
    let filter = env_logger::Env::new().filter_or("RIP_LOG", level);
    let teller = Teller { filter: env_logger::Builder::from_env(filter).build() };
    let most = teller.filter.filter();
    if log::set_boxed_logger(Box::new(teller)).is_ok() {
        log::set_max_level(most);
        std::panic::set_hook(Box::new(panicked));
    }
}

/// From now on diagnostics go by `sink`.
pub fn send_to(sink: LogSink) {
    *SINK.write().unwrap_or_else(PoisonError::into_inner) = Some(sink);
}

struct Teller {
    /// It only selects.
    filter: Logger,
}

impl Log for Teller {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        may_speak(metadata) && self.filter.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if may_speak(record.metadata()) && self.filter.matches(record) {
            let level = match record.level() {
                Level::Error => "error",
                Level::Warn => "warn",
                Level::Info => "info",
                Level::Debug => "debug",
                Level::Trace => "trace",
            };
            send(&line(level, record.target(), *record.args()));
        }
    }

    fn flush(&self) {}
}

/// Our own code says no secrets. That of others may when asked to say everything: what a WebSocket
/// client sends, what an authority is asked.
fn may_speak(metadata: &Metadata<'_>) -> bool {
    let name = metadata.target().split("::").next().unwrap_or_default();
    metadata.level() <= Level::Warn || matches!(name, "rip" | "rip_master" | "rip_worker")
}

fn line(level: &'static str, target: &str, message: fmt::Arguments<'_>) -> Vec<u8> {
    let line = Diagnostic { at: Clock::new().wall(), level, target, message };
    let mut text = Vec::new();
    if JSON.load(Ordering::Relaxed) {
        line.write_json(&mut text);
    } else {
        line.write_human(&mut text);
    }
    text
}

fn send(line: &[u8]) {
    match &*SINK.read().unwrap_or_else(PoisonError::into_inner) {
        Some(sink) => sink.diagnostic(line),
        None => write(line),
    }
}

fn write(line: &[u8]) {
    // There is nobody to tell that it cannot be told.
    let _ = std::io::stderr().write_all(line);
}

fn panicked(panic: &PanicHookInfo<'_>) {
    let payload = panic.payload();
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let message = text.or(payload.downcast_ref::<&str>().copied()).unwrap_or("a panic");
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("?");
    // When the one that writes has ended, nobody else takes lines from where they wait.
    let send = if name == WRITER { write } else { send };
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    send(&line("error", "panic", format_args!("thread {name} at {place}: {message}")));
    // Only where $RUST_BACKTRACE asks for it.
    let trace = Backtrace::capture();
    if trace.status() == BacktraceStatus::Captured {
        send(&line("error", "panic", format_args!("{trace}")));
    }
}

/// The name of the thread that writes.
pub const WRITER: &str = "log";
static JSON: AtomicBool = AtomicBool::new(false);
static SINK: RwLock<Option<LogSink>> = RwLock::new(None);

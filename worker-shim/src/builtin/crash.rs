//! `builtin:crash`: fails on demand.
//!
//! `/crash` is the demand, and `how` in its query the way:
//!
//! * `exit` (the default) with the status `code` (1), `abort`, `kill` (by SIGKILL): no answer;
//! * `middle`: half of an answer, then exit;
//! * `hangup`: the connection is closed without an answer, the worker lives on;
//! * `cut`: half of an answer, then the connection is closed, the worker lives on;
//! * `hang`: never answers;
//! * `panic`: the handler fails; the answer is a 500.
//!
//! Every other path answers `fine`.

use super::own_name;
use crate::request::Request;
use crate::response::Response;
use nix::sys::signal::{Signal, raise};
use std::io::{self, Write};

pub(super) fn answer(request: &mut Request<'_>) -> Response {
    if request.path() != "/crash" {
        return Response::text("fine\n").field("Worker", own_name());
    }
    match request.parameter("how").unwrap_or("exit") {
        "exit" => {
            let code = request.number("code").and_then(|code| u8::try_from(code).ok());
            eprintln!("exiting as asked");
            std::process::exit(code.unwrap_or(1).into())
        }
        "abort" => std::process::abort(),
        "kill" => {
            let _ = raise(Signal::SIGKILL);
            Response::hangup()
        }
        "middle" => Response::stream("text/plain", |out| {
            out.write_all(b"half of an ans")?;
            out.flush()?;
            std::process::exit(1)
        }),
        "cut" => Response::stream("text/plain", |out| {
            out.write_all(b"half of an ans")?;
            out.flush()?;
            Err(io::ErrorKind::ConnectionAborted.into())
        }),
        "hangup" => Response::hangup(),
        "hang" => loop {
            std::thread::park();
        },
        "panic" => panic!("panicking as asked"),
        _ => Response::text("no such way to crash\n").with_status(400),
    }
}

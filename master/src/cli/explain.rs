//! `ctl explain`: what became of a request, and why.

use super::args::Explain;
use super::ctl::{Question, say, understood};
use super::exit::{Exit, Failure};
use rip::guard::request_id::RequestId;
use rip::observe::explain::Stories;

/// Tells it.
///
/// # Errors
/// What was named is no request's id; no master, one that does not answer, or one that does not know
/// of the request.
pub fn explain(flags: &Explain) -> Result<Exit, Failure> {
    if !RequestId::is_one(flags.id.as_bytes()) {
        let wrong = format!("'{}' is no request's id", flags.id);
        return Err(Failure::usage(wrong).tip(
            "it is the answer's X-Request-Id, and the word behind the worker in its access line",
        ));
    }
    let reply = Question::new(&flags.ask)?.get(&format!("/explain/{}", flags.id))?;
    if flags.ask.json {
        return say(&reply.body);
    }
    let stories: Stories = understood(&reply)?;
    say(&stories.to_string())
}

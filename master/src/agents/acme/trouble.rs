//! What can go wrong with an authority, and what that costs.

use instant_acme::{Error, Problem};
use rip::tls::past::Failure;
use std::error::Error as _;
use std::fmt::Write;

/// Why there is no certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Trouble {
    /// What it counts as.
    pub how: Failure,
    /// In words: the authority's own where it said any.
    pub reason: String,
    /// What may help at once.
    pub remedy: Option<Remedy>,
}

/// What may do better.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Remedy {
    /// Another account: the authority does not know this one.
    Account,
    /// Another challenge: the authority has looked and did not see what it should.
    Challenge,
}

impl Trouble {
    /// The authority did not get as far as an order.
    pub fn unreached(reason: impl Into<String>) -> Self {
        Self { how: Failure::Unreached, reason: reason.into(), remedy: None }
    }

    /// There was an order, and no certificate that is of use.
    pub fn refused(reason: impl Into<String>) -> Self {
        Self { how: Failure::Refused, reason: reason.into(), remedy: None }
    }

    /// It was the authority at `directory` that could not be reached, or had trouble of its own: whom to
    /// look at is said. Of what it refuses it says enough itself.
    pub fn of(self, directory: &str) -> Self {
        match self.how {
            Failure::Unreached if !self.reason.contains(directory) => {
                Self { reason: format!("{directory}: {}", self.reason), ..self }
            }
            _ => self,
        }
    }

    /// The authority was not shown what it wants to see.
    pub fn unproven(reason: impl Into<String>) -> Self {
        Self { remedy: Some(Remedy::Challenge), ..Self::refused(reason) }
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        match error {
            Error::Api(problem) => of_problem(&problem),
            // A page of somebody in between, or nothing at all.
            Error::Json(error) => {
                Self::unreached(format!("the authority's answer makes no sense: {error}"))
            }
            Error::Timeout(_) => Self::refused("the authority did not come to a decision in time"),
            error => Self::unreached(chain(&error)),
        }
    }
}

fn of_problem(problem: &Problem) -> Trouble {
    // Its own trouble (RFC 8555 §6.7: serverInternal), not ours.
    let broken =
        problem.status.is_some_and(|status| status >= 500) || is(problem, "serverInternal");
    let stranger = is(problem, "accountDoesNotExist");
    match broken {
        true => Trouble::unreached(told(problem)),
        false if stranger => {
            Trouble { remedy: Some(Remedy::Account), ..Trouble::unreached(told(problem)) }
        }
        false => Trouble::refused(told(problem)),
    }
}

/// A problem document (RFC 7807) in one line: its type, what it says, and what it says of each name.
pub fn told(problem: &Problem) -> String {
    let kind = problem.r#type.as_deref().unwrap_or("about:blank");
    let mut out = kind.strip_prefix(KINDS).unwrap_or(kind).to_owned();
    let mut add = |detail: &Option<String>| {
        if let Some(detail) = detail {
            // A String takes everything.
            let _ = write!(out, ": {detail}");
        }
    };
    add(&problem.detail);
    problem.subproblems.iter().for_each(|problem| add(&problem.detail));
    out
}

/// Whether `problem` is of the kind that RFC 8555 calls `kind`.
pub fn is(problem: &Problem, kind: &str) -> bool {
    problem.r#type.as_deref().and_then(|said| said.strip_prefix(KINDS)) == Some(kind)
}

/// Whether `error` is a problem of this kind.
pub fn is_problem(error: &Error, kind: &str) -> bool {
    matches!(error, Error::Api(problem) if is(problem, kind))
}

/// An error and what caused it, in one line.
fn chain(error: &Error) -> String {
    let mut out = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !out.ends_with(&text) {
            let _ = write!(out, ": {text}");
        }
        cause = error.source();
    }
    out
}

const KINDS: &str = "urn:ietf:params:acme:error:";

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(json: &str) -> Problem {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn the_words_of_the_authority_are_kept_and_its_own_trouble_costs_nothing() {
        let refused = problem(
            r#"{"type":"urn:ietf:params:acme:error:rejectedIdentifier","status":400,
                "detail":"no such name","subproblems":[{"detail":"a.x: policy"}]}"#,
        );
        let trouble = Trouble::from(Error::Api(refused));
        assert_eq!(trouble, Trouble::refused("rejectedIdentifier: no such name: a.x: policy"));
        for own in [
            r#"{"type":"urn:ietf:params:acme:error:serverInternal"}"#,
            r#"{"type":"about:blank","status":503,"detail":"busy"}"#,
        ] {
            assert_eq!(Trouble::from(Error::Api(problem(own))).how, Failure::Unreached, "{own}");
        }
        let garbled = serde_json::from_str::<u8>("<html>").unwrap_err();
        assert_eq!(Trouble::from(Error::Json(garbled)).how, Failure::Unreached);
        assert_eq!(Trouble::from(Error::Timeout(None)).how, Failure::Refused);
    }
}

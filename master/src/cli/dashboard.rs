//! `ctl dashboard-login`: a link into the dashboard of a running master.

use super::args::Ask;
use super::ctl::{Question, accepted, say, understood};
use super::exit::{Exit, Failure};
use serde::Deserialize;
use std::fmt::Write;

/// Has a link made and prints it, once for each place where the dashboard is.
///
/// # Errors
/// No master, one that does not answer, or one that serves no dashboard.
pub fn login(flags: &Ask) -> Result<Exit, Failure> {
    let reply = Question::new(flags)?.ask("POST", "/control/dashboard-login", Some("{}"))?;
    let reply = accepted(reply)?;
    match flags.json {
        true => say(&reply.body),
        false => say(&told(&understood(&reply)?)),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Offered {
    urls: Vec<String>,
    expires_in_seconds: u64,
}

fn told(offered: &Offered) -> String {
    let mut out = String::new();
    for url in &offered.urls {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{url}");
    }
    let minutes = offered.expires_in_seconds / 60;
    let which = if offered.urls.len() == 1 { "It is" } else { "Any one of them is" };
    let _ = writeln!(out, "\n{which} good once, for {minutes} minutes.");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_stands_on_a_line_of_its_own() {
        let url = |host: &str| format!("http://{host}/login#secret");
        let mut offered = Offered { urls: vec![url("rip.local")], expires_in_seconds: 300 };
        assert_eq!(
            told(&offered),
            "http://rip.local/login#secret\n\nIt is good once, for 5 minutes.\n"
        );
        offered.urls.insert(0, url("panel.test"));
        assert!(told(&offered).starts_with("http://panel.test/login#secret\nhttp://rip.local"));
        assert!(told(&offered).ends_with("Any one of them is good once, for 5 minutes.\n"));
    }
}

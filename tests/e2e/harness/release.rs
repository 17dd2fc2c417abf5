//! Releases of the app: published, taken up, and seen in what the server says.

use super::server::Server;
use super::tools;
use super::wait::eventually;
use std::fs;

impl Server {
    /// Puts a new release of the ledger's app into the place of the one that is there, as an editor
    /// or a deployment does: written beside it, then renamed over it.
    pub fn publish(&self, release: &str) {
        self.publish_with(release, "");
    }

    /// The same with code that runs when the app is imported.
    pub fn publish_with(&self, release: &str, code: &str) {
        self.replace("app.py", &(source(release) + code));
    }

    /// Puts a file into the app's directory under a temporary name, then renames it.
    pub fn replace(&self, name: &str, content: &str) {
        let path = self.path("app").join(name);
        let beside = path.with_extension("tmp~");
        fs::write(&beside, content).expect("a file beside the app's");
        fs::rename(&beside, &path).expect("the file in its place");
    }

    /// The release that answers.
    #[track_caller]
    pub fn release(&self) -> String {
        let response = self.get("/release/0");
        assert_eq!(response.status, 200, "{response:?}");
        response.json()["release"].as_str().expect("a release").to_owned()
    }

    /// Runs a command that must succeed.
    #[track_caller]
    pub fn order(&self, words: &[&str]) -> String {
        let (code, output) = self.cli(words);
        assert_eq!(code, 0, "{words:?}: {output}");
        output
    }

    /// Asserts what is true when an order to have this many workers of one new generation is done:
    /// each ready, none left of an older one. The generation.
    #[track_caller]
    pub fn assert_settled(&self, workers: usize) -> u64 {
        let rows = self.workers();
        let generation = rows.first().map_or(0, |row| row["generation"].as_u64().unwrap_or(0));
        assert!(
            rows.len() == workers
                && rows
                    .iter()
                    .all(|row| row["state"] == "ready" && row["generation"] == generation),
            "{workers} ready workers of one generation: {rows:#?}"
        );
        generation
    }

    /// The ids of all workers.
    pub fn worker_ids(&self) -> Vec<u64> {
        self.workers().iter().map(|row| row["workerId"].as_u64().expect("an id")).collect()
    }

    /// A worker's app process.
    #[track_caller]
    pub fn app_pid(&self, worker: u64) -> u32 {
        let rows = self.workers();
        let row = rows.iter().find(|row| row["workerId"] == worker).expect("the worker");
        u32::try_from(row["appPid"].as_u64().expect("a pid")).expect("a pid")
    }

    /// Waits until an event was told so often: the log comes a moment after the answer.
    #[track_caller]
    pub fn wait_for_told(&self, event: &str, times: usize) {
        eventually(&format!("{times} {event}"), || self.told(event).len() >= times);
        assert_eq!(self.told(event).len(), times, "{:?}", self.told(event));
    }

    /// The lines that tell an event.
    pub fn told(&self, event: &str) -> Vec<String> {
        let begin = format!("rip: {event} ");
        self.log().lines().filter(|line| line.contains(&begin)).map(str::to_owned).collect()
    }
}

/// The ledger's app as this release.
pub fn source(release: &str) -> String {
    let source = fs::read_to_string(tools::app("ledger.py")).expect("the app's source");
    source.replace("RELEASE = \"1\"", &format!("RELEASE = \"{release}\""))
}

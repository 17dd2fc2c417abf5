//! Prefixes whose pages want to hear of changed files.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The registered prefixes. Asked by every request, so it costs next to nothing while there are
/// none.
#[derive(Default)]
pub struct Pages {
    any: AtomicBool,
    prefixes: Mutex<Vec<Arc<str>>>,
}

impl Pages {
    /// `<prefix>/watch` is captured from now on; `prefix` has no slash at its end.
    pub fn register(&self, prefix: Arc<str>) {
        let mut prefixes = self.prefixes.lock().unwrap_or_else(PoisonError::into_inner);
        if !prefixes.contains(&prefix) {
            prefixes.push(prefix);
        }
        self.any.store(true, Ordering::Relaxed);
    }

    /// The prefix that a request for `path` wants to hear of.
    pub fn watched_by(&self, path: &[u8]) -> Option<Arc<str>> {
        if !self.any.load(Ordering::Relaxed) {
            return None;
        }
        let prefix = path.strip_suffix(b"/watch")?;
        let prefixes = self.prefixes.lock().unwrap_or_else(PoisonError::into_inner);
        prefixes.iter().find(|found| found.as_bytes() == prefix).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_registered_prefixes_are_captured() {
        let pages = Pages::default();
        assert_eq!(pages.watched_by(b"/site/watch"), None);
        pages.register("/site".into());
        pages.register("".into());
        assert_eq!(pages.watched_by(b"/site/watch").as_deref(), Some("/site"));
        assert_eq!(pages.watched_by(b"/watch").as_deref(), Some(""));
        for path in ["/site/watch/", "/site/x/watch", "/site", "/other/watch", "watch", "*"] {
            assert_eq!(pages.watched_by(path.as_bytes()), None, "{path}");
        }
    }
}

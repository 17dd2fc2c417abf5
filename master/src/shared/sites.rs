//! The directories of files that a configuration serves, made ready for requests.

use rip::contract::route::{RouteAction, RouteRule};
use rip::files::Options;
use rip::files::lines::Lines;
use rip::files::negotiate::forbids_transform;
use rip::files::resolve::Mount;
use std::sync::Arc;

/// What a rule says about its files.
#[derive(Debug)]
pub struct Site {
    /// Their directory.
    pub dir: Arc<str>,
    /// How requests for them are answered.
    pub options: Options,
}

impl Site {
    /// The site of a rule that answers with files.
    pub fn of(rule: &RouteRule) -> Option<Arc<Self>> {
        let RouteAction::Static(files) = &rule.action else { return None };
        let directives = files.cache_control.as_deref().unwrap_or_default();
        let is_fixed = forbids_transform(&Lines::one(directives.as_bytes()));
        let options = Options {
            mount: Mount::of_pattern(&rule.path_pattern),
            index: files.index.clone(),
            spa: files.spa_fallback.clone(),
            browse: files.browse,
            dotfiles: files.dotfiles,
            cache_control: files.cache_control.clone(),
            compress: rule.compress.enabled && !is_fixed,
        };
        Some(Arc::new(Self { dir: files.dir.as_str().into(), options }))
    }
}

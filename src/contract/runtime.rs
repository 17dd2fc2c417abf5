//! What runs an app's entry, and what follows from it.

use super::app::Listen;
use serde::{Deserialize, Serialize};

/// What runs an app's entry.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Runtime {
    /// The shim's own handlers, for tests and demos.
    Builtin,
    /// A JavaScript or TypeScript app under Bun, with a preload of ours.
    Bun,
    /// A program that is run once for every request (RFC 3875).
    Cgi,
    /// Any HTTP server, started as it is.
    Command,
    /// A JavaScript or TypeScript app under Node, with a preload of ours.
    Node,
    /// PHP behind FastCGI.
    Php,
    /// A WSGI app under the built-in adapter, or an ASGI app under uvicorn.
    Python,
    /// A Rack app under puma.
    Ruby,
}

impl Runtime {
    /// Every runtime, by name.
    pub const ALL: [Self; 8] = [
        Self::Builtin,
        Self::Bun,
        Self::Cgi,
        Self::Command,
        Self::Node,
        Self::Php,
        Self::Python,
        Self::Ruby,
    ];

    /// As it is written in an Edgefile, on the command line and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Builtin => "builtin",
            Self::Bun => "bun",
            Self::Cgi => "cgi",
            Self::Command => "command",
            Self::Node => "node",
            Self::Php => "php",
            Self::Python => "python",
            Self::Ruby => "ruby",
        }
    }

    /// The runtime called `name`.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|runtime| runtime.name() == name)
    }

    /// How its apps get their listener; `None` where the app says it.
    pub fn listens(self) -> Option<Listen> {
        match self {
            Self::Command => None,
            // Bun's servers take no descriptor.
            Self::Bun => Some(Listen::Path),
            Self::Builtin | Self::Cgi | Self::Node | Self::Php | Self::Python | Self::Ruby => {
                Some(Listen::Fd)
            }
        }
    }

    /// Whether its workers never end an idle connection of their own accord, so that links to them
    /// are kept for as long as they live: true where what answers is ours, or is told to.
    pub fn keeps_links(self) -> bool {
        match self {
            Self::Builtin | Self::Cgi | Self::Node | Self::Php | Self::Python => true,
            Self::Bun | Self::Command | Self::Ruby => false,
        }
    }

    /// Whether its adapter can load the app anew inside a worker.
    pub fn reloads_modules(self) -> bool {
        matches!(self, Self::Node | Self::Python)
    }

    /// The names of files that matter to its apps, as globs; none where we cannot know.
    pub fn sources(self) -> &'static [&'static str] {
        match self {
            Self::Bun | Self::Node => &["*.js", "*.mjs", "*.cjs", "*.ts", "*.json"],
            Self::Php => &["*.php"],
            Self::Python => &["*.py", "*.html"],
            Self::Ruby => &["*.rb", "*.ru"],
            // A script is read anew for every request.
            Self::Builtin | Self::Cgi | Self::Command => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_json() {
        for runtime in Runtime::ALL {
            let json = serde_json::to_value(runtime).expect("a word");
            assert_eq!(json, runtime.name());
            assert_eq!(Runtime::named(runtime.name()), Some(runtime));
        }
        assert_eq!(Runtime::named("Python"), None);
    }
}

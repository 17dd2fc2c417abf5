//! What an Edgefile refers to and only the machine knows.

use crate::contract::app::Launch;
use crate::contract::attempt::AttemptCode;
use std::collections::BTreeMap;

/// The machine, as far as a configuration depends on it. Paths in questions are as the file has
/// them; relative ones start at [`Self::directory`].
pub trait Surroundings {
    /// Where the Edgefile is, absolute.
    fn directory(&self) -> &str;

    /// Cores the server may use.
    fn cores(&self) -> u32;

    /// How an app with this entry is launched: a file, a directory, `pkg.module:attr`, `builtin:NAME`.
    /// `runtime` and `cwd` are the operator's choice, if any.
    ///
    /// # Errors
    /// What is missing, and how to get it.
    fn entry(&self, entry: &str, asked: &Asked<'_>) -> Result<Resolved, Trouble>;

    /// How an app that is a command is launched.
    ///
    /// # Errors
    /// What is missing, and how to get it.
    fn command(&self, argv: &[String], asked: &Asked<'_>) -> Result<Resolved, Trouble>;

    /// The absolute path of an existing directory.
    ///
    /// # Errors
    /// There is none.
    fn existing_directory(&self, path: &str) -> Result<String, Trouble>;

    /// The absolute path of a readable file, and whether others than its owner and group may read it.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    fn readable_file(&self, path: &str) -> Result<(String, bool), Trouble>;

    /// The same of a file that holds a secret.
    ///
    /// # Errors
    /// As [`Self::readable_file`]; or it holds nothing, or more than a secret is.
    fn secret_file(&self, path: &str) -> Result<(String, bool), Trouble>;

    /// Whether the files at these absolute paths are a chain and its key. What is odd about them is
    /// returned: they can be used, but perhaps not today.
    ///
    /// # Errors
    /// What is wrong with them.
    fn certificate(&self, cert: &str, key: &str) -> Result<Option<Trouble>, Trouble>;

    /// The absolute path of a readable file with certificates, in PEM, that others are verified
    /// against.
    ///
    /// # Errors
    /// There is none, or no certificate in it.
    fn authorities(&self, path: &str) -> Result<String, Trouble>;

    /// Others than the owner and the group of the Edgefile may read it.
    fn is_readable_by_others(&self) -> bool;

    /// Whether the server may listen at `port`, for HTTPS or for plain HTTP.
    ///
    /// # Errors
    /// The right that is missing, and how to get it.
    fn may_listen(&self, port: u16, is_secure: bool) -> Result<(), Trouble>;

    /// Whether processes may be started as this user.
    ///
    /// # Errors
    /// There is no such user, or the right is missing.
    fn user(&self, name: &str) -> Result<(), Trouble>;
}

/// What the operator said of an app besides its entry.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked<'a> {
    /// `runtime`.
    pub runtime: Option<&'a str>,
    /// `cwd`.
    pub cwd: Option<&'a str>,
    /// `env`, where programs may be looked for.
    pub env: Option<&'a BTreeMap<String, String>>,
    /// There is a `setup`: what could be one beside the entry does not matter.
    pub has_setup: bool,
}

/// An app that can be launched.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Resolved {
    /// What the operator named, for listings.
    pub shown: String,
    /// How it is launched, everything else by default.
    pub launch: Launch,
    /// Names of the files whose change matters, as globs.
    pub watch: Vec<String>,
}

/// Something the machine lacks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Trouble {
    /// What kind of lack it is.
    pub code: AttemptCode,
    /// What is wrong, one sentence without a full stop.
    pub message: String,
    /// How to mend it.
    pub hint: Option<String>,
}

//! What a server and its successor say to each other while one hands over to the other.
//!
//! Both hold an end of a pair of sockets that keeps messages apart. Each message is a JSON object;
//! descriptors travel beside the first ones.
//!
//! ```text
//!  predecessor                                            successor
//!   Will + the will, control socket, pid file, stderr ──▶  (before it is started)
//!   Listeners + at most 64 listening sockets ──▶           (as many as it takes)
//!                                          ◀── Ready       every worker is
//!   TakeOver ──▶
//!                                          ◀── Taken       pid file and control socket are its
//!   Relieved ──▶                                           the init system knows it
//! ```

use crate::contract::listen::ListenAddress;
use crate::ids::AppId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// The version of all this. Servers that do not speak the same one do not hand over.
pub const PROTOCOL: u32 = 1;
/// The variable that makes a server a successor; its value is a [`Summons`].
pub const VARIABLE: &str = "RIP_SUCCEEDS";
/// The successor's end of the sockets.
pub const SUCCESSOR_FD: i32 = 3;
/// Listening sockets beside one message.
pub const LISTENERS_AT_ONCE: usize = 64;
/// The longest message.
pub const MESSAGE_BYTES: usize = 64 * 1024;

/// What a successor knows before it has read anything.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Summons {
    /// The process it succeeds, which is its parent.
    pub predecessor: u32,
    /// Its end of the sockets.
    pub fd: i32,
    /// Where it need not bind, nor be allowed to.
    pub listeners: Vec<ListenAddress>,
}

impl fmt::Display for Summons {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.predecessor, self.fd)?;
        self.listeners.iter().try_for_each(|address| write!(out, " {address}"))
    }
}

impl FromStr for Summons {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut words = text.split_ascii_whitespace();
        let mut number = || words.next().and_then(|word| word.parse().ok());
        let (Some(predecessor), Some(fd)) = (number(), number()) else {
            return Err("it begins with two numbers");
        };
        let predecessor = u32::try_from(predecessor).map_err(|_| "it begins with a process")?;
        let listeners = words.map(str::parse).collect::<Result<_, _>>()?;
        Ok(Self { predecessor, fd, listeners })
    }
}

/// From the one that hands over.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "say")]
pub enum FromPredecessor {
    /// The first message. Beside it are a file with the [`Will`], the control socket, the locked pid
    /// file, and where errors are told.
    Will {
        /// [`PROTOCOL`] of who says it.
        protocol: u32,
        /// How many listening sockets follow.
        listeners: usize,
    },
    /// Listening sockets are beside it, in the order of the will.
    Listeners,
    /// From now on the server is the successor's.
    TakeOver,
    /// The init system was told who serves.
    Relieved {
        /// What is configured may have changed after the successor has read it.
        reload: bool,
    },
}

/// From the one that takes over.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "say")]
pub enum FromSuccessor {
    /// It could serve.
    Ready {
        /// [`PROTOCOL`] of who says it.
        protocol: u32,
        /// Its version.
        version: String,
        /// The listeners it goes on with.
        listeners: Vec<ListenAddress>,
    },
    /// It serves.
    Taken,
}

/// What a server leaves to its successor, besides sockets.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Will {
    /// The master's name.
    pub name: String,
    /// The runtime directory, absolute.
    pub runtime_dir: String,
    /// The listening sockets, in their order.
    pub listeners: Vec<HandedOn>,
    /// Hosts that were added while the server runs.
    #[serde(default)]
    pub hosts: Vec<AddedHost>,
    /// Apps whose number of workers was chosen by hand.
    #[serde(default)]
    pub workers: BTreeMap<AppId, Chosen>,
    /// Apps whose requests wait.
    #[serde(default)]
    pub paused: Vec<AppId>,
    /// Prefixes whose pages are told of changed files.
    #[serde(default)]
    pub pages: Vec<WatchedPages>,
}

/// A listening socket.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HandedOn {
    /// Where, as the configuration has it.
    pub address: ListenAddress,
    /// The init system has opened it.
    pub of_init: bool,
}

/// A number of workers that was chosen by hand. It holds unless another one is configured.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Chosen {
    /// What was configured.
    pub configured: u32,
    /// What was chosen.
    pub chosen: u32,
}

/// A host that was added while the server runs.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AddedHost {
    /// The host.
    pub host: String,
    /// The app it leads to; none where it leads to a path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<AppId>,
    /// The path it leads to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// A prefix whose pages are told of changed files.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WatchedPages {
    /// The prefix.
    pub prefix: String,
    /// The directories.
    pub dirs: Vec<String>,
}

/// What `bytes` say, if anything.
///
/// # Errors
/// Why it is not understood.
pub fn understand<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(bytes).map_err(|error| {
        let shown =
            String::from_utf8_lossy(bytes.get(..bytes.len().min(SHOWN_BYTES)).unwrap_or(b""));
        format!("{shown:?}: {error}")
    })
}

/// Of what is not understood so much is shown.
const SHOWN_BYTES: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summons_is_read_as_it_was_written() {
        let listeners = ["*:8080", "[::1]:443"].map(|text| text.parse().unwrap()).to_vec();
        let summons = Summons { predecessor: 4711, fd: 3, listeners };
        let text = summons.to_string();
        assert_eq!(text, "4711 3 *:8080 [::1]:443");
        assert_eq!(text.parse(), Ok(summons));
        assert!("4711 3".parse::<Summons>().is_ok());
        for wrong in ["", "4711", "x 3", "-1 3", "1 3 nowhere"] {
            assert!(wrong.parse::<Summons>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn messages_are_objects_that_may_grow() {
        let said = serde_json::to_string(&FromPredecessor::Relieved { reload: true }).unwrap();
        assert_eq!(said, r#"{"say":"relieved","reload":true}"#);
        let grown = br#"{"say":"takeOver","more":1}"#;
        assert_eq!(understand(grown), Ok(FromPredecessor::TakeOver));
        assert_eq!(understand(br#"{"say":"taken"}"#), Ok(FromSuccessor::Taken));
        let wrong = understand::<FromSuccessor>(b"hello").unwrap_err();
        assert!(wrong.starts_with("\"hello\": "), "{wrong}");
        let will = r#"{"name":"t","runtimeDir":"/run/rip/t","listeners":[]}"#;
        let will: Will = understand(will.as_bytes()).unwrap();
        assert_eq!((will.name.as_str(), will.hosts.len()), ("t", 0));
    }
}

//! Who may publish: secrets that were read from files when their configuration was made ready.

use crate::sys::regular;
use rip::contract::config::Config;
use rip::realtime::publish::is_same_secret;
use std::collections::HashMap;
use std::io::{self, Read};
use std::path::Path;

/// The secrets of one configuration, by the path of their file.
#[derive(Default)]
pub struct Secrets {
    files: HashMap<String, Vec<u8>>,
}

impl Secrets {
    /// Reads every file that `config` names. It takes as long as files take.
    ///
    /// # Errors
    /// What is wrong with which of them, in words: it cannot be read, holds nothing, or too much.
    pub fn read(config: &Config) -> Result<Self, Vec<String>> {
        let sites = config.realtime.iter().filter_map(|site| site.publish_secret_file.as_ref());
        let mut secrets = Self::default();
        let mut wrong = Vec::new();
        for path in config.edge.publish.secret_file.iter().chain(sites) {
            match read(Path::new(path)) {
                Ok(Ok(secret)) => drop(secrets.files.insert(path.clone(), secret)),
                Ok(Err(flaw)) => {
                    wrong.push(format!("there is no secret for /publish in {path}: {flaw}"));
                }
                Err(error) => {
                    wrong.push(format!("the secret of /publish cannot be read: {path}: {error}"));
                }
            }
        }
        if wrong.is_empty() { Ok(secrets) } else { Err(wrong) }
    }

    /// Whether `given` is what the file at `path` holds.
    pub fn is_in(&self, path: &str, given: &[u8]) -> bool {
        self.files.get(path).is_some_and(|secret| is_same_secret(given, secret))
    }
}

/// What the file at an absolute path holds, without the end of its line; or why that is no secret.
///
/// # Errors
/// It cannot be read.
pub fn read(path: &Path) -> io::Result<Result<Vec<u8>, Flaw>> {
    let mut secret = Vec::new();
    let (file, _) = regular::open(path)?;
    file.take(SECRET_BYTES + 1).read_to_end(&mut secret)?;
    let length = secret.trim_ascii_end().len();
    if length == 0 {
        return Ok(Err(Flaw::Empty));
    }
    if secret.len() as u64 > SECRET_BYTES {
        return Ok(Err(Flaw::TooLong));
    }
    secret.truncate(length);
    Ok(Ok(secret))
}

/// Why what a file holds is no secret.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Flaw {
    /// It holds nothing, or white space.
    #[error("the file is empty")]
    Empty,
    /// It holds more than a secret is.
    #[error("it holds more than {SECRET_BYTES} bytes")]
    TooLong,
}

const SECRET_BYTES: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::test_dir::TestDir;
    use rip::contract::realtime::PublishConfig;

    #[test]
    fn a_secret_is_the_line_of_its_file() {
        let dir = TestDir::make();
        let path = dir.path().join("secret").to_str().unwrap().to_owned();
        let publish = PublishConfig { secret_file: Some(path.clone()), ..PublishConfig::default() };
        let mut config = Config::default();
        config.edge.publish = publish;
        assert!(Secrets::read(&config).is_err(), "there is none");
        for content in ["", " \n", &"x".repeat(5000)] {
            std::fs::write(&path, content).unwrap();
            let wrong = Secrets::read(&config).err().unwrap_or_default();
            assert!(wrong[0].starts_with("there is no secret for /publish in "), "{wrong:?}");
        }
        std::fs::write(&path, "open sesame\r\n").unwrap();
        let secrets = Secrets::read(&config).unwrap_or_default();
        assert!(secrets.is_in(&path, b"open sesame"));
        assert!(!secrets.is_in(&path, b"open sesame\r\n") && !secrets.is_in("other", b""));
    }
}

//! Accounts at authorities: one for each directory, made once and used again.

use super::patience::patient;
use super::trouble::Trouble;
use crate::shared::cert_files::write_whole;
use instant_acme::{Account, AccountBuilder, AccountCredentials, Error, NewAccount};
use rip::contract::config::AcmeConfig;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

/// The accounts of a server, in `account.json`: what the authority gave, by the URL of its directory.
pub struct Accounts {
    path: PathBuf,
    /// The one in use.
    open: Option<(AcmeConfig, Account)>,
}

/// The file: credentials by directory. What this program does not understand in it is kept.
type Stored = BTreeMap<String, Value>;

impl Accounts {
    /// The accounts in the file `path`, which need not be there.
    pub fn new(path: PathBuf) -> Self {
        Self { path, open: None }
    }

    /// There is an account at the authority.
    pub fn has(&self, acme: &AcmeConfig) -> bool {
        self.read().is_ok_and(|stored| stored.contains_key(&acme.directory))
    }

    /// The account at the authority: the one in use, the one in the file, or a new one.
    ///
    /// # Errors
    /// What the authority said, or the file system.
    pub async fn open(&mut self, acme: &AcmeConfig) -> Result<Account, Trouble> {
        if let Some((of, account)) = &self.open
            && of == acme
        {
            return Ok(account.clone());
        }
        let mut stored = self.read().map_err(Trouble::unreached)?;
        let account = match stored.remove(&acme.directory) {
            Some(credentials) => restore(acme, &credentials).await?,
            None => self.register(acme, stored).await?,
        };
        self.open = Some((acme.clone(), account.clone()));
        Ok(account)
    }

    /// The authority does not know the account: the next one is new.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn forget(&mut self, acme: &AcmeConfig) -> Result<(), Trouble> {
        self.close();
        let mut stored = self.read().map_err(Trouble::unreached)?;
        stored.remove(&acme.directory);
        self.write(&stored).map_err(Trouble::unreached)
    }

    /// Connections, and what is known of the directory, are not used again.
    pub fn close(&mut self) {
        self.open = None;
    }

    async fn register(&self, acme: &AcmeConfig, mut stored: Stored) -> Result<Account, Trouble> {
        // Who cannot write it down must not make it: the next start would make another one.
        self.write(&stored).map_err(Trouble::unreached)?;
        let contact = acme.email.as_ref().map(|email| format!("mailto:{email}"));
        let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
        let new = NewAccount {
            contact: &contact,
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let (account, credentials) =
            patient(async || builder(acme)?.create(&new, acme.directory.clone(), None).await)
                .await
                .map_err(|error| of(acme, error))?;
        let credentials = serde_json::to_value(credentials).map_err(Error::Json)?;
        stored.insert(acme.directory.clone(), credentials);
        self.write(&stored).map_err(Trouble::refused)?;
        Ok(account)
    }

    fn read(&self) -> Result<Stored, String> {
        let of_file = |error: &dyn std::fmt::Display| format!("{}: {error}", self.path.display());
        match fs::read(&self.path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| of_file(&error)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Stored::new()),
            Err(error) => Err(of_file(&error)),
        }
    }

    fn write(&self, stored: &Stored) -> Result<(), String> {
        let text = serde_json::to_vec_pretty(stored).map_err(|error| error.to_string())?;
        let dir = self.path.parent().unwrap_or(&self.path);
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(dir)
            .and_then(|()| write_whole(&self.path, &text, 0o600))
            .map_err(|error| format!("{} cannot be written: {error}", self.path.display()))
    }
}

async fn restore(acme: &AcmeConfig, credentials: &Value) -> Result<Account, Trouble> {
    let read = || serde_json::from_value::<AccountCredentials>(credentials.clone());
    let credentials = read().map_err(|error| {
        Trouble::unreached(format!(
            "the account kept for {} cannot be read: {error}",
            acme.directory
        ))
    })?;
    let restored = async { builder(acme)?.from_credentials(credentials).await };
    restored.await.map_err(|error| of(acme, error))
}

fn of(acme: &AcmeConfig, error: Error) -> Trouble {
    Trouble::from(error).of(&acme.directory)
}

fn builder(acme: &AcmeConfig) -> Result<AccountBuilder, Error> {
    match &acme.ca {
        Some(path) => Account::builder_with_root(path),
        None => Account::builder(),
    }
}

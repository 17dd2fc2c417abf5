//! The machine's own authority: mkcert's, where there is one, else one that is made once and kept.

use super::issue;
use crate::shared::cert_files::{self, Wrong, write_whole};
use nix::unistd::{User, geteuid, gethostname};
use rcgen::{Issuer, KeyPair};
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// An authority with its key.
pub struct Authority {
    /// Its certificate's file.
    pub path: PathBuf,
    /// What it makes certificates with.
    pub issuer: Issuer<'static, KeyPair>,
    /// SHA-256 of its certificate.
    pub fingerprint: String,
    /// It ends then, in seconds.
    pub not_after: u64,
    /// It was made just now.
    pub made: bool,
}

/// Where authorities are looked for.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// mkcert's directory.
    pub mkcert: Option<PathBuf>,
    /// Our own, made where it is not there.
    pub own: PathBuf,
}

impl Places {
    /// Our own directory is `own`; mkcert's is where mkcert says it is.
    pub fn new(own: PathBuf) -> Self {
        let directory = |name| std::env::var_os(name).filter(|path| !path.is_empty());
        let data = || {
            let data = directory("XDG_DATA_HOME").map(PathBuf::from);
            data.or_else(|| Some(PathBuf::from(directory("HOME")?).join(".local/share")))
        };
        let mkcert = directory("CAROOT").map(PathBuf::from);
        let mkcert = mkcert.or_else(|| Some(data()?.join("mkcert")));
        Self { mkcert, own }
    }
}

/// The authority to make certificates with at `now`, in seconds.
///
/// # Errors
/// What is wrong with the one that is there, or why there can be none.
pub fn find(places: &Places, now: u64) -> Result<Authority, Wrong> {
    if let Some(dir) = &places.mkcert
        && dir.join(CERT_FILE).exists()
        && dir.join(KEY_FILE).exists()
    {
        let authority = load(dir)?;
        return match now <= authority.not_after {
            true => Ok(authority),
            false => Err(of_authority(&authority.path, &"it has expired")),
        };
    }
    let own = &places.own;
    let made = ensure(own, now).map_err(|error| {
        let message = format!("{}: no authority can be made: {error}", own.display());
        Wrong::new(message, "let the server's user write there, or set STATE_DIRECTORY")
    })?;
    Ok(Authority { made, ..load(own)? })
}

fn load(dir: &Path) -> Result<Authority, Wrong> {
    let (path, key) = (dir.join(CERT_FILE), dir.join(KEY_FILE));
    let leaf =
        cert_files::read(&path, &key).map_err(|wrong| of_authority(&path, &wrong.message))?;
    let key = fs::read_to_string(&key).map_err(|error| of_authority(&path, &error))?;
    let key = KeyPair::from_pem(&key).map_err(|error| of_authority(&path, &error))?;
    let certificate = leaf.key.cert.first().ok_or_else(|| of_authority(&path, &"it is empty"))?;
    let issuer =
        Issuer::from_ca_cert_der(certificate, key).map_err(|error| of_authority(&path, &error))?;
    let (fingerprint, not_after) = (leaf.fingerprint, leaf.not_after);
    Ok(Authority { path, issuer, fingerprint, not_after, made: false })
}

fn of_authority(path: &Path, what: &dyn fmt::Display) -> Wrong {
    let message = format!("the local authority {}: {what}", path.display());
    Wrong::new(message, "mend it, or move both of its files away: another one is made")
}

/// Sees that there is one in `dir` that does not end soon; true when it had to be made. Whoever else
/// does so at the same time waits, and finds it.
fn ensure(dir: &Path, now: u64) -> io::Result<bool> {
    fs::DirBuilder::new().recursive(true).mode(0o755).create(dir)?;
    let lock =
        File::options().create(true).truncate(false).write(true).open(dir.join(LOCK_FILE))?;
    lock.lock()?;
    let (cert, key) = (dir.join(CERT_FILE), dir.join(KEY_FILE));
    if cert.exists() || key.exists() {
        // What is there and broken is for its operator to mend: others may believe it.
        let found = cert_files::read(&cert, &key);
        if !found.is_ok_and(|found| found.not_after <= now.saturating_add(LAST_SECS)) {
            return Ok(false);
        }
    }
    let made = issue::authority(&name(), now).map_err(io::Error::other)?;
    write_whole(&key, made.key.as_bytes(), 0o600)?;
    write_whole(&cert, made.cert.as_bytes(), 0o644)?;
    Ok(true)
}

/// Whose it is, for those who find it among others.
fn name() -> String {
    let user = User::from_uid(geteuid()).ok().flatten().map(|user| user.name);
    let host = gethostname().ok().and_then(|host| host.into_string().ok());
    let whose: Vec<_> = user.into_iter().chain(host).collect();
    format!("rip-master local CA {}", whose.join("@"))
}

/// How an authority is made to be believed, one way a line.
pub fn trust(path: &Path) -> Vec<String> {
    let path = path.display();
    vec![
        format!(
            "Debian, Ubuntu: sudo cp {path} /usr/local/share/ca-certificates/rip-master.crt && sudo \
             update-ca-certificates"
        ),
        format!(
            "Fedora, RHEL: sudo cp {path} /etc/pki/ca-trust/source/anchors/rip-master.pem && sudo \
             update-ca-trust"
        ),
        format!(
            "Chrome, Chromium: certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n rip-master -i {path}"
        ),
        format!(
            "Firefox: Settings, Privacy & Security, View Certificates, Authorities, Import: {path}"
        ),
        format!("curl: curl --cacert {path} URL"),
        format!("Python: SSL_CERT_FILE={path} (requests: REQUESTS_CA_BUNDLE={path})"),
        format!("Node.js: NODE_EXTRA_CA_CERTS={path}"),
    ]
}

/// As mkcert calls them.
const CERT_FILE: &str = "rootCA.pem";
const KEY_FILE: &str = "rootCA-key.pem";
const LOCK_FILE: &str = ".lock";
/// An authority that ends sooner makes no certificates any more.
const LAST_SECS: u64 = 30 * 24 * 60 * 60;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::test_dir::TestDir;
    use std::os::unix::fs::PermissionsExt;

    const NOW: u64 = 1_800_000_000;

    fn places(dir: &TestDir) -> Places {
        let mkcert = Some(dir.path().join("mkcert"));
        Places { mkcert, own: dir.path().join("state/certs") }
    }

    #[test]
    fn it_is_made_once_and_kept() {
        let dir = TestDir::make();
        let places = places(&dir);
        let first = find(&places, NOW).unwrap();
        assert!(first.made);
        let mode =
            |name: &str| fs::metadata(places.own.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(CERT_FILE), mode(KEY_FILE)), (0o644, 0o600));
        let again = find(&places, NOW).unwrap();
        assert!(!again.made && again.fingerprint == first.fingerprint);
        let other = find(&places, first.not_after - 10).unwrap();
        assert!(other.made && other.fingerprint != first.fingerprint, "it ends soon");
    }

    #[test]
    fn many_who_need_it_at_once_find_the_same() {
        let dir = TestDir::make();
        let places = places(&dir);
        let found: Vec<_> = std::thread::scope(|scope| {
            let finders: Vec<_> =
                (0..4).map(|_| scope.spawn(|| find(&places, NOW).unwrap())).collect();
            finders.into_iter().map(|finder| finder.join().unwrap()).collect()
        });
        assert_eq!(found.iter().filter(|found| found.made).count(), 1);
        assert!(found.iter().all(|one| one.fingerprint == found[0].fingerprint));
    }

    #[test]
    fn that_of_mkcert_is_preferred_and_never_written() {
        let dir = TestDir::make();
        let places = places(&dir);
        let mkcert = places.mkcert.clone().unwrap();
        let made = issue::authority("mkcert", NOW).unwrap();
        fs::create_dir(&mkcert).unwrap();
        fs::write(mkcert.join(CERT_FILE), &made.cert).unwrap();
        assert!(find(&places, NOW).unwrap().path.starts_with(&places.own), "its key is not there");
        fs::write(mkcert.join(KEY_FILE), &made.key).unwrap();
        let found = find(&places, NOW).unwrap();
        assert_eq!(found.path, mkcert.join(CERT_FILE));
        let wrong = find(&places, found.not_after + 1).err().unwrap();
        assert!(wrong.message.ends_with("it has expired"), "{wrong}");
    }

    #[test]
    fn a_broken_one_is_left_to_its_operator() {
        let dir = TestDir::make();
        let places = places(&dir);
        find(&places, NOW).unwrap();
        fs::write(places.own.join(KEY_FILE), "").unwrap();
        let wrong = find(&places, NOW).err().unwrap();
        assert!(wrong.message.contains("the file has no private key in it"), "{wrong}");
        assert!(wrong.hint.contains("move both"), "{wrong}");
    }
}

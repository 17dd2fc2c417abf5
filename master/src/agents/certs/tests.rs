use super::*;
use crate::reactor::mailbox::{Receiver, mailbox};
use crate::shared::cert_files::{CHAIN_FILE, KEY_FILE, write_whole};
use crate::sys::test_dir::TestDir;
use mio::Events;
use rip::contract::config::{AcmeConfig, CertFiles, Fallback};
use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

/// A keeper whose thread runs, in a directory of its own.
struct Stand {
    dir: TestDir,
    live: Arc<Certs>,
    keeper: CertKeeper,
    poll: Poll,
    mail: Receiver<ControlMessage>,
    /// Everything that was told, in short.
    told: Vec<String>,
    tickets: Vec<CertTicket>,
}

impl Drop for Stand {
    fn drop(&mut self) {
        self.keeper.stop();
    }
}

/// Makes the pair of files for `names`, which ends after `secs`.
fn pair(at: &Path, names: &[&str], secs: i64) -> String {
    let made = made(names, secs);
    fs::write(at.with_extension("crt"), &made.cert).unwrap();
    fs::write(at.with_extension("key"), &made.key).unwrap();
    made.leaf().unwrap().fingerprint
}

fn made(names: &[&str], secs: i64) -> issue::Made {
    let now = unix_now();
    // A certificate for a day that began so that this much of it is left.
    let authority = issue::authority("test", now).unwrap();
    let key = rcgen::KeyPair::from_pem(&authority.key).unwrap();
    let issuer = rcgen::Issuer::from_ca_cert_pem(&authority.cert, key).unwrap();
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let ends = now.checked_add_signed(secs).unwrap();
    let begins = now.min(ends.saturating_sub(1));
    issue::leaf(&names, &issuer, ends, begins).unwrap()
}

fn in_short(event: Event) -> String {
    match event {
        Event::CertLoaded { domains, .. } => format!("loaded {}", domains.join(",")),
        Event::CertFailed { reason, kept, .. } => format!("failed kept={kept} {reason}"),
        Event::CertExpiring { days, .. } => format!("expiring {days}"),
        Event::CertAuthority { made, .. } => format!("authority made={made}"),
        other => panic!("{other:?}"),
    }
}

impl Stand {
    /// `config` is made of the stand's directory.
    fn new(polls: bool, config: impl Fn(&Path) -> Config) -> Self {
        Self::try_new(polls, config).unwrap_or_else(|error| panic!("{error:?}"))
    }

    fn try_new(polls: bool, config: impl Fn(&Path) -> Config) -> Result<Self, LoadError> {
        let dir = TestDir::make();
        let root = dir.path().canonicalize().unwrap();
        let config = config(&root);
        Self::in_dir(dir, polls, &config)
    }

    fn in_dir(dir: TestDir, polls: bool, config: &Config) -> Result<Self, LoadError> {
        let poll = Poll::new().unwrap();
        let waker = Arc::new(Waker::new(poll.registry(), Token(0)).unwrap());
        let (control, mail) = mailbox(waker);
        let live = Arc::new(Certs::default());
        let state = dir.path().canonicalize().unwrap().join("state/certs");
        let gatherer = Gatherer::new(state).without_mkcert();
        let (keeper, watch) = CertKeeper::load_with(Arc::clone(&live), gatherer, config, control)?;
        watch.start(polls).unwrap();
        let (told, tickets) = (Vec::new(), Vec::new());
        Ok(Self { dir, live, keeper, poll, mail, told, tickets })
    }

    fn root(&self) -> PathBuf {
        self.dir.path().canonicalize().unwrap()
    }

    fn served(&self, name: &str) -> Option<String> {
        let set = self.live.load();
        set.select(Some(name)).map(|served| served.record.fingerprint.clone())
    }

    fn listen(&mut self) {
        self.poll.poll(&mut Events::with_capacity(4), Some(Duration::from_millis(20))).unwrap();
        let mut messages = Vec::new();
        self.mail.drain(&mut messages);
        for message in messages {
            match message {
                ControlMessage::Tell(event) => self.told.push(in_short(*event)),
                ControlMessage::CertsDone { ticket, result: Ok(()) } => self.tickets.push(ticket),
                _ => panic!("what is this?"),
            }
        }
    }

    fn until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !is_so(self) {
            assert!(Instant::now() < deadline, "{what}; told {:?}", self.told);
            self.listen();
        }
    }

    fn until_told(&mut self, begin: &str) {
        let begins = |stand: &Self| stand.told.iter().any(|told| told.starts_with(begin));
        self.until(&format!("'{begin}' is not told"), begins);
        self.told.retain(|told| !told.starts_with(begin));
    }

    fn until_served(&mut self, name: &str, fingerprint: &str) {
        let is_served = |stand: &Self| stand.served(name).as_deref() == Some(fingerprint);
        self.until(&format!("{name} does not get the new one"), is_served);
    }
}

fn files(hosts: &[&str], stem: &Path) -> CertFiles {
    CertFiles {
        hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
        cert_path: stem.with_extension("crt").display().to_string(),
        key_path: stem.with_extension("key").display().to_string(),
    }
}

fn with_files(root: &Path) -> Config {
    let certs = ["a", "b"].map(|name| files(&[&format!("{name}.x")], &root.join(name)));
    Config { certs: certs.into(), ..Config::default() }
}

fn with_dirs(root: &Path) -> Config {
    let mut config = Config::default();
    config.edge.tls.cert_dirs = vec![root.join("dir").display().to_string()];
    config
}

fn with_acme(hosts: &[&str], fallback: Fallback) -> Config {
    let acme = AcmeConfig { email: None, directory: String::new(), ca: None, fallback };
    let acme_hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut config = Config { acme_hosts, ..Config::default() };
    config.edge.tls.acme = Some(acme);
    config
}

#[test]
fn pairs_that_the_configuration_names_are_served_from_the_start() {
    let mut stand = Stand::new(false, |root| {
        pair(&root.join("a"), &["a.x", "c.x"], 1_000_000);
        pair(&root.join("b"), &["*.b.x"], 10_000_000);
        with_files(root)
    });
    let (a, b) = (stand.served("a.x").unwrap(), stand.served("b.x").unwrap());
    assert_ne!(a, b);
    assert_eq!(stand.served("c.x").as_ref(), Some(&a));
    assert_eq!(stand.served("www.b.x").as_ref(), Some(&b), "its own name, whatever is declared");
    assert_eq!(stand.served("else.y").as_ref(), Some(&a), "the first is the default");
    let records = stand.keeper.records();
    assert_eq!(records.iter().map(|record| &*record.id).collect::<Vec<_>>(), ["a.x", "*.b.x"]);
    assert!(records.iter().all(|record| record.source == CertSource::Manual));
    for told in ["loaded a.x", "loaded *.b.x", "expiring 11"] {
        stand.until_told(told);
    }
}

#[test]
fn a_start_with_an_unusable_pair_names_it() {
    let unusable = Stand::try_new(false, |root| {
        pair(&root.join("a"), &["a.x"], 1_000_000);
        pair(&root.join("b"), &["b.x"], 1_000_000);
        fs::copy(root.join("a.key"), root.join("b.key")).unwrap();
        with_files(root)
    });
    let Err(LoadError::Unusable(lines)) = unusable else { panic!("it starts") };
    let [line] = &*lines else { panic!("{lines:?}") };
    assert!(line.contains("/b.crt, key ") && line.contains("do not belong together"), "{line}");
}

#[test]
fn whatever_breaks_the_last_good_one_stays_and_that_is_told_once() {
    for polls in [false, true] {
        let mut stand = Stand::new(polls, |root| {
            pair(&root.join("a"), &["a.x"], 10_000_000);
            pair(&root.join("b"), &["b.x"], 10_000_000);
            with_files(root)
        });
        let root = stand.root();
        let first = stand.served("a.x").unwrap();
        stand.until_told("loaded a.x");
        let whole = fs::read(root.join("a.crt")).unwrap();
        fs::write(root.join("a.crt"), &whole[..whole.len() / 2]).unwrap();
        stand.until_told("failed kept=true the certificate is no PEM");
        // Once more looked at, it is the same fault.
        stand.keeper.refresh();
        fs::copy(root.join("b.crt"), root.join("a.crt")).unwrap();
        stand.until_told("failed kept=true certificate and key do not belong together");
        fs::remove_file(root.join("a.crt")).unwrap();
        stand.until_told(&format!("failed kept=true {}/a.crt cannot be read", root.display()));
        fs::create_dir(root.join("a.crt")).unwrap();
        stand.until_told("failed kept=true");
        fs::remove_dir(root.join("a.crt")).unwrap();
        let old = made(&["a.x"], -1000);
        fs::write(root.join("a.key"), &old.key).unwrap();
        fs::write(root.join("a.crt"), &old.cert).unwrap();
        stand.until_told("failed kept=true the certificate expired on");
        assert_eq!(stand.served("a.x"), Some(first.clone()));
        assert_eq!(stand.keeper.report().faults.len(), 1, "{:?}", stand.keeper.report().faults);
        let next = pair(&root.join("a"), &["a.x"], 10_000_000);
        stand.until_served("a.x", &next);
        stand.until_told("loaded a.x");
        assert!(stand.keeper.report().faults.is_empty());
    }
}

#[test]
fn renamed_files_and_swapped_links_are_noticed() {
    let mut stand = Stand::new(false, |root| {
        fs::create_dir_all(root.join("vol/..1")).unwrap();
        pair(&root.join("vol/..1/tls"), &["v.x"], 10_000_000);
        symlink("..1", root.join("vol/..data")).unwrap();
        symlink("..data/tls.crt", root.join("vol/tls.crt")).unwrap();
        symlink("..data/tls.key", root.join("vol/tls.key")).unwrap();
        pair(&root.join("a"), &["a.x"], 10_000_000);
        let certs = vec![files(&["a.x"], &root.join("a")), files(&[], &root.join("vol/tls"))];
        Config { certs, ..Config::default() }
    });
    let root = stand.root();
    let beside = pair(&root.join("new"), &["a.x"], 10_000_000);
    fs::rename(root.join("new.key"), root.join("a.key")).unwrap();
    fs::rename(root.join("new.crt"), root.join("a.crt")).unwrap();
    stand.until_served("a.x", &beside);
    fs::create_dir(root.join("vol/..2")).unwrap();
    let swapped = pair(&root.join("vol/..2/tls"), &["v.x"], 10_000_000);
    symlink("..2", root.join("vol/..data_tmp")).unwrap();
    fs::rename(root.join("vol/..data_tmp"), root.join("vol/..data")).unwrap();
    fs::remove_dir_all(root.join("vol/..1")).unwrap();
    stand.until_served("v.x", &swapped);
}

#[test]
fn pairs_come_to_a_directory_change_and_go() {
    for polls in [false, true] {
        let mut stand = Stand::new(polls, with_dirs);
        let dir = stand.root().join("dir");
        stand.until_told("failed kept=false the directory cannot be read");
        fs::create_dir(&dir).unwrap();
        let one = pair(&dir.join("one"), &["one.x"], 10_000_000);
        stand.until_served("one.x", &one);
        let two = pair(&dir.join("two"), &["two.x"], 10_000_000);
        stand.until_served("two.x", &two);
        assert_eq!(stand.served("one.x"), Some(one.clone()));
        fs::remove_file(dir.join("two.key")).unwrap();
        stand.until_told("failed kept=true its key is gone");
        assert_eq!(stand.served("two.x"), Some(two));
        fs::remove_file(dir.join("two.crt")).unwrap();
        stand.until_served("two.x", &one);
        fs::rename(&dir, stand.root().join("away")).unwrap();
        stand.until_told("failed kept=true the directory cannot be read");
        assert_eq!(stand.served("one.x"), Some(one));
        fs::create_dir(&dir).unwrap();
        let other = pair(&dir.join("x"), &["x.x"], 10_000_000);
        stand.until_served("one.x", &other);
    }
}

#[test]
fn what_an_authority_made_takes_the_place_of_the_temporary_one() {
    let mut stand = Stand::new(false, |_| with_acme(&["a.x", "b.x"], Fallback::SelfSigned));
    let temporary = stand.served("a.x").unwrap();
    assert_eq!(stand.keeper.records()[0].source, CertSource::Auto);
    stand.keeper.refresh();
    assert_eq!(stand.served("a.x"), Some(temporary), "it is not made anew at each look");
    let wrong = made(&["c.x"], 10_000_000);
    let place = stand.root().join("state/certs/a.x");
    let write = |made: &issue::Made| {
        fs::create_dir_all(&place).unwrap();
        write_whole(&place.join(KEY_FILE), made.key.as_bytes(), 0o600).unwrap();
        write_whole(&place.join(CHAIN_FILE), made.cert.as_bytes(), 0o644).unwrap();
    };
    write(&wrong);
    stand.until_told("failed kept=false it is not for a.x");
    let right = made(&["a.x"], 10_000_000);
    write(&right);
    let set = stand.keeper.refresh();
    let fingerprint = right.leaf().unwrap().fingerprint;
    assert_eq!(set.select(Some("a.x")).unwrap().record.fingerprint, fingerprint);
    stand.keeper.note_renewal("a.x", 7, "ok");
    let records = stand.keeper.records();
    let record = records.iter().find(|record| record.source == CertSource::Acme).unwrap();
    assert_eq!(record.last_renew_attempt.zip(record.last_renew_result.as_deref()), Some((7, "ok")));
    assert_ne!(stand.served("b.x"), Some(fingerprint));
    stand.until_told("loaded a.x");
}

#[test]
fn hosts_without_a_certificate_can_be_refused() {
    let stand = Stand::new(false, |root| {
        pair(&root.join("b"), &["*.w.x", "b.x"], 10_000_000);
        let config = with_acme(&["a.x", "a.w.x"], Fallback::Refuse);
        Config { certs: vec![files(&["b.x"], &root.join("b"))], ..config }
    });
    assert_eq!(stand.served("a.x"), None);
    assert_eq!(stand.served("A.X."), None);
    assert!(stand.served("a.w.x").is_some(), "there is one for it");
    assert!(stand.served("else.y").is_some());
}

#[test]
fn names_without_a_certificate_are_known() {
    let rule = |host: &str| {
        let app_id = rip::ids::AppId::new("a");
        rip::contract::route::RouteRule::new(
            host,
            "/*",
            rip::contract::route::RouteAction::ToApp { app_id },
        )
    };
    let hosts = ["b.x", "a.w.x", "a.x", "*.v.x", "10.0.0.1", "[::1]", "*", "plain.x", "c.x"];
    let mut stand = Stand::new(false, |root| {
        pair(&root.join("b"), &["*.w.x", "b.x"], 10_000_000);
        let mut config = with_acme(&["c.x"], Fallback::Refuse);
        config.edge.https = vec!["*:443".parse().unwrap()];
        config.plain_hosts = vec!["plain.x".to_owned()];
        config.routes = hosts.map(rule).to_vec();
        Config { certs: vec![files(&["b.x"], &root.join("b"))], ..config }
    });
    stand.until_told("loaded");
    stand.keeper.refresh();
    let bare = stand.keeper.desk.reader().bare.clone();
    assert_eq!(bare.into_iter().collect::<Vec<_>>(), ["*.v.x", "a.x"]);
}

#[test]
fn the_local_authority_is_made_once_and_its_certificates_follow_the_hosts() {
    let auto = |hosts: &[&str]| Config {
        auto_hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
        ..Config::default()
    };
    let mut stand = Stand::new(false, |_| auto(&["shop.test", "*", "[::1]"]));
    stand.until_told("authority made=true");
    let first = stand.served("shop.test").unwrap();
    assert_eq!(stand.served("localhost"), Some(first.clone()));
    let record = stand.keeper.records().remove(0);
    assert_eq!(record.domains, ["shop.test", "::1", "localhost", "127.0.0.1"]);
    assert_eq!((record.cert_path.as_str(), record.source), ("", CertSource::Auto));
    stand.keeper.refresh();
    assert_eq!(stand.served("shop.test"), Some(first.clone()));
    let staged = stand.keeper.stage(&auto(&["shop.test", "api.test"])).unwrap();
    let before = stand.keeper.activate(&staged);
    assert_ne!(stand.served("api.test"), Some(first.clone()));
    stand.keeper.activate(&before);
    assert_eq!(stand.served("shop.test"), Some(first.clone()), "as it was");
    stand.keeper.refresh();
    assert_eq!(stand.served("shop.test"), Some(first), "and stays");
    assert!(!stand.told.iter().any(|told| told.starts_with("authority")), "it was told of");
}

#[test]
fn an_authority_that_breaks_takes_nothing_away() {
    let auto = |hosts: &[&str]| Config {
        auto_hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
        ..Config::default()
    };
    let mut stand = Stand::new(false, |_| auto(&["shop.test"]));
    let first = stand.served("shop.test").unwrap();
    stand.until_told("loaded shop.test");
    let key = stand.root().join("state/certs/rootCA-key.pem");
    let whole = fs::read(&key).unwrap();
    fs::write(&key, "").unwrap();
    stand.until_told("failed kept=true the local authority");
    assert_eq!(stand.served("shop.test"), Some(first.clone()));
    assert!(stand.keeper.stage(&auto(&["shop.test"])).is_ok(), "what it made is there");
    let failure = stand.keeper.stage(&auto(&["new.test"])).unwrap_err();
    assert_eq!(failure.code, AttemptCode::CertUnreadable);
    fs::write(&key, whole).unwrap();
    stand.until_told("loaded shop.test");
    assert_eq!(stand.served("shop.test"), Some(first));
    let failure = stand.keeper.stage(&auto(&["schön.test"])).unwrap_err();
    assert!(failure.details[0].contains("xn--"), "{:?}", failure.details);
}

#[test]
fn what_is_made_here_is_made_anew_in_time() {
    let dir = TestDir::make();
    let mut gatherer = Gatherer::new(dir.path().join("certs")).without_mkcert();
    let config = with_acme(&["a.x"], Fallback::SelfSigned);
    let config = Config { auto_hosts: vec!["b.x".to_owned()], ..config };
    let sources = CertSources::of(&config);
    let (mut live, mut seen, mut authorities) = (CertSet::default(), BTreeSet::new(), 0);
    let day = 24 * 60 * 60;
    for at in (0..3800).map(|days| 1_800_000_000 + days * day) {
        let gathered = gatherer.gather(&sources, &live, at);
        assert!(gathered.faults.is_empty(), "{:?}", gathered.faults);
        live = gathered.set;
        for name in ["a.x", "b.x"] {
            let record = &live.select(Some(name)).unwrap().record;
            assert!((record.not_before..record.not_after - day).contains(&at), "{record:?}");
            seen.insert((name, record.fingerprint.clone()));
        }
        authorities +=
            u32::from(matches!(gathered.authority, Some(Event::CertAuthority { made: true, .. })));
    }
    assert_eq!(authorities, 2, "the second follows the first before that ends");
    let count = |of: &str| seen.iter().filter(|(name, _)| *name == of).count();
    // Every 60 and every 5 days, or a little more often.
    assert!((60..=75).contains(&count("b.x")), "{}", count("b.x"));
    assert!((700..=970).contains(&count("a.x")), "{}", count("a.x"));
}

#[test]
fn a_start_without_the_authority_it_needs_says_so() {
    let unusable = Stand::try_new(false, |root| {
        fs::write(root.join("state"), "a file").unwrap();
        Config { auto_hosts: vec!["shop.test".to_owned()], ..Config::default() }
    });
    let Err(LoadError::Unusable(lines)) = unusable else { panic!("it starts") };
    assert!(lines[0].contains("no authority can be made"), "{lines:?}");
}

#[test]
fn a_reload_is_rejected_for_a_pair_that_cannot_be_used_and_nothing_changes() {
    let stand = Stand::new(false, |root| {
        pair(&root.join("a"), &["a.x"], 10_000_000);
        pair(&root.join("b"), &["b.x"], 10_000_000);
        with_files(root)
    });
    let root = stand.root();
    let (a, b) = (stand.served("a.x"), stand.served("b.x"));
    let mut config = with_files(&root);
    config.certs.push(files(&["c.x"], &root.join("c")));
    let failure = stand.keeper.stage(&config).unwrap_err();
    assert_eq!(failure.code, AttemptCode::CertUnreadable);
    assert!(failure.details[0].contains("/c.crt cannot be read"), "{:?}", failure.details);
    assert_eq!((stand.served("a.x"), stand.served("b.x")), (a.clone(), b.clone()));
    // One that is served from memory does not do for a new configuration.
    fs::write(root.join("a.key"), "").unwrap();
    assert_eq!(
        stand.keeper.stage(&with_files(&root)).unwrap_err().code,
        AttemptCode::CertUnreadable
    );
    // One that has expired does.
    let old = pair(&root.join("a"), &["a.x"], -1000);
    let c = pair(&root.join("c"), &["c.x"], 10_000_000);
    let staged = stand.keeper.stage(&config).unwrap();
    let before = stand.keeper.activate(&staged);
    assert_eq!(stand.served("c.x"), Some(c));
    assert!(stand.served("a.x") == a && a != Some(old), "the one that is believed");
    stand.keeper.activate(&before);
    assert_eq!((stand.served("a.x"), stand.served("b.x")), (a, b));
}

#[test]
fn whoever_asks_is_told_when_it_is_so() {
    let mut stand = Stand::new(true, with_dirs);
    let dir = stand.root().join("dir");
    fs::create_dir(&dir).unwrap();
    let one = pair(&dir.join("one"), &["one.x"], 10_000_000);
    stand.keeper.ask(CertTicket(3));
    stand.until("nobody is answered", |stand| stand.tickets == [CertTicket(3)]);
    assert_eq!(stand.served("one.x"), Some(one));
}

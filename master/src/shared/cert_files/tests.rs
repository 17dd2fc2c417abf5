use super::*;
use crate::sys::test_dir::TestDir;
use std::os::unix::fs::PermissionsExt;

// Made once with openssl for CN=example.com; the first is valid from 2026 to 2060, the second was
// in 2020. Both belong to KEY, nothing belongs to OTHER.
const CHAIN: &str = "\
-----BEGIN CERTIFICATE-----
MIIBVDCB/KADAgECAgEDMAoGCCqGSM49BAMCMBYxFDASBgNVBAMMC2V4YW1wbGUu
Y29tMCAXDTI2MDEwMTAwMDAwMFoYDzIwNjAwMTAxMDAwMDAwWjAWMRQwEgYDVQQD
DAtleGFtcGxlLmNvbTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABNdX7oqUb7tt
kaPILoxMaK/kItXslVIEQJyOwqms5k+qrd7vtk+kIOnDVdAOVqMb7PjpEm7c6BDQ
Z/5he7FGO4qjOTA3MBYGA1UdEQQPMA2CC2V4YW1wbGUuY29tMB0GA1UdDgQWBBQn
u2uGVWUaV1hn/ASOnyZo0lNgIDAKBggqhkjOPQQDAgNHADBEAiBin/RvQ1IWLQTM
n+sGCXnUOOOtLFlZy3pYp/sB/dzh9QIgb/5a6y0oezg5G9pcgGJs9mGGbvb78VO1
A4HFCi9e/Cc=
-----END CERTIFICATE-----
";
const EXPIRED: &str = "\
-----BEGIN CERTIFICATE-----
MIIBVDCB+qADAgECAgEEMAoGCCqGSM49BAMCMBYxFDASBgNVBAMMC2V4YW1wbGUu
Y29tMB4XDTIwMDEwMTAwMDAwMFoXDTIxMDEwMTAwMDAwMFowFjEUMBIGA1UEAwwL
ZXhhbXBsZS5jb20wWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAATXV+6KlG+7bZGj
yC6MTGiv5CLV7JVSBECcjsKprOZPqq3e77ZPpCDpw1XQDlajG+z46RJu3OgQ0Gf+
YXuxRjuKozkwNzAWBgNVHREEDzANggtleGFtcGxlLmNvbTAdBgNVHQ4EFgQUJ7tr
hlVlGldYZ/wEjp8maNJTYCAwCgYIKoZIzj0EAwIDSQAwRgIhAKF4wyQzUl3CbTW2
TIeRpKy16dqjim6MYIkB5NQSYDnUAiEA7px9ajIzJin33SiFWa8u5AZnqY2anYoP
nlaJ6wnSHYk=
-----END CERTIFICATE-----
";
const KEY: &str = "\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgT8G8pRfmsg/6LU7s
2EwjjjG/Uoh77VS7yW7kW4LqysmhRANCAATXV+6KlG+7bZGjyC6MTGiv5CLV7JVS
BECcjsKprOZPqq3e77ZPpCDpw1XQDlajG+z46RJu3OgQ0Gf+YXuxRjuK
-----END PRIVATE KEY-----
";
const OTHER: &str = "\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgB6ZFk9Yc+JHX2G8U
xV50EUEeMHzF86LLdsbZ70ZMvs+hRANCAAQ89pxdTt5uHC7vUUiLyvx44hUZA0Bk
SBxhWOSJg30R9tNw9rZnsOxbBIHPpidfAl0AKXVQmgZEMuQH/2z8BiBM
-----END PRIVATE KEY-----
";
/// 2030-01-01.
const NOW: u64 = 1_893_456_000;

fn wrong(chain: &str, key: &str) -> String {
    parse(chain.as_bytes(), key.as_bytes()).unwrap_err().message
}

#[test]
fn a_chain_with_its_key_is_right() {
    let leaf = parse(CHAIN.as_bytes(), KEY.as_bytes()).unwrap();
    assert_eq!(leaf.names, ["example.com"]);
    // 2026-01-01 and 2060-01-01.
    assert_eq!((leaf.not_before, leaf.not_after), (1_767_225_600, 2_840_140_800));
    assert_eq!(leaf.fingerprint, fingerprint(&leaf.key.cert[0]));
    assert_eq!(leaf.doubt(NOW), None);
    let whole = format!("# ours\n{CHAIN}{EXPIRED}");
    let leaf = parse(whole.as_bytes(), KEY.as_bytes()).unwrap();
    assert_eq!(leaf.key.cert.len(), 2, "its issuers follow");
    let both = format!("{KEY}{CHAIN}");
    assert!(parse(both.as_bytes(), both.as_bytes()).is_ok(), "one file holds both");
}

#[test]
fn what_is_wrong_is_said() {
    let half = KEY.get(..KEY.len() / 2).unwrap();
    let locked =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let old_locked = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nMAA=\n";
    for (chain, key, said) in [
        (CHAIN, OTHER, "certificate and key do not belong together"),
        (EXPIRED, OTHER, "certificate and key do not belong together"),
        ("", KEY, "the file has no certificate in it"),
        (KEY, KEY, "the file has no certificate in it"),
        (CHAIN, CHAIN, "the file has no private key in it"),
        (CHAIN, "", "the file has no private key in it"),
        (CHAIN, half, "the key is no PEM"),
        (CHAIN, locked, "the key is encrypted"),
        (CHAIN, old_locked, "the key is encrypted"),
        ("-----BEGIN CERTIFICATE-----\nAAAA", KEY, "the certificate is no PEM"),
        (
            "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
            KEY,
            "the certificate cannot be read",
        ),
        (
            CHAIN,
            "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n",
            "the key cannot be used",
        ),
    ] {
        let found = wrong(chain, key);
        assert!(found.starts_with(said), "{found}");
    }
}

#[test]
fn a_certificate_of_other_days_is_odd_but_no_error() {
    let doubt = |chain: &str, now| parse(chain.as_bytes(), KEY.as_bytes()).unwrap().doubt(now);
    let expired = doubt(EXPIRED, NOW).unwrap();
    assert_eq!(expired.to_string(), "the certificate expired on 2021-01-01 (renew it)");
    // 2025-01-01.
    let early = doubt(CHAIN, 1_735_689_600).unwrap();
    assert_eq!(early.message, "the certificate is valid from 2026-01-01 on only");
}

#[test]
fn every_beginning_of_a_pair_is_survived() {
    for end in 0..CHAIN.len() {
        let _ = parse(&CHAIN.as_bytes()[..end], KEY.as_bytes());
    }
    let der = certificates(CHAIN.as_bytes()).unwrap().remove(0);
    for end in 0..der.len() {
        assert!(X509Certificate::from_der(&der[..end]).is_err());
    }
}

#[test]
fn a_pair_is_written_for_its_owner_and_read_again() {
    let dir = TestDir::make();
    let place = dir.path();
    for (chain, key) in [("old", "old"), (CHAIN, KEY)] {
        write_whole(&place.join(KEY_FILE), key.as_bytes(), 0o600).unwrap();
        write_whole(&place.join(CHAIN_FILE), chain.as_bytes(), 0o644).unwrap();
    }
    let mode = |name: &str| fs::metadata(place.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(CHAIN_FILE), mode(KEY_FILE)), (0o644, 0o600));
    assert_eq!(fs::read_dir(place).unwrap().count(), 2, "nothing else is left");
    let leaf = read(&place.join(CHAIN_FILE), &place.join(KEY_FILE)).unwrap();
    let record = leaf.record(CertSource::Acme, "/c", "/k");
    assert_eq!((record.domains, record.not_after), (leaf.names, leaf.not_after));
}

#[test]
fn what_is_no_file_is_not_read() {
    let dir = TestDir::make();
    let wrong = read(dir.path(), dir.path()).unwrap_err().message;
    assert!(wrong.ends_with("cannot be read: it is a directory"), "{wrong}");
    let wrong = read(&dir.path().join("no.pem"), dir.path()).unwrap_err().message;
    assert!(wrong.contains("no.pem cannot be read: No such file"), "{wrong}");
    let pipe = dir.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRUSR).unwrap();
    let wrong = read(&pipe, &pipe).unwrap_err().message;
    assert!(wrong.ends_with("it is not a regular file"), "{wrong}");
}

#[test]
fn what_a_killed_server_has_left_is_removed_when_nobody_writes_it_any_more() {
    let dir = TestDir::make();
    let put = |name: &str, age_secs: u64| {
        fs::write(dir.path().join(name), "key").unwrap();
        let file = File::options().write(true).open(dir.path().join(name)).unwrap();
        let then = std::time::SystemTime::now() - Duration::from_secs(age_secs);
        file.set_modified(then).unwrap();
    };
    put(".rootCA-key.pem.4711", 3600);
    put(".account.json.4712", 3600);
    put(".account.json.4713", 5);
    for other in [".lock", "rootCA-key.pem", "account.json.4711", ".hidden.txt", "..7"] {
        put(other, 3600);
    }
    sweep(dir.path());
    let mut left: Vec<_> =
        dir.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    let expected = [
        "..7",
        ".account.json.4713",
        ".hidden.txt",
        ".lock",
        "account.json.4711",
        "rootCA-key.pem",
    ];
    assert_eq!(left, expected);
    sweep(&dir.path().join("none"));
}

#[test]
fn the_file_of_a_key_that_is_wrong_is_named() {
    let dir = TestDir::make();
    let (cert, key) = (dir.path().join("a.crt"), dir.path().join("a.key"));
    let tls = format!("{}/../tests/tls", env!("CARGO_MANIFEST_DIR"));
    fs::copy(format!("{tls}/leaf.pem"), &cert).unwrap();
    fs::write(&key, "-----BEGIN ENCRYPTED PRIVATE KEY-----").unwrap();
    let wrong = read(&cert, &key).unwrap_err();
    assert!(wrong.is_keys && wrong.message.starts_with(&*key.to_string_lossy()), "{wrong}");
    for (mode, expected) in [(0o600, false), (0o640, false), (0o644, true)] {
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(others_may_read(&key), expected, "{mode:o}");
    }
}

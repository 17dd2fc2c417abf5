use super::*;

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
const NOW: UnixMillis = UnixMillis(1_893_456_000_000);

fn wrong(chain: &str, key: &str, now: UnixMillis) -> String {
    check(chain.as_bytes(), key.as_bytes(), now).unwrap_err().message
}

#[test]
fn a_chain_with_its_key_is_right() {
    assert_eq!(check(CHAIN.as_bytes(), KEY.as_bytes(), NOW), Ok(None));
    let whole = format!("# ours\n{CHAIN}{EXPIRED}");
    assert_eq!(check(whole.as_bytes(), KEY.as_bytes(), NOW), Ok(None), "its issuers follow");
}

#[test]
fn what_is_wrong_is_said() {
    for (chain, key, said) in [
        (CHAIN, OTHER, "certificate and key do not belong together"),
        ("", KEY, "the file has no certificate in it"),
        (KEY, KEY, "the file has no certificate in it"),
        (CHAIN, CHAIN, "the file has no private key in it"),
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
        let found = wrong(chain, key, NOW);
        assert!(found.starts_with(said), "{found}");
    }
}

#[test]
fn a_certificate_of_other_days_is_odd_but_no_error() {
    let doubt = |chain: &str, now| check(chain.as_bytes(), KEY.as_bytes(), now).unwrap();
    let expired = doubt(EXPIRED, NOW).unwrap();
    assert_eq!(expired.message, "the certificate expired on 2021-01-01");
    // 2025-01-01.
    let early = doubt(CHAIN, UnixMillis(1_735_689_600_000)).unwrap();
    assert_eq!(early.message, "the certificate is valid from 2026-01-01 on only");
    let error = wrong(EXPIRED, OTHER, NOW);
    assert_eq!(error, "certificate and key do not belong together", "that it is old comes last");
}

#[test]
fn others_are_verified_against_certificates() {
    assert_eq!(check_authorities(CHAIN.as_bytes()), Ok(()));
    assert_eq!(check_authorities(format!("{CHAIN}{EXPIRED}{KEY}").as_bytes()), Ok(()));
    for (pem, said) in [
        ("", "the file has no certificate in it"),
        (KEY, "the file has no certificate in it"),
        ("-----BEGIN CERTIFICATE-----\nAAAA", "the certificates are no PEM"),
        (
            "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
            "a certificate cannot be read",
        ),
    ] {
        let found = check_authorities(pem.as_bytes()).unwrap_err().message;
        assert!(found.starts_with(said), "{found}");
    }
}

#[test]
fn every_beginning_of_a_certificate_is_survived() {
    let der = CertificateDer::from_pem_slice(CHAIN.as_bytes()).unwrap();
    let Validity { from, until } = validity(&der).unwrap();
    assert_eq!((from.as_str(), until.as_str()), ("20260101000000", "20600101000000"));
    for end in 0..der.len().min(200) {
        let _ = validity(&der[..end]);
    }
    for wrong in [&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff][..], &[0x30, 0x80], &[0x30], &[]] {
        assert!(validity(wrong).is_none());
    }
    assert_eq!(time(UTC_TIME, b"500101000000Z").unwrap(), "19500101000000");
    assert_eq!(time(UTC_TIME, b"490101000000Z").unwrap(), "20490101000000");
    assert_eq!(time(UTC_TIME, b"4901010000Z"), None);
}

//! HTTPS as other programs speak it: OpenSSL, curl, Python, a browser, and who looks for weaknesses.

use crate::harness::port::Port;
use crate::harness::{Server, Setup, tools};
use serde_json::Value;
use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

/// A server with the certificate of `tests/tls`, for `localhost` and `127.0.0.1`, and its port for
/// HTTPS.
pub fn secure(setup: Setup) -> (Server, Port) {
    let port = Port::free();
    let setup = setup
        .flag("--https-port", port.number)
        .flag("--cert", file("leaf.pem"))
        .flag("--key", file("leaf.key"))
        .word("--no-redirect-http");
    (setup.start(), port)
}

pub fn file(name: &str) -> String {
    tools::repository().join("tests/tls").join(name).display().to_string()
}

/// What OpenSSL says of a connection, to which `input` is sent.
fn openssl(port: &Port, arguments: &[&str], input: &str) -> String {
    let mut command = Command::new("openssl");
    command
        .args(["s_client", "-connect", &format!("127.0.0.1:{}", port.number)])
        .args(["-servername", "localhost", "-CAfile", &file("ca.pem")])
        .args(["-verify_hostname", "localhost", "-verify_return_error"])
        .args(arguments);
    talk(&mut command, input)
}

/// Gives a program its input and lets it end.
fn talk(command: &mut Command, input: &str) -> String {
    use std::io::Write;
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("its input");
    // It may have ended without reading.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    tools::both(&child.wait_with_output().expect("its output"))
}

const ASK: &str = "GET /server HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

#[test]
fn openssl_speaks_both_versions_and_no_older_one() {
    let (_server, port) = secure(Setup::builtin("hello").workers(1));
    for (flag, version) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let said = openssl(&port, &[flag, "-ign_eof", "-alpn", "h2,http/1.1"], ASK);
        assert!(said.contains(&format!("New, {version}, Cipher is ")), "{said}");
        assert!(said.contains("Verification: OK"), "{said}");
        assert!(said.contains("ALPN protocol: http/1.1"), "{said}");
        assert!(said.contains("HTTP/1.1 200 OK") && said.contains("\r\n\r\nok"), "{said}");
        // It was told of the end, and not only cut off.
        assert!(said.contains("closed") && !said.contains("unexpected eof"), "{said}");
    }
    for flag in ["-tls1", "-tls1_1"] {
        let said = openssl(&port, &[flag, "-cipher", "ALL:@SECLEVEL=0"], "");
        assert!(said.contains("SSL alert number "), "{said}");
        assert!(said.contains("Cipher is (NONE)"), "{said}");
    }
    let said = openssl(&port, &["-alpn", "h2"], "");
    assert!(said.contains("alert no application protocol"), "{said}");
}

#[test]
fn openssl_takes_sessions_up_again_and_sends_nothing_early() {
    let (server, port) = secure(Setup::builtin("hello").workers(1));
    let said = openssl(&port, &["-tls1_2", "-reconnect"], "");
    assert!(said.contains("TLS session ticket:"), "{said}");
    assert_eq!(said.matches("Reused, TLSv1.2").count(), 5, "{said}");
    let said = openssl(&port, &["-tls1_2", "-reconnect", "-no_ticket"], "");
    assert_eq!(said.matches("Reused, TLSv1.2").count(), 5, "{said}");
    let session = server.path("session").display().to_string();
    let said = openssl(&port, &["-tls1_3", "-ign_eof", "-sess_out", &session], ASK);
    assert!(said.contains("New, TLSv1.3") && said.contains("Max Early Data: 0"), "{said}");
    let said = openssl(&port, &["-tls1_3", "-ign_eof", "-sess_in", &session], ASK);
    assert!(said.contains("Reused, TLSv1.3") && said.contains("HTTP/1.1 200 OK"), "{said}");
    let early = server.path("early").display().to_string();
    fs::write(&early, ASK).unwrap();
    let arguments = ["-tls1_3", "-ign_eof", "-sess_in", &session, "-early_data", &early];
    let said = openssl(&port, &arguments, ASK);
    assert!(said.contains("Early data was not sent"), "{said}");
}

#[test]
fn nobody_negotiates_twice() {
    let (_server, port) = secure(Setup::builtin("hello").workers(1));
    let said = openssl(&port, &["-tls1_2"], "R\n");
    assert!(said.contains("RENEGOTIATING"), "{said}");
    assert!(said.contains("no renegotiation"), "{said}");
    assert!(openssl(&port, &["-ign_eof"], ASK).contains("HTTP/1.1 200 OK"));
}

#[test]
fn curl_believes_the_certificate_and_its_body_comes_back() {
    let (server, port) = secure(Setup::builtin("echo").workers(1));
    let body: Vec<u8> = (0..3_000_000_u32).map(|at| (at / 3 % 251) as u8).collect();
    fs::write(server.path("body"), &body).unwrap();
    let curl = |arguments: &[&str]| {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--fail", "--max-time", "60"]).args(arguments);
        tools::finish_within(&mut command, Duration::from_secs(70))
    };
    let at = |host: &str| format!("https://{host}:{}/", port.number);
    let sent = format!("@{}", server.path("body").display());
    for version in ["--tls-max=1.2", "--tlsv1.3"] {
        for host in ["localhost", "127.0.0.1"] {
            let (version, ca) = (version.replace('=', " "), file("ca.pem"));
            let mut arguments: Vec<&str> = version.split(' ').collect();
            let url = at(host);
            arguments.extend(["--ipv4", "--cacert", &ca, "--data-binary", &sent, &url]);
            let output = curl(&arguments);
            assert!(output.status.success(), "{}", tools::both(&output));
            assert!(output.stdout == body, "{host}: {} bytes", output.stdout.len());
        }
    }
    let stranger = curl(&[&at("127.0.0.1")]);
    assert_eq!(stranger.status.code(), Some(60), "{}", tools::both(&stranger));
    let plain = format!("http://127.0.0.1:{}/", port.number);
    let mut command = Command::new("curl");
    let output = tools::finish(command.args(["--silent", "--include", &plain]));
    let said = tools::both(&output);
    assert!(
        said.starts_with("HTTP/1.1 400 ") && said.contains("This port speaks HTTPS."),
        "{said}"
    );
}

/// Python is strict about ends: without `close_notify` it raises.
const PYTHON: &str = r#"
import http.client, socket, ssl, sys
port, ca = int(sys.argv[1]), sys.argv[2]
for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
    context = ssl.create_default_context(cafile=ca)
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["http/1.1"])
    client = http.client.HTTPSConnection("localhost", port, context=context, timeout=30)
    for size in (0, 1, 16384, 1_000_003):
        body = bytes(at // 5 % 251 for at in range(size))
        client.request("POST", "/", body)
        assert client.getresponse().read() == body, size
    assert client.sock.version() == version.name.replace("_", "."), client.sock.version()
    client.close()
    with socket.create_connection(("127.0.0.1", port), 30) as plain:
        with context.wrap_socket(plain, server_hostname="localhost",
                                 suppress_ragged_eofs=False) as sealed:
            assert sealed.selected_alpn_protocol() == "http/1.1"
            sealed.sendall(b"GET /server HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            answer = b""
            while piece := sealed.recv(4096):
                answer += piece
            assert answer.endswith(b"\r\n\r\nok"), answer
            # Our end is heard, and answered by nothing.
            sealed.unwrap()
    with socket.create_connection(("127.0.0.1", port), 30) as plain:
        try:
            context.wrap_socket(plain, server_hostname="other.test")
            sys.exit("a wrong name is believed")
        except ssl.SSLCertVerificationError:
            pass
print("done")
"#;

#[test]
fn python_speaks_it_and_hears_every_end() {
    let (_server, port) = secure(Setup::builtin("echo").workers(1));
    let mut command = Command::new(tools::python());
    command.args(["-c", PYTHON, &port.number.to_string(), &file("ca.pem")]);
    let output = tools::finish_within(&mut command, Duration::from_secs(60));
    assert!(output.status.success(), "{}", tools::both(&output));
}

#[test]
fn a_browser_trusts_it_and_keeps_its_connection() {
    let (server, port) = secure(Setup::files(|site| {
        let page = "<!doctype html><title>waits</title><link rel=stylesheet href=/a.css>\
             <script src=/a.js></script><img src=/a.svg>";
        fs::write(site.join("index.html"), page).unwrap();
        fs::write(site.join("a.css"), "body { color: rgb(1, 2, 3) }").unwrap();
        fs::write(site.join("a.js"), "document.title = location.protocol").unwrap();
        fs::write(site.join("a.svg"), "<svg xmlns='http://www.w3.org/2000/svg'/>").unwrap();
    }));
    let home = server.path("home");
    let store = home.join(".pki/nssdb");
    fs::create_dir_all(&store).unwrap();
    let store = format!("sql:{}", store.display());
    for arguments in [
        &["-N", "--empty-password"][..],
        &["-A", "-n", "tests", "-t", "C,,", "-i", &file("ca.pem")],
    ] {
        let mut certutil = Command::new("certutil");
        let output = tools::finish(certutil.args(["-d", &store]).args(arguments));
        assert!(output.status.success(), "{}", tools::both(&output));
    }
    let mut node = Command::new("node");
    node.arg(tools::repository().join("tests/browser/secure.cjs"))
        .arg(format!("https://localhost:{}/", port.number))
        .env("NODE_PATH", tools::cache().join("node/node_modules"))
        .env("HOME", &home);
    let output = tools::finish_within(&mut node, Duration::from_secs(120));
    assert!(output.status.success(), "{}\n{}", tools::both(&output), server.log());
}

#[test]
fn who_looks_for_weaknesses_finds_none() {
    let (server, port) = secure(Setup::builtin("hello").workers(1));
    let report = server.path("report.json");
    let mut command = Command::new(tools::cache().join("venv/bin/sslyze"));
    command
        .arg(format!("localhost:{}", port.number))
        .args(["--quiet", "--mozilla_config", "disable", "--json_out"])
        .arg(&report)
        .args(["--sslv2", "--sslv3", "--tlsv1", "--tlsv1_1", "--tlsv1_2", "--tlsv1_3"])
        .args(["--resum", "--reneg", "--robot", "--heartbleed", "--openssl_ccs", "--compression"])
        .args(["--early_data", "--elliptic_curves", "--fallback", "--ems"]);
    let output = tools::finish_within(&mut command, Duration::from_secs(180));
    let text = fs::read_to_string(&report).unwrap_or_else(|_| panic!("{}", tools::both(&output)));
    let report: Value = serde_json::from_str(&text).unwrap();
    let scan = &report["server_scan_results"][0]["scan_result"];
    let result = |name: &str| {
        assert_eq!(scan[name]["status"], "COMPLETED", "{name}: {}", scan[name]);
        &scan[name]["result"]
    };
    let suites = |name: &str| {
        let suites = &result(&format!("{name}_cipher_suites"))["accepted_cipher_suites"];
        let names = suites.as_array().unwrap().iter();
        let names = names.map(|suite| suite["cipher_suite"]["name"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    for old in ["ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1"] {
        assert!(suites(old).is_empty(), "{old}: {:?}", suites(old));
    }
    for (version, count) in [("tls_1_2", 3), ("tls_1_3", 3)] {
        let spoken = suites(version);
        assert_eq!(spoken.len(), count, "{spoken:?}");
        for suite in spoken {
            let is_strong = suite.contains("_GCM_") || suite.contains("CHACHA20_POLY1305");
            let is_ephemeral = version == "tls_1_3" || suite.starts_with("TLS_ECDHE_");
            assert!(is_strong && is_ephemeral, "{suite}");
        }
    }
    for (name, fact, expected) in [
        ("heartbleed", "is_vulnerable_to_heartbleed", false),
        ("openssl_ccs_injection", "is_vulnerable_to_ccs_injection", false),
        ("tls_compression", "supports_compression", false),
        ("tls_1_3_early_data", "supports_early_data", false),
        ("session_renegotiation", "is_vulnerable_to_client_renegotiation_dos", false),
        ("session_renegotiation", "supports_secure_renegotiation", true),
        ("tls_extended_master_secret", "supports_ems_extension", true),
    ] {
        assert_eq!(result(name)[fact], expected, "{name}: {}", result(name));
    }
    assert_eq!(result("robot")["robot_result"], "NOT_VULNERABLE_RSA_NOT_SUPPORTED");
    // By ticket it finds nothing, because it wants to see the same ticket twice: OpenSSL is asked.
    let resumption = result("session_resumption");
    assert_eq!(resumption["session_id_resumption_result"], "FULLY_SUPPORTED", "{resumption}");
}

//! Who is told to apps and logs as the client, and who may say so.

use crate::harness::{Client, Setup, tools};

const FILE: &str = "version 1
edge { http \"127.0.0.1:PORT\"; trusted-proxies \"127.0.0.1\" \"10.0.0.0/8\"; log format=\"json\" }
app \"api\" { command \"python3\" \"-S\" \"-I\" \"RECORDER\"; workers 1; hosts \"a.test\" }
";

#[test]
fn only_a_trusted_proxy_says_whom_it_speaks_for() {
    let file = FILE.replace("RECORDER", &tools::app("recorder.py"));
    let server = Setup::edgefile(&file).word("--no-watch").start();
    let fields = "X-Forwarded-For: 198.51.100.1, 203.0.113.9, 10.1.1.1\r\n\
                  X-Forwarded-Proto: https\r\nX-Forwarded-Host: public.test\r\n";
    for from in ["127.0.0.1", "127.0.0.2"] {
        let mut client = Client::connect_from(from, server.port());
        client.request("GET", "/who", fields, b"");
        assert_eq!(client.response().status, 200);
    }
    let seen = server.seen();
    let told = |at: usize, name: &str| seen[at].values(name).join("; ");
    let chain = "198.51.100.1, 203.0.113.9, 10.1.1.1, 127.0.0.1";
    assert_eq!(told(0, "x-forwarded-for"), chain);
    assert_eq!(told(0, "x-forwarded-proto"), "https");
    assert_eq!(told(0, "x-forwarded-host"), "public.test");
    assert_eq!(told(1, "x-forwarded-for"), "127.0.0.2");
    assert_eq!(told(1, "x-forwarded-proto"), "http");
    assert_eq!(told(1, "x-forwarded-host"), "a.test");
    server.wait_for_log("203.0.113.9");
    server.wait_for_log("\"127.0.0.2\"");
}

//! What stands in `.env` beside an app.

use crate::harness::{Client, Setup};

/// Answers with the variable that the query names.
const SAYS: &str = "import os\ndef application(environ, start_response):\n    \
    start_response('200 OK', [('Content-Type', 'text/plain')])\n    \
    return [os.environ.get(environ['QUERY_STRING'], '-').encode()]\n";

#[test]
fn values_are_read_as_people_write_them() {
    let file = "# what the app needs\nexport PLAIN=two words  # why\nEMPTY=\nHASH=a#b\n\
                SINGLE='it is # $literal \\n'\nDOUBLE=\"a\\tb \\\"c\\\" \\$d\"\n\
                KEY=\"-----BEGIN KEY-----\nab+/=\n-----END KEY-----\"\n\
                TWICE=first\nTWICE=second\nEXPANDED=$PLAIN\nthis is nothing\n\
                PATH=/nowhere\nRIP_WORKER_ID=77\nNOTIFY_SOCKET=/nowhere\n";
    let server = Setup::python(SAYS).with_file(".env", file).workers(1).start();
    let mut client = server.connect();
    for (name, value) in [
        ("PLAIN", "two words"),
        ("EMPTY", ""),
        ("HASH", "a#b"),
        ("SINGLE", "it is # $literal \\n"),
        ("DOUBLE", "a\tb \"c\" $d"),
        ("KEY", "-----BEGIN KEY-----\nab+/=\n-----END KEY-----"),
        ("TWICE", "second"),
        ("EXPANDED", "$PLAIN"),
        ("RIP_WORKER_ID", "1"),
        ("NOTIFY_SOCKET", "-"),
    ] {
        assert_eq!(client.ask("GET", &format!("/?{name}")).text(), value, "{name}");
    }
    assert_ne!(client.ask("GET", "/?PATH").text(), "/nowhere", "it never overrides");
    server.wait_for_log(".env: line 13 is not NAME=value; it is skipped");
}

#[test]
fn each_app_of_an_edgefile_has_its_own() {
    let file = "version 1\nedge { http \"127.0.0.1:PORT\" }\n\
        app \"one\" { entry \"one/app.py\"; workers 1; hosts \"one.test\"; env { B \"edgefile\" } }\n\
        app \"two\" { entry \"two/app.py\"; workers 1; hosts \"two.test\" }\n\
        app \"third\" { entry \"two/app.py\"; workers 1; hosts \"third.test\"; env { A \"third\" } }\n";
    let server = Setup::edgefile(file)
        .with_file("one/app.py", SAYS)
        .with_file("one/.env", "A=one\nB=one\nC=one\n")
        .with_file("two/app.py", SAYS)
        .with_file("two/.env", "A=two\nC=two\n")
        .with_file(".env", "A=beside the Edgefile\nD=beside the Edgefile\n")
        .env("C", "master")
        .word("--no-watch")
        .start();
    server.wait_for_workers(3);
    let mut client: Client = server.connect();
    for (host, expected) in [
        ("one.test", ["one", "edgefile", "master", "-"]),
        ("two.test", ["two", "-", "master", "-"]),
        ("third.test", ["third", "-", "master", "-"]),
    ] {
        for (name, value) in ["A", "B", "C", "D"].iter().zip(expected) {
            let told = client.ask_at(host, "GET", &format!("/?{name}")).text();
            assert_eq!(told, value, "{name} of {host}");
        }
    }
}

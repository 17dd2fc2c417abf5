//! What newcomers are shown, started as each README says.

use crate::harness::{Client, Response, Server, Setup};

#[test]
fn flask() {
    visits(&Setup::example("flask").workers(2).start());
}

#[test]
fn php() {
    let setup = Setup::example("php").workers(2);
    // Sessions are files: where the test can clear them away.
    let place = setup.path("sessions");
    std::fs::create_dir(&place).expect("a directory for sessions");
    let settings = format!("session.save_path = {:?}\n", place.to_str().expect("a path in UTF-8"));
    std::fs::write(place.join("test.ini"), settings).expect("PHP's settings");
    visits(&setup.env("PHP_INI_SCAN_DIR", format!(":{}", place.display())).start());
}

#[test]
fn express() {
    let server = Setup::example("express").workers(2).start();
    let page = server.get("/");
    assert!(page.text().contains("<h1>Hello</h1>"), "{page:?}");
    let said = post(&mut server.connect(), "");
    assert_eq!((said.status, said.text().as_str()), (200, "Hello, Zoë <Z>\n"));
}

/// A page that counts and knows its visitor's name.
fn visits(server: &Server) {
    let mut client = server.connect();
    let mut page = client.ask("GET", "/");
    assert!(page.text().contains("<h1>Hello, whoever you are</h1>"), "{page:?}");
    let mut cookie = String::new();
    let mut keep = |response: &Response| {
        if let Some(set) = response.values("set-cookie").first() {
            cookie = format!("Cookie: {}\r\n", set.split(';').next().unwrap_or_default());
        }
        cookie.clone()
    };
    let known = post(&mut client, &keep(&page));
    assert_eq!((known.status, known.field("location")), (303, "/"), "{known:?}");
    let fields = keep(&known);
    client.request("GET", "/", &fields, b"");
    page = client.response();
    assert!(page.text().contains("<h1>Hello, Zoë &lt;Z&gt;</h1>"), "{page:?}");
    assert!(page.text().contains("You were here 2 times."), "{page:?}");
}

fn post(client: &mut Client, cookie: &str) -> Response {
    let fields = format!("Content-Type: application/x-www-form-urlencoded\r\n{cookie}");
    client.request("POST", "/", &fields, "name=Zo%C3%AB+%3CZ%3E".as_bytes());
    client.response()
}

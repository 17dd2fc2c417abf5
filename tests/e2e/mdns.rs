//! Names of the local network, as a neighbour sees them: on the wire, by a resolver that is not
//! ours.

use crate::harness::network::{Network, OTHER, OWN, ip};
use crate::harness::port::Port;
use crate::harness::{Server, Setup, eventually, tools, until, within};
use nix::sys::signal::Signal;
use rip::route::{LocalName, LocalService};
use rip_master::agents::mdns::MdnsAgent;
use serde_json::Value;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

/// A server that can be reached from outside, with these hosts.
fn started(hosts: &str) -> Server {
    Setup::edgefile(&file(":PORT", hosts)).word("--no-watch").start()
}

fn file(http: &str, hosts: &str) -> String {
    format!(
        "version 1\nedge {{ http \"{http}\" }}\n\
         app \"api\" {{ entry \"builtin:hello\"; workers 1; hosts {hosts} }}\n"
    )
}

#[track_caller]
fn reload(server: &Server, text: &str) {
    server.write_edgefile(text);
    let answer = server.control_post("/control/reload", "", "{}");
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn ask(server: &Server, host: &str, target: &str) -> (u16, String) {
    let mut client = server.connect();
    client.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    let response = client.response();
    (response.status, response.text())
}

fn addresses(line: &Value) -> Vec<&str> {
    line["addresses"].as_array().expect("addresses").iter().filter_map(Value::as_str).collect()
}

/// The names of the server's threads.
fn threads(server: &Server) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", server.pid())).expect("its threads");
    let name = |task: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(task.ok()?.path().join("comm")).ok()
    };
    tasks.filter_map(name).map(|name| name.trim_end().to_owned()).collect()
}

fn speaks_mdns(server: &Server) -> bool {
    threads(server).iter().any(|name| name == "mDNS_daemon")
}

#[test]
fn a_neighbour_sees_names_come_change_and_go() {
    Network::run(|network| {
        network.plug_in();
        let mut neighbour = network.neighbour(&["browse"]);
        let hosts = "\"shop.local\" \"my.stall.local\" \"shop.example.com\"";
        let mut server = started(hosts);
        let port = u64::from(server.port());
        for (service, host) in [
            ("shop._http", "shop.local."),
            ("my.stall._http", "my.stall.local."),
            ("rip._http", "rip.local."),
        ] {
            let told = neighbour.wait_for(service, |told| addresses(told).len() >= 2);
            assert_eq!((&told["host"], &told["path"]), (&host.into(), &"/".into()), "{told}");
            assert_eq!(told["port"], port, "{told}");
            let addresses = addresses(&told);
            assert!(addresses.contains(&OWN) && addresses.contains(&"2001:db8::1"), "{told}");
            assert!(!addresses.iter().any(|text| text.starts_with("127.") || *text == "::1"));
        }
        assert!(neighbour.resolve("shop.local").contains(&OWN.to_owned()));
        assert_eq!(neighbour.resolve("shop.example.local"), [""; 0]);
        for (host, path, text) in
            [("shop.local", "/", "Hello from rip-master\n"), ("rip.local", "/server", "ok")]
        {
            let known = format!("{host}:{port}:{OWN}");
            let url = format!("http://{host}:{port}{path}");
            let mut curl = network.command("curl");
            let got = tools::finish(curl.args(["-sS", "--resolve", &known, &url]));
            assert_eq!(tools::both(&got), text);
        }

        // Nothing but what has changed is told or taken back.
        let before = neighbour.said().len();
        reload(&server, &file(":PORT", "\"shop.local\" \"new.local\""));
        neighbour.wait_for_goodbye("my.stall._http");
        neighbour.wait_for("new._http", |told| told["port"] == port);
        let since = neighbour.said().split_off(before);
        let of_others = since.iter().filter(|line| {
            line["name"] != "my.stall._http._tcp.local." && line["name"] != "new._http._tcp.local."
        });
        assert_eq!(of_others.collect::<Vec<_>>(), [&Value::Null; 0]);
        assert_eq!(neighbour.resolve("my.stall.local"), [""; 0]);

        let other = Port::free();
        reload(&server, &file(&format!(":{}", other.number), "\"shop.local\""));
        for service in ["shop._http", "rip._http"] {
            neighbour.wait_for(service, |told| told["port"] == u64::from(other.number));
        }
        neighbour.wait_for_goodbye("new._http");
        assert!(neighbour.resolve("shop.local").contains(&OWN.to_owned()));

        let asked = Instant::now();
        server.signal(Signal::SIGTERM);
        assert_eq!(server.exit_code(), 0);
        assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
        for service in ["shop._http", "rip._http"] {
            neighbour.wait_for_goodbye(service);
        }
        assert_eq!(neighbour.resolve("shop.local"), [""; 0]);
        assert_eq!(neighbour.resolve("rip.local"), [""; 0]);
        assert_eq!(server.stderr().matches(" WARN ").count(), 0, "{}", server.stderr());
    });
}

#[test]
fn a_machine_without_a_network_serves_and_tells_its_names_when_it_has_one() {
    Network::run(|network| {
        let began = Instant::now();
        let server = started("\"shop.local\"");
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        server.wait_for_log("no network but its own");
        assert_eq!(ask(&server, "shop.local", "/"), (200, "Hello from rip-master\n".to_owned()));
        network.plug_in();
        let neighbour = network.neighbour(&["browse"]);
        let told = neighbour.wait_for("shop._http", |told| addresses(told).contains(&OWN));
        assert_eq!(told["port"], u64::from(server.port()));
        // Another address of the machine is one of its names' as well.
        ip(&["address", "add", "192.0.2.77/24", "dev", "near"]);
        neighbour.wait_for("shop._http", |told| addresses(told).contains(&"192.0.2.77"));
    });
}

#[test]
fn a_port_that_is_not_shared_is_a_warning_and_nothing_else() {
    Network::run(|network| {
        network.plug_in();
        let holder = UdpSocket::bind("0.0.0.0:5353").expect("the port of multicast DNS");
        let mut server = started("\"shop.local\"");
        server.wait_for_log("UDP port 5353 is held by a process that does not share it");
        assert_eq!(ask(&server, "shop.local", "/"), (200, "Hello from rip-master\n".to_owned()));
        reload(&server, &file(":PORT", "\"other.local\""));
        assert!(!speaks_mdns(&server));
        assert_eq!(server.log().matches("UDP port 5353").count(), 1);
        let asked = Instant::now();
        assert_eq!(server.stop(), 0);
        assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
        drop(holder);
    });
}

#[test]
fn a_name_that_another_machine_has_is_left_to_it() {
    Network::run(|network| {
        network.plug_in();
        let mut neighbour = network.neighbour(&["browse"]);
        let owner = network.neighbour(&["claim", "shop.local.", OTHER]);
        until("the owner to be known", || {
            (neighbour.resolve("shop.local") == [OTHER]).then_some(())
        });
        let server = started("\"shop.local\"");
        server.wait_for_log("has another shop.local: that name is not told there");
        neighbour.wait_for("rip._http", |told| addresses(told).contains(&OWN));
        eventually("nothing of it to be told", || {
            let told = neighbour.last("shop._http");
            told.is_none_or(|line| line["event"] == "gone")
        });
        assert_eq!(neighbour.resolve("shop.local"), [OTHER]);
        assert_eq!(neighbour.resolve("shop-2.local"), [""; 0]);
        assert_eq!(server.log().matches("another shop.local").count(), 1, "{}", server.log());
        owner.leave();
        reload(&server, &file(":PORT", "\"shop.local\" \"other.local\""));
        let told = neighbour.wait_for("shop._http", |told| told["host"] == "shop.local.");
        assert!(addresses(&told).contains(&OWN), "{told}");
        neighbour.wait_for("other._http", |told| addresses(told).contains(&OWN));
    });
}

#[test]
fn two_servers_of_one_machine_are_both_found() {
    Network::run(|network| {
        network.plug_in();
        let mut neighbour = network.neighbour(&["browse"]);
        let first = started("\"one.local\"");
        neighbour.wait_for("rip._http", |told| told["port"] == u64::from(first.port()));
        let second = started("\"two.local\"");
        neighbour.wait_for("two._http", |told| told["port"] == u64::from(second.port()));
        let listed =
            neighbour.wait_for("rip (2)._http", |told| told["port"] == u64::from(second.port()));
        assert_eq!(listed["host"], "rip.local.", "{listed}");
        assert!(neighbour.resolve("rip.local").contains(&OWN.to_owned()));
        for server in [&first, &second] {
            assert!(!server.log().contains("has another"), "{}", server.log());
        }
        drop(second);
        neighbour.wait_for_goodbye("two._http");
        neighbour.wait_for("one._http", |told| told["port"] == u64::from(first.port()));
    });
}

#[test]
fn a_server_that_only_its_own_machine_reaches_tells_nobody() {
    Network::run(|network| {
        network.plug_in();
        let own = Setup::edgefile(&file("127.0.0.1:PORT", "\"shop.local\"")).word("--no-watch");
        let own = own.start();
        let public = started("\"shop.example.com\"");
        let open = started("\"shop.local\"");
        let neighbour = network.neighbour(&["browse"]);
        neighbour.wait_for("shop._http", |told| told["port"] == u64::from(open.port()));
        assert!(speaks_mdns(&open) && !speaks_mdns(&own) && !speaks_mdns(&public));
        // It is told of as soon as it is reached from outside, and no longer than that.
        drop(open);
        neighbour.wait_for_goodbye("shop._http");
        let other = Port::free();
        reload(&own, &file(&format!(":{}", other.number), "\"shop.local\""));
        neighbour.wait_for("shop._http", |told| told["port"] == u64::from(other.number));
        reload(&own, &file("127.0.0.1:PORT", "\"shop.local\""));
        neighbour.wait_for_goodbye("shop._http");
        eventually("the responder's end", || !speaks_mdns(&own));
    });
}

fn shop(services: &[(bool, u16)]) -> Vec<LocalName> {
    let service = |(secure, port)| LocalService { secure, port, at: vec![None] };
    let services = services.iter().copied().map(service).collect();
    vec![LocalName { host: "shop.local".to_owned(), services }]
}

#[test]
fn a_host_that_loses_one_of_its_services_is_still_found() {
    Network::run(|network| {
        network.plug_in();
        let mut neighbour = network.neighbour(&["browse"]);
        let mut agent = MdnsAgent::new();
        agent.tell(shop(&[(false, 80), (true, 443)]));
        for (service, port) in [("shop._http", 80), ("shop._https", 443)] {
            neighbour
                .wait_for(service, |told| told["port"] == port && told["host"] == "shop.local.");
        }
        // What is told is said twice, a second apart (RFC 6762, section 8.3).
        let said = Instant::now() + Duration::from_secs(2);
        while Instant::now() < said {
            assert!(neighbour.knows("shop.local").contains(&OWN.to_owned()));
        }
        agent.tell(shop(&[(false, 80)]));
        neighbour.wait_for_goodbye("shop._https");
        // The goodbye was one for the address as well: it is told again without being asked for.
        within(Duration::from_secs(3), || {
            neighbour.knows("shop.local").contains(&OWN.to_owned()).then_some(())
        })
        .expect("the host is still known");
        assert_ne!(neighbour.last("shop._http").expect("the other one")["event"], "gone");
        agent.withdraw();
        agent.tell(shop(&[(false, 80)]));
        neighbour.wait_for_goodbye("shop._http");
        agent.stop();
        assert_eq!(neighbour.resolve("shop.local"), [""; 0]);
    });
}

/// The responder hears itself from the other interface, and may take that for somebody else.
#[test]
fn a_machine_that_is_in_one_network_twice_is_found_there() {
    Network::run(|network| {
        network.plug_in();
        network.plug_in_again("198.51.100.1");
        let mut neighbour = network.neighbour(&["browse"]);
        let server = started("\"shop.local\"");
        let own = [OWN, "198.51.100.1"];
        eventually("one interface, or both", || {
            let told = neighbour.last("shop._http");
            let is_both = told.is_some_and(|told| {
                told["event"] != "gone" && own.iter().all(|ip| addresses(&told).contains(ip))
            });
            is_both || server.log().contains("has another shop.local")
        });
        let is_ours = |address: &str| own.contains(&address);
        until("the machine to be found again", || {
            let found = neighbour.resolve("shop.local");
            found.iter().any(|address| is_ours(address)).then_some(())
        });
        neighbour.wait_for("shop._http", |told| addresses(told).into_iter().any(is_ours));
        eventually("nothing but that name", || neighbour.resolve("shop-2.local").is_empty());
    });
}

#[test]
fn https_is_told_beside_http_and_nothing_where_that_is_said() {
    Network::run(|network| {
        network.plug_in();
        let mut neighbour = network.neighbour(&["browse"]);
        let server = started("\"shop.local\"");
        neighbour.wait_for("shop._http", |told| told["port"] == u64::from(server.port()));
        let secure = Port::free();
        // Certificates may come later.
        let both = format!(":PORT\"; certs \"$DIR/record\"; https \":{}", secure.number);
        reload(&server, &file(&both, "\"shop.local\""));
        for service in ["shop._https", "rip._https"] {
            let told = neighbour.wait_for(service, |told| addresses(told).contains(&OWN));
            assert_eq!(told["port"], u64::from(secure.number), "{told}");
        }
        assert_ne!(neighbour.last("shop._http").expect("http as well")["event"], "gone");
        let silent = file(":PORT\"; mdns #false; https \"off", "\"shop.local\"");
        reload(&server, &silent);
        for service in ["shop._http", "shop._https", "rip._http", "rip._https"] {
            neighbour.wait_for_goodbye(service);
        }
        assert_eq!(neighbour.resolve("shop.local"), [""; 0]);

        let told = Setup::edgefile(&file(":PORT", "\"other.local\"")).word("--no-watch").start();
        let silent = Setup::edgefile(&file(":PORT", "\"silent.local\""));
        let silent = silent.word("--no-watch").word("--no-mdns").start();
        neighbour.wait_for("other._http", |line| line["port"] == u64::from(told.port()));
        assert!(speaks_mdns(&told) && !speaks_mdns(&silent));
        assert_eq!(neighbour.resolve("silent.local"), [""; 0]);
    });
}

//! Nothing outside the directory is ever served, however it is asked for and whatever happens to
//! the tree meanwhile.

use crate::harness::{Client, Server, Setup, within};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

const SECRET: &str = "TOP-SECRET-CONTENT";

/// A site with links of every kind, and a secret beside it.
fn site() -> Server {
    Setup::files(|site| {
        let outside = site.parent().unwrap().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("secret.txt"), SECRET).unwrap();
        fs::write(site.parent().unwrap().join("secret.txt"), SECRET).unwrap();
        fs::create_dir_all(site.join("sub/deep")).unwrap();
        fs::write(site.join("public.txt"), "public").unwrap();
        fs::write(site.join("sub/inner.txt"), "inner").unwrap();
        fs::write(site.join(".env"), SECRET).unwrap();
        symlink("../outside/secret.txt", site.join("relative-out")).unwrap();
        symlink(outside.join("secret.txt"), site.join("absolute-out")).unwrap();
        symlink(site.join("public.txt"), site.join("absolute-in")).unwrap();
        symlink("../public.txt", site.join("sub/relative-in")).unwrap();
        symlink("../outside", site.join("folder-out")).unwrap();
        symlink("sub", site.join("folder-in")).unwrap();
        symlink("/", site.join("root")).unwrap();
        symlink("/proc/self/root", site.join("magic")).unwrap();
        symlink("/proc/self/cwd", site.join("cwd")).unwrap();
        symlink("chain", site.join("chain")).unwrap();
        symlink("relative-out", site.join("hop")).unwrap();
    })
    .start()
}

#[test]
fn links_are_followed_within_and_never_out() {
    let server = site();
    for (target, body) in [
        ("/sub/relative-in", "public"),
        ("/folder-in/inner.txt", "inner"),
        ("/folder-in/relative-in", "public"),
    ] {
        let response = server.get(target);
        assert_eq!((response.status, response.text()), (200, body.to_owned()), "{target}");
    }
    for target in [
        "/relative-out",
        "/absolute-out",
        "/absolute-in",
        "/folder-out/secret.txt",
        "/folder-out/",
        "/root/etc/passwd",
        "/magic/etc/passwd",
        "/cwd/site/public.txt",
        "/chain",
        "/hop",
        "/.env",
    ] {
        assert_eq!(server.get(target).status, 404, "{target}");
    }
}

#[test]
fn no_spelling_of_a_path_leads_out() {
    let server = site();
    let up = [
        "..",
        "%2e%2e",
        ".%2e",
        "%2E.",
        "..%00",
        "%252e%252e",
        "..;",
        "..%3b",
        "%c0%ae%c0%ae",
        "%uff0e%uff0e",
        "....",
        "..%20",
        ". .",
        "\u{2025}",
        "..\\",
        "..%5c",
        "%2e%2e%2f",
        "..%2f",
        "..%c0%af",
        "..%255c",
    ];
    let joints = ["/", "//", "/./", "\\", "%2f", "%5c", "%2F"];
    let mut targets = Vec::new();
    for step in up {
        for joint in joints {
            for (prefix, depth) in [("/", 1), ("/sub/", 2), ("/sub/deep/", 3), ("/none/", 2)] {
                for extra in 0..2 {
                    let climb = format!("{step}{joint}").repeat(depth + extra);
                    for goal in ["secret.txt", "outside/secret.txt", "etc/passwd"] {
                        targets.push(format!("{prefix}{climb}{goal}"));
                    }
                }
            }
        }
    }
    for odd in [
        "/%2fetc/passwd",
        "//etc/passwd",
        "///etc/passwd",
        "/sub/..%2f..%2fsecret.txt",
        "/public.txt/../../secret.txt",
        "/public.txt%00.html",
        "/.%00./secret.txt",
        "/./.env",
        "/%2eenv",
        "/sub/../.env",
        "/file:///etc/passwd",
        "/..",
        "/../",
        "/%2e%2e",
        "/.../secret.txt",
        "/~root/",
        "/CON",
        "/sub::$DATA",
        "/sub/%2e%2e/%2e%2e/secret.txt",
    ] {
        targets.push(odd.to_owned());
    }
    let mut client = server.connect();
    for target in targets {
        let request = format!("GET {target} HTTP/1.1\r\nHost: a.test\r\n\r\n");
        if client.try_send(&request).is_err() {
            client = server.connect();
            client.send(&request);
        }
        match client.try_response("GET") {
            Ok(response) => {
                let text = String::from_utf8_lossy(&response.body).into_owned();
                assert!(!text.contains(SECRET) && !text.contains("root:"), "{target}: {text}");
                assert!(matches!(response.status, 400 | 404), "{target}: {}", response.status);
                if response.says_close() {
                    client = server.connect();
                }
            }
            Err(_) => client = server.connect(),
        }
    }
    assert_eq!(server.get("/public.txt").text(), "public");
}

#[test]
fn races_of_names_and_links_serve_no_secret_and_no_mixed_bytes() {
    for loops in [1, 2] {
        let server = Setup::files(|site| {
            let outside = site.parent().unwrap().join("outside");
            fs::create_dir(&outside).unwrap();
            for size in [50, 80_000] {
                fs::write(outside.join(format!("f{size}")), SECRET.repeat(size / 18 + 1)).unwrap();
            }
            fs::create_dir(site.join("dir")).unwrap();
            for size in [50, 80_000] {
                fs::write(site.join(format!("dir/f{size}")), vec![b'A'; size]).unwrap();
            }
        })
        .flag("--loops", loops)
        .start();
        let stop = Arc::new(AtomicBool::new(false));
        let (site, outside) = (server.path("site"), server.path("outside"));
        let swapping = thread::spawn({
            let (stop, site, outside) = (Arc::clone(&stop), site.clone(), outside.clone());
            move || {
                while !stop.load(Ordering::Relaxed) {
                    swap_directory(&site, &outside);
                    replace_files(&site);
                }
            }
        });
        let answers = Arc::new(AtomicU64::new(0));
        let clients: Vec<_> = (0..4_usize)
            .map(|number| {
                let (port, stop, answers) =
                    (server.port(), Arc::clone(&stop), Arc::clone(&answers));
                thread::spawn(move || {
                    let mut client = Client::connect(port);
                    while !stop.load(Ordering::Relaxed) {
                        let size = if number.is_multiple_of(2) { 50 } else { 80_000 };
                        let response = client.ask("GET", &format!("/dir/f{size}"));
                        assert!(matches!(response.status, 200 | 404 | 308), "{}", response.status);
                        if response.status == 200 {
                            let first = response.body[0];
                            let same = response.body.iter().all(|byte| *byte == first);
                            assert!(same && first != SECRET.as_bytes()[0], "{}", response.text());
                            answers.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                })
            })
            .collect();
        let enough = within(Duration::from_secs(30), || {
            (answers.load(Ordering::Relaxed) > 2000).then_some(())
        });
        thread::sleep(Duration::from_secs(1));
        stop.store(true, Ordering::Relaxed);
        clients.into_iter().for_each(|client| client.join().unwrap());
        swapping.join().unwrap();
        assert!(enough.is_some(), "{answers:?} answers");
    }
}

/// The directory becomes a link out and a directory again.
fn swap_directory(site: &Path, outside: &Path) {
    fs::rename(site.join("dir"), site.join("away")).unwrap();
    symlink(outside, site.join("dir")).unwrap();
    thread::yield_now();
    fs::remove_file(site.join("dir")).unwrap();
    symlink("../outside", site.join("dir")).unwrap();
    thread::yield_now();
    fs::remove_file(site.join("dir")).unwrap();
    fs::rename(site.join("away"), site.join("dir")).unwrap();
}

/// The files get other content, by renaming, and become links out and files again.
fn replace_files(site: &Path) {
    for size in [50, 80_000] {
        let (path, next) = (site.join(format!("dir/f{size}")), site.join("next"));
        for letter in *b"BCA" {
            fs::write(&next, vec![letter; size]).unwrap();
            fs::rename(&next, &path).unwrap();
            symlink(format!("../../outside/f{size}"), &next).unwrap();
            fs::rename(&next, &path).unwrap();
            fs::write(&next, vec![letter; size]).unwrap();
            fs::rename(&next, &path).unwrap();
        }
    }
}

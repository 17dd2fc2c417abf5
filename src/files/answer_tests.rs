use super::*;
use crate::entropy::Xoshiro;
use crate::files::conditional::Conditions;
use crate::files::lines::Lines;
use crate::files::negotiate::Accepted;
use std::collections::BTreeMap;

const NOW: UnixMillis = UnixMillis(1_790_000_000_000);
const OLD: Modified = Modified { secs: 784_111_777, nanos: 0 };
const TAG: &str = "\"784111777000000000-100\"";

/// What is beneath the root: sizes of files; `None` is a directory.
type Tree = BTreeMap<&'static str, Option<u64>>;

fn tree() -> Tree {
    Tree::from([
        ("", None),
        ("index.html", Some(100)),
        ("a.txt", Some(100)),
        ("empty.txt", Some(0)),
        ("docs", None),
        ("docs/index.html", Some(50)),
        ("bare", None),
        ("odd", None),
        ("odd/index.html", None),
        (".env", Some(5)),
        (".well-known", None),
        (".well-known/x", Some(5)),
        ("app.js", Some(100)),
        ("app.js.br", Some(20)),
        ("app.js.gz", Some(30)),
        ("app.js.zst", Some(25)),
        ("one.css", Some(100)),
        ("one.css.gz", Some(30)),
    ])
}

fn meta(tree: &Tree, path: &str) -> Option<Meta> {
    let size = (*tree.get(path)?)?;
    Some(Meta { size, modified: OLD })
}

fn look(tree: &Tree, path: &[u8]) -> Found {
    let path = std::str::from_utf8(path).unwrap();
    let Some(kind) = tree.get(path) else { return Found::Missing };
    let sibling = |encoding: Encoding| meta(tree, &format!("{path}{}", encoding.extension()));
    match kind {
        None => Found::Directory,
        Some(_) => Found::File(File {
            own: meta(tree, path).unwrap(),
            br: sibling(Encoding::Br),
            gzip: sibling(Encoding::Gzip),
            zstd: sibling(Encoding::Zstd),
        }),
    }
}

/// Searches to the end: the answer, its path, and the paths that were looked at.
fn search(request: &Request<'_>, options: &Options) -> (Answer, String, Vec<String>) {
    let tree = tree();
    let mut looked = Vec::new();
    let mut chance = Xoshiro::new(1);
    let mut search = Search::new(b"old".to_vec());
    let mut next = search.begin(request, options);
    loop {
        let path = String::from_utf8_lossy(search.path()).into_owned();
        match next {
            Next::Answer(answer) => return (answer, path, looked),
            Next::Look => {}
        }
        let found = look(&tree, search.path());
        looked.push(path);
        assert!(looked.len() <= 3, "{looked:?}");
        next = search.found(found, request, options, NOW, &mut chance);
    }
}

fn get(path: &str) -> Request<'_> {
    Request { path: path.as_bytes(), ..Request::default() }
}

fn accepted(text: &str) -> Accepted {
    Accepted::read(&Lines::one(text.as_bytes()))
}

/// The status, and the path of what is sent or where the client is sent.
fn told(request: &Request<'_>, options: &Options) -> String {
    let (answer, path, _) = search(request, options);
    let status = answer.status();
    match answer {
        Answer::Whole(representation) => {
            assert_eq!(Some(representation.size), Answer::Whole(representation).length());
            format!("{status} {path}{}", representation.encoding.extension())
        }
        Answer::Partial(_, range) => format!("{status} {path} {}-{}", range.first, range.last),
        Answer::Multi(_, parts) => format!("{status} {path} {}", parts.ranges().len()),
        Answer::Listing => format!("{status} {path}/"),
        Answer::RedirectToSlash { location } => {
            format!("{status} {}", String::from_utf8(location).unwrap())
        }
        Answer::RangeNotSatisfiable { size } => format!("{status} {size}"),
        _ => status.to_string(),
    }
}

#[test]
fn what_a_path_comes_to() {
    let plain = Options::default();
    let spa = Options { spa: Some("/index.html".to_owned()), ..Options::default() };
    let browse = Options { browse: true, ..Options::default() };
    let both = Options { browse: true, ..spa.clone() };
    let bare = Options { index: String::new(), ..Options::default() };
    for (path, options) in [
        // plain, spa, browse, both, without an index
        ("/", ["200 index.html"; 4].into_iter().chain(["404"])),
        ("/a.txt", ["200 a.txt"; 4].into_iter().chain(["200 a.txt"])),
        ("/docs", ["308 /docs/"; 4].into_iter().chain(["308 /docs/"])),
        ("/docs/", ["200 docs/index.html"; 4].into_iter().chain(["404"])),
        ("/a/../docs", ["308 /docs/"; 4].into_iter().chain(["308 /docs/"])),
        ("/bare/", ["404", "200 index.html", "200 bare/", "200 bare/"].into_iter().chain(["404"])),
        ("/odd/", ["404", "200 index.html", "200 odd/", "200 odd/"].into_iter().chain(["404"])),
        ("/no", ["404", "200 index.html", "404", "200 index.html"].into_iter().chain(["404"])),
        ("/no/", ["404", "200 index.html", "404", "200 index.html"].into_iter().chain(["404"])),
        ("/a.txt/", ["404", "200 index.html", "404", "200 index.html"].into_iter().chain(["404"])),
        ("/.env", ["404"; 4].into_iter().chain(["404"])),
        ("//a.txt", ["404"; 4].into_iter().chain(["404"])),
        ("/.well-known/x", ["200 .well-known/x"; 4].into_iter().chain(["200 .well-known/x"])),
        ("/a%2ftxt", ["400"; 4].into_iter().chain(["400"])),
        ("/../a.txt", ["400"; 4].into_iter().chain(["400"])),
    ] {
        let request = Request { accepts_html: true, ..get(path) };
        let routes = [&plain, &spa, &browse, &both, &bare];
        for (at, (route, expected)) in routes.into_iter().zip(options).enumerate() {
            assert_eq!(told(&request, route), expected, "{path}, route {at}");
            let head = Request { method: Method::Head, ..request.clone() };
            assert_eq!(told(&head, route), expected, "HEAD {path}, route {at}");
        }
    }
}

#[test]
fn the_page_for_everything_is_only_for_who_wants_a_page() {
    let spa = Options { spa: Some("index.html".to_owned()), ..Options::default() };
    for path in ["/no", "/no/", "/bare/"] {
        assert_eq!(told(&get(path), &spa), "404", "{path}");
    }
    let request = Request { accepts_html: true, ..get("/deep/link.js") };
    let (answer, path, _) = search(&request, &spa);
    let Answer::Whole(representation) = answer else { panic!("{answer:?}") };
    assert_eq!(path, "index.html");
    assert_eq!(representation.media_type, "text/html; charset=utf-8");
    assert!(representation.varies_by_accept);
    // Its own validators count.
    let again = Request {
        conditions: Conditions { if_none_match: Lines::one(TAG.as_bytes()), ..Default::default() },
        ..request.clone()
    };
    assert_eq!(told(&again, &spa), "304");
    for missing in ["none.html", "docs"] {
        let spa = Options { spa: Some(missing.to_owned()), ..Options::default() };
        assert_eq!(told(&request, &spa), "404", "{missing}");
    }
}

#[test]
fn methods_are_judged_before_anything_is_looked_at() {
    for (method, path, status) in [
        (Method::Options, "/a.txt", 204),
        (Method::Options, "/none", 204),
        (Method::Options, "/.env", 204),
        (Method::Post, "/a.txt", 405),
        (Method::Post, "/none", 405),
        (Method::Put, "/", 405),
        (Method::Delete, "/a.txt", 405),
        (Method::Patch, "/a.txt", 405),
        (Method::Other, "/a.txt", 405),
        (Method::Post, "/%2f", 400),
        (Method::Options, "/%00", 400),
    ] {
        let (answer, _, looked) = search(&Request { method, ..get(path) }, &Options::default());
        assert_eq!(answer.status(), status, "{method:?} {path}");
        assert!(looked.is_empty());
    }
}

#[test]
fn no_path_is_looked_at_in_vain() {
    let both = Options { browse: true, spa: Some("index.html".to_owned()), ..Options::default() };
    for (path, expected) in [
        ("/", &["index.html"][..]),
        ("/a.txt", &["a.txt"]),
        ("/docs", &["docs"]),
        ("/docs/", &["docs/index.html"]),
        ("/bare/", &["bare/index.html", "bare"]),
        ("/no/", &["no/index.html", "no", "index.html"]),
        ("/no", &["no", "index.html"]),
    ] {
        let request = Request { accepts_html: true, ..get(path) };
        assert_eq!(search(&request, &both).2, expected, "{path}");
    }
}

#[test]
fn redirects_keep_the_query_and_stay_on_this_host() {
    for (path, query, mount, expected) in [
        ("/docs", None, "/*", "308 /docs/"),
        ("/docs", Some("a=b&c"), "/*", "308 /docs/?a=b&c"),
        ("/docs", Some(""), "/*", "308 /docs/?"),
        ("/x/docs", Some("q"), "/x/*", "308 /x/docs/?q"),
        ("/x", None, "/x/*", "308 /x/"),
        ("/%64ocs", None, "/*", "308 /%64ocs/"),
        ("/./docs", None, "/*", "308 /docs/"),
        ("/docs/.", None, "/*", "200 docs/index.html"),
        ("/docs", Some("a\"<b>"), "/*", "308 /docs/?a%22%3Cb%3E"),
    ] {
        let options = Options { mount: Mount::of_pattern(mount), ..Options::default() };
        let request = Request { query: query.map(str::as_bytes), ..get(path) };
        assert_eq!(told(&request, &options), expected, "{path}");
    }
    for path in ["//evil.com", "///evil.com", "/.//evil.com", "/a/..//evil.com"] {
        let location = String::from_utf8(with_slash(&get(path))).unwrap();
        assert_eq!(location, "/evil.com/", "{path}");
    }
    assert_eq!(with_slash(&get("/a\u{e9}\r\nb")), b"/a%C3%A9%0D%0Ab/");
}

#[test]
fn siblings_are_sent_as_the_file_they_stand_for() {
    let options = Options::default();
    for (path, accept, expected, varies) in [
        ("/app.js", "gzip, br, zstd", "200 app.js.br", true),
        ("/app.js", "gzip, zstd", "200 app.js.zst", true),
        ("/app.js", "gzip", "200 app.js.gz", true),
        ("/app.js", "", "200 app.js", true),
        ("/app.js", "deflate", "200 app.js", true),
        ("/app.js", "*;q=0", "200 app.js", true),
        ("/app.js", "identity, br;q=0.5", "200 app.js", true),
        ("/one.css", "br", "200 one.css", true),
        ("/one.css", "br, gzip;q=0.1", "200 one.css.gz", true),
        ("/one.css", "*;q=0", "200 one.css", true),
        ("/a.txt", "gzip, br, zstd", "200 a.txt", false),
        ("/app.js.gz", "gzip", "200 app.js.gz", false),
    ] {
        let request = Request { accepted: accepted(accept), ..get(path) };
        assert_eq!(told(&request, &options), expected, "{path} {accept}");
        let (Answer::Whole(content), ..) = search(&request, &options) else { panic!("{path}") };
        assert_eq!(content.varies_by_encoding, varies, "{path} {accept}");
        assert_eq!(content.media_type, media::of(path.as_bytes()));
        let ending = match content.encoding {
            Encoding::Identity => format!("-{}\"", content.size),
            encoding => format!("-{}-{}\"", content.size, encoding.token()),
        };
        assert!(content.tag.as_bytes().ends_with(ending.as_bytes()), "{:?}", content.tag);
    }
}

#[test]
fn a_sibling_that_was_forgotten_is_not_sent() {
    let newer = |nanos: i128| Meta {
        size: 9,
        modified: Modified {
            secs: OLD.secs + (nanos / 1_000_000_000) as i64,
            nanos: (nanos % 1_000_000_000) as u32,
        },
    };
    for (lag, expected) in [
        (0, Encoding::Br),
        (2_000_000_000, Encoding::Br),
        (2_000_000_001, Encoding::Identity),
        (3_600_000_000_000, Encoding::Identity),
    ] {
        let br = Some(Meta { size: 5, modified: OLD });
        let file = File { own: newer(lag), br, ..File::default() };
        let request = Request { accepted: accepted("br"), ..get("/f") };
        let options = Options::default();
        let mut search = Search::new(Vec::new());
        assert_eq!(search.begin(&request, &options), Next::Look);
        let next = search.found(Found::File(file), &request, &options, NOW, &mut Xoshiro::new(1));
        let Next::Answer(Answer::Whole(content)) = next else { panic!("{next:?}") };
        assert_eq!(content.encoding, expected, "{lag}");
        assert_eq!(content.varies_by_encoding, expected == Encoding::Br);
    }
}

#[test]
fn preconditions_and_ranges_meet() {
    let weak = format!("W/{TAG}");
    type Fields<'f> = &'f [(&'f str, &'f str)];
    let cases: &[(&str, Fields<'_>, &str)] = &[
        ("GET", &[("Range", "bytes=0-9")], "206 a.txt 0-9"),
        ("GET", &[("Range", "bytes=-1")], "206 a.txt 99-99"),
        ("GET", &[("Range", "bytes=0-0,5-5")], "206 a.txt 2"),
        ("GET", &[("Range", "bytes=100-")], "416 100"),
        ("GET", &[("Range", "lines=1-2")], "200 a.txt"),
        ("GET", &[("Range", "bytes=2-1")], "200 a.txt"),
        ("GET", &[("Range", "bytes=0-9"), ("Range", "bytes=0-9")], "200 a.txt"),
        // Ranges are defined for GET alone.
        ("HEAD", &[("Range", "bytes=0-9")], "200 a.txt"),
        ("HEAD", &[("Range", "bytes=100-")], "200 a.txt"),
        ("GET", &[("Range", "bytes=0-9"), ("If-Range", TAG)], "206 a.txt 0-9"),
        ("GET", &[("Range", "bytes=0-9"), ("If-Range", &weak)], "200 a.txt"),
        ("GET", &[("Range", "bytes=0-9"), ("If-Range", "\"x\"")], "200 a.txt"),
        ("GET", &[("Range", "bytes=100-"), ("If-Range", "\"x\"")], "200 a.txt"),
        (
            "GET",
            &[("Range", "bytes=0-9"), ("If-Range", "Sun, 06 Nov 1994 08:49:37 GMT")],
            "206 a.txt 0-9",
        ),
        ("GET", &[("If-Range", "\"x\"")], "200 a.txt"),
        ("GET", &[("Range", "bytes=0-9"), ("If-None-Match", TAG)], "304"),
        ("GET", &[("Range", "bytes=100-"), ("If-None-Match", TAG)], "304"),
        ("GET", &[("Range", "bytes=0-9"), ("If-Match", "\"x\"")], "412"),
        ("GET", &[("Range", "bytes=100-"), ("If-Match", "\"x\"")], "412"),
        ("GET", &[("If-None-Match", TAG)], "304"),
        ("HEAD", &[("If-None-Match", TAG)], "304"),
        ("HEAD", &[("If-Match", "\"x\"")], "412"),
        ("GET", &[("If-Modified-Since", "Sun, 06 Nov 1994 08:49:37 GMT")], "304"),
        ("GET", &[("If-Unmodified-Since", "Sun, 06 Nov 1994 08:49:36 GMT")], "412"),
    ];
    for (method, fields, expected) in cases {
        let mut request = Request { method: Method::of(method.as_bytes()), ..get("/a.txt") };
        for (name, value) in *fields {
            let conditions = &mut request.conditions;
            let lines = match *name {
                "Range" => &mut request.range,
                "If-Match" => &mut conditions.if_match,
                "If-None-Match" => &mut conditions.if_none_match,
                "If-Range" => &mut conditions.if_range,
                "If-Modified-Since" => &mut conditions.if_modified_since,
                _ => &mut conditions.if_unmodified_since,
            };
            lines.push(value.as_bytes());
        }
        assert_eq!(told(&request, &Options::default()), *expected, "{method} {fields:?}");
    }
}

#[test]
fn preconditions_count_only_where_there_is_content() {
    // RFC 9110 §13.2.1: what would not be 2xx without them does not change.
    let conditions = Conditions { if_match: Lines::one(b"\"x\""), ..Default::default() };
    for (path, expected) in [("/none", "404"), ("/docs", "308 /docs/"), ("/%00", "400")] {
        let request = Request { conditions: conditions.clone(), ..get(path) };
        assert_eq!(told(&request, &Options::default()), expected, "{path}");
    }
}

#[test]
fn ranges_are_of_what_is_sent() {
    let request =
        Request { accepted: accepted("br"), range: Lines::one(b"bytes=10-"), ..get("/app.js") };
    let (answer, ..) = search(&request, &Options::default());
    let Answer::Partial(content, range) = answer else { panic!("{answer:?}") };
    assert_eq!((content.encoding, content.size), (Encoding::Br, 20));
    assert_eq!((range.first, range.last), (10, 19));
    let beyond = Request { range: Lines::one(b"bytes=20-"), ..request };
    assert_eq!(told(&beyond, &Options::default()), "416 20");
    let empty = Request { range: Lines::one(b"bytes=0-"), ..get("/empty.txt") };
    assert_eq!(told(&empty, &Options::default()), "416 0");
}

#[test]
fn lengths_are_those_of_the_body() {
    let request = Request { range: Lines::one(b"bytes=0-9"), ..get("/a.txt") };
    assert_eq!(search(&request, &Options::default()).0.length(), Some(10));
    assert_eq!(search(&get("/a.txt"), &Options::default()).0.length(), Some(100));
    assert_eq!(search(&get("/none"), &Options::default()).0.length(), None);
    let request = Request { range: Lines::one(b"bytes=0-0,9-9"), ..get("/a.txt") };
    let (answer, ..) = search(&request, &Options::default());
    let Answer::Multi(_, parts) = &answer else { panic!("{answer:?}") };
    assert_eq!(answer.length(), Some(parts.length()));
}

/// What becomes of a request for a file of this name and size, with these fields.
fn compressed(line: &str, size: u64, fields: &str) -> Answer {
    let text = format!("{line}\r\nHost: a\r\n{fields}\r\n");
    let mut head = crate::http1::RequestHead::new();
    let limits = crate::http1::Limits::default();
    let read = crate::http1::Server::new().read(text.as_bytes(), &mut head, &limits);
    assert!(head.is_complete(), "{read:?}");
    let request = Request::read(&head, text.as_bytes());
    let options = Options { compress: true, ..Options::default() };
    let mut search = Search::new(Vec::new());
    assert_eq!(search.begin(&request, &options), Next::Look);
    let file = File { own: Meta { size, modified: OLD }, ..File::default() };
    match search.found(Found::File(file), &request, &options, NOW, &mut Xoshiro::new(1)) {
        Next::Answer(answer) => answer,
        Next::Look => panic!("{line}"),
    }
}

#[test]
fn long_text_without_a_sibling_is_compressed_for_who_takes_it() {
    let get = "GET /a.css HTTP/1.1";
    for (line, size, fields, expected, varies) in [
        (get, 1025, "Accept-Encoding: gzip\r\n", Encoding::Gzip, true),
        (get, 1025, "Accept-Encoding: gzip, br, zstd\r\n", Encoding::Zstd, true),
        ("HEAD /a.css HTTP/1.1", 1025, "Accept-Encoding: br\r\n", Encoding::Br, true),
        (get, 1024, "Accept-Encoding: gzip\r\n", Encoding::Identity, false),
        ("GET /a.png HTTP/1.1", 9999, "Accept-Encoding: gzip\r\n", Encoding::Identity, false),
        (get, 9999, "", Encoding::Identity, true),
        (get, 9999, "Accept-Encoding: deflate\r\n", Encoding::Identity, true),
        (get, 9999, "Accept-Encoding: gzip;q=0.5, identity\r\n", Encoding::Identity, true),
        ("GET /a.css HTTP/1.0", 9999, "Accept-Encoding: gzip\r\n", Encoding::Identity, true),
        (
            get,
            9999,
            "Accept-Encoding: gzip\r\nCache-Control: no-transform\r\n",
            Encoding::Identity,
            true,
        ),
        (
            get,
            9999,
            "Accept-Encoding: gzip\r\nIf-Match: \"784111777000000000-9999\"\r\n",
            Encoding::Identity,
            true,
        ),
    ] {
        let (found, coding) = match compressed(line, size, fields) {
            Answer::Compressed { plain, coding } => (plain, coding),
            Answer::Whole(found) => (found, Encoding::Identity),
            other => panic!("{fields}: {other:?}"),
        };
        assert_eq!(coding, expected, "{line} {fields}");
        assert_eq!((found.varies_by_encoding, found.encoding), (varies, Encoding::Identity));
    }
    // Parts are those of the file, which is how a download is resumed.
    let part = compressed(get, 9999, "Accept-Encoding: gzip\r\nRange: bytes=5-9\r\n");
    assert!(matches!(part, Answer::Partial(found, _) if found.encoding == Encoding::Identity));
}

#[test]
fn a_client_revalidates_by_the_tag_it_was_given() {
    let line = "GET /a.css HTTP/1.1";
    let ask = |accept: &str, tag: &str| {
        let fields = format!("Accept-Encoding: {accept}\r\nIf-None-Match: {tag}\r\n");
        match compressed(line, 9999, &fields) {
            Answer::NotModified(found) => {
                assert!(found.varies_by_encoding);
                Some(String::from_utf8(found.tag.as_bytes().to_vec()).unwrap())
            }
            Answer::Compressed { .. } | Answer::Whole(_) => None,
            other => panic!("{other:?}"),
        }
    };
    let (plain, coded) = ("\"784111777000000000-9999\"", "W/\"784111777000000000-9999-gzip\"");
    assert_eq!(ask("gzip", coded).as_deref(), Some(coded));
    assert_eq!(ask("gzip", plain).as_deref(), Some(plain));
    assert_eq!(ask("identity", plain).as_deref(), Some(plain));
    assert_eq!(ask("identity", coded), None);
    assert_eq!(ask("br", coded), None);
}

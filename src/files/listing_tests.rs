use super::*;

fn entry(name: &[u8], is_directory: bool, size: u64) -> Entry {
    let modified = Modified { secs: 784_111_777, nanos: 0 };
    Entry { name: name.to_vec(), is_directory, size, modified }
}

fn page(entries: &[Entry], mount: &str, relative: &str) -> String {
    let mut listing = Listing::new(false);
    entries.iter().for_each(|entry| listing.push(entry.clone()));
    let mut out = Vec::new();
    listing.write_page(mount.as_bytes(), relative.as_bytes(), &mut out);
    String::from_utf8(out).unwrap()
}

/// The names of the rows, in their order.
fn names(listing: Listing) -> Vec<String> {
    let rows = listing.kept.into_sorted_vec();
    rows.into_iter().map(|row| String::from_utf8(row.entry.name).unwrap()).collect()
}

#[test]
fn folders_come_first_and_names_as_people_read_them() {
    let mut listing = Listing::new(false);
    for name in ["b10.txt", "B2.txt", "a", "é", "b1.txt", "b02.txt", "_", "10", "9", "b.txt", "B10"]
    {
        listing.push(entry(name.as_bytes(), false, 1));
    }
    for name in ["z", "Y10", "y9"] {
        listing.push(entry(name.as_bytes(), true, 0));
    }
    assert_eq!(
        names(listing),
        [
            "y9", "Y10", "z", "9", "10", "_", "a", "b.txt", "b1.txt", "b02.txt", "B2.txt", "B10",
            "b10.txt", "é"
        ]
    );
}

#[test]
fn the_order_is_one() {
    let names =
        ["a", "A", "a0", "a00", "a0b", "a00b", "a1", "a01", "a1b", "1", "01", "", "a-", "a/"];
    let rows: Vec<_> =
        names.iter().map(|name| Row::new(entry(name.as_bytes(), false, 0))).collect();
    for a in &rows {
        assert_eq!(a.cmp(a), Ordering::Equal);
        for b in &rows {
            assert_eq!(a.cmp(b), b.cmp(a).reverse());
            assert_eq!(a.cmp(b) == Ordering::Equal, a.entry.name == b.entry.name);
            for c in &rows {
                if a < b && b < c {
                    assert!(a < c, "{a:?} {b:?} {c:?}");
                }
            }
        }
    }
    assert_eq!(natural(b"a99999999999999999999998", b"a99999999999999999999999"), Ordering::Less);
}

#[test]
fn the_first_names_are_kept_in_whatever_order_they_come() {
    let mut pages = Vec::new();
    for reversed in [false, true] {
        let mut listing = Listing::with_limit(false, 3);
        let mut numbers: Vec<_> = (0..10).collect();
        if reversed {
            numbers.reverse();
        }
        for number in numbers {
            listing.push(entry(format!("f{number}").as_bytes(), number == 9, 0));
        }
        let mut out = Vec::new();
        listing.write_page(b"", b"", &mut out);
        pages.push(String::from_utf8(out).unwrap());
    }
    assert_eq!(pages[0], pages[1]);
    for name in ["f9/", "f0", "f1"] {
        assert!(pages[0].contains(&format!("href=\"./{name}\"")), "{name}");
    }
    assert!(!pages[0].contains("href=\"./f2\""));
    assert!(pages[0].contains("<p>7 more are not shown.</p>"));
}

#[test]
fn ten_thousand_names_fit_and_one_more_is_counted() {
    let mut listing = Listing::new(false);
    for number in 0..=limits::LISTING_COUNT {
        listing.push(entry(format!("{number}").as_bytes(), false, 0));
    }
    assert_eq!((listing.kept.len(), listing.left_out), (limits::LISTING_COUNT, 1));
}

#[test]
fn what_cannot_be_asked_for_is_not_shown() {
    let (closed, open) = (Listing::new(false), Listing::new(true));
    for (name, expected) in [
        (&b"a"[..], (true, true)),
        (b"a.", (true, true)),
        (b"\xff", (true, true)),
        (b".env", (false, true)),
        (b"...", (false, true)),
        (b".", (false, false)),
        (b"..", (false, false)),
        (b"", (false, false)),
        (b"a\\b", (false, false)),
        (b"a/b", (false, false)),
        (b"a\0", (false, false)),
    ] {
        let shown = (closed.shows(name), open.shows(name));
        assert_eq!(shown, expected, "{}", name.escape_ascii());
    }
}

#[test]
fn names_are_text_and_links_are_links() {
    for (name, text, link) in [
        (&b"a b.txt"[..], "a b.txt", "./a%20b.txt"),
        (b"<script>x", "&lt;script&gt;x", "./%3Cscript%3Ex"),
        (
            b"\"><img src=x onerror=y>",
            "&quot;&gt;&lt;img src=x onerror=y&gt;",
            "./%22%3E%3Cimg%20src%3Dx%20onerror%3Dy%3E",
        ),
        (b"'&amp;", "&#39;&amp;amp;", "./%27%26amp%3B"),
        (b"javascript:x", "javascript:x", "./javascript%3Ax"),
        (b"100%", "100%", "./100%25"),
        (b"a?b#c", "a?b#c", "./a%3Fb%23c"),
        (b"a\nb", "a\u{fffd}b", "./a%0Ab"),
        (b"\xff", "\u{fffd}", "./%FF"),
        ("exe.\u{202e}gpj".as_bytes(), "exe.\u{fffd}gpj", "./exe.%E2%80%AEgpj"),
        ("日本.txt".as_bytes(), "日本.txt", "./%E6%97%A5%E6%9C%AC.txt"),
    ] {
        let page = page(&[entry(name, false, 0)], "/", "");
        let expected = format!("<a href=\"{link}\"><bdi>{text}</bdi></a>");
        assert!(page.contains(&expected), "{expected}");
    }
}

#[test]
fn links_lead_back_to_their_names() {
    use crate::files::resolve::{Mount, resolve};
    for byte in 1..=255_u8 {
        if matches!(byte, b'/' | b'\\') {
            continue;
        }
        let name = [b'a', byte, b'z'];
        let mut path = b"/".to_vec();
        link(&name, &mut path);
        let mut out = Vec::new();
        let resolved = resolve(&path, &Mount::default(), false, &mut out);
        assert!(resolved.is_ok(), "{}", path.escape_ascii());
        assert_eq!(out, name);
    }
}

#[test]
fn crumbs_lead_up_to_the_mount_and_not_further() {
    let top = page(&[], "/files/", "");
    assert!(top.contains("<title>Index of /files/</title>"));
    assert!(top.contains("<li><a href=\"./\" aria-current=\"page\"><bdi>files</bdi></a></li>"));
    assert!(!top.contains("../"));

    let deep = page(&[], "/", "a<b/c");
    assert!(deep.contains("<title>Index of /a&lt;b/c/</title>"));
    assert!(deep.contains("<li><a href=\"../../\">/</a></li>"));
    assert!(deep.contains("<li><a href=\"../\"><bdi>a&lt;b</bdi></a></li>"));
    assert!(deep.contains("<li><a href=\"./\" aria-current=\"page\"><bdi>c</bdi></a></li>"));
    assert!(deep.contains("<a href=\"../\">../</a>"));

    assert!(page(&[], "", "").contains("<title>Index of /</title>"));
}

#[test]
fn the_page_needs_nothing_from_elsewhere() {
    let page = page(&[entry(b"a", false, 2048), entry(b"d", true, 4096)], "/", "x");
    for foreign in ["http:", "https:", "//", "src=", "url(", "@import", "<script", "<link"] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    assert!(page.contains("prefers-color-scheme:dark"));
    assert!(page.contains("<html lang=\"en\">") && page.contains("<th scope=\"col\">Name</th>"));
    assert!(page.contains("<td class=\"n\">2.0 KiB</td>"));
    assert!(page.contains("<td class=\"n\"></td>"), "a directory has no size");
    assert!(page.contains("<time datetime=\"1994-11-06T08:49:37Z\">1994-11-06 08:49</time>"));
    assert!(page.contains("<caption>Folders: 1, files: 1</caption>"));
    let opened = |tag: &str| page.matches(&format!("<{tag}>")).count();
    for tag in ["tr", "table", "tbody", "main", "ol", "li"] {
        assert_eq!(opened(tag), page.matches(&format!("</{tag}>")).count(), "{tag}");
    }
}

#[test]
fn sizes_are_short_and_never_too_large() {
    for (size, expected) in [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1535, "1.4 KiB"),
        (10 * 1024 - 1, "9.9 KiB"),
        (10 * 1024, "10 KiB"),
        (1024 * 1024 - 1, "1023 KiB"),
        (1024 * 1024, "1.0 MiB"),
        (5 * 1024 * 1024 * 1024, "5.0 GiB"),
        (u64::MAX, "15 EiB"),
    ] {
        let mut out = Vec::new();
        write_size(size, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}

#[test]
fn times_beyond_what_a_page_can_say_do_no_harm() {
    for (secs, expected) in [(-1, "<td></td></tr>"), (i64::MAX, "9999-12-31T23:59:59Z")] {
        let modified = Modified { secs, nanos: 0 };
        let page = page(&[Entry { modified, ..entry(b"a", false, 0) }], "", "");
        assert!(page.contains(expected), "{expected}");
    }
}

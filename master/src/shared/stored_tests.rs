use super::*;
use crate::sys::test_dir::TestDir;
use std::fs;
use std::os::unix::fs::symlink;

fn found(root: &OwnedFd, path: &str, known: Option<&StoredFile>) -> Arc<StoredFile> {
    match look(root.as_fd(), path.as_bytes(), known, Wait::Disk).unwrap() {
        Looked::File(file) => file,
        other => panic!("{path}: {other:?}"),
    }
}

fn bytes(file: &StoredFile, encoding: Encoding) -> Option<Arc<[u8]>> {
    match &file.part(encoding)?.body {
        Body::Bytes(bytes) => Some(Arc::clone(bytes)),
        Body::File(_) => None,
    }
}

#[test]
fn a_file_comes_with_its_siblings_and_small_ones_with_their_bytes() {
    let dir = TestDir::make();
    let root = beneath::root(dir.path()).unwrap();
    fs::write(dir.path().join("a.css"), "plain").unwrap();
    fs::write(dir.path().join("a.css.br"), "br").unwrap();
    fs::create_dir(dir.path().join("a.css.gz")).unwrap();
    fs::write(dir.path().join("a.css.zst"), vec![b'z'; 100_000]).unwrap();
    let file = found(&root, "a.css", None);
    assert_eq!(bytes(&file, Encoding::Identity).as_deref(), Some(&b"plain"[..]));
    assert_eq!(bytes(&file, Encoding::Br).as_deref(), Some(&b"br"[..]));
    assert!(file.part(Encoding::Gzip).is_none());
    assert!(matches!(file.part(Encoding::Zstd).unwrap().body, Body::File(_)));
    assert_eq!(file.cost(), (1, 7));
    let Place::File(metas) = Looked::File(file).place() else { panic!("a file") };
    assert_eq!((metas.own.size, metas.br.unwrap().size, metas.gzip), (5, 2, None));
    assert_eq!(metas.zstd.unwrap().size, 100_000);
}

#[test]
fn what_is_the_same_file_is_kept_and_another_of_its_name_is_not() {
    let dir = TestDir::make();
    let root = beneath::root(dir.path()).unwrap();
    let path = dir.path().join("a");
    fs::write(&path, "first").unwrap();
    let first = found(&root, "a", None);
    let again = found(&root, "a", Some(&first));
    let (one, two) = (bytes(&first, Encoding::Identity), bytes(&again, Encoding::Identity));
    assert!(Arc::ptr_eq(&one.unwrap(), &two.unwrap()));
    fs::write(dir.path().join("b"), "other").unwrap();
    fs::rename(dir.path().join("b"), &path).unwrap();
    let other = found(&root, "a", Some(&first));
    assert_eq!(bytes(&other, Encoding::Identity).as_deref(), Some(&b"other"[..]));
    assert_eq!(bytes(&first, Encoding::Identity).as_deref(), Some(&b"first"[..]));
}

#[test]
fn a_change_in_place_shows() {
    let dir = TestDir::make();
    let root = beneath::root(dir.path()).unwrap();
    let path = dir.path().join("big");
    fs::write(&path, vec![1; 100_000]).unwrap();
    let file = found(&root, "big", None);
    assert!(file.is_unchanged());
    fs::rename(&path, dir.path().join("other")).unwrap();
    assert!(file.is_unchanged(), "its bytes are the same");
    fs::File::options()
        .write(true)
        .open(dir.path().join("other"))
        .unwrap()
        .set_len(50_000)
        .unwrap();
    assert!(!file.is_unchanged());
}

#[test]
fn what_is_not_served_is_missing() {
    let dir = TestDir::make();
    let root = beneath::root(dir.path()).unwrap();
    symlink("/etc/passwd", dir.path().join("out")).unwrap();
    nix::unistd::mkfifo(&dir.path().join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    for path in ["none", "out", "pipe", "none/below", "nul\0", "../etc/passwd"] {
        let looked = look(root.as_fd(), path.as_bytes(), None, Wait::Disk).unwrap();
        assert!(matches!(looked, Looked::Missing), "{path:?}");
    }
    assert!(matches!(look(root.as_fd(), b"", None, Wait::Disk).unwrap(), Looked::Directory));
}

#[test]
fn a_page_shows_what_can_be_asked_for() {
    let dir = TestDir::make();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir_all(at("files/folder")).unwrap();
    fs::write(at("files/a.txt"), "a").unwrap();
    fs::write(at("files/.hidden"), "h").unwrap();
    symlink("folder", at("files/link")).unwrap();
    symlink("/etc", at("files/outside")).unwrap();
    symlink("nowhere", at("files/broken")).unwrap();
    nix::unistd::mkfifo(&at("files/pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let root = beneath::root(dir.path()).unwrap();
    let page = page(root.as_fd(), b"files", b"", false).unwrap().unwrap();
    let page = String::from_utf8(page).unwrap();
    for shown in ["./folder/", "./a.txt", "./link/"] {
        assert!(page.contains(&format!("href=\"{shown}\"")), "{shown} in {page}");
    }
    for hidden in ["hidden", "outside", "broken", "pipe"] {
        assert!(!page.contains(hidden), "{hidden} in {page}");
    }
    assert!(super::page(root.as_fd(), b"files/a.txt", b"", false).unwrap().is_none());
    assert!(super::page(root.as_fd(), b"none", b"", false).unwrap().is_none());
}

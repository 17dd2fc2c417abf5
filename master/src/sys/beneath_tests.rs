use super::*;
use crate::sys::test_dir::TestDir;
use nix::unistd::mkfifo;
use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

/// A tree with what may not be reached beside it.
struct Tree {
    dir: TestDir,
    root: OwnedFd,
}

impl Tree {
    fn new() -> Self {
        let dir = TestDir::make();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("site/sub/deep")).unwrap();
        fs::create_dir_all(at("out")).unwrap();
        fs::write(at("secret"), "secret").unwrap();
        fs::write(at("out/secret"), "secret").unwrap();
        fs::write(at("site/a.txt"), "a").unwrap();
        fs::write(at("site/sub/b.txt"), "b").unwrap();
        symlink("../secret", at("site/up")).unwrap();
        symlink("../../a.txt", at("site/sub/deep/in")).unwrap();
        symlink("../out", at("site/out")).unwrap();
        symlink(at("site/a.txt"), at("site/absolute")).unwrap();
        symlink("loop", at("site/loop")).unwrap();
        symlink("sub", at("site/folder")).unwrap();
        symlink("/proc/self/root", at("site/magic")).unwrap();
        mkfifo(&at("site/pipe"), Mode::S_IRWXU).unwrap();
        let root = root(&at("site")).unwrap();
        Self { dir, root }
    }

    fn read(&self, open: Open, path: &str) -> io::Result<String> {
        let mut file = File::from(open(self.root.as_fd(), path.as_bytes())?);
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        Ok(text)
    }
}

type Open = fn(BorrowedFd<'_>, &[u8]) -> io::Result<OwnedFd>;

fn by_the_kernel(root: BorrowedFd<'_>, path: &[u8]) -> io::Result<OwnedFd> {
    open_beneath(root, path, Wait::Disk)
}

#[test]
fn nothing_outside_can_be_opened_in_either_way() {
    let tree = Tree::new();
    for open in [by_the_kernel as Open, walk as Open] {
        assert_eq!(tree.read(open, "a.txt").unwrap(), "a");
        assert_eq!(tree.read(open, "sub/b.txt").unwrap(), "b");
        for path in [
            "up",
            "out/secret",
            "../secret",
            "sub/../../secret",
            "/etc/passwd",
            "absolute",
            "magic/etc/passwd",
            "loop",
            "missing",
            "a.txt/b",
        ] {
            assert!(tree.read(open, path).is_err(), "{path}");
        }
    }
}

#[test]
fn links_within_are_followed_by_the_kernel_and_refused_by_the_walk() {
    let tree = Tree::new();
    assert_eq!(tree.read(by_the_kernel, "sub/deep/in").unwrap(), "a");
    assert_eq!(tree.read(by_the_kernel, "folder/b.txt").unwrap(), "b");
    assert!(tree.read(walk, "sub/deep/in").is_err());
    assert!(tree.read(walk, "folder/b.txt").is_err());
}

#[test]
fn the_empty_path_is_the_root_itself() {
    let tree = Tree::new();
    for open in [by_the_kernel as Open, walk as Open] {
        let dir = open(tree.root.as_fd(), b"").unwrap();
        assert_eq!(facts(&dir).unwrap().inode, facts(&tree.root).unwrap().inode);
        assert_eq!(facts(&dir).unwrap().kind, Kind::Directory);
    }
}

#[test]
fn what_is_no_file_says_so_and_nobody_waits_for_a_pipe() {
    let tree = Tree::new();
    let _socket = UnixListener::bind(tree.dir.path().join("site/socket")).unwrap();
    for open in [by_the_kernel as Open, walk as Open] {
        let pipe = open(tree.root.as_fd(), b"pipe").unwrap();
        assert_eq!(facts(&pipe).unwrap().kind, Kind::Other);
        let error = open(tree.root.as_fd(), b"socket").unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENXIO));
    }
}

#[test]
fn a_loop_opens_what_is_in_memory_and_waits_for_nothing() {
    let tree = Tree::new();
    // It was just made, so the kernel knows it; a file system may still have to be asked.
    match open_beneath(tree.root.as_fd(), b"a.txt", Wait::Never) {
        Ok(file) => assert_eq!(facts(&file).unwrap().size, 1),
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
    }
}

#[test]
fn a_file_is_read_at_a_place_and_to_its_end() {
    let tree = Tree::new();
    let content: Vec<u8> = (0..100_000_u32).map(|at| (at % 251) as u8).collect();
    fs::write(tree.dir.path().join("site/big"), &content).unwrap();
    let file = File::from(open_beneath(tree.root.as_fd(), b"big", Wait::Disk).unwrap());
    for wait in [Wait::Disk, Wait::Never] {
        let mut bytes = vec![0; 60_000];
        assert_eq!(read_at(&file, &mut bytes, 50_000, wait).unwrap(), 50_000);
        assert_eq!(bytes[..50_000], content[50_000..]);
        assert_eq!(read_at(&file, &mut bytes, 1_000_000, wait).unwrap(), 0);
    }
}

#[test]
fn a_file_goes_into_a_socket_and_the_place_moves_on() {
    let tree = Tree::new();
    let file = File::open(tree.dir.path().join("site/a.txt")).unwrap();
    let (near, mut far) = std::os::unix::net::UnixStream::pair().unwrap();
    let mut offset = 0;
    assert_eq!(send_file(&near, &file, &mut offset, 10).unwrap(), 1);
    assert_eq!(send_file(&near, &file, &mut offset, 10).unwrap(), 0);
    assert_eq!(offset, 1);
    drop(near);
    let mut text = String::new();
    far.read_to_string(&mut text).unwrap();
    assert_eq!(text, "a");
}

#[test]
fn a_directory_tells_its_names_and_what_they_are() {
    let tree = Tree::new();
    let dir = open_beneath(tree.root.as_fd(), b"", Wait::Disk).unwrap();
    let mut names = Names::of(dir).unwrap();
    let mut found: Vec<_> = names.by_ref().map(|name| name.unwrap()).collect();
    found.sort();
    let found: Vec<_> = found.iter().map(|name| name.to_str().unwrap()).collect();
    let expected = ["a.txt", "absolute", "folder", "loop", "magic", "out", "pipe", "sub", "up"];
    assert_eq!(found, expected);
    assert_eq!(facts_of(names.dir(), c"sub").unwrap().kind, Kind::Directory);
    assert_eq!(facts_of(names.dir(), c"out").unwrap().kind, Kind::Link);
    assert_eq!(facts_of(names.dir(), c"a.txt").unwrap().size, 1);
}

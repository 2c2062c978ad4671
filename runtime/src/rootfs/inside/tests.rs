use super::*;
use std::os::unix::fs::symlink;

fn tree(directory: &Path) -> Tree {
    Tree::new(rustix::fs::open(directory, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap())
}

#[test]
fn makes_what_is_missing_with_its_parents() {
    let place = tempfile::tempdir().unwrap();
    let tree = tree(place.path());
    tree.make("/a/b/c", Kind::File(0o644)).unwrap();
    tree.make("/a/d", Kind::Directory(0o700)).unwrap();
    assert!(place.path().join("a/b/c").is_file());
    assert!(place.path().join("a/d").is_dir());
}

#[test]
fn links_that_lead_out_stay_inside() {
    let outside = tempfile::tempdir().unwrap();
    let place = tempfile::tempdir().unwrap();
    symlink(outside.path(), place.path().join("etc")).unwrap();
    symlink("../../../../../../..", place.path().join("up")).unwrap();
    let tree = tree(place.path());
    tree.make("/etc/hosts", Kind::File(0o644)).unwrap();
    tree.make("/up/here", Kind::File(0o644)).unwrap();
    assert_eq!(
        std::fs::read_dir(outside.path()).unwrap().count(),
        0,
        "nothing was made outside"
    );
    let inside = place.path().join(outside.path().strip_prefix("/").unwrap());
    assert!(
        inside.join("hosts").is_file(),
        "the link was read inside the tree"
    );
    assert!(place.path().join("here").is_file());
}

#[test]
fn a_circle_of_links_is_an_error() {
    let place = tempfile::tempdir().unwrap();
    symlink("b", place.path().join("a")).unwrap();
    symlink("a", place.path().join("b")).unwrap();
    let failure = tree(place.path()).make("/a", Kind::File(0o644)).unwrap_err();
    assert_eq!(failure.errno, libc::ELOOP);
}

#[test]
fn magic_links_are_not_followed() {
    let tree = tree(Path::new("/"));
    assert!(tree.open("/proc/self/root/etc", OFlags::PATH).is_err());
}

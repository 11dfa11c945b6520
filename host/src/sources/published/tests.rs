//! What names lead to, tried in folders of the test.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Instant, SystemTime};

use super::*;
use crate::sources::LiveStream;

fn published() -> (tempfile::TempDir, Arc<Sources>) {
    let outside = tempfile::tempdir().expect("a folder");
    let root = outside.path().join("root");
    fs::create_dir_all(root.join("sub")).expect("a folder");
    fs::write(outside.path().join("secret"), "secret").expect("a file");
    fs::write(root.join("a"), "alpha").expect("a file");
    fs::write(root.join("sub/b"), "beta").expect("a file");
    fs::write(root.join(".hidden"), "hidden").expect("a file");
    symlink("../secret", root.join("out")).expect("a link");
    symlink("sub/b", root.join("in")).expect("a link");
    symlink("loop", root.join("loop")).expect("a link");
    symlink("..", root.join("sub/up")).expect("a link");
    let sources = Sources::at(&root).expect("a folder is published");
    (outside, Arc::new(sources))
}

fn open(sources: &Sources, name: &[u8]) -> Result<Resolved, Refusal> {
    open_in(sources, &mut View::default(), name)
}

/// Opens it as a client would: from memory, and else from the disk.
fn open_in(sources: &Sources, view: &mut View, name: &[u8]) -> Result<Resolved, Refusal> {
    sources.open(view, name).unwrap_or_else(|| match sources.look(view, name, Look::Disk) {
        Err(Miss::Refused(refusal)) => Err(refusal),
        found => Ok(found.expect("it is found out")),
    })
}

fn list(sources: &Arc<Sources>, portion: &Portion) -> Result<Arc<Listing>, Refusal> {
    list_in(sources, &View::default(), portion)
}

fn list_in(sources: &Arc<Sources>, view: &View, portion: &Portion) -> Result<Arc<Listing>, Refusal> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let asked = Asked { owner: None, view: view.clone() };
    runtime.block_on(sources.list(asked, portion.clone())).expect("it is answered").found
}

fn size(found: Result<Resolved, Refusal>) -> Result<u64, Refusal> {
    found.map(|found| match found {
        Resolved::Source(source) => source.window().end,
        Resolved::Folder => u64::MAX,
    })
}

#[test]
fn names_lead_to_what_is_beneath_and_nowhere_else() {
    let (_outside, sources) = published();
    for (name, promised) in [
        ("a", Ok(5)),
        ("sub/b", Ok(4)),
        ("in", Ok(4)),
        ("", Ok(u64::MAX)),
        ("sub", Ok(u64::MAX)),
        ("sub/up", Ok(u64::MAX)),
        ("sub/up/a", Ok(5)),
        ("missing", Err(Refusal::NotFound)),
        ("out", Err(Refusal::NotFound)),
        ("loop", Err(Refusal::NotFound)),
        (".hidden", Err(Refusal::NotFound)),
        ("..", Err(Refusal::NotFound)),
        ("../secret", Err(Refusal::NotFound)),
        ("sub/../a", Err(Refusal::NotFound)),
        ("sub/up/../secret", Err(Refusal::NotFound)),
        ("/a", Err(Refusal::NotFound)),
        ("a/", Err(Refusal::NotFound)),
        ("sub//b", Err(Refusal::NotFound)),
        ("./a", Err(Refusal::NotFound)),
        ("a\0", Err(Refusal::NotFound)),
        ("a/b", Err(Refusal::NotFound)),
    ] {
        assert_eq!(size(open(&sources, name.as_bytes())), promised, "{name:?}");
    }
}

#[test]
fn a_listing_has_what_could_be_opened_and_nothing_else() {
    let (_outside, sources) = published();
    let names = |name: &str| {
        let portion = Portion { folder: name.into(), after: Vec::new(), limit: 0 };
        let listing = list(&sources, &portion).expect("a folder");
        let names: Vec<_> = listing.entries.iter().map(|entry| (entry.name.clone(), entry.size)).collect();
        names
    };
    assert_eq!(names(""), [(b"a".to_vec(), 5), (b"in".to_vec(), 4), (b"sub".to_vec(), 0)]);
    assert_eq!(names("sub"), [(b"b".to_vec(), 4), (b"up".to_vec(), 0)]);
    let not_a_folder = Portion { folder: b"a".to_vec(), after: Vec::new(), limit: 0 };
    assert_eq!(list(&sources, &not_a_folder), Err(Refusal::NotFound));
}

#[test]
fn a_version_changes_with_the_content() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a");
    let version = || {
        let sources = Sources::at(&path).expect("a file is published");
        match open(&sources, b"a") {
            Ok(Resolved::Source(source)) => source.content.version.clone(),
            other => panic!("{other:?}"),
        }
    };
    fs::write(&path, "one").expect("a file");
    let before = version();
    assert_eq!(before, version());
    fs::write(folder.path().join("b"), "two").expect("a file");
    fs::rename(folder.path().join("b"), &path).expect("a rename");
    assert_ne!(before, version());
}

/// Waits until it is so; for what is promised within a second.
fn within_a_second(what: &str, mut is_it: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_it() {
        assert!(began.elapsed() < Duration::from_secs(1), "not within a second: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Two releases and a link to the first.
fn releases() -> (tempfile::TempDir, PathBuf) {
    let outside = tempfile::tempdir().expect("a folder");
    for (release, content) in [("release-1", "one"), ("release-2", "second")] {
        fs::create_dir(outside.path().join(release)).expect("a folder");
        fs::write(outside.path().join(release).join("a"), content).expect("a file");
    }
    let current = outside.path().join("current");
    symlink("release-1", &current).expect("a link");
    (outside, current)
}

fn repoint(link: &Path, target: &str) {
    let new = link.with_extension("new");
    symlink(target, &new).expect("a link");
    fs::rename(new, link).expect("a rename");
}

#[test]
fn a_link_that_is_repointed_is_followed_within_a_second() {
    let (outside, current) = releases();
    let sources = Arc::new(Sources::at(&current).expect("a folder is published"));
    assert_eq!(size(open(&sources, b"a")), Ok(3));
    repoint(&current, "release-2");
    within_a_second("the second release", || size(open(&sources, b"a")) == Ok(6));
    fs::remove_dir_all(outside.path().join("release-1")).expect("a folder can be removed");
    assert_eq!(size(open(&sources, b"a")), Ok(6));
    // The same where a folder of the same name takes its place, and where there is none for a while.
    fs::remove_file(&current).expect("a link can be removed");
    within_a_second("nothing", || size(open(&sources, b"a")) == Err(Refusal::NotFound));
    fs::rename(outside.path().join("release-2"), &current).expect("a rename");
    within_a_second("the folder", || size(open(&sources, b"a")) == Ok(6));
}

#[test]
fn one_request_is_answered_from_one_release() {
    let (_outside, current) = releases();
    let sources = Arc::new(Sources::at(&current).expect("a folder is published"));
    let mut view = View::default();
    assert_eq!(size(open_in(&sources, &mut view, b"a")), Ok(3));
    repoint(&current, "release-2");
    within_a_second("the second release", || size(open(&sources, b"a")) == Ok(6));
    assert_eq!(size(open_in(&sources, &mut view, b"a")), Ok(3));
    let portion = Portion { folder: Vec::new(), after: Vec::new(), limit: 0 };
    assert_eq!(list_in(&sources, &view, &portion).expect("a folder").entries[0].size, 3);
}

#[test]
fn a_single_file_behind_a_link_is_what_the_link_leads_to() {
    let (_outside, current) = releases();
    let sources = Sources::at(&current.join("a")).expect("a file is published");
    assert_eq!(size(open(&sources, b"a")), Ok(3));
    repoint(&current, "release-2");
    assert_eq!(size(open(&sources, b"a")), Ok(6));
}

#[test]
fn absolute_links_lead_to_what_is_beneath_and_nowhere_else() {
    let (outside, current) = releases();
    let release = outside.path().join("release-1");
    fs::create_dir_all(release.join("sub/deep")).expect("a folder");
    fs::write(release.join("sub/b"), "beta").expect("a file");
    fs::write(outside.path().join("secret"), "secret").expect("a file");
    for (name, target) in [
        ("in", current.join("sub/b")),
        ("really-in", release.join("sub/b")),
        ("sub/folder", current.join("sub")),
        ("chain", current.join("sub/folder/deep/../../in")),
        ("root", current.clone()),
        ("out", outside.path().join("secret")),
        ("other", outside.path().join("release-2/a")),
        ("up", current.join("../secret")),
        ("up-in", current.join("sub/../a")),
        ("alike", PathBuf::from(format!("{}-2/a", current.display()))),
        ("circle", current.join("circle")),
        ("passwd", "/etc/passwd".into()),
    ] {
        symlink(target, release.join(name)).expect("a link");
    }
    let sources = Arc::new(Sources::at(&current).expect("a folder is published"));
    for (name, promised) in [
        ("in", Ok(4)),
        ("really-in", Ok(4)),
        ("sub/folder/b", Ok(4)),
        ("sub/folder", Ok(u64::MAX)),
        ("chain", Ok(4)),
        ("root/root/in", Ok(4)),
        ("up-in", Ok(3)),
        ("out", Err(Refusal::NotFound)),
        ("other", Err(Refusal::NotFound)),
        ("up", Err(Refusal::NotFound)),
        ("alike", Err(Refusal::NotFound)),
        ("circle", Err(Refusal::NotFound)),
        ("passwd", Err(Refusal::NotFound)),
        ("root/passwd", Err(Refusal::NotFound)),
    ] {
        assert_eq!(size(open(&sources, name.as_bytes())), promised, "{name}");
    }
    let portion = Portion { folder: Vec::new(), after: Vec::new(), limit: 0 };
    let listing = list(&sources, &portion).expect("a folder");
    let names: Vec<_> = listing.entries.iter().map(|entry| String::from_utf8_lossy(&entry.name)).collect();
    assert_eq!(names, ["a", "chain", "in", "really-in", "root", "sub", "up-in"]);
}

#[test]
fn a_link_that_changes_while_it_is_followed_leads_nowhere_else() {
    let (outside, current) = releases();
    fs::write(outside.path().join("secret"), "a secret").expect("a file");
    let targets = [current.join("a"), outside.path().join("secret")];
    let link = current.join("link");
    symlink(&targets[0], &link).expect("a link");
    let sources = Arc::new(Sources::at(&current).expect("a folder is published"));
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for target in targets.iter().cycle() {
                repoint(&link, target.to_str().expect("a path of the test"));
                if over.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        let mut seen = [0, 0];
        while seen.iter().any(|&count| count < 500) {
            match size(open(&sources, b"link")) {
                Ok(3) => seen[0] += 1,
                Err(Refusal::NotFound | Refusal::Unavailable) => seen[1] += 1,
                other => panic!("{other:?}"),
            }
        }
        over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn names_are_found_however_much_is_renamed_meanwhile() {
    let (_outside, sources) = published();
    let other = tempfile::tempdir().expect("a folder");
    let names = [other.path().join("one"), other.path().join("other")];
    fs::create_dir(&names[0]).expect("a folder");
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                fs::rename(&names[0], &names[1]).expect("a rename");
                fs::rename(&names[1], &names[0]).expect("a rename");
            }
        });
        // The kernel gives up a look-up of `..` when anything was renamed meanwhile, anywhere.
        let failed = (0..20_000).filter(|_| size(open(&sources, b"sub/up/sub/up/sub/up/a")) != Ok(5)).count();
        over.store(true, Ordering::Relaxed);
        assert_eq!(failed, 0);
    });
}

fn version(sources: &Sources, name: &str) -> String {
    match open(sources, name.as_bytes()) {
        Ok(Resolved::Source(source)) => source.content.version.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_file_that_is_rewritten_and_has_its_old_time_put_back_is_another_version() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a");
    fs::write(&path, "one").expect("a file");
    let sources = Sources::at(folder.path()).expect("a folder is published");
    let before = version(&sources, "a");
    let modified = path.metadata().and_then(|metadata| metadata.modified()).expect("it has a time");
    // As coarse as the clock of file systems may be.
    thread::sleep(Duration::from_millis(20));
    fs::write(&path, "two").expect("a file");
    fs::File::options().write(true).open(&path).and_then(|file| file.set_modified(modified)).expect("a time");
    assert_ne!(before, version(&sources, "a"));
    assert!(version(&sources, "a").len() <= 64);
}

#[test]
fn a_file_with_a_time_in_the_future_does_not_grow_for_ever() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a");
    fs::write(&path, "one").expect("a file");
    let sources = Sources::at(folder.path()).expect("a folder is published").follow(Duration::from_secs(5));
    let is_final = || match open(&sources, b"a") {
        Ok(Resolved::Source(source)) => source.window().is_final,
        other => panic!("{other:?}"),
    };
    assert!(!is_final(), "it was written just now");
    let set = |time| fs::File::options().write(true).open(&path).and_then(|file| file.set_modified(time));
    set(SystemTime::now() + Duration::from_secs(86_400)).expect("a time");
    assert!(is_final(), "nothing is written tomorrow");
    // The clock of a file server may be a little ahead.
    set(SystemTime::now() + Duration::from_secs(1)).expect("a time");
    assert!(!is_final());
}

#[test]
fn kernel_files_are_served_whole_or_refused() {
    let whole = |path: &str| {
        let sources = Sources::at(Path::new(path)).expect("it is published");
        let name = sources.only().expect("a file").to_owned();
        let Ok(Resolved::Source(mut source)) = open(&sources, &name) else { panic!("{path} is not opened") };
        let size = usize::try_from(source.window().end).expect("it is small");
        let mut content = vec![0; size];
        source.read(0, &mut content).expect("it can be read");
        assert_eq!(source.content.version, "", "nobody knows when {path} changes");
        content
    };
    for path in ["/proc/version", "/sys/kernel/mm/transparent_hugepage/enabled", "/proc/filesystems"] {
        assert_eq!(whole(path), fs::read(path).expect("it can be read"), "{path}");
    }
    let sources = Sources::at(Path::new("/proc/self")).expect("a folder is published");
    assert!(size(open(&sources, b"stat")).is_ok_and(|size| size > 0));
    // More than anybody should get by asking.
    let sources = Sources::at(Path::new("/proc/kallsyms")).expect("a file is published");
    assert_eq!(size(open(&sources, b"kallsyms")), Err(Refusal::Failed));
    let empty = tempfile::NamedTempFile::new().expect("a file");
    assert_eq!(Sources::at(empty.path()).expect("a file is published").size(), Some(0));
}

struct Embedder {
    stream: LiveStream,
    file: Arc<OwnedFd>,
}

impl Publisher for Embedder {
    fn open(&self, name: &[u8]) -> Result<Named, Refusal> {
        match name {
            b"live" => Ok(Named::Live(self.stream.clone())),
            b"file" => Ok(Named::File(Arc::clone(&self.file))),
            _ => Err(Refusal::NotFound),
        }
    }
}

#[test]
fn an_embedder_publishes_what_comes_and_what_grows() {
    let (reader, mut writer) = io::pipe().expect("a pipe");
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    let embedder = Embedder {
        stream: LiveStream::new(reader, Live::default()).expect("it can be read"),
        file: Arc::new(file.reopen().expect("the same file").into()),
    };
    let sources = Sources::custom(embedder).follow(Duration::from_secs(3_600));
    let window = |name: &str| match open(&sources, name.as_bytes()) {
        Ok(Resolved::Source(source)) => source.window(),
        other => panic!("{other:?}"),
    };
    writer.write_all(b"live").expect("somebody reads");
    within_a_second("what was written", || window("live").end == 4);
    assert!(!window("live").is_final && !window("file").is_final);
    file.write_all(b"more").expect("there is room");
    assert_eq!(window("file").end, 4);
    assert_eq!(size(open(&sources, b"other")), Err(Refusal::NotFound));
    sources.stop();
    within_a_second("the end", || window("live").is_final);
}

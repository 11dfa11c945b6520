//! Lives of pipes and FIFOs, tried with real ones.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::{env, thread};

use rustix::fs::{CWD, FileType, Mode, OFlags};

use super::*;
use crate::limits::FIFO_REST;
use crate::sync::lock;

#[derive(Default)]
struct Notices(Mutex<Vec<String>>);

impl Journal for Notices {
    fn notice(&self, text: &str) {
        lock(&self.0).push(text.to_owned());
    }
}

impl Notices {
    fn count(&self, text: &str) -> usize {
        lock(&self.0).iter().filter(|notice| notice.contains(text)).count()
    }
}

fn eventually(what: &str, mut is_it: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_it() {
        assert!(began.elapsed() < Duration::from_secs(20), "not seen: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn make_fifo(path: &Path) {
    rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("a FIFO can be made");
}

/// Opens a FIFO as a writer, when somebody reads it.
fn writer(path: &Path) -> fs::File {
    let mut writer = None;
    eventually("somebody reads the FIFO", || {
        let flags = i32::try_from(OFlags::NONBLOCK.bits()).expect("a flag");
        writer = fs::File::options().write(true).custom_flags(flags).open(path).ok();
        writer.is_some()
    });
    writer.expect("it was opened")
}

fn reads(path: &Path) -> (LiveSource, Arc<Notices>) {
    let notices = Arc::new(Notices::default());
    let live = LiveSource::new(Input::Fifo(path.to_owned()), Live::default()).expect("there is memory");
    live.start(&(Arc::clone(&notices) as Arc<dyn Journal>)).expect("it can be read");
    (live, notices)
}

#[test]
fn a_fifo_that_a_file_replaces_ends_with_its_last_writer() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("fifo");
    make_fifo(&path);
    let (_live, notices) = reads(&path);
    let mut writer = writer(&path);
    io::Write::write_all(&mut writer, b"the last").expect("somebody reads");
    fs::write(folder.path().join("file"), "not a stream").expect("a file");
    fs::rename(folder.path().join("file"), &path).expect("a rename");
    drop(writer);
    eventually("the end", || notices.count("has no next writer: what is there now is not a FIFO") == 1);
    assert_eq!(notices.count(""), 2, "its beginning and its end: {:?}", notices.0);
}

#[test]
fn a_fifo_that_is_replaced_while_nobody_writes_is_followed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("fifo");
    make_fifo(&path);
    let (live, notices) = reads(&path);
    make_fifo(&folder.path().join("next"));
    fs::rename(folder.path().join("next"), &path).expect("a rename");
    io::Write::write_all(&mut writer(&path), b"hello").expect("somebody reads");
    eventually("what was written", || notices.count("source ended, and waits") == 1);
    fs::remove_file(&path).expect("it can be removed");
    fs::write(&path, "not a stream").expect("a file");
    eventually("the end", || notices.count("source failed: it has no next writer: what is there now is not") == 1);
    assert_eq!(live.open().map(|_| ()), Err(crate::contract::Refusal::NotFound));
}

#[test]
fn writers_that_come_and_go_in_a_circle_are_not_hurried_after() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("fifo");
    make_fifo(&path);
    let (_live, notices) = reads(&path);
    let began = Instant::now();
    while began.elapsed() < 5 * FIFO_REST {
        // Nobody may be reading just now.
        let _ = io::Write::write_all(&mut writer(&path), b".");
    }
    let lives = notices.count("source ended");
    assert!((1..=7).contains(&lives), "{lives} lives");
}

/// Runs this test again, alone in a process that may make no file larger than a few hundred KiB.
#[test]
fn a_stream_that_is_larger_than_a_file_may_be_ends_with_a_reason() {
    const ALONE: &str = "MULTICLIENT_TEST_ALONE";
    if env::var_os(ALONE).is_none() {
        let name = "sources::live::tests::a_stream_that_is_larger_than_a_file_may_be_ends_with_a_reason";
        let script = format!("trap '' XFSZ; ulimit -f 256; exec \"$0\" --exact {name}");
        let program = env::current_exe().expect("this test");
        let output = Command::new("sh").arg("-c").arg(script).arg(program).env(ALONE, "1").output();
        let output = output.expect("there is a shell");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let (reader, mut writer) = io::pipe().expect("a pipe");
    let notices = Arc::new(Notices::default());
    let live = LiveSource::new(Input::Stream(reader.into()), Live::default()).expect("there is memory");
    live.start(&(Arc::clone(&notices) as Arc<dyn Journal>)).expect("it can be read");
    // Until nobody reads any more.
    while io::Write::write_all(&mut writer, &[7; 64 << 10]).is_ok() {}
    eventually("the reason", || notices.count("source failed: it is larger than a file may be here") == 1);
}

//! What real players make of a stream, and the programs that it takes.

use std::env;
use std::io::{Read, Write};
use std::ops::RangeInclusive;
use std::process::{Command, Output, Stdio};
use std::thread;

use multiclient_index::Limits;

use crate::support::{Host, LARGEST_PIECE};

/// Joins of a stream that are tried; more of them would only take longer.
const TRIED: usize = 4;

/// Joins where every frame of audio will do.
pub(crate) const ANYWHERE: RangeInclusive<usize> = 5..=2_000;

/// How a stream is made, and what the index says of it.
pub(crate) struct Case<'a> {
    /// What the encoder is told.
    pub(crate) arguments: &'a str,
    pub(crate) format: &'a str,
    pub(crate) media_type: &'a str,
    pub(crate) has_video: bool,
    /// Joins in six seconds with a key frame every second.
    pub(crate) joins: RangeInclusive<usize>,
}

/// Joins a stream of six seconds, and decodes what comes of it.
pub(crate) fn check(case: &Case<'_>, source: &[u8]) {
    let host = Host::of(source, Limits::default(), [LARGEST_PIECE]);
    let runs = host.runs();
    let [run] = &runs[..] else { panic!("{}: {} headers, lost {:?}", case.arguments, runs.len(), host.losses()) };
    assert_eq!(run.header.format, case.format, "{}", case.arguments);
    assert_eq!(run.header.media_type, case.media_type, "{}", case.arguments);
    assert_eq!(host.losses(), [], "{}", case.arguments);
    assert!(case.joins.contains(&run.joins.len()), "{}: {} joins", case.arguments, run.joins.len());

    // Of a stream that ends after a few frames FFmpeg says so, whatever it is.
    let last = source.len() as u64 * 9 / 10;
    let joins: Vec<_> = run.joins.iter().rev().filter(|join| join.offset < last).collect();
    let every = joins.len().div_ceil(TRIED).max(1);
    for join in joins.into_iter().step_by(every) {
        let stream = host.composed(run, join);
        assert_eq!(decode(case, &stream), "", "{}, joined at {} of {}", case.arguments, join.offset, source.len());
        if case.has_video {
            assert_eq!(first_frame(&stream), "1", "{}, joined at {}: no key frame", case.arguments, join.offset);
        }
    }
}

/// What FFmpeg has to say when it decodes a stream, if it is an error.
pub(crate) fn decode(case: &Case<'_>, stream: &[u8]) -> String {
    let output = run("ffmpeg", "-v error -xerror -i - -f null -", stream);
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.success(), complaints.is_empty(), "{complaints}");
    // What it says of whole streams, too, when they end.
    let usual = match case.format {
        // No part follows the last delimiter.
        "multipart" => "pipe:: Invalid data found when processing input\n",
        // The last packet is not full.
        "wav" => "pipe:: corrupt input packet in stream 0\n",
        _ => "",
    };
    if complaints == usual { String::new() } else { complaints }
}

/// `1` if the first video frame is a key frame.
fn first_frame(stream: &[u8]) -> String {
    let arguments = "-v error -select_streams v:0 -show_entries frame=key_frame -read_intervals %+#1 -of csv=p=0 -";
    let output = run("ffprobe", arguments, stream);
    String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().trim_end_matches(',').into()
}

/// Runs a program on these bytes.
pub(crate) fn run(program: &str, arguments: &str, input: &[u8]) -> Output {
    let mut child = Command::new(program)
        .args(arguments.split_whitespace())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it is installed, or the test would have been skipped");
    let mut stdin = child.stdin.take().expect("it is a pipe");
    let mut stderr = child.stderr.take().expect("it is a pipe");
    thread::scope(|scope| {
        // Who has seen enough does not read the rest.
        scope.spawn(move || drop(stdin.write_all(input)));
        let complaints = scope.spawn(move || {
            let mut complaints = Vec::new();
            stderr.read_to_end(&mut complaints).map(|_| complaints)
        });
        let mut output = child.wait_with_output().expect("it was started");
        output.stderr = complaints.join().expect("it only reads").expect("a pipe can be read");
        output
    })
}

/// Whether these programs are here. Where they have to be, it is an error if they are not.
pub(crate) fn has(programs: &[&str], package: &str) -> bool {
    let is_here = |program: &&str| {
        let found = Command::new(program).arg("-version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        found.is_ok()
    };
    let found = programs.iter().all(is_here);
    let required = env::var("MULTICLIENT_TESTS_REQUIRE").is_ok_and(|required| required == "all");
    assert!(found || !required, "{programs:?} are missing: `apt install {package}`");
    if !found {
        let mut stderr = std::io::stderr().lock();
        writeln!(stderr, "SKIPPED: {programs:?} are missing: `apt install {package}`").expect("it can be written");
    }
    found
}

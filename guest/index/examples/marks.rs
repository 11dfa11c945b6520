//! Prints the marks of a stream from standard input, and how fast they were found:
//!
//! `ffmpeg … -f mpegts - | cargo run --release -p multiclient-index --example marks`

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use multiclient_index::{Header, Index, Join, Limits, Mark, Patch};

fn main() -> io::Result<()> {
    let mut index = Index::new(Limits::default());
    let mut piece = vec![0; 64 << 10];
    let mut taken = Duration::ZERO;
    let mut passed = 0;
    let mut out = io::stdout().lock();
    loop {
        let count = io::stdin().read(&mut piece)?;
        if count == 0 {
            break;
        }
        let begun = Instant::now();
        let progress = index.advance(&piece[..count]);
        taken += begun.elapsed();
        passed += count;
        progress.marks.iter().try_for_each(|mark| print(&mut out, mark))?;
    }
    index.finish().iter().try_for_each(|mark| print(&mut out, mark))?;
    let rate = passed as f64 / 1e6 / taken.as_secs_f64();
    writeln!(out, "{passed} bytes in {taken:?}: {rate:.0} MB/s")
}

fn print(out: &mut impl Write, mark: &Mark) -> io::Result<()> {
    match mark {
        Mark::Header(Header { bytes, format, media_type }) => {
            writeln!(out, "header: {} bytes of {format}, {media_type}", bytes.len())
        }
        Mark::Join(Join { offset, preface }) => writeln!(out, "join at {offset}, {} bytes of preface", preface.len()),
        Mark::End(offset) => writeln!(out, "end at {offset}"),
        Mark::Patch(Patch { offset, bytes }) => writeln!(out, "patch of {} bytes at {offset}", bytes.len()),
        Mark::Lost(loss) => writeln!(out, "lost: {loss:?}"),
    }
}

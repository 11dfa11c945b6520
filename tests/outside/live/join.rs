//! Where a viewer joins: at a place that the index has found, or at any byte of what it does not know.

use std::thread;
use std::time::{Duration, Instant};

use support::live::{PACKET, Viewer, fed, joined_at, packets, pause};
use support::{A_WHILE, Folder, export_guest, multiclient, noise, output_of, run_within, same, text};

#[test]
fn viewers_that_come_at_any_time_get_the_same_bytes_to_the_end() {
    const BATCH: u64 = 400;
    let (server, mut writer) = fed(&["--burst", "64K"]);
    let mut first = Viewer::of(&server, "/live.ts");
    let mut viewers = Vec::new();
    let mut written = 0;
    for turn in 0..12 {
        writer.write(&packets(written, written + BATCH));
        written += BATCH;
        // The others come when this has arrived, so that it is known where they join.
        first.until(written as usize * PACKET);
        let viewer =
            if turn % 2 == 0 { Viewer::of(&server, "/live.ts") } else { Viewer::with_http_10(&server, "/live.ts") };
        let joined = (written as usize * PACKET).saturating_sub(64 << 10);
        viewers.push((joined, thread::spawn(|| viewer.all())));
    }
    drop(writer);
    let film = packets(0, written);
    same(&first.all(), &film);
    for (joined, viewer) in viewers {
        assert_eq!(joined_at(&viewer.join().expect("a viewer sees the end"), &film), joined);
    }
    server.wait_for_line("source ended");
}

#[test]
fn bytes_come_as_they_are_written() {
    let (server, mut writer) = fed(&[]);
    let mut chunked = Viewer::of(&server, "/live.ts");
    let mut bare = Viewer::with_http_10(&server, "/live.ts");
    for (count, byte) in (1..).zip(b"one by one") {
        writer.write(&[*byte]);
        for viewer in [&mut chunked, &mut bare] {
            viewer.until(count);
            same(&viewer.got, &b"one by one"[..count]);
        }
    }
}

/// Where a viewer joins who comes when `written` has come.
fn joins(written: &[u8], flags: &[&str]) -> usize {
    let (server, mut writer) = fed(&[flags, &["--lag", "64M"]].concat());
    let mut first = Viewer::of(&server, "/live.ts");
    for piece in written.chunks(256 << 10) {
        writer.write(piece);
        first.until(first.got.len() + piece.len());
    }
    let viewer = Viewer::of(&server, "/live.ts");
    writer.write(b"and the last\n");
    drop(writer);
    let whole = [written, b"and the last\n"].concat();
    same(&first.all(), &whole);
    joined_at(&viewer.all(), &whole)
}

/// Bytes of a line.
const LINE: usize = 100;

/// Lines of text, in which a viewer may join at each line.
fn lines(count: usize) -> Vec<u8> {
    (0..count).flat_map(|number| format!("{number:>99}\n").into_bytes()).collect()
}

/// Places that are remembered are about this far apart, in a buffer of 16 MiB.
const APART: usize = 4 << 10;

#[test]
fn a_late_viewer_joins_where_the_operator_says() {
    let film = lines(40_000);
    assert_eq!(joins(&film, &["--join", "start"]), 0);
    assert_eq!(joins(&film, &["--join", "edge"]), film.len());
    assert_eq!(joins(&film, &["--burst", "0"]), film.len());
    assert_eq!(joins(&film, &["--burst", "64M"]), 0, "there is no more than all");
    let joined = joins(&film, &["--burst", "100050"]);
    assert!(joined.is_multiple_of(LINE), "{joined} is inside of a line");
    let burst = film.len() - joined;
    assert!((100_050 - APART - LINE..=100_050).contains(&burst), "{burst} bytes of burst");
}

#[test]
fn the_oldest_place_that_is_kept_begins_a_line() {
    let film = lines(80_000);
    for flags in [["--join", "start"], ["--burst", "64M"]] {
        let joined = joins(&film, &[&flags[..], &["--buffer", "1M"]].concat());
        assert!(joined.is_multiple_of(LINE), "{flags:?}: {joined} is inside of a line");
        let kept = film.len() - joined;
        assert!((700 << 10..1 << 20).contains(&kept), "{flags:?}: {kept} bytes, and room to fall behind");
    }
}

#[test]
fn a_source_in_no_known_format_is_joined_at_the_exact_byte() {
    let film = [&packets(0, 1)[..], &noise(1, 1_000_003)].concat();
    assert_eq!(joins(&film, &["--join", "start"]), 0);
    assert_eq!(joins(&film, &["--join", "edge"]), film.len());
    assert_eq!(joins(&film, &["--burst", "12345"]), film.len() - 12_345);
}

#[test]
fn a_source_without_an_index_is_joined_at_the_exact_byte() {
    let film = lines(10_000);
    assert_eq!(joins(&film, &["--index", "off", "--burst", "12345"]), film.len() - 12_345);
}

#[test]
fn a_component_that_is_not_an_index_is_refused() {
    let folder = Folder::new();
    let guest = folder.at("guest.wasm");
    export_guest(&guest);
    let output = run_within(A_WHILE, multiclient().args(["-", "0", "--index", text(&guest)]));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = output_of(&output);
    assert!(said.starts_with(&format!("error: {} cannot be an index: ", text(&guest))), "{said}");
    assert!(said.contains("multiclient:index/marks"), "it says what an index exports: {said}");
}

#[test]
fn a_viewer_at_the_live_edge_waits_for_no_more_than_the_next_place() {
    let (server, mut writer) = fed(&["--join", "edge"]);
    let film = lines(20_000);
    let (beginning, rest) = film.split_at(500_000);
    writer.write(beginning);
    let viewers = thread::scope(|scope| {
        let feed = scope.spawn(move || {
            // In pieces that end inside of lines.
            for piece in rest.chunks(3_037) {
                writer.write(piece);
                pause(5);
            }
        });
        let mut viewers = Vec::new();
        while !feed.is_finished() && viewers.len() < 20 {
            let began = Instant::now();
            viewers.push(Viewer::of(&server, "/live.ts"));
            assert!(began.elapsed() < Duration::from_secs(5), "the next line comes at once: {:?}", began.elapsed());
        }
        feed.join().expect("the writer ends");
        viewers
    });
    assert!(viewers.len() > 1, "they come while it is written");
    for viewer in viewers {
        let joined = joined_at(&viewer.all(), &film);
        assert!(joined.is_multiple_of(LINE), "{joined} is inside of a line");
    }
}

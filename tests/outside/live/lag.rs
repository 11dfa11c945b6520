//! Viewers that are slow, viewers that have stopped reading, and no viewers at all.

use support::live::{PACKET, Viewer, fed, joined_at, packets};
use support::{Connection, same};

#[test]
fn a_viewer_that_stops_reading_is_disconnected_at_its_lag_and_no_other() {
    const BATCH: u64 = 1_000;
    let (server, mut writer) = fed(&["--lag", "1M", "--unsent", "64K"]);
    let mut stalled = Connection::with_small_buffer(server.address());
    stalled.send_request("GET", "/live.ts", &[]);
    assert_eq!(stalled.header_section().status, 200);
    let mut quick = [Viewer::of(&server, "/live.ts"), Viewer::with_http_10(&server, "/live.ts")];
    let mut written = 0;
    let mut feed = |written: &mut u64, quick: &mut [Viewer]| {
        writer.write(&packets(*written, *written + BATCH));
        *written += BATCH;
        for viewer in quick {
            viewer.until(*written as usize * PACKET);
        }
    };
    while !server.log().iter().any(|line| line.contains("over limit: lag behind the live edge")) {
        feed(&mut written, &mut quick);
        assert!(written < 100_000, "a lag of 1 MiB is over before {written} packets");
    }
    // The others go on as if nothing had been.
    for _ in 0..10 {
        feed(&mut written, &mut quick);
    }
    drop(writer);
    for viewer in quick {
        same(&viewer.all(), &packets(0, written));
    }
    let got = stalled.read_to_cut();
    assert!(!got.ends_with(b"\r\n0\r\n\r\n"), "it does not look complete");
    assert!(got.len() < 4 << 20, "it was ended long before: {}", got.len());
    let lines = server.stop().lines;
    assert_eq!(lines.iter().filter(|line| line.contains("over limit")).count(), 1, "{lines:?}");
}

#[test]
fn a_viewer_limited_below_the_rate_of_the_source_is_disconnected_at_its_lag() {
    let (server, mut writer) = fed(&["--rate", "64K", "--lag", "64K"]);
    let mut viewer = Viewer::of(&server, "/live.ts");
    writer.write(&packets(0, 40_000));
    server.wait_for_line("over limit: lag behind the live edge");
    let got = viewer.connection.read_to_cut();
    assert!(!got.ends_with(b"\r\n0\r\n\r\n"), "it does not look complete");
}

#[test]
fn a_viewer_at_the_live_edge_survives_any_burst() {
    let (server, mut writer) = fed(&["--lag", "64K"]);
    let mut viewers = [Viewer::of(&server, "/live.ts"), Viewer::with_http_10(&server, "/live.ts")];
    for turn in 0..10 {
        writer.write(&packets(turn * 4_000, (turn + 1) * 4_000));
        for viewer in &mut viewers {
            viewer.until((turn as usize + 1) * 4_000 * PACKET);
        }
    }
    drop(writer);
    for viewer in viewers {
        same(&viewer.all(), &packets(0, 40_000));
    }
}

#[test]
fn without_viewers_the_writer_goes_on_and_the_oldest_bytes_are_dropped() {
    let (server, mut writer) = fed(&["--buffer", "1M", "--burst", "128K"]);
    let count = 100_000;
    let film = packets(0, count);
    assert_eq!(writer.write_until_blocked(&film), film.len(), "without viewers nothing waits");
    let mut viewer = Viewer::of(&server, "/live.ts");
    writer.write(&packets(count, count + 1));
    viewer.until(PACKET);
    drop(writer);
    let joined = joined_at(&viewer.all(), &packets(0, count + 1));
    assert!(joined > film.len() / 2, "what was first is gone: {joined}");
}

#[test]
fn a_held_source_waits_for_its_first_viewer_and_head_is_not_one() {
    let (server, mut writer) = fed(&["--buffer", "8M", "--hold"]);
    let film = packets(0, 100_000);
    let held = writer.write_until_blocked(&film);
    assert!((6 << 20..10 << 20).contains(&held), "the buffer and a pipe full: {held}");
    let mut asking = server.connect();
    assert_eq!(asking.request("HEAD", "/live.ts", &[]).status(), 200);
    assert_eq!(writer.write_until_blocked(&film[held..]), 0, "a HEAD watches nothing");
    let mut viewer = Viewer::of(&server, "/live.ts");
    let mut written = held;
    for piece in film[held..].chunks(256 << 10) {
        writer.write(piece);
        written += piece.len();
        // It never catches up. Nor does it fall further behind than when it began.
        viewer.until((written - held + (2 << 20)).min(film.len()));
    }
    drop(writer);
    same(&viewer.all(), &film);
    asking.expect_open();
}

#[test]
fn a_held_source_waits_again_after_its_last_viewer() {
    let (server, mut writer) = fed(&["--buffer", "1M", "--hold", "--lag", "64M"]);
    let film = packets(0, 30_000);
    let before = server.descriptors();
    let mut viewer = Viewer::of(&server, "/live.ts");
    writer.write(&film[..1_000_000]);
    viewer.until(1_000_000);
    viewer.connection.reset();
    server.wait_for_descriptors(before);
    let held = writer.write_until_blocked(&film[1_000_000..]);
    assert!(held < 4 << 20, "it waits: {held}");
    let mut viewer = Viewer::of(&server, "/live.ts");
    viewer.until(1_000_000);
    same(&viewer.got[..1_000_000], &film[..1_000_000]);
}

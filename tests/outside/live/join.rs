//! Where a viewer joins.

use std::thread;

use support::live::{PACKET, Viewer, fed, first_of, packet, packets};
use support::{noise, same};

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
        let joined = (written * PACKET as u64).saturating_sub(64 << 10).div_ceil(PACKET as u64);
        viewers.push((joined, thread::spawn(|| viewer.all())));
    }
    drop(writer);
    same(&first.all(), &packets(0, written));
    for (joined, viewer) in viewers {
        assert_eq!(first_of(&viewer.join().expect("a viewer sees the end"), written), joined, "a packet to begin with");
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
    writer.write(b"and the last");
    drop(writer);
    let got = viewer.all();
    let whole = [written, b"and the last"].concat();
    same(&first.all(), &whole);
    same(&got, &whole[whole.len() - got.len()..]);
    whole.len() - got.len()
}

#[test]
fn a_late_viewer_joins_where_the_operator_says() {
    let count = 20_000;
    // The last packet is only half there.
    let film = [packets(0, count), packet(count)[..100].to_vec()].concat();
    let whole = count as usize * PACKET;
    assert_eq!(joins(&film, &["--join", "start"]), 0);
    assert_eq!(joins(&film, &["--join", "edge"]), whole);
    assert_eq!(joins(&packets(0, count), &["--join", "edge"]), whole);
    let burst = (film.len() - 100_000).next_multiple_of(PACKET);
    assert_eq!(joins(&film, &["--burst", "100000"]), burst);
    assert_eq!(joins(&film, &["--burst", "0"]), whole);
    assert_eq!(joins(&film, &["--burst", "64M"]), 0, "there is no more than all");
}

#[test]
fn the_oldest_kept_byte_begins_a_packet() {
    let film = packets(0, 40_000);
    for flags in [["--join", "start"], ["--burst", "64M"]] {
        let joined = joins(&film, &[&flags[..], &["--buffer", "1M"]].concat());
        assert!(joined.is_multiple_of(PACKET), "{flags:?}: {joined} is inside of a packet");
        let kept = film.len() - joined;
        assert!((700 << 10..1 << 20).contains(&kept), "{flags:?}: {kept} bytes, and room to fall behind");
    }
}

#[test]
fn a_source_without_packets_is_joined_at_the_exact_byte() {
    let film = noise(1, 1_000_003);
    assert_eq!(joins(&film, &["--join", "start"]), 0);
    assert_eq!(joins(&film, &["--join", "edge"]), film.len());
    assert_eq!(joins(&film, &["--burst", "12345"]), film.len() - 12_345);
}

#[test]
fn packets_are_found_after_a_broken_beginning() {
    let film = [noise(2, 1_001), packets(0, 10_000)].concat();
    assert_eq!(joins(&film, &["--join", "start"]), 0);
    assert_eq!((joins(&film, &["--burst", "100000"]) - 1_001) % PACKET, 0);
}

#[test]
fn a_sync_byte_within_a_packet_does_not_begin_one() {
    let mut film = packets(0, 10_000);
    film.chunks_mut(PACKET).for_each(|packet| (packet[9], packet[100]) = (0x47, 0x47));
    for flags in [["--burst", "100001"], ["--burst", "100101"], ["--join", "edge"]] {
        let joined = joins(&film, &flags);
        assert!(joined.is_multiple_of(PACKET), "{flags:?}: {joined}");
    }
}

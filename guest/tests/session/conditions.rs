//! Conditions (RFC 9110 section 13). The source is `/ten`: `"v10"`, changed an hour before now.

use crate::host::{Host, NOW, get, response_of};

const CHANGED: &str = "Fri, 02 Jan 2026 02:04:05 GMT";
const EARLIER: &str = "Fri, 02 Jan 2026 02:04:04 GMT";

#[track_caller]
fn check_in(host: &Host, lines: &str, status: u16) {
    let lines: String = lines.lines().map(|line| format!("{line}\r\n")).collect();
    assert_eq!(response_of(host, &get("/ten", &lines)).status, status, "{lines}");
}

#[track_caller]
fn check(lines: &str, status: u16) {
    check_in(&Host::default(), lines, status);
}

/// Section 13.1.2.
#[test]
fn a_copy_with_one_of_the_tags_is_good() {
    check("If-None-Match: \"v10\"", 304);
    check("If-None-Match: W/\"v10\"", 304);
    check("If-None-Match: \"a\", W/\"b,c\" ,,\"v10\"", 304);
    check("If-None-Match: \"a\"\nIf-None-Match: \"v10\"", 304);
    check("If-None-Match: *", 304);
    check("If-None-Match: \"other\"", 200);
    check("If-None-Match: v10", 200);
    check("If-None-Match: \"v10", 200);
    check("If-None-Match: w/\"v10\"", 200);
}

/// Section 13.1.1.
#[test]
fn only_a_strong_tag_proves_that_nothing_changed() {
    check("If-Match: \"v10\"", 200);
    check("If-Match: \"a\", \"v10\"", 200);
    check("If-Match: *", 200);
    check("If-Match: W/\"v10\"", 412);
    check("If-Match: \"other\"", 412);
    check("If-Match: nonsense", 412);
}

/// Sections 13.1.3 and 13.1.4.
#[test]
fn dates_are_compared_by_the_second() {
    check(&format!("If-Modified-Since: {CHANGED}"), 304);
    check("If-Modified-Since: Friday, 02-Jan-26 02:04:05 GMT", 304);
    check("If-Modified-Since: Fri Jan  2 02:04:05 2026", 304);
    check(&format!("If-Modified-Since: {EARLIER}"), 200);
    check("If-Modified-Since: yesterday", 200);
    check(&format!("If-Modified-Since: {CHANGED}\nIf-Modified-Since: {CHANGED}"), 200);
    check(&format!("If-Unmodified-Since: {CHANGED}"), 200);
    check(&format!("If-Unmodified-Since: {EARLIER}"), 412);
    check("If-Unmodified-Since: Thu, 01 Jan 1960 00:00:00 GMT", 412);
    check("If-Unmodified-Since: yesterday", 200);
}

/// Section 13.2.2.
#[test]
fn conditions_are_judged_in_their_order() {
    check(&format!("If-Match: \"v10\"\nIf-Unmodified-Since: {EARLIER}"), 200);
    check("If-Match: \"other\"\nIf-None-Match: \"v10\"", 412);
    check("If-Match: \"v10\"\nIf-None-Match: \"v10\"", 304);
    check(&format!("If-Unmodified-Since: {EARLIER}\nIf-None-Match: \"v10\""), 412);
    check(&format!("If-None-Match: \"other\"\nIf-Modified-Since: {CHANGED}"), 200);
    check("If-None-Match: \"v10\"\nRange: bytes=0-1", 304);
    check("If-Match: \"other\"\nRange: bytes=0-1", 412);
}

/// Section 13.1.5.
#[test]
fn a_range_applies_only_to_the_same_bytes() {
    check("Range: bytes=0-1\nIf-Range: \"v10\"", 206);
    check("Range: bytes=0-1\nIf-Range: W/\"v10\"", 200);
    check("Range: bytes=0-1\nIf-Range: \"other\"", 200);
    check("Range: bytes=0-1\nIf-Range: \"v10\", \"x\"", 200);
    check(&format!("Range: bytes=0-1\nIf-Range: {CHANGED}"), 206);
    check(&format!("Range: bytes=0-1\nIf-Range: {EARLIER}"), 200);
    check("Range: bytes=0-1\nIf-Range: Sat, 03 Jan 2026 02:04:05 GMT", 200);
    check("Range: bytes=0-1\nIf-Range: nonsense", 200);
    check("Range: bytes=0-1\nIf-Range: \"v10\"\nIf-Range: \"v10\"", 200);
    check("Range: bytes=99-\nIf-Range: \"other\"", 200);
    check("If-Range: \"other\"", 200);
}

/// Sections 8.8.1 and 8.8.2.2.
#[test]
fn what_may_change_within_the_same_second_is_not_proof() {
    let mut host = Host::default();
    host.sources.get_mut(&b"ten"[..]).expect("ten").facts.modified = Some(NOW - 500);
    check_in(&host, "If-None-Match: \"v10\"", 304);
    check_in(&host, "If-Match: \"v10\"", 412);
    check_in(&host, "Range: bytes=0-1\nIf-Range: \"v10\"", 200);
    check_in(&host, "Range: bytes=0-1\nIf-Range: Fri, 02 Jan 2026 03:04:04 GMT", 200);
    check_in(&host, "Range: bytes=0-1", 206);
}

/// A download of a file with a time in the future can be resumed.
#[test]
fn a_time_in_the_future_is_not_just_now() {
    let mut host = Host::default();
    host.sources.get_mut(&b"ten"[..]).expect("ten").facts.modified = Some(NOW + 31_536_000_000);
    check_in(&host, "Range: bytes=0-1\nIf-Range: \"v10\"", 206);
    check_in(&host, "If-Match: \"v10\"", 200);
}

#[test]
fn a_source_of_which_nothing_is_known_meets_only_conditions_that_ask_for_nothing() {
    let mut host = Host::default();
    let facts = &mut host.sources.get_mut(&b"ten"[..]).expect("ten").facts;
    (facts.modified, facts.version) = (None, String::new());
    check_in(&host, "If-Match: \"\"", 412);
    check_in(&host, "If-Match: *", 200);
    check_in(&host, "If-None-Match: \"\"", 200);
    check_in(&host, &format!("If-Modified-Since: {CHANGED}"), 200);
    check_in(&host, &format!("If-Unmodified-Since: {EARLIER}"), 200);
    check_in(&host, &format!("Range: bytes=0-1\nIf-Range: {CHANGED}"), 200);
}

#[test]
fn conditions_mean_nothing_where_there_is_nothing() {
    let response = response_of(&Host::default(), &get("/nothing", "If-Match: \"x\"\r\nIf-None-Match: *\r\n"));
    assert_eq!(response.status, 404);
}

//! Ranges on the wire (RFC 9110 section 14). Unit tests of `request::range` cover how a `Range` is read.

use crate::host::{Host, Response, get, response_of};

fn ranged(path: &str, value: &str) -> Response {
    response_of(&Host::default(), &get(path, &format!("Range: {value}\r\n")))
}

/// Section 15.3.7.1.
#[test]
fn one_part_is_sent_as_it_is() {
    for (value, range, body) in [
        ("bytes=0-0", "bytes 0-0/10", "0"),
        ("bytes=-3", "bytes 7-9/10", "789"),
        ("bytes=8-", "bytes 8-9/10", "89"),
        ("bytes=0-", "bytes 0-9/10", "0123456789"),
        ("bytes=1-2,3-4", "bytes 1-4/10", "1234"),
    ] {
        let response = ranged("/ten", value);
        assert_eq!((response.status, response.field("Content-Range")), (206, Some(range)));
        assert_eq!(String::from_utf8_lossy(&response.body), body);
    }
}

/// Section 15.3.7.2.
#[test]
fn several_parts_come_in_the_order_in_which_they_were_asked_for() {
    let response = ranged("/film.mp4", "bytes=90-,0-1");
    let media_type = response.field("Content-Type").expect("a type");
    let boundary = media_type.strip_prefix("multipart/byteranges; boundary=").expect("parts");
    assert_eq!(response.field("Content-Range"), None);
    assert_eq!(boundary.len(), 16);
    let film = crate::host::pattern(100);
    let mut expected = Vec::new();
    // The empty line before the first delimiter is an empty preamble (RFC 2046 section 5.1.1). It is optional,
    // and nginx and Apache send it: zsync looks for it.
    for (part, range) in [(&film[90..], "90-99"), (&film[..2], "0-1")] {
        let head = format!("\r\n--{boundary}\r\nContent-Type: video/mp4\r\nContent-Range: bytes {range}/100\r\n\r\n");
        expected.extend_from_slice(head.as_bytes());
        expected.extend_from_slice(part);
    }
    expected.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    assert_eq!(response.body, expected);
}

#[test]
fn parts_that_fit_into_one_list_are_sent_and_more_are_the_whole() {
    let value = |count: u64| {
        let ranges: Vec<String> = (0..count).map(|i| format!("{}-{}", 4 * i, 4 * i)).collect();
        format!("bytes={}", ranges.join(","))
    };
    assert_eq!(ranged("/f.bin", &value(24)).status, 206);
    assert_eq!(ranged("/f.bin", &value(25)).status, 200);
}

/// Section 15.5.17.
#[test]
fn a_range_without_bytes_is_416_with_the_size() {
    for (path, value, range) in [
        ("/ten", "bytes=10-", "bytes */10"),
        ("/ten", "bytes=-0", "bytes */10"),
        ("/ten", "bytes=nonsense", "bytes */10"),
        ("/empty", "bytes=0-", "bytes */0"),
    ] {
        let response = ranged(path, value);
        assert_eq!((response.status, response.field("Content-Range")), (416, Some(range)));
        assert_eq!(response.field("Cache-Control"), Some("no-store"));
    }
}

/// Section 14.2.
#[test]
fn ranges_that_do_not_apply_are_ignored() {
    assert_eq!(ranged("/ten", "lines=0-1").status, 200);
    assert_eq!(ranged("/ten", "bytes=0-1\r\nRange: bytes=0-1").status, 200);
    let head = response_of(&Host::default(), "HEAD /ten HTTP/1.1\r\nHost: a\r\nRange: bytes=0-1\r\n\r\n");
    assert_eq!((head.status, head.field("Content-Length")), (200, Some("10")));
    assert_eq!(ranged("/nothing", "bytes=0-1").status, 404);
}

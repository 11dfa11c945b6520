//! The exact heads, as they go over the wire.

use crate::host::{Host, NOW, check_ways, get, response_of};

/// Both are written with plain line ends; those of the head become CRLF.
#[track_caller]
fn check(host: &Host, request: &str, expected: &str) {
    let life = check_ways(host, request.as_bytes());
    let (head, body) = expected.split_once("\n\n").expect("a head ends with an empty line");
    assert_eq!(life.text(), format!("{}\r\n\r\n{body}", head.replace('\n', "\r\n")));
}

#[test]
fn a_file_is_sent_with_all_that_is_known_of_it() {
    check(
        &Host::default(),
        &get("/ten", ""),
        "HTTP/1.1 200 OK
Date: Fri, 02 Jan 2026 03:04:05 GMT
Content-Type: application/octet-stream
Last-Modified: Fri, 02 Jan 2026 02:04:05 GMT
ETag: \"v10\"
Accept-Ranges: bytes
Content-Length: 10
X-Content-Type-Options: nosniff

0123456789",
    );
}

#[test]
fn a_head_is_that_of_the_get_without_the_body() {
    let host = Host::default();
    for path in ["/ten", "/film.mp4", "/nothing", "/page", "/page/", "/style.css", "/empty", "/secret"] {
        let get = response_of(&host, &get(path, "Range: bytes=0-1\r\n").replace("Range", "X-Range"));
        let head = response_of(&host, &format!("HEAD {path} HTTP/1.1\r\nHost: a\r\nRange: bytes=0-1\r\n\r\n"));
        assert_eq!(get.head, head.head, "{path}");
    }
}

#[test]
fn what_is_not_there_is_said_in_plain_text_or_in_html() {
    check(
        &Host::default(),
        &get("/nothing", ""),
        "HTTP/1.1 404 Not Found
Date: Fri, 02 Jan 2026 03:04:05 GMT
Cache-Control: no-store
Content-Type: text/plain; charset=utf-8
Content-Length: 14
X-Content-Type-Options: nosniff

404 Not Found\n",
    );
    let html = response_of(&Host::default(), &get("/nothing", "Accept: text/html,*/*;q=0.8\r\n"));
    assert_eq!(html.field("Content-Type"), Some("text/html; charset=utf-8"));
    assert_eq!(html.body, b"<!doctype html>\n<title>404 Not Found</title>\n<h1>404 Not Found</h1>\n");
}

#[test]
fn a_part_says_which() {
    check(
        &Host::default(),
        &get("/ten", "Range: bytes=2-4\r\n"),
        "HTTP/1.1 206 Partial Content
Date: Fri, 02 Jan 2026 03:04:05 GMT
Content-Type: application/octet-stream
Content-Range: bytes 2-4/10
Last-Modified: Fri, 02 Jan 2026 02:04:05 GMT
ETag: \"v10\"
Accept-Ranges: bytes
Content-Length: 3
X-Content-Type-Options: nosniff

234",
    );
}

#[test]
fn a_malformed_request_is_answered_and_the_connection_closed() {
    check(
        &Host::default(),
        "GET /ten HTTP/1.1\r\n\r\n",
        "HTTP/1.1 400 Bad Request
Date: Fri, 02 Jan 2026 03:04:05 GMT
Cache-Control: no-store
Content-Type: text/plain; charset=utf-8
Content-Length: 16
X-Content-Type-Options: nosniff
Connection: close

400 Bad Request\n",
    );
}

#[test]
fn a_good_copy_is_not_sent_again() {
    check(
        &Host::default(),
        &get("/style.css", "If-None-Match: \"v16\"\r\n"),
        "HTTP/1.1 304 Not Modified
Date: Fri, 02 Jan 2026 03:04:05 GMT
ETag: \"v16\"
X-Content-Type-Options: nosniff
Vary: Accept-Encoding

",
    );
}

#[test]
fn a_refused_method_is_told_which_there_are() {
    check(
        &Host::default(),
        "POST /ten HTTP/1.1\r\nHost: a\r\n\r\n",
        "HTTP/1.1 405 Method Not Allowed
Date: Fri, 02 Jan 2026 03:04:05 GMT
Cache-Control: no-store
Content-Type: text/plain; charset=utf-8
Allow: GET, HEAD, OPTIONS
Content-Length: 23
X-Content-Type-Options: nosniff

405 Method Not Allowed\n",
    );
}

#[test]
fn a_preflight_is_answered_when_other_sites_are_let_in() {
    let mut host = Host::default();
    host.settings.cors = Some("https://example.org".into());
    check(
        &host,
        "OPTIONS /ten HTTP/1.1\r\nHost: a\r\nOrigin: https://example.org\r\n\
         Access-Control-Request-Method: GET\r\n\r\n",
        "HTTP/1.1 204 No Content
Date: Fri, 02 Jan 2026 03:04:05 GMT
Allow: GET, HEAD, OPTIONS
Access-Control-Allow-Methods: GET, HEAD, OPTIONS
Access-Control-Allow-Headers: Range, If-Range, If-Match, If-None-Match, If-Modified-Since, \
If-Unmodified-Since, Cache-Control
Access-Control-Max-Age: 7200
X-Content-Type-Options: nosniff
Access-Control-Allow-Origin: https://example.org
Access-Control-Expose-Headers: Content-Length, Content-Range, Accept-Ranges, ETag, Date
Vary: Origin

",
    );
    let get = response_of(&host, &get("/style.css", ""));
    assert_eq!(get.field("Vary"), Some("Accept-Encoding, Origin"));
    host.settings.cors = Some("*".into());
    assert_eq!(response_of(&host, &crate::host::get("/ten", "")).field("Vary"), None);
}

#[test]
fn options_says_the_methods_and_nothing_of_other_sites_by_itself() {
    for target in ["*", "/ten", "/nothing"] {
        check(
            &Host::default(),
            &format!("OPTIONS {target} HTTP/1.1\r\nHost: a\r\nAccess-Control-Request-Method: GET\r\n\r\n"),
            "HTTP/1.1 204 No Content
Date: Fri, 02 Jan 2026 03:04:05 GMT
Allow: GET, HEAD, OPTIONS
X-Content-Type-Options: nosniff

",
        );
    }
}

#[test]
fn the_operators_lines_replace_ours_but_cannot_contradict_the_reply() {
    let mut host = Host::default();
    host.header("server", "mine");
    host.header("content-type", "video/x-mine");
    host.header("CONTENT-LENGTH", "1");
    host.header("Transfer-Encoding", "chunked");
    host.header("Connection", "upgrade");
    host.header("Date", "never");
    host.header("Content-Range", "bytes 0-0/1");
    host.header("X-Content-Type-Options", "sniff");
    check(
        &host,
        &get("/ten", ""),
        "HTTP/1.1 200 OK
Date: Fri, 02 Jan 2026 03:04:05 GMT
Last-Modified: Fri, 02 Jan 2026 02:04:05 GMT
ETag: \"v10\"
Accept-Ranges: bytes
Content-Length: 10
server: mine
content-type: video/x-mine
X-Content-Type-Options: sniff

0123456789",
    );
    let parts = response_of(&host, &get("/ten", "Range: bytes=0-0,5-5\r\n"));
    let media_type = parts.field("Content-Type").expect("a type");
    assert!(media_type.starts_with("multipart/byteranges; boundary="), "{media_type}");
}

#[test]
fn playlists_are_revalidated_each_time() {
    let response = response_of(&Host::default(), &get("/live.m3u8", ""));
    assert_eq!(response.field("Cache-Control"), Some("no-cache"));
    assert_eq!(response.field("Content-Type"), Some("application/vnd.apple.mpegurl"));
}

#[test]
fn the_operators_media_type_goes_before_the_names() {
    let mut host = Host::default();
    let film = host.sources.get_mut(&b"film.mp4"[..]).expect("a film");
    film.facts.media_type = Some("video/mp2t".into());
    assert_eq!(response_of(&host, &get("/film.mp4", "")).field("Content-Type"), Some("video/mp2t"));
}

#[test]
fn what_changed_just_now_has_a_weak_tag_and_nothing_is_younger_than_now() {
    let mut host = Host::default();
    for (modified, tag, date) in [
        (NOW - 1_000, "\"v10\"", "Fri, 02 Jan 2026 03:04:04 GMT"),
        (NOW - 999, "W/\"v10\"", "Fri, 02 Jan 2026 03:04:04 GMT"),
        // A clock of the file system that is ahead by a moment.
        (NOW + 999, "W/\"v10\"", "Fri, 02 Jan 2026 03:04:05 GMT"),
        // A camera's clock: nothing was changed just now.
        (NOW + 1_000, "\"v10\"", "Fri, 02 Jan 2026 03:04:05 GMT"),
        (u64::MAX, "\"v10\"", "Fri, 02 Jan 2026 03:04:05 GMT"),
    ] {
        host.sources.get_mut(&b"ten"[..]).expect("ten").facts.modified = Some(modified);
        let response = response_of(&host, &get("/ten", ""));
        assert_eq!(response.field("ETag"), Some(tag));
        assert_eq!(response.field("Last-Modified"), Some(date));
    }
}

#[test]
fn what_is_not_known_is_not_said() {
    let mut host = Host::default();
    let facts = &mut host.sources.get_mut(&b"ten"[..]).expect("ten").facts;
    (facts.modified, facts.version) = (None, String::new());
    let response = response_of(&host, &get("/ten", ""));
    assert_eq!((response.field("ETag"), response.field("Last-Modified")), (None, None));
}

#[test]
fn each_refusal_has_its_status() {
    for (path, status, retry) in [("/secret", 403, None), ("/busy", 503, Some("1")), ("/broken", 500, None)] {
        let response = response_of(&Host::default(), &get(path, ""));
        assert_eq!((response.status, response.field("Retry-After")), (status, retry), "{path}");
        assert_eq!(response.field("Cache-Control"), Some("no-store"));
    }
}

#[test]
fn a_full_server_says_when_to_come_back_and_closes() {
    let mut host = Host::default();
    host.settings.at_capacity = true;
    for request in [get("/ten", ""), "POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\n".into()] {
        let response = response_of(&host, &request);
        assert_eq!(response.status, 503);
        assert_eq!(response.field("Retry-After"), Some("5"));
        assert_eq!(response.field("Connection"), Some("close"));
    }
}

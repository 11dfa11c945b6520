//! Compressed siblings (RFC 9110 section 12.5.3). `/style.css` has `.br` and `.gz`.

use crate::host::{BEFORE, Host, Response, check_ways, file, get, response_of};

fn ask(path: &str, lines: &str) -> (Response, Vec<String>) {
    let request = get(path, lines);
    let life = check_ways(&Host::default(), request.as_bytes());
    let opened = life.opened.iter().map(|name| String::from_utf8_lossy(name).into_owned());
    (response_of(&Host::default(), &request), opened.collect())
}

#[track_caller]
fn check(path: &str, lines: &str, opened: &[&str], coding: Option<&str>, body: &str) {
    let (response, names) = ask(path, lines);
    assert_eq!(names, opened);
    assert_eq!(response.field("Content-Encoding"), coding);
    assert_eq!(String::from_utf8_lossy(&response.body), body);
}

#[test]
fn a_sibling_is_sent_for_who_takes_it() {
    let gzip = Some("gzip");
    // The original is looked at, too: the sibling may be older.
    let (br, gz) = (["style.css.br", "style.css", "style.css.br"], ["style.css.gz", "style.css", "style.css.gz"]);
    check("/style.css", "Accept-Encoding: gzip, br\r\n", &br, Some("br"), "brotli");
    check("/style.css", "Accept-Encoding: gzip\r\n", &gz, gzip, "gzipped");
    let opened = ["style.css.zst", "style.css.gz", "style.css", "style.css.gz"];
    check("/style.css", "Accept-Encoding: zstd, gzip\r\n", &opened, gzip, "gzipped");
    check("/page/", "Accept-Encoding: br\r\n", &["page/index.html.br", "page/index.html"], None, "<p>index\n");
    let (response, _) = ask("/style.css", "Accept-Encoding: br\r\n");
    assert_eq!(response.field("Content-Type"), Some("text/css; charset=utf-8"));
    assert_eq!(response.field("ETag"), Some("\"v6\""));
    assert_eq!(response.field("Vary"), Some("Accept-Encoding"));
    assert_eq!(response.field("Accept-Ranges"), None);
}

#[test]
fn who_says_nothing_gets_the_bare_source_and_opens_nothing_else() {
    check("/style.css", "", &["style.css"], None, "a { color: red }");
    check("/style.css", "Accept-Encoding: identity;q=0\r\n", &["style.css"], None, "a { color: red }");
    let (response, _) = ask("/style.css", "");
    assert_eq!(response.field("Vary"), Some("Accept-Encoding"));
}

#[test]
fn parts_and_media_are_never_compressed() {
    check("/style.css", "Accept-Encoding: br\r\nRange: bytes=0-0\r\n", &["style.css"], None, "a");
    let (film, names) = ask("/film.mp4", "Accept-Encoding: gzip\r\n");
    assert_eq!(names, ["film.mp4"]);
    assert_eq!(film.field("Vary"), None);
    assert_eq!(ask("/live.m3u8", "Accept-Encoding: gzip\r\n").1, ["live.m3u8"]);
}

#[test]
fn a_sibling_that_cannot_be_read_does_no_harm() {
    let mut host = Host::default();
    host.sources.remove(&b"style.css.br"[..]);
    for refusal in ["forbidden", "folder"] {
        if refusal == "folder" {
            host.folders.insert(b"style.css.br".to_vec(), Vec::new());
        } else {
            let forbidden = multiclient_guest::contract::Refusal::Forbidden;
            host.refusals.insert(b"style.css.br".to_vec(), forbidden);
        }
        let response = response_of(&host, &get("/style.css", "Accept-Encoding: br\r\n"));
        assert_eq!((response.status, response.field("Content-Encoding")), (200, None), "{refusal}");
        host.refusals.clear();
    }
}

/// Whoever compresses a page and edits it afterwards would see the old one in browsers and the new one in curl.
#[test]
fn a_sibling_that_is_older_than_its_original_or_empty_does_not_count() {
    let ask = |host: &Host| {
        let life = check_ways(host, get("/style.css", "Accept-Encoding: br\r\n").as_bytes());
        let (response, _) = Response::read(&life.output, "GET");
        (
            response.field("Content-Encoding").is_some(),
            String::from_utf8(response.body).expect("text"),
            life.opened.len(),
        )
    };
    let (bare, compressed) = ("a { color: red }".to_owned(), "brotli".to_owned());
    let set = |host: &mut Host, name: &str, modified| {
        host.sources.get_mut(name.as_bytes()).expect("it is there").facts.modified = modified;
    };
    for (original, sibling, expected) in [
        (Some(BEFORE), Some(BEFORE - 1), (false, bare.clone(), 2)),
        (Some(BEFORE), Some(BEFORE), (true, compressed.clone(), 3)),
        (Some(BEFORE), Some(BEFORE + 1), (true, compressed.clone(), 3)),
        // Nobody can say that it is older.
        (None, Some(BEFORE), (true, compressed.clone(), 3)),
        (Some(BEFORE), None, (true, compressed.clone(), 3)),
    ] {
        let mut host = Host::default();
        set(&mut host, "style.css", original);
        set(&mut host, "style.css.br", sibling);
        assert_eq!(ask(&host), expected, "{original:?} {sibling:?}");
    }
    let mut host = Host::default();
    host.publish("style.css.br", file(b""));
    assert_eq!(ask(&host), (false, bare, 2));
}

#[test]
fn a_sibling_without_an_original_is_sent_to_who_takes_it() {
    let mut host = Host::default();
    host.sources.remove(&b"style.css"[..]);
    let response = response_of(&host, &get("/style.css", "Accept-Encoding: br\r\n"));
    assert_eq!((response.status, response.field("Content-Encoding")), (200, Some("br")));
    assert_eq!(response_of(&host, &get("/style.css", "")).status, 404);
}

#[test]
fn the_operators_type_does_not_hide_the_coding() {
    let mut host = Host::default();
    host.header("Content-Encoding", "none");
    let response = response_of(&host, &get("/style.css", "Accept-Encoding: br\r\n"));
    assert_eq!(response.field("Content-Encoding"), Some("br"));
}

#[test]
fn the_head_of_a_request_with_a_range_is_that_of_the_whole() {
    let lines = "Accept-Encoding: gzip\r\nRange: bytes=0-1\r\n";
    let head = get("/style.css", lines).replacen("GET", "HEAD", 1);
    let response = response_of(&Host::default(), &head);
    assert_eq!((response.field("Content-Encoding"), response.field("Content-Length")), (Some("gzip"), Some("7")));
    check("/style.css", lines, &["style.css"], None, "a ");
}

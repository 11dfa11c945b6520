//! From a target to the source for it.

use multiclient_guest::contract::Entry;

use crate::host::{Host, check_ways, get, response_of};

#[track_caller]
fn check(host: &Host, path: &str, status: u16, body: &str) {
    let response = response_of(host, &get(path, ""));
    assert_eq!((response.status, String::from_utf8_lossy(&response.body).as_ref()), (status, body), "{path}");
}

#[track_caller]
fn redirected(host: &Host, path: &str, status: u16, location: &str) {
    let response = response_of(host, &get(path, ""));
    assert_eq!((response.status, response.field("Location")), (status, Some(location)), "{path}");
}

#[test]
fn names_are_bytes_and_every_byte_can_be_written() {
    let host = Host::default();
    check(&host, "/sp%20ace.mp4", 200, "space");
    check(&host, "/100%25.mp4", 200, "percent");
    check(&host, "/%C3%BC.mp4", 200, "umlaut");
    check(&host, "/\u{fc}.mp4", 200, "umlaut");
    check(&host, "/new%0Aline", 200, "line");
    check(&host, "/t%65n?anything=%zz", 200, "0123456789");
    check(&host, "//./x/../ten", 200, "0123456789");
    check(&host, "/page%2Findex.html", 404, "404 Not Found\n");
    check(&host, "/TEN", 404, "404 Not Found\n");
}

#[test]
fn a_folder_is_its_index() {
    check(&Host::default(), "/page/", 200, "<p>index\n");
    check(&Host::default(), "/page/.", 200, "<p>index\n");
    check(&Host::default(), "/sub/", 404, "404 Not Found\n");
    check(&Host::default(), "/", 404, "404 Not Found\n");
    check(&Host::default(), "/ten/", 404, "404 Not Found\n");
}

#[test]
fn a_folder_is_not_an_index() {
    let mut host = Host::default();
    host.folders.insert(b"sub/index.html".to_vec(), Vec::new());
    check(&host, "/sub/", 404, "404 Not Found\n");
    host.settings.listing = true;
    assert_eq!(response_of(&host, &get("/sub/", "")).status, 200);
    assert_eq!(response_of(&host, &get("/no-such-folder/", "")).status, 404);
}

#[test]
fn a_folder_without_its_slash_is_redirected() {
    let mut host = Host::default();
    redirected(&host, "/page", 301, "/page/");
    redirected(&host, "/page?a=b&c", 301, "/page/?a=b&c");
    redirected(&host, "//page", 301, "/page/");
    host.folders.insert(b"a b/\xff".to_vec(), Vec::<Entry>::new());
    redirected(&host, "/a%20b/%ff", 301, "/a%20b/%FF/");
    redirected(&host, "http://elsewhere/page", 301, "/page/");
}

#[test]
fn the_root_redirects_to_the_only_source() {
    let mut host = Host::default();
    host.settings.home = Some(b"sp ace.mp4".to_vec());
    redirected(&host, "/", 302, "/sp%20ace.mp4");
    redirected(&host, "/?x=1", 302, "/sp%20ace.mp4?x=1");
    redirected(&host, "/x/..", 302, "/sp%20ace.mp4");
}

#[test]
fn only_the_requested_source_is_opened() {
    let outcome = check_ways(&Host::default(), get("/ten", "Accept-Encoding: gzip, br\r\n").as_bytes());
    assert_eq!(outcome.opened, [b"ten"]);
}

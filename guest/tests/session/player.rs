//! Pages with a player, where the operator allows pages.

use multiclient_guest::contract::{Settings, Window};

use crate::host::{Host, Response, file, get, pattern, response_of};

const BROWSER: &str = "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n";

fn host(home: Option<&str>) -> Host {
    let home = home.map(|name| name.as_bytes().to_vec());
    let mut host =
        Host { settings: Settings { home, pages: true, listing: true, ..Settings::default() }, ..Host::default() };
    host.publish("a/b/c d.webm", file(&pattern(1_536)));
    host.publish("a/b/e:f.mp3", file(b"sound"));
    host.publish("a/b/stream.m3u8", file(b"#EXTM3U\n"));
    let mut live = file(&pattern(100));
    live.facts.window = Window { start: 0, end: 100, is_final: false };
    (live.facts.modified, live.facts.version) = (None, String::new());
    live.growth = vec![Window { start: 0, end: 100, is_final: true }];
    host.publish("live", live);
    host
}

fn text(response: &Response) -> String {
    String::from_utf8_lossy(&response.body).into_owned()
}

/// What a page has after its heading.
fn player(host: &Host, target: &str) -> String {
    let response = response_of(host, &get(target, BROWSER));
    assert_eq!((response.status, response.field("Content-Type")), (200, Some("text/html; charset=utf-8")), "{target}");
    assert_eq!(response.field("Cache-Control"), Some("no-cache"));
    let policy = response.field("Content-Security-Policy").expect("a policy");
    assert!(policy.starts_with("default-src 'none'; ") && policy.contains("; media-src 'self'; "), "{policy}");
    text(&response).split_once("</h1>\n").expect("a heading").1.to_owned()
}

#[test]
fn a_media_file_has_a_page_with_a_player() {
    let host = host(None);
    assert_eq!(
        player(&host, "/a/b/c%20d.webm?play"),
        "<video src=\"c%20d.webm\" controls autoplay playsinline></video>\n\
         <p><a href=\"c%20d.webm\" download>Download</a>, 1.5 KiB, 2026-01-02 02:04 UTC\n"
    );
    assert!(player(&host, "/a/b/e:f.mp3?play").starts_with("<audio src=\"./e:f.mp3\" controls "));
    assert!(player(&host, "/a/b/stream.m3u8?play=1").starts_with("<video src=\"stream.m3u8\""));
    let page = text(&response_of(&host, &get("/a/b/c%20d.webm?play", "")));
    let heading = "<h1><a href=\"../../\">/</a><a href=\"../\">a/</a><a href=\"./\">b/</a>c d.webm</h1>";
    assert!(page.contains(heading) && page.contains("<title>c d.webm</title>"), "{page}");
}

#[test]
fn what_is_not_media_is_sent_as_it_is() {
    let mut host = host(None);
    for (target, body) in
        [("/ten?play", "0123456789"), ("/style.css?play", "a { color: red }"), ("/page/?play", "<p>index\n")]
    {
        assert_eq!(text(&response_of(&host, &get(target, BROWSER))), body, "{target}");
    }
    assert_eq!(response_of(&host, &get("/nothing.mp4?play", BROWSER)).status, 404);
    assert_eq!(response_of(&host, &get("/a/b/e:f.mp3?playing", BROWSER)).body, b"sound");
    host.settings.pages = false;
    assert_eq!(response_of(&host, &get("/a/b/e:f.mp3?play", BROWSER)).body, b"sound");
}

#[test]
fn the_only_source_has_its_page_at_the_root_for_browsers() {
    let host = host(Some("a/b/c d.webm"));
    let page = player(&host, "/");
    assert!(page.starts_with("<video src=\"a/b/c%20d.webm\" controls "), "{page}");
    for lines in ["", "Accept: */*\r\n", "Accept: video/webm\r\n", "Accept: text/html;q=0, */*\r\n"] {
        let response = response_of(&host, &get("/", lines));
        let location = response.field("Location");
        assert_eq!((response.status, location), (302, Some("/a/b/c%20d.webm")), "{lines}");
        assert_eq!(response.field("Vary"), Some("Accept"));
    }
    assert_eq!(response_of(&host, &get("/", BROWSER)).field("Vary"), Some("Accept"));
}

#[test]
fn a_live_source_has_a_page_by_the_type_that_the_operator_set() {
    let mut host = host(Some("live"));
    assert_eq!(response_of(&host, &get("/", BROWSER)).status, 302, "of this source nothing is known");
    host.sources.get_mut(&b"live"[..]).expect("a source").facts.media_type = Some("Video/WebM; codecs=vp9".into());
    assert_eq!(
        player(&host, "/"),
        "<video src=\"live\" controls autoplay playsinline></video>\n<p><a href=\"live\">Live stream</a>\n"
    );
}

#[test]
fn a_source_that_cannot_be_opened_has_no_page() {
    for (home, status) in [("nothing.mp4", 404), ("secret", 403), ("busy", 503), ("page", 302)] {
        assert_eq!(response_of(&host(Some(home)), &get("/", BROWSER)).status, status, "{home}");
    }
}

#[test]
fn the_head_of_a_page_is_that_of_the_get() {
    let host = host(Some("a/b/c d.webm"));
    for target in ["/", "/a/b/e:f.mp3?play"] {
        let get = get(target, BROWSER);
        assert_eq!(response_of(&host, &get.replacen("GET", "HEAD", 1)).head, response_of(&host, &get).head);
    }
}

#[test]
fn a_listing_leads_to_the_player_of_each_media_file() {
    let mut host = host(None);
    let entry =
        |name: &str, folder| multiclient_guest::contract::Entry { name: name.into(), folder, size: 1, modified: None };
    host.folders.insert(b"a".to_vec(), vec![entry("x:y.mp4", false), entry("z.txt", false), entry("d.mp4", true)]);
    let page = text(&response_of(&host, &get("/a/", BROWSER)));
    assert_eq!(page.matches("?play\"").count(), 1, "{page}");
    assert!(page.contains("<a class=\"p\" href=\"./x:y.mp4?play\" rel=\"nofollow\" title=\"Play\">"), "{page}");
    host.settings.pages = false;
    assert!(!text(&response_of(&host, &get("/a/", BROWSER))).contains("?play"));
}

//! Folders: as a page, as JSON, as a playlist, and of any size.

use multiclient_guest::contract::{Entry, Refusal, Remainder, Settings};

use crate::host::{BEFORE, Host, Input, NOW, Outcome, Response, check_ways, get, response_of};

fn entry(name: &str, folder: bool, size: u64) -> Entry {
    Entry { name: name.into(), folder, size, modified: Some(BEFORE) }
}

/// A host with these entries in `/sub/`.
fn host(entries: Vec<Entry>) -> Host {
    let settings = Settings { listing: true, reports: true, ..Settings::default() };
    let mut host = Host { settings, ..Host::default() };
    host.folders.insert(b"sub".to_vec(), entries);
    host
}

fn small() -> Host {
    host(vec![
        entry("b<i>\"&'.mp4", false, 7),
        Entry { name: b"a\xff".to_vec(), ..entry("", false, 1_536) },
        entry("z", true, 0),
        Entry { modified: None, ..entry("a:b\n\\", false, 2) },
    ])
}

/// A folder of `count` files with names in which nearly everything has to be escaped.
fn large(count: u64) -> Host {
    host((0..count).map(|number| entry(&format!("{number:0>6}{}.mp3", "<".repeat(40)), false, number)).collect())
}

fn page(host: &Host, target: &str) -> String {
    let response = response_of(host, &get(target, ""));
    assert_eq!((response.status, response.field("Content-Type")), (200, Some("text/html; charset=utf-8")));
    assert!(response.complete);
    String::from_utf8(response.body).expect("pages are UTF-8")
}

/// The rows of a page's table.
fn rows(page: &str) -> Vec<&str> {
    let (_, rows) = page.split_once("<tbody>\n").expect("a table");
    rows.split_once("</table>").expect("a table").0.split("<tr").skip(1).map(str::trim_end).collect()
}

/// The links of a page's entries, in order.
fn names(page: &str) -> Vec<&str> {
    let link = |row| {
        let (_, link) = str::split_once(row, "<a href=\"").expect("a link");
        link.split_once('"').expect("a link ends").0
    };
    rows(page).into_iter().map(link).collect()
}

#[test]
fn a_page_shows_folders_first_and_escapes_every_name() {
    let page = page(&small(), "/sub/");
    assert_eq!(
        rows(&page),
        [
            " class=\"d\"><td><a href=\"z/\">z/</a><td><td>2026-01-02 02:04",
            "><td><a href=\"./a:b%0A%5C\">a:b\u{fffd}\\</a><td>2 B<td>",
            "><td><a href=\"a%FF\">a\u{fffd}</a><td>1.5 KiB<td>2026-01-02 02:04",
            " class=\"v\"><td><a href=\"b%3Ci%3E%22%26%27.mp4\">b&lt;i&gt;&quot;&amp;'.mp4</a><td>7 B\
             <td>2026-01-02 02:04",
        ]
    );
    assert!(page.contains("<title>/sub</title>") && page.contains("<h1><a href=\"../\">/</a>sub/</h1>"), "{page}");
    assert!(
        page.ends_with("</table>\n<p>1 folder, 3 files, 1.5 KiB, <a href=\"?m3u\" rel=\"nofollow\">playlist</a>\n"),
        "{page}"
    );
}

#[test]
fn json_has_exact_sizes_and_times_by_name() {
    let response = response_of(&small(), &get("/sub/", "Accept: application/json\r\n"));
    assert_eq!((response.field("Content-Type"), response.field("Vary")), (Some("application/json"), Some("Accept")));
    assert_eq!(
        String::from_utf8_lossy(&response.body),
        "{\"entries\":[\
         {\"name\":\"a:b\\u000a\\\\\",\"href\":\"./a:b%0A%5C\",\"folder\":false,\"size\":2,\"modified\":null},\
         {\"name\":\"a\u{fffd}\",\"href\":\"a%FF\",\"folder\":false,\"size\":1536,\"modified\":\"2026-01-02T02:04:05Z\"},\
         {\"name\":\"b<i>\\\"&'.mp4\",\"href\":\"b%3Ci%3E%22%26%27.mp4\",\"folder\":false,\"size\":7,\
         \"modified\":\"2026-01-02T02:04:05Z\"},\
         {\"name\":\"z\",\"href\":\"z/\",\"folder\":true,\"size\":0,\"modified\":\"2026-01-02T02:04:05Z\"}\
         ],\"complete\":true}\n"
    );
}

#[test]
fn an_empty_folder_is_an_empty_listing() {
    let host = host(Vec::new());
    let json = response_of(&host, &get("/sub/", "Accept: application/json\r\n"));
    assert_eq!(json.body, b"{\"entries\":[],\"complete\":true}\n");
    assert_eq!(rows(&page(&host, "/sub/")), [""; 0]);
    assert_eq!(response_of(&host, &get("/sub/?m3u", "")).body, b"#EXTM3U\n");
}

/// 512 entries are a portion; the host may give fewer.
#[test]
fn a_folder_of_any_size_is_listed_whole_and_in_order_in_every_form() {
    for (count, portion) in [(0, 1), (1, 1), (7, 3), (511, 1_024), (512, 1_024), (513, 1_024), (1_100, 200)] {
        let mut host = large(count);
        host.portion = portion;
        let expected: Vec<String> = (0..count).map(|number| format!("{number:0>6}{}.mp3", "%3C".repeat(40))).collect();
        assert_eq!(names(&page(&host, "/sub/")), expected, "{count}, {portion} at once");
        let json = response_of(&host, &get("/sub/", "Accept: application/json\r\n"));
        let json = String::from_utf8(json.body).expect("JSON is UTF-8");
        let links: Vec<&str> =
            json.split("\"href\":\"").skip(1).map(|rest| rest.split('"').next().expect("a link")).collect();
        assert_eq!(links, expected);
        assert!(json.starts_with("{\"entries\":[") && json.ends_with("],\"complete\":true}\n") && !json.contains(",]"));
        let list = response_of(&host, &get("/sub/?m3u", ""));
        let list = String::from_utf8(list.body).expect("these names are ASCII");
        let urls: Vec<&str> = list.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(urls, expected.iter().map(|name| format!("http://a/sub/{name}")).collect::<Vec<_>>());
    }
}

#[test]
fn a_listing_is_read_in_portions_and_sent_in_pieces() {
    let host = large(1_300);
    let outcome = host.whole(get("/sub/", "").as_bytes());
    assert!(outcome.sent.iter().all(|sent| *sent < 40 * 1024), "{:?}", outcome.sent);
    assert!(outcome.listed.iter().all(|portion| portion.limit == 512 && portion.folder == b"sub"));
    assert_eq!(outcome.listed.len(), 3);
    assert_eq!(outcome.listed[0].after, b"");
    assert!(outcome.listed[1].after.starts_with(b"000511") && outcome.listed[2].after.starts_with(b"001023"));
}

#[test]
fn a_long_listing_is_chunked_or_ends_with_the_connection() {
    let host = large(600);
    let new = response_of(&host, &get("/sub/", ""));
    assert_eq!((new.field("Transfer-Encoding"), new.field("Content-Length")), (Some("chunked"), None));
    let old = response_of(&host, "GET /sub/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!((old.field("Transfer-Encoding"), old.field("Connection")), (None, Some("close")));
    assert_eq!(old.body, new.body);
}

#[test]
fn head_reads_one_portion_and_promises_what_get_sends() {
    for host in [small(), large(20), large(600)] {
        for target in ["/sub/", "/sub/?m3u", "/sub/?sort=size"] {
            let request = get(target, "").replacen("GET", "HEAD", 1);
            let head = response_of(&host, &request);
            assert_eq!(head.head, response_of(&host, &get(target, "")).head);
            assert_eq!(host.whole(request.as_bytes()).listed.len(), 1);
        }
    }
}

fn broken(host: &Host, request: &str) -> (Response, Outcome) {
    let outcome = host.whole(request.as_bytes());
    assert_eq!((outcome.closed, outcome.reports.len()), (Some(Remainder::Nothing), 1));
    (Response::read(&outcome.output, "GET").0, outcome)
}

#[test]
fn a_folder_that_cannot_be_read_to_its_end_does_not_look_complete() {
    let mut host = large(600);
    host.vanishes_after = Some(1);
    let (response, outcome) = broken(&host, &get("/sub/", ""));
    assert_eq!((response.status, response.complete, outcome.listed.len()), (200, false, 2));
}

/// A host in which the cursor does not move would have the session go on for ever.
#[test]
fn a_portion_that_does_not_continue_the_listing_ends_it() {
    let mut host = large(600);
    host.cursor_sticks = true;
    let (response, outcome) = broken(&host, &get("/sub/", ""));
    assert_eq!((response.complete, outcome.listed.len()), (false, 2));
}

#[test]
fn a_listing_goes_on_when_the_server_stops_and_is_the_last() {
    let host = large(600);
    for stop in [1, 2, 3, 5, 8, 13, 100] {
        let mut inputs = vec![Input::Bytes(get("/sub/", "").into())];
        inputs.extend((0..stop).map(|_| Input::Turn));
        inputs.push(Input::Stop);
        let outcome = host.run(inputs.into_iter());
        let (response, _) = Response::read(&outcome.output, "GET");
        assert!(response.complete, "{stop}");
        assert_eq!(outcome.closed, Some(Remainder::Nothing), "{stop}");
    }
}

#[test]
fn a_folder_that_is_not_there_or_cannot_be_listed_is_refused() {
    let mut host = small();
    assert_eq!(response_of(&host, &get("/nothing/", "")).status, 404);
    assert_eq!(response_of(&host, &get("/nothing/?m3u", "")).status, 404);
    host.refusals.insert(b"sub/".to_vec(), Refusal::Unavailable);
    let busy = response_of(&host, &get("/sub/", ""));
    assert_eq!((busy.status, busy.field("Retry-After")), (503, Some("1")));
}

#[test]
fn a_folder_that_fits_one_portion_is_sorted_as_requested() {
    let at = |name: &str, size, time| Entry { modified: Some(BEFORE + time), ..entry(name, false, size) };
    let host = host(vec![at("a", 3, 2), at("b", 1, 3), at("c", 3, 1), entry("y", true, 0), entry("z", true, 0)]);
    for (query, expected) in [
        ("", ["y/", "z/", "a", "b", "c"]),
        ("?sort=name&order=desc", ["z/", "y/", "c", "b", "a"]),
        ("?sort=size", ["y/", "z/", "b", "a", "c"]),
        ("?sort=size&order=desc", ["y/", "z/", "a", "c", "b"]),
        ("?sort=time&order=asc", ["y/", "z/", "c", "a", "b"]),
        ("?order=desc&sort=time", ["y/", "z/", "b", "a", "c"]),
        ("?sort=nonsense&order=desc", ["y/", "z/", "a", "b", "c"]),
    ] {
        assert_eq!(names(&page(&host, &format!("/sub/{query}"))), expected, "{query}");
    }
    assert!(page(&host, "/sub/").contains("<th><a href=\"?sort=name&amp;order=desc\""));
    assert!(page(&host, "/sub/?sort=name&order=desc").contains("<th><a href=\"?sort=name&amp;order=asc\""));
    let large = large(600);
    assert!(!page(&large, "/sub/?sort=size&order=desc").contains("?sort="));
    assert_eq!(page(&large, "/sub/?sort=size&order=desc"), page(&large, "/sub/"));
}

#[test]
fn a_listing_that_fits_one_portion_is_not_sent_again_until_it_changes() {
    let tag = |host: &Host, target: &str, lines: &str| {
        let response = response_of(host, &get(target, lines));
        assert_eq!(response.field("Cache-Control"), Some("no-cache"));
        response.field("ETag").map(str::to_owned)
    };
    let host = small();
    let page = tag(&host, "/sub/", "").expect("a tag");
    assert!(page.starts_with("W/\""), "{page}");
    let again = response_of(&host, &get("/sub/", &format!("If-None-Match: {page}\r\n")));
    assert_eq!((again.status, again.field("ETag"), again.field("Vary")), (304, Some(page.as_str()), Some("Accept")));
    for (target, lines) in
        [("/sub/", "Accept: application/json\r\n"), ("/sub/?m3u", ""), ("/sub/?sort=size&order=desc", "")]
    {
        assert_ne!(tag(&host, target, lines), Some(page.clone()), "{target} {lines}");
    }
    let changes: [fn(&mut Vec<Entry>); 5] = [
        |entries| drop(entries.pop()),
        |entries| entries[0].size += 1,
        |entries| entries[0].modified = Some(NOW),
        |entries| entries[0].folder = true,
        |entries| entries[0].name.push(b'x'),
    ];
    for change in changes {
        let mut changed = small();
        change(changed.folders.get_mut(&b"sub"[..]).expect("a folder"));
        assert_ne!(tag(&changed, "/sub/", ""), Some(page.clone()));
    }
    assert_eq!(tag(&large(513), "/sub/", ""), None);
}

#[test]
fn a_playlist_has_the_media_files_of_a_folder_with_urls_that_work_anywhere() {
    let files = ["a:b.mp4", "c d.opus", "e\nf.mkv", "g.txt", "h.m3u8", "i.m4s", "j.jpg"];
    let mut entries: Vec<Entry> = files.iter().map(|name| entry(name, false, 1)).collect();
    entries.push(entry("z.mp4", true, 0));
    let mut host = host(entries);
    let expected = |base: &str, first: &str| {
        format!(
            "#EXTM3U\n#EXTINF:-1,a:b.mp4\n{first}a:b.mp4\n#EXTINF:-1,c d.opus\n{base}c%20d.opus\n\
             #EXTINF:-1,e f.mkv\n{base}e%0Af.mkv\n"
        )
    };
    for (request, base) in [
        (get("/sub/?m3u", ""), "http://a/sub/"),
        (get("/sub/", "Accept: audio/x-mpegurl\r\n"), "http://a/sub/"),
        (get("/sub/", "Accept: application/vnd.apple.mpegurl, */*;q=0.1\r\n"), "http://a/sub/"),
        (get("/sub/?m3u", "X-Forwarded-Proto: https\r\n"), "https://a/sub/"),
        (get("https://b:1/sub/?m3u", ""), "https://b:1/sub/"),
    ] {
        let response = response_of(&host, &request);
        assert_eq!(response.field("Content-Type"), Some("audio/x-mpegurl"));
        assert_eq!(String::from_utf8_lossy(&response.body), expected(base, base), "{request}");
    }
    let old = response_of(&host, "GET /sub/?m3u HTTP/1.0\r\n\r\n");
    assert_eq!(String::from_utf8_lossy(&old.body), expected("", "./"));
    host.settings.secure = true;
    let secure = response_of(&host, &get("/sub/?m3u", ""));
    assert_eq!(String::from_utf8_lossy(&secure.body), expected("https://a/sub/", "https://a/sub/"));
}

#[test]
fn a_folder_with_an_index_has_a_playlist_too() {
    let mut host = small();
    host.folders.insert(b"page".to_vec(), vec![entry("a.mp3", false, 1)]);
    assert_eq!(page(&host, "/page/"), "<p>index\n");
    let list = response_of(&host, &get("/page/?m3u", ""));
    assert_eq!(String::from_utf8_lossy(&list.body), "#EXTM3U\n#EXTINF:-1,a.mp3\nhttp://a/page/a.mp3\n");
    host.settings.listing = false;
    assert_eq!(page(&host, "/page/?m3u"), "<p>index\n");
}

#[test]
fn a_page_loads_nothing_and_runs_nothing() {
    let outcome = check_ways(&small(), get("/sub/", "").as_bytes());
    let (response, _) = Response::read(&outcome.output, "GET");
    let policy = response.field("Content-Security-Policy").expect("a policy");
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    let page = String::from_utf8_lossy(&response.body).into_owned();
    for forbidden in ["<script", " style=", " on", "http:", "https:", "src="] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    assert_eq!(response.field("X-Content-Type-Options"), Some("nosniff"));
}

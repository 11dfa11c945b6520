//! What clients are answered, over real sockets.
//!
//! The guest's own tests know every row of the protocol. These are about the whole: that it is what
//! leaves the machine, from files that are there.

mod support;

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use support::{Connection, Folder, Reply, Server, age, eventually, multiclient, noise, skipped};

// ---- a file as it is

#[test]
fn what_a_client_says_during_its_last_reply_does_not_cost_it_the_end() {
    let folder = Folder::new();
    let film = noise(11, 8 << 20);
    let server = Server::start(folder.file("film.mp4", &film), &[]);
    for request in ["GET /film.mp4 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "GET /film.mp4 HTTP/1.0\r\n\r\n"]
    {
        for late in ["\r\n", "GET /film.mp4 HTTP/1.1\r\nHost: a\r\n\r\n"] {
            let mut connection = Connection::with_small_buffer(server.address());
            connection.send(request);
            assert_eq!(connection.head().status, 200);
            let mut body = connection.exactly(1 << 20);
            connection.send(late);
            body.extend(connection.exactly(film.len() - body.len()));
            assert!(body == film, "all of it arrives");
            connection.is_closed();
        }
    }
}

#[test]
fn a_file_is_served_whole() {
    let folder = Folder::new();
    let film = noise(1, 3 << 20);
    folder.file("film.mp4", &film);
    let server = Server::start(folder.path(), &[]);
    let reply = server.get("/film.mp4");
    reply.is(200, &film);
    assert_eq!(reply.said("Content-Length"), "3145728");
    assert_eq!(reply.said("Content-Type"), "video/mp4");
    assert_eq!(reply.said("Accept-Ranges"), "bytes");
    assert_eq!(reply.said("Last-Modified"), "Tue, 02 Jan 2024 03:04:05 GMT");
    assert_eq!(reply.said("X-Content-Type-Options"), "nosniff");
    assert!(reply.said("ETag").starts_with('"'), "a file that nobody touches has a strong tag: {reply:?}");
}

#[test]
fn files_of_every_size_around_the_bounds_arrive_whole() {
    let folder = Folder::new();
    // Around what is copied behind the head, what the client's buffer holds, and what is passed in a turn.
    let bounds = [1, 2, 8 << 10, 16 << 10, 64 << 10, 512 << 10, 1 << 20];
    let sizes: Vec<usize> = bounds.iter().flat_map(|bound| [bound - 1, *bound, bound + 1]).collect();
    for size in &sizes {
        folder.file(&format!("{size}.bin"), noise(*size as u64, *size));
    }
    let server = Server::start(folder.path(), &[]);
    let mut connection = server.connect();
    for size in sizes {
        connection.get(&format!("/{size}.bin")).is(200, &noise(size as u64, size));
    }
}

#[test]
fn an_empty_file_is_an_answer_without_bytes() {
    let folder = Folder::new();
    folder.file("empty.ts", "");
    let server = Server::start(folder.path(), &[]);
    let mut connection = server.connect();
    let reply = connection.get("/empty.ts");
    reply.is(200, b"");
    assert_eq!(reply.said("Content-Length"), "0");
    let reply = connection.get_range("/empty.ts", "bytes=0-0");
    assert_eq!((reply.status(), reply.said("Content-Range")), (416, "bytes */0"));
    connection.goes_on();
}

#[test]
fn the_date_is_that_of_the_reply() {
    let folder = Folder::new();
    folder.file("a.txt", "alpha");
    let server = Server::start(folder.path(), &[]);
    let before = SystemTime::now() - Duration::from_secs(1);
    let reply = server.get("/a.txt");
    let date = http_date(reply.said("Date"));
    assert!(before <= date && date <= SystemTime::now(), "{}", reply.said("Date"));
}

/// Reads `Sun, 06 Nov 1994 08:49:37 GMT`, in the way of somebody who trusts nobody's code for it.
fn http_date(text: &str) -> SystemTime {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    let words: Vec<&str> = text.split(' ').collect();
    let [weekday, day, month, year, time, "GMT"] = words[..] else { panic!("not a date: {text:?}") };
    assert!(day.len() == 2 && year.len() == 4 && time.len() == 8, "not a date: {text:?}");
    let month = MONTHS.iter().position(|name| *name == month).expect("a month") as u64;
    let (day, year): (u64, u64) = (day.parse().expect("a day"), year.parse().expect("a year"));
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let lengths = [31, if leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let years: u64 = (1970..year).map(|year| if leap(year) { 366 } else { 365 }).sum();
    let days = years + lengths[..month as usize].iter().sum::<u64>() + day - 1;
    assert_eq!(weekday.trim_end_matches(','), DAYS[(days % 7) as usize], "{text}");
    let seconds = time.split(':').fold(0, |sum, part| sum * 60 + part.parse::<u64>().expect("a number"));
    SystemTime::UNIX_EPOCH + Duration::from_secs(days * 86_400 + seconds)
}

#[test]
fn head_says_the_same_and_sends_nothing() {
    let folder = Folder::new();
    folder.file("film.mp4", noise(2, 100_000));
    folder.folder("sub");
    let server = Server::start(folder.path(), &[]);
    let mut connection = server.connect();
    for target in ["/film.mp4", "/missing", "/sub", "/film.mp4?x"] {
        let get = connection.get(target);
        let head = connection.ask("HEAD", target, &[]);
        let lines = |reply: &Reply| {
            let dateless = reply.head.fields.iter().filter(|(name, _)| name != "Date");
            dateless.cloned().collect::<Vec<_>>()
        };
        assert_eq!((get.status(), lines(&get)), (head.status(), lines(&head)), "{target}");
    }
    connection.goes_on();
}

// ---- parts

#[test]
fn a_range_gives_exactly_its_bytes() {
    let folder = Folder::new();
    let film = noise(3, 1_000_000);
    folder.file("film.mp4", &film);
    let server = Server::start(folder.path(), &[]);
    let mut connection = server.connect();
    for (range, from, to) in [
        ("bytes=0-0", 0, 0),
        ("bytes=100-199", 100, 199),
        ("bytes=0-999999", 0, 999_999),
        ("bytes=999999-999999", 999_999, 999_999),
        ("bytes=500000-", 500_000, 999_999),
        ("bytes=-1", 999_999, 999_999),
        ("bytes=-300000", 700_000, 999_999),
        ("bytes=-2000000", 0, 999_999),
        ("bytes=999000-99999999999999999999999", 999_000, 999_999),
    ] {
        let reply = connection.get_range("/film.mp4", range);
        reply.is(206, &film[from..=to]);
        assert_eq!(reply.said("Content-Range"), format!("bytes {from}-{to}/1000000"), "{range}");
        assert_eq!(reply.said("Content-Length"), (to - from + 1).to_string(), "{range}");
        assert_eq!(reply.said("Content-Type"), "video/mp4", "{range}");
    }
}

#[test]
fn a_range_behind_the_end_is_told_the_size() {
    let folder = Folder::new();
    folder.file("film.mp4", noise(4, 1_000));
    let server = Server::start(folder.path(), &[]);
    let mut connection = server.connect();
    for range in ["bytes=1000-", "bytes=1000-2000", "bytes=-0", "bytes=99999999999999999999999-"] {
        let reply = connection.get_range("/film.mp4", range);
        assert_eq!((reply.status(), reply.said("Content-Range")), (416, "bytes */1000"), "{range}");
    }
    connection.goes_on();
}

#[test]
fn several_ranges_come_as_parts_each_with_its_place() {
    let folder = Folder::new();
    let film = noise(5, 200_000);
    folder.file("film.mp4", &film);
    let server = Server::start(folder.path(), &[]);
    let mut connection = server.connect();
    let reply = connection.get_range("/film.mp4", "bytes=0-9,100000-149999,-5");
    assert_eq!(reply.status(), 206);
    assert_eq!(reply.field("Content-Range"), None, "the places are with the parts");
    let boundary = reply.said("Content-Type").strip_prefix("multipart/byteranges; boundary=").expect("parts");
    let mut promised = Vec::new();
    for (from, to) in [(0, 9), (100_000, 149_999), (199_995, 199_999)] {
        let lines =
            format!("--{boundary}\r\nContent-Type: video/mp4\r\nContent-Range: bytes {from}-{to}/200000\r\n\r\n");
        promised.extend_from_slice(b"\r\n");
        promised.extend_from_slice(lines.as_bytes());
        promised.extend_from_slice(&film[from..=to]);
    }
    promised.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    // The empty line before the first part is allowed, and not needed.
    let body = if reply.body.starts_with(b"--") { [b"\r\n", reply.body.as_slice()].concat() } else { reply.body };
    assert!(body == promised, "{} bytes, and {} were promised", body.len(), promised.len());
    connection.goes_on();
}

#[test]
fn the_end_of_a_file_beyond_4_gib_can_be_had() {
    use std::os::unix::fs::FileExt;
    let folder = Folder::new();
    let size: u64 = (5 << 30) + 7;
    let path = folder.hollow_file("huge.mkv", size);
    let file = File::options().write(true).open(&path).expect("it is there");
    file.write_all_at(b"the end", size - 7).expect("a hole can be filled");
    let beyond = noise(20, 100_000);
    file.write_all_at(&beyond, 1 << 32).expect("a hole can be filled");
    drop(file);
    let server = Server::start(folder.path(), &[]);
    let mut connection = server.connect();
    assert_eq!(connection.ask("HEAD", "/huge.mkv", &[]).said("Content-Length"), size.to_string());
    for (range, content_range, body) in [
        ("bytes=-7", "bytes 5368709120-5368709126/5368709127", &b"the end"[..]),
        ("bytes=5368709124-", "bytes 5368709124-5368709126/5368709127", b"end"),
        ("bytes=4294967296-4295067295", "bytes 4294967296-4295067295/5368709127", &beyond),
        ("bytes=4294967295-4294967296", "bytes 4294967295-4294967296/5368709127", &[0, beyond[0]]),
    ] {
        let reply = connection.get_range("/huge.mkv", range);
        reply.is(206, body);
        assert_eq!(reply.said("Content-Range"), content_range);
    }
    // All of it: the head promises it, and the first bytes come.
    connection.ask_for("GET", "/huge.mkv", &[]);
    assert_eq!(connection.head().said("Content-Length"), size.to_string());
    assert_eq!(connection.exactly(1 << 20), vec![0; 1 << 20]);
}

// ---- whether a copy is still good

#[test]
fn a_copy_that_is_still_good_is_not_sent_again() {
    let folder = Folder::new();
    folder.file("film.mp4", noise(6, 1_000));
    let server = Server::start(folder.path(), &[]);
    let mut connection = server.connect();
    let first = connection.get("/film.mp4");
    let tag = first.said("ETag").to_owned();
    for condition in [
        format!("If-None-Match: {tag}"),
        format!("If-None-Match: \"other\", {tag}"),
        "If-None-Match: *".to_owned(),
        "If-Modified-Since: Tue, 02 Jan 2024 03:04:05 GMT".to_owned(),
    ] {
        let reply = connection.ask("GET", "/film.mp4", &[&condition]);
        reply.is(304, b"");
        assert_eq!(reply.said("ETag"), tag, "{condition}");
    }
    for condition in ["If-None-Match: \"other\"", "If-Modified-Since: Tue, 02 Jan 2024 03:04:04 GMT"] {
        connection.ask("GET", "/film.mp4", &[condition]).is(200, &first.body);
    }
    assert_eq!(connection.ask("GET", "/film.mp4", &["If-Match: \"other\""]).status(), 412);
    connection.goes_on();
}

#[test]
fn a_download_goes_on_only_with_the_same_file() {
    let folder = Folder::new();
    let old = noise(7, 1_000);
    let path = folder.file("film.mp4", &old);
    let server = Server::start(folder.path(), &[]);
    let mut connection = server.connect();
    let tag = connection.get("/film.mp4").said("ETag").to_owned();
    let condition = format!("If-Range: {tag}");
    let lines = ["Range: bytes=500-", condition.as_str()];
    connection.ask("GET", "/film.mp4", &lines).is(206, &old[500..]);
    let new = noise(8, 1_000);
    fs::write(folder.at("new"), &new).expect("a file can be written");
    age(&folder.at("new"));
    fs::rename(folder.at("new"), path).expect("a file can be replaced");
    // Same name, same size, same time, other content: the whole of it.
    connection.ask("GET", "/film.mp4", &lines).is(200, &new);
}

// ---- files that change

#[test]
fn a_replaced_file_is_served_as_it_is_now() {
    let folder = Folder::new();
    let path = folder.file("film.mp4", "the old film");
    let of_folder = Server::start(folder.path(), &[]);
    let of_file = Server::start(&path, &[]);
    let mut connections = [of_folder.connect(), of_file.connect()];
    for connection in &mut connections {
        connection.get("/film.mp4").is(200, b"the old film");
    }
    folder.file("new", "the new film, which is longer");
    fs::rename(folder.at("new"), &path).expect("a file can be replaced");
    for connection in &mut connections {
        connection.get("/film.mp4").is(200, b"the new film, which is longer");
    }
    fs::remove_file(&path).expect("a file can be removed");
    for connection in &mut connections {
        assert_eq!(connection.get("/film.mp4").status(), 404);
        connection.goes_on();
    }
}

#[test]
fn whoever_is_being_sent_a_file_gets_all_of_it_when_it_is_replaced() {
    let folder = Folder::new();
    let old = noise(9, 24 << 20);
    let path = folder.file("film.mp4", &old);
    let server = Server::start(folder.path(), &[]);
    let mut connection = Connection::with_small_buffer(server.address());
    connection.ask_for("GET", "/film.mp4", &[]);
    connection.head();
    let mut got = connection.exactly(1 << 10);
    folder.file("new", "another film");
    fs::rename(folder.at("new"), &path).expect("a file can be replaced");
    got.extend(connection.exactly(old.len() - got.len()));
    assert!(got == old, "the same film from the first byte to the last");
    connection.get("/film.mp4").is(200, b"another film");
}

#[test]
fn a_file_cut_while_it_is_sent_ends_the_connection_short() {
    let folder = Folder::new();
    let path = folder.hollow_file("film.mp4", 64 << 20);
    let server = Server::start(folder.path(), &[]);
    let mut connection = Connection::with_small_buffer(server.address());
    connection.ask_for("GET", "/film.mp4", &[]);
    assert_eq!(connection.head().said("Content-Length"), "67108864");
    connection.exactly(1 << 10);
    File::options().write(true).open(path).and_then(|file| file.set_len(1 << 10)).expect("a file can be cut");
    let got = (1 << 10) + connection.until_cut().len();
    assert!(got < 64 << 20, "what is not there cannot come: {got}");
    let line = server.wait_for_line("source failed");
    assert!(line.starts_with("#1 127.0.0.1 source failed: the file has become shorter"), "{line}");
    let line = server.wait_for_line("GET /film.mp4 200 ");
    assert!(line.contains(" cut short "), "{line}");
}

// ---- names

#[test]
fn odd_names_work_when_they_are_encoded() {
    const NAMES: [(&str, &str); 12] = [
        ("sp ace.mp4", "/sp%20ace.mp4"),
        ("ü.mp4", "/%C3%BC.mp4"),
        ("100%.mp4", "/100%25.mp4"),
        ("a+b?.ts", "/a+b%3F.ts"),
        ("#1.mp3", "/%231.mp3"),
        ("new\nline", "/new%0Aline"),
        ("100%25.mp4", "/100%2525.mp4"),
        ("tab\tand\x1bescape", "/tab%09and%1bescape"),
        ("back\\slash", "/back%5Cslash"),
        ("deep/er \"<&>'/a;b=c.mp4", "/deep/er%20%22%3C%26%3E'/a;b=c.mp4"),
        ("日本/映画.mkv", "/%E6%97%A5%E6%9C%AC/%e6%98%a0%e7%94%bb.mkv"),
        ("...three", "/%2e%2e%2ethree"),
    ];
    let folder = Folder::new();
    for (name, _) in NAMES {
        folder.file(name, name);
    }
    let server = Server::start(folder.path(), &[]);
    let mut connection = server.connect();
    for (name, target) in NAMES {
        let reply = connection.get(target);
        // All but one: what begins with a dot is not published, however it is written.
        if name.starts_with('.') {
            assert_eq!(reply.status(), 404, "{target}");
        } else {
            reply.is(200, name.as_bytes());
        }
    }
}

#[test]
fn a_single_file_with_an_odd_name_is_open_where_the_start_says() {
    let folder = Folder::new();
    for name in ["sp ace.mp4", "ü.mp4", "100%.mp4", "a+b?.ts", "#1.mp3", "new\nline"] {
        let server = Server::start(folder.file(name, name), &[]);
        let line = server.wait_for_line("open ");
        let url = line.split_whitespace().nth(1).expect("there is a URL");
        let target = url.strip_prefix(&server.url("")).expect("it is this server's");
        server.get(target).is(200, name.as_bytes());
        let reply = server.get("/");
        server.get(reply.said("Location")).is(200, name.as_bytes());
    }
}

#[test]
fn bytes_that_are_no_utf8_name_a_file_too() {
    use std::os::unix::ffi::OsStrExt;
    let folder = Folder::new();
    let name = std::ffi::OsStr::from_bytes(b"latin-\xfc.mp4");
    fs::write(folder.path().join(name), "latin").expect("a name is bytes");
    let server = Server::start(folder.path(), &[]);
    server.get("/latin-%FC.mp4").is(200, b"latin");
}

#[test]
fn a_query_selects_nothing() {
    let folder = Folder::new();
    folder.file("film.mp4", "film");
    let server = Server::start(folder.path(), &[]);
    let mut connection = server.connect();
    for target in ["/film.mp4?", "/film.mp4?t=10&x=%zz", "/film.mp4?/../../etc/passwd", "/film.mp4??"] {
        connection.get(target).is(200, b"film");
    }
}

// ---- what is not published

/// A folder with a secret beside it, under it by a link, and in it under names that are not published.
fn folder_with_secrets() -> Folder {
    let outside = Folder::new();
    outside.file("secret.txt", "SECRET");
    outside.file("root/a.txt", "alpha");
    outside.file("root/sub/b.txt", "beta");
    outside.file("root/.env", "SECRET");
    outside.file("root/.git/config", "SECRET");
    outside.file("root/sub/..data", "SECRET");
    symlink("../secret.txt", outside.at("root/out.txt")).expect("a link can be made");
    symlink(outside.at("secret.txt"), outside.at("root/absolute.txt")).expect("a link can be made");
    symlink("..", outside.at("root/up")).expect("a link can be made");
    symlink("/proc/self", outside.at("root/magic")).expect("a link can be made");
    symlink("sub/b.txt", outside.at("root/in.txt")).expect("a link can be made");
    symlink("..", outside.at("root/sub/back")).expect("a link can be made");
    outside
}

#[test]
fn nothing_outside_the_folder_is_served() {
    let outside = folder_with_secrets();
    let server = Server::start(outside.at("root"), &["--list"]);
    for target in [
        "/../secret.txt",
        "/sub/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/%2E%2E/secret.txt",
        "/.%2e/secret.txt",
        "/..%2fsecret.txt",
        "/%2e%2e%2fsecret.txt",
        "/sub/%2e%2e/%2e%2e/secret.txt",
        "/%252e%252e/secret.txt",
        "/..%5csecret.txt",
        "/..\\secret.txt",
        "/%c0%ae%c0%ae/secret.txt",
        "/%c0%af../secret.txt",
        "//secret.txt",
        "/./../secret.txt",
        "/sub/./.././../secret.txt",
        "http://test/../secret.txt",
        "http://test/%2e%2e/secret.txt",
        "/a.txt/../../secret.txt",
        "/a.txt%00/../secret.txt",
        "/secret.txt%00.txt",
        "/up/secret.txt",
        "/out.txt",
        "/absolute.txt",
        "/up/",
        "/magic/cwd/",
        "/magic/environ",
        "/sub/back/up/secret.txt",
        "/sub/back/../../secret.txt",
    ] {
        let reply = server.get(target);
        assert!(matches!(reply.status(), 400 | 404), "{target}: {}", reply.status());
        assert!(!reply.text().contains("SECRET") && !reply.text().contains("secret"), "{target}: {}", reply.text());
    }
    server.get("/a.txt").is(200, b"alpha");
}

#[test]
fn what_begins_with_a_dot_is_not_served() {
    let outside = folder_with_secrets();
    let server = Server::start(outside.at("root"), &["--list"]);
    let mut connection = server.connect();
    for target in ["/.env", "/%2eenv", "/.git/config", "/.git/", "/.git", "/sub/..data", "/sub/%2e.data"] {
        assert_eq!(connection.get(target).status(), 404, "{target}");
    }
    assert!(!connection.get("/").text().contains(".env"), "nor listed");
}

#[test]
fn links_within_the_folder_are_followed() {
    let outside = folder_with_secrets();
    let server = Server::start(outside.at("root"), &[]);
    let mut connection = server.connect();
    for (target, body) in [("/in.txt", "beta"), ("/sub/back/a.txt", "alpha"), ("/sub/back/sub/b.txt", "beta")] {
        connection.get(target).is(200, body.as_bytes());
    }
}

#[test]
fn what_is_no_file_is_not_served() {
    let folder = Folder::new();
    let fifo = folder.at("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0)
        .expect("a FIFO can be made");
    let _listener = std::os::unix::net::UnixListener::bind(folder.at("socket")).expect("a socket can be made");
    symlink("loop", folder.at("loop")).expect("a link can be made");
    symlink("nowhere", folder.at("dangling")).expect("a link can be made");
    let server = Server::start(folder.path(), &[]);
    let mut connection = server.connect();
    for target in ["/fifo", "/socket", "/loop", "/dangling", "/missing"] {
        assert_eq!(connection.get(target).status(), 404, "{target}");
    }
    connection.goes_on();
}

#[test]
fn a_name_that_is_too_long_for_the_system_is_not_found() {
    let folder = Folder::new();
    let server = Server::start(folder.path(), &[]);
    let mut connection = server.connect();
    assert_eq!(connection.get(&format!("/{}", "n".repeat(300))).status(), 404);
    assert_eq!(connection.get(&format!("/{}", "n/".repeat(3_000))).status(), 404);
    connection.goes_on();
}

#[test]
fn a_file_that_may_not_be_read_is_forbidden() {
    let folder = Folder::new();
    let path = folder.file("locked.mp4", "locked");
    folder.file("open.mp4", "open");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).expect("a file can be locked");
    let mut command = multiclient();
    command.arg(folder.path()).arg("0").stdout(std::process::Stdio::null());
    if rustix::process::geteuid().is_root() {
        // Whom nothing is locked for has somebody else serve.
        use std::os::unix::process::CommandExt;
        if !others_may_run(Path::new(env!("CARGO_BIN_EXE_multiclient"))) {
            return skipped("a file that may not be read: the administrator may, and nobody else may run the server");
        }
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("a folder can be opened");
        command.uid(65_534);
    }
    let server = Server::run(command);
    let mut connection = server.connect();
    assert_eq!(connection.get("/locked.mp4").status(), 403);
    connection.get("/open.mp4").is(200, b"open");
}

/// Whether every user may run the program at `path`.
fn others_may_run(path: &Path) -> bool {
    path.ancestors().all(|path| path.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o001 != 0))
}

// ---- a single file

#[test]
fn a_single_file_is_the_only_thing_there_and_the_root_leads_to_it() {
    let folder = Folder::new();
    folder.file("other.mp4", "other");
    let server = Server::start(folder.file("film.mp4", "film"), &[]);
    let mut connection = server.connect();
    let reply = connection.get("/");
    assert_eq!((reply.status(), reply.said("Location")), (302, "/film.mp4"));
    connection.get("/film.mp4").is(200, b"film");
    for target in ["/other.mp4", "/film", "/film.mp4/x", "/x/film.mp4", "/FILM.MP4"] {
        assert_eq!(connection.get(target).status(), 404, "{target}");
    }
    connection.goes_on();
}

#[test]
fn a_single_file_can_have_another_name_and_type() {
    let folder = Folder::new();
    let path = folder.file("a.bin", "stream");
    let server = Server::start(&path, &["--as", "/live/one film.ts", "--type", "video/x-own; a=b"]);
    let mut connection = server.connect();
    assert_eq!(connection.get("/").said("Location"), "/live/one%20film.ts");
    let reply = connection.get("/live/one%20film.ts");
    reply.is(200, b"stream");
    assert_eq!(reply.said("Content-Type"), "video/x-own; a=b");
    assert_eq!(connection.get("/a.bin").status(), 404);
    server.wait_for_line("/live/one%20film.ts");
}

// ---- folders

#[test]
fn a_folder_is_its_index_and_has_a_slash() {
    let folder = Folder::new();
    folder.file("index.html", "<p>root");
    folder.file("sub/index.html", "<p>sub");
    folder.file("bare/film.mp4", "film");
    folder.file("sp ace/index.html", "<p>space");
    let server = Server::start(folder.path(), &[]);
    let mut connection = server.connect();
    for (target, body) in [("/", "<p>root"), ("/sub/", "<p>sub"), ("/sub/index.html", "<p>sub"), ("/sub/.", "<p>sub")] {
        let reply = connection.get(target);
        reply.is(200, body.as_bytes());
        assert_eq!(reply.said("Content-Type"), "text/html; charset=utf-8", "{target}");
    }
    for (target, location) in [
        ("/sub", "/sub/"),
        ("/sub?x=1&y", "/sub/?x=1&y"),
        ("/bare", "/bare/"),
        ("/sp%20ace", "/sp%20ace/"),
        ("//sub", "/sub/"),
    ] {
        let reply = connection.get(target);
        assert_eq!((reply.status(), reply.said("Location")), (301, location), "{target}");
    }
    assert_eq!(connection.get("/bare/").status(), 404, "without an index and without --list there is nothing");
    connection.goes_on();
}

#[test]
fn a_listing_has_what_is_published_and_escapes_it() {
    let folder = Folder::new();
    folder.file("b <&\">.mp4", "12345");
    folder.file("a.mp4", "1");
    folder.file("z/inner.txt", "");
    folder.file(".hidden", "");
    symlink("/etc/passwd", folder.at("out")).expect("a link can be made");
    let server = Server::start(folder.path(), &["--list"]);
    let mut connection = server.connect();
    let page = connection.get("/");
    assert_eq!((page.status(), page.said("Content-Type")), (200, "text/html; charset=utf-8"));
    let page = page.text();
    let places: Vec<_> = ["href=\"./z/\"", "href=\"./a.mp4\"", "href=\"./b%20%3C"].map(|part| page.find(part)).into();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "folders first, then by name: {page}");
    assert!(page.contains(">b &lt;&amp;&quot;&gt;.mp4<") && !page.contains("b <"), "{page}");
    assert!(!page.contains("hidden") && !page.contains("out"), "{page}");
    let json = connection.ask("GET", "/", &["Accept: application/json"]);
    assert_eq!(json.said("Content-Type"), "application/json");
    let json = json.text();
    let promised = r#"{"name":"a.mp4","href":"./a.mp4","folder":false,"size":1,"modified":"2024-01-02T03:04:05Z"}"#;
    assert!(json.contains(promised) && json.contains(r#""name":"b <&\">.mp4""#), "{json}");
    assert_eq!(connection.get("/z").said("Location"), "/z/");
    assert!(connection.get("/z/").text().contains("inner.txt"));
}

#[test]
fn a_listing_of_thousands_is_whole() {
    let folder = Folder::new();
    for number in 0..3_000 {
        fs::write(folder.at(&format!("film number {number:04}.mp4")), "").expect("a file can be written");
    }
    let server = Server::start(folder.path(), &["--list"]);
    let mut connection = server.connect();
    let page = connection.get("/").text();
    let missing = (0..3_000).find(|number| !page.contains(&format!(">film number {number:04}.mp4<")));
    assert_eq!(missing, None);
    connection.goes_on();
}

// ---- what the operator wants

#[test]
fn the_operators_headers_are_on_every_reply() {
    let folder = Folder::new();
    folder.file("film.mp4", "film");
    folder.folder("sub");
    let flags = ["-H", "X-Served-By: me", "--header", "Cache-Control: max-age=60", "--cors=https://app.example"];
    let server = Server::start(folder.path(), &flags);
    let mut connection = server.connect();
    for target in ["/film.mp4", "/missing", "/sub"] {
        let reply = connection.get(target);
        assert_eq!(reply.said("X-Served-By"), "me", "{target}");
        assert_eq!(reply.said("Cache-Control"), "max-age=60", "{target}");
        assert_eq!(reply.said("Access-Control-Allow-Origin"), "https://app.example", "{target}");
    }
    let preflight = ["Origin: https://app.example", "Access-Control-Request-Method: GET"];
    let reply = connection.ask("OPTIONS", "/film.mp4", &preflight);
    assert_eq!(reply.status(), 204);
    assert!(reply.said("Access-Control-Allow-Headers").contains("Range"), "{reply:?}");
}

#[test]
fn a_compressed_sibling_is_sent_to_whoever_takes_it() {
    let folder = Folder::new();
    folder.file("app.js", "the plain text");
    folder.file("app.js.gz", "as if by gzip");
    folder.file("app.js.br", "as if by brotli");
    let server = Server::start(folder.path(), &[]);
    let mut connection = server.connect();
    for (accepted, coding, body) in [
        ("gzip", Some("gzip"), "as if by gzip"),
        ("gzip, br", Some("br"), "as if by brotli"),
        ("zstd", None, "the plain text"),
        ("gzip;q=0", None, "the plain text"),
    ] {
        let reply = connection.ask("GET", "/app.js", &[&format!("Accept-Encoding: {accepted}")]);
        reply.is(200, body.as_bytes());
        assert_eq!(reply.field("Content-Encoding"), coding, "{accepted}");
        assert_eq!(reply.said("Content-Type"), "text/javascript; charset=utf-8", "{accepted}");
        assert_eq!(reply.said("Vary"), "Accept-Encoding", "{accepted}");
    }
    let reply = connection.ask("GET", "/app.js", &["Accept-Encoding: gzip", "Range: bytes=4-8"]);
    reply.is(206, b"plain");
    assert_eq!(reply.field("Content-Encoding"), None, "parts are those of the plain text");
}

#[test]
fn compat_answers_byte_for_byte_as_the_original() {
    let folder = Folder::new();
    let film = noise(10, 2_500);
    let server = Server::start(folder.file("film.mp4", &film), &["--compat"]);
    let mut connection = server.connect();
    connection.ask_for("GET", "/film.mp4", &["Connection: close"]);
    let mut promised =
        b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for chunk in film.chunks(1_024) {
        promised.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        promised.extend_from_slice(chunk);
        promised.extend_from_slice(b"\r\n");
    }
    promised.extend_from_slice(b"0\r\n\r\n");
    let got = connection.rest();
    assert!(got == promised, "{}", got.escape_ascii());
    let mut connection = server.connect();
    connection.ask_for("GET", "/other", &["Connection: close"]);
    let promised = b"HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: 15\r\n\r\n404 Not Found\r\n";
    assert_eq!(connection.rest().escape_ascii().to_string(), promised.escape_ascii().to_string());
}

// ---- requests that are not in order

#[test]
fn nonsense_is_refused_and_the_connection_ends() {
    let folder = Folder::new();
    folder.file("a.txt", "alpha");
    let server = Server::start(folder.path(), &[]);
    let long_line = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(20_000));
    let long_head = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: 0123456789\r\n".repeat(2_000));
    let long_field = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(40_000));
    for (request, status) in [
        ("GET\r\n\r\n", 400),
        ("GET /a.txt\r\n\r\n", 400),
        ("\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n", 400),
        ("SSH-2.0-OpenSSH_9.2\r\n\r\n", 400),
        ("GET /a.txt HTTP/1.1\r\n\r\n", 400),
        ("GET /a.txt HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("GET /a.txt HTTP/1.1\nHost: a\n\n", 400),
        ("GET /a.txt HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", 400),
        ("GET /a.txt HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        ("GET  /a.txt HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /a%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /a\0b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /a.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        ("GET /a.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("GET /a.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\n\r\n", 413),
        (&long_line, 414),
        ("GET /a.txt HTTP/1.1\r\nHost: a\r\nExpect: a-miracle\r\n\r\n", 417),
        (&long_head, 431),
        (&long_field, 431),
        ("GET /a.txt HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
        ("GET /a.txt HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    ] {
        let mut connection = server.connect();
        // Behind a misdeed nothing is taken for a request, whatever it looks like.
        let _ = connection.try_send([request, "GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n"].concat());
        let reply = connection.reply();
        let shown = &request[..request.len().min(60)];
        assert_eq!(reply.status(), status, "{shown:?}");
        assert!(reply.closes(), "{shown:?}: {reply:?}");
        connection.is_closed();
    }
    server.get("/a.txt").is(200, b"alpha");
}

#[test]
fn methods_that_are_not_for_files_are_refused() {
    let folder = Folder::new();
    folder.file("a.txt", "alpha");
    let server = Server::start(folder.path(), &[]);
    for method in ["POST", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND"] {
        let mut connection = server.connect();
        let reply = connection.ask(method, "/a.txt", &[]);
        assert_eq!((reply.status(), reply.said("Allow")), (405, "GET, HEAD, OPTIONS"), "{method}");
        connection.goes_on();
    }
    for method in ["BREW", "get", "G%20T", "X-OWN"] {
        assert_eq!(server.connect().ask(method, "/a.txt", &[]).status(), 501, "{method}");
    }
    assert_eq!(server.connect().ask("CONNECT", "test:443", &[]).status(), 405);
    let reply = server.connect().ask("OPTIONS", "/a.txt", &[]);
    assert_eq!((reply.status(), reply.said("Allow")), (204, "GET, HEAD, OPTIONS"));
}

#[test]
fn an_upload_is_told_no_before_it_is_over() {
    let folder = Folder::new();
    let server = Server::start(folder.path(), &[]);
    let mut connection = Connection::with_small_buffer(server.address());
    connection.send("PUT /a.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n");
    // All of it is taken, far more than fits on the way, and the answer is not destroyed by a reset.
    connection.send(noise(11, 500_000));
    let reply = connection.reply();
    assert!(reply.status() == 405 && reply.closes(), "{reply:?}");
    connection.is_closed();
}

#[test]
fn a_body_that_nobody_needs_is_skipped() {
    let folder = Folder::new();
    folder.file("a.txt", "alpha");
    let server = Server::start(folder.path(), &[]);
    let mut connection = server.connect();
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let counted = format!("GET /a.txt HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{smuggled}", smuggled.len());
    let chunked = format!(
        "GET /a.txt HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{:x};x=y\r\n{smuggled}\r\n0\r\nT: x\r\n\r\n",
        smuggled.len()
    );
    for request in [counted, chunked] {
        connection.send(request);
        connection.reply().is(200, b"alpha");
        connection.goes_on();
    }
}

#[test]
fn who_asks_whether_to_go_on_is_told_to() {
    let folder = Folder::new();
    folder.file("a.txt", "alpha");
    let server = Server::start(folder.path(), &[]);
    let mut connection = server.connect();
    connection.send("GET /a.txt HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    assert_eq!(connection.head().status, 100);
    connection.send("body");
    connection.reply().is(200, b"alpha");
    connection.goes_on();
}

// ---- connections

#[test]
fn a_connection_serves_many_requests() {
    let folder = Folder::new();
    folder.file("a.txt", "alpha");
    folder.file("b.txt", noise(12, 20_000));
    let server = Server::start(folder.path(), &[]);
    let mut connection = server.connect();
    for _ in 0..200 {
        connection.get("/a.txt").is(200, b"alpha");
        connection.get("/b.txt").is(200, &noise(12, 20_000));
        assert_eq!(connection.get("/missing").status(), 404);
    }
    eventually("all of them are in the log, of one client", || {
        server.log().iter().filter(|line| line.starts_with("#1 ")).count() == 600
    });
}

#[test]
fn requests_sent_at_once_are_answered_in_order() {
    let folder = Folder::new();
    for number in 0..10 {
        folder.file(&format!("{number}.bin"), noise(number, 3_000 * number as usize));
    }
    let server = Server::start(folder.path(), &[]);
    let mut connection = server.connect();
    let requests: String =
        (0..500).map(|number| format!("GET /{}.bin HTTP/1.1\r\nHost: a\r\n\r\n", number % 10)).collect();
    std::thread::scope(|scope| {
        // The replies are more than the buffers between the two hold: who only sends would wait for ever.
        let mut writer = connection.clone();
        scope.spawn(move || writer.send(requests));
        for number in 0..500 {
            connection.reply().is(200, &noise(number % 10, 3_000 * (number % 10) as usize));
        }
    });
    connection.goes_on();
}

#[test]
fn a_request_may_come_byte_by_byte() {
    let folder = Folder::new();
    folder.file("a.txt", "alpha");
    let server = Server::start(folder.path(), &[]);
    let mut connection = server.connect();
    for _ in 0..2 {
        for byte in b"GET /a.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=1-2\r\n\r\n" {
            connection.send([*byte]);
        }
        connection.reply().is(206, b"lp");
    }
}

#[test]
fn the_client_says_whether_the_connection_goes_on() {
    let folder = Folder::new();
    folder.file("a.txt", "alpha");
    let server = Server::start(folder.path(), &[]);
    for (request, goes_on) in [
        ("GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n", true),
        ("GET /a.txt HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", true),
        ("GET /a.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", false),
        ("GET /a.txt HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n", false),
        ("GET /a.txt HTTP/1.0\r\n\r\n", false),
        ("GET /a.txt HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true),
        ("GET /a.txt HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", false),
    ] {
        let mut connection = server.connect();
        connection.send(request);
        let reply = connection.reply();
        reply.is(200, b"alpha");
        assert_eq!(reply.field("Connection") == Some("keep-alive"), goes_on && request.contains("1.0"), "{request:?}");
        assert_eq!(reply.closes(), !goes_on, "{request:?}");
        if goes_on { connection.goes_on() } else { connection.is_closed() }
    }
}

#[test]
fn who_has_said_its_last_word_is_answered_in_full() {
    let folder = Folder::new();
    let film = noise(13, 8 << 20);
    folder.file("film.mp4", &film);
    let server = Server::start(folder.path(), &[]);
    let mut connection = server.connect();
    connection.ask_for("GET", "/film.mp4", &[]);
    connection.ask_for("GET", "/missing", &[]);
    connection.finish();
    connection.reply().is(200, &film);
    assert_eq!(connection.reply().status(), 404);
    connection.is_closed();
    // Who stops in the middle of a request gets no answer, only an end.
    let mut connection = server.connect();
    connection.send("GET /film.mp4 HT");
    connection.finish();
    connection.is_closed();
}

// ---- the log

#[test]
fn every_exchange_is_a_line_of_the_log() {
    let folder = Folder::new();
    folder.file("sp ace.mp4", noise(14, 2 << 20));
    let server = Server::start(folder.path(), &[]);
    let mut connection = server.connect();
    connection.get_range("/sp%20ace.mp4?t=1", "bytes=0-1048575");
    connection.get("/missing");
    server.connect().ask("HEAD", "/sp%20ace.mp4", &[]);
    let line = server.wait_for_line("#1 127.0.0.1 GET /sp%20ace.mp4?t=1 206 1 MiB ");
    assert!(line.contains(" ms   mem ") && line.contains(" KiB cpu "), "{line}");
    server.wait_for_line("#1 127.0.0.1 GET /missing 404 ");
    server.wait_for_line("#2 127.0.0.1 HEAD /sp%20ace.mp4 200 ");
}

#[test]
fn a_client_cannot_forge_a_line_of_the_log() {
    let folder = Folder::new();
    folder.file("new\nline", "alpha");
    let server = Server::start(folder.path(), &[]);
    server.get("/new%0Aline").is(200, b"alpha");
    server.wait_for_line("#1 127.0.0.1 GET /new%0Aline 200 ");
    for request in [
        "GET /x\n#7 127.0.0.1 GET /forged 200 HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /x\r#7 127.0.0.1 GET /forged 200 HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /\x1b[2J\x1b[31m HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /\u{202e}drow HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /\u{85}#7 HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /a.txt HTTP/1.1\r\nHost: a\r\nReferer: \u{9b}31m\r\nUser-Agent: \u{2066}\r\n\r\n",
    ] {
        let mut connection = server.connect();
        connection.send(request);
        connection.reply();
    }
    let log = server.stop().lines;
    let lines_of_clients = log.iter().filter(|line| line.starts_with('#')).count();
    assert_eq!(lines_of_clients, 7, "one for each exchange: {log:#?}");
    assert!(!log.iter().any(|line| line.starts_with("#7 127.0.0.1 GET /forged")), "{log:#?}");
    let moves_the_cursor = |c: char| c.is_control() || matches!(c, '\u{200e}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    assert!(!log.iter().any(|line| line.contains(moves_the_cursor)), "{log:#?}");
}

//! Files and parts of files, conditions, and files that change.

use std::fs::{self, File};
use std::time::{Duration, SystemTime};

use support::{Connection, Folder, Response, Server, age, noise, until_files_are_looked_up};

// ---- a file as it is

#[test]
fn bytes_sent_during_the_last_response_do_not_cut_it_short() {
    let folder = Folder::new();
    let film = noise(11, 8 << 20);
    let server = Server::start(folder.file("film.mp4", &film), &[]);
    for request in ["GET /film.mp4 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "GET /film.mp4 HTTP/1.0\r\n\r\n"]
    {
        for late in ["\r\n", "GET /film.mp4 HTTP/1.1\r\nHost: a\r\n\r\n"] {
            let mut connection = Connection::with_small_buffer(server.address());
            connection.send(request);
            assert_eq!(connection.header_section().status, 200);
            let mut body = connection.read_exactly(1 << 20);
            connection.send(late);
            body.extend(connection.read_exactly(film.len() - body.len()));
            assert!(body == film, "all of it arrives");
            connection.expect_closed();
        }
    }
}

#[test]
fn a_file_is_served_whole() {
    let folder = Folder::new();
    let film = noise(1, 3 << 20);
    folder.file("film.mp4", &film);
    let server = Server::start(folder.path(), &[]);
    let response = server.get("/film.mp4");
    response.is(200, &film);
    assert_eq!(response.expect_field("Content-Length"), "3145728");
    assert_eq!(response.expect_field("Content-Type"), "video/mp4");
    assert_eq!(response.expect_field("Accept-Ranges"), "bytes");
    assert_eq!(response.expect_field("Last-Modified"), "Tue, 02 Jan 2024 03:04:05 GMT");
    assert_eq!(response.expect_field("X-Content-Type-Options"), "nosniff");
    assert!(response.expect_field("ETag").starts_with('"'), "an old file has a strong tag: {response:?}");
}

#[test]
fn files_of_every_size_around_the_bounds_arrive_whole() {
    let folder = Folder::new();
    // Around what is copied after the header section, what the client's buffer holds, and what is passed in a turn.
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
fn an_empty_file_is_a_response_without_body() {
    let folder = Folder::new();
    folder.file("empty.ts", "");
    let server = Server::start(folder.path(), &[]);
    let mut connection = server.connect();
    let response = connection.get("/empty.ts");
    response.is(200, b"");
    assert_eq!(response.expect_field("Content-Length"), "0");
    let response = connection.get_range("/empty.ts", "bytes=0-0");
    assert_eq!((response.status(), response.expect_field("Content-Range")), (416, "bytes */0"));
    connection.expect_open();
}

#[test]
fn the_date_is_that_of_the_response() {
    let folder = Folder::new();
    folder.file("a.txt", "alpha");
    let server = Server::start(folder.path(), &[]);
    let before = SystemTime::now() - Duration::from_secs(1);
    let response = server.get("/a.txt");
    let date = http_date(response.expect_field("Date"));
    assert!(before <= date && date <= SystemTime::now(), "{}", response.expect_field("Date"));
}

/// Reads `Sun, 06 Nov 1994 08:49:37 GMT`, without any of the project's code.
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
fn head_has_the_same_fields_and_no_body() {
    let folder = Folder::new();
    folder.file("film.mp4", noise(2, 100_000));
    folder.folder("sub");
    let server = Server::start(folder.path(), &[]);
    let mut connection = server.connect();
    for target in ["/film.mp4", "/missing", "/sub", "/film.mp4?x"] {
        let get = connection.get(target);
        let head = connection.request("HEAD", target, &[]);
        let lines = |response: &Response| {
            let dateless = response.header.fields.iter().filter(|(name, _)| name != "Date");
            dateless.cloned().collect::<Vec<_>>()
        };
        assert_eq!((get.status(), lines(&get)), (head.status(), lines(&head)), "{target}");
    }
    connection.expect_open();
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
        let response = connection.get_range("/film.mp4", range);
        response.is(206, &film[from..=to]);
        assert_eq!(response.expect_field("Content-Range"), format!("bytes {from}-{to}/1000000"), "{range}");
        assert_eq!(response.expect_field("Content-Length"), (to - from + 1).to_string(), "{range}");
        assert_eq!(response.expect_field("Content-Type"), "video/mp4", "{range}");
    }
}

#[test]
fn a_range_past_the_end_gets_416_with_the_size() {
    let folder = Folder::new();
    folder.file("film.mp4", noise(4, 1_000));
    let server = Server::start(folder.path(), &[]);
    let mut connection = server.connect();
    for range in ["bytes=1000-", "bytes=1000-2000", "bytes=-0", "bytes=99999999999999999999999-"] {
        let response = connection.get_range("/film.mp4", range);
        assert_eq!((response.status(), response.expect_field("Content-Range")), (416, "bytes */1000"), "{range}");
    }
    connection.expect_open();
}

#[test]
fn several_ranges_come_as_parts_with_their_positions() {
    let folder = Folder::new();
    let film = noise(5, 200_000);
    folder.file("film.mp4", &film);
    let server = Server::start(folder.path(), &[]);
    let mut connection = server.connect();
    let response = connection.get_range("/film.mp4", "bytes=0-9,100000-149999,-5");
    assert_eq!(response.status(), 206);
    assert_eq!(response.field("Content-Range"), None, "the places are with the parts");
    let boundary =
        response.expect_field("Content-Type").strip_prefix("multipart/byteranges; boundary=").expect("parts");
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
    let body =
        if response.body.starts_with(b"--") { [b"\r\n", response.body.as_slice()].concat() } else { response.body };
    assert!(body == promised, "{} bytes, and {} were promised", body.len(), promised.len());
    connection.expect_open();
}

#[test]
fn ranges_past_4_gib_are_served() {
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
    assert_eq!(connection.request("HEAD", "/huge.mkv", &[]).expect_field("Content-Length"), size.to_string());
    for (range, content_range, body) in [
        ("bytes=-7", "bytes 5368709120-5368709126/5368709127", &b"the end"[..]),
        ("bytes=5368709124-", "bytes 5368709124-5368709126/5368709127", b"end"),
        ("bytes=4294967296-4295067295", "bytes 4294967296-4295067295/5368709127", &beyond),
        ("bytes=4294967295-4294967296", "bytes 4294967295-4294967296/5368709127", &[0, beyond[0]]),
    ] {
        let response = connection.get_range("/huge.mkv", range);
        response.is(206, body);
        assert_eq!(response.expect_field("Content-Range"), content_range);
    }
    // All of it: the header section promises it, and the first bytes come.
    connection.send_request("GET", "/huge.mkv", &[]);
    assert_eq!(connection.header_section().expect_field("Content-Length"), size.to_string());
    assert_eq!(connection.read_exactly(1 << 20), vec![0; 1 << 20]);
}

// ---- whether a copy is still good

#[test]
fn a_fresh_copy_gets_304() {
    let folder = Folder::new();
    folder.file("film.mp4", noise(6, 1_000));
    let server = Server::start(folder.path(), &[]);
    let mut connection = server.connect();
    let first = connection.get("/film.mp4");
    let tag = first.expect_field("ETag").to_owned();
    for condition in [
        format!("If-None-Match: {tag}"),
        format!("If-None-Match: \"other\", {tag}"),
        "If-None-Match: *".to_owned(),
        "If-Modified-Since: Tue, 02 Jan 2024 03:04:05 GMT".to_owned(),
    ] {
        let response = connection.request("GET", "/film.mp4", &[&condition]);
        response.is(304, b"");
        assert_eq!(response.expect_field("ETag"), tag, "{condition}");
    }
    for condition in ["If-None-Match: \"other\"", "If-Modified-Since: Tue, 02 Jan 2024 03:04:04 GMT"] {
        connection.request("GET", "/film.mp4", &[condition]).is(200, &first.body);
    }
    assert_eq!(connection.request("GET", "/film.mp4", &["If-Match: \"other\""]).status(), 412);
    connection.expect_open();
}

#[test]
fn a_download_resumes_only_with_the_same_file() {
    let folder = Folder::new();
    let old = noise(7, 1_000);
    let path = folder.file("film.mp4", &old);
    let server = Server::start(folder.path(), &[]);
    let mut connection = server.connect();
    let tag = connection.get("/film.mp4").expect_field("ETag").to_owned();
    let condition = format!("If-Range: {tag}");
    let lines = ["Range: bytes=500-", condition.as_str()];
    connection.request("GET", "/film.mp4", &lines).is(206, &old[500..]);
    let new = noise(8, 1_000);
    fs::write(folder.at("new"), &new).expect("a file can be written");
    age(&folder.at("new"));
    fs::rename(folder.at("new"), path).expect("a file can be replaced");
    until_files_are_looked_up();
    // Same name, same size, same time, other content: the whole of it.
    connection.request("GET", "/film.mp4", &lines).is(200, &new);
}

// ---- files that change

#[test]
fn a_replaced_file_is_served_with_its_new_content() {
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
    until_files_are_looked_up();
    for connection in &mut connections {
        connection.get("/film.mp4").is(200, b"the new film, which is longer");
    }
    fs::remove_file(&path).expect("a file can be removed");
    until_files_are_looked_up();
    for connection in &mut connections {
        assert_eq!(connection.get("/film.mp4").status(), 404);
        connection.expect_open();
    }
}

#[test]
fn a_file_replaced_while_it_is_sent_arrives_whole() {
    let folder = Folder::new();
    let old = noise(9, 24 << 20);
    let path = folder.file("film.mp4", &old);
    let server = Server::start(folder.path(), &[]);
    let mut connection = Connection::with_small_buffer(server.address());
    connection.send_request("GET", "/film.mp4", &[]);
    connection.header_section();
    let mut got = connection.read_exactly(1 << 10);
    folder.file("new", "another film");
    fs::rename(folder.at("new"), &path).expect("a file can be replaced");
    until_files_are_looked_up();
    got.extend(connection.read_exactly(old.len() - got.len()));
    assert!(got == old, "the same film from the first byte to the last");
    connection.get("/film.mp4").is(200, b"another film");
}

#[test]
fn a_file_truncated_while_it_is_sent_cuts_the_connection() {
    let folder = Folder::new();
    let path = folder.hollow_file("film.mp4", 64 << 20);
    let server = Server::start(folder.path(), &[]);
    let mut connection = Connection::with_small_buffer(server.address());
    connection.send_request("GET", "/film.mp4", &[]);
    assert_eq!(connection.header_section().expect_field("Content-Length"), "67108864");
    connection.read_exactly(1 << 10);
    File::options().write(true).open(path).and_then(|file| file.set_len(1 << 10)).expect("a file can be cut");
    let got = (1 << 10) + connection.read_to_cut().len();
    assert!(got < 64 << 20, "what is not there cannot come: {got}");
    let line = server.wait_for_line("source failed");
    assert!(line.starts_with("#1 127.0.0.1 source failed: the file has become shorter"), "{line}");
    let line = server.wait_for_line("GET /film.mp4 200 ");
    assert!(line.contains(" cut short "), "{line}");
}

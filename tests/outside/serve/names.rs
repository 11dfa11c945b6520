//! Names: which are published, how they are written in a URL, and what is in a folder.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use support::{Folder, Server, make_fifo, multiclient, program_under_test, skip};

// ---- names

#[test]
fn percent_encoded_names_are_served() {
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
        let response = connection.get(target);
        // All but one: what begins with a dot is not published, however it is written.
        if name.starts_with('.') {
            assert_eq!(response.status(), 404, "{target}");
        } else {
            response.is(200, name.as_bytes());
        }
    }
}

#[test]
fn a_single_file_is_at_the_url_that_the_start_prints() {
    let folder = Folder::new();
    for name in ["sp ace.mp4", "ü.mp4", "100%.mp4", "a+b?.ts", "#1.mp3", "new\nline"] {
        let server = Server::start(folder.file(name, name), &[]);
        let line = server.wait_for_line("open ");
        let url = line.split_whitespace().nth(1).expect("there is a URL");
        let target = url.strip_prefix(&server.url("")).expect("it is this server's");
        server.get(target).is(200, name.as_bytes());
        let response = server.get("/");
        server.get(response.expect_field("Location")).is(200, name.as_bytes());
    }
}

#[test]
fn a_name_that_is_not_utf8_is_served() {
    use std::os::unix::ffi::OsStrExt;
    let folder = Folder::new();
    let name = std::ffi::OsStr::from_bytes(b"latin-\xfc.mp4");
    fs::write(folder.path().join(name), "latin").expect("a name is bytes");
    let server = Server::start(folder.path(), &[]);
    server.get("/latin-%FC.mp4").is(200, b"latin");
}

#[test]
fn a_query_is_ignored() {
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
        let response = server.get(target);
        assert!(matches!(response.status(), 400 | 404), "{target}: {}", response.status());
        assert!(
            !response.text().contains("SECRET") && !response.text().contains("secret"),
            "{target}: {}",
            response.text()
        );
    }
    server.get("/a.txt").is(200, b"alpha");
}

#[test]
fn hidden_files_are_not_served() {
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
fn fifos_sockets_and_dangling_links_are_not_found() {
    let folder = Folder::new();
    let fifo = folder.at("fifo");
    make_fifo(&fifo);
    let _listener = std::os::unix::net::UnixListener::bind(folder.at("socket")).expect("a socket can be made");
    symlink("loop", folder.at("loop")).expect("a link can be made");
    symlink("nowhere", folder.at("dangling")).expect("a link can be made");
    let server = Server::start(folder.path(), &[]);
    let mut connection = server.connect();
    for target in ["/fifo", "/socket", "/loop", "/dangling", "/missing"] {
        assert_eq!(connection.get(target).status(), 404, "{target}");
    }
    connection.expect_open();
}

#[test]
fn a_name_that_is_too_long_for_the_system_is_not_found() {
    let folder = Folder::new();
    let server = Server::start(folder.path(), &[]);
    let mut connection = server.connect();
    assert_eq!(connection.get(&format!("/{}", "n".repeat(300))).status(), 404);
    assert_eq!(connection.get(&format!("/{}", "n/".repeat(3_000))).status(), 404);
    connection.expect_open();
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
        if !others_may_run(&program_under_test()) {
            return skip("another-user", "root may read every file, and no other user may run the server");
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
fn a_single_file_is_served_alone_and_the_root_redirects_to_it() {
    let folder = Folder::new();
    folder.file("other.mp4", "other");
    let server = Server::start(folder.file("film.mp4", "film"), &[]);
    let mut connection = server.connect();
    let response = connection.get("/");
    assert_eq!((response.status(), response.expect_field("Location")), (302, "/film.mp4"));
    connection.get("/film.mp4").is(200, b"film");
    for target in ["/other.mp4", "/film", "/film.mp4/x", "/x/film.mp4", "/FILM.MP4"] {
        assert_eq!(connection.get(target).status(), 404, "{target}");
    }
    connection.expect_open();
}

#[test]
fn a_single_file_can_have_another_name_and_type() {
    let folder = Folder::new();
    let path = folder.file("a.bin", "stream");
    let server = Server::start(&path, &["--as", "/live/one film.ts", "--type", "video/x-own; a=b"]);
    let mut connection = server.connect();
    assert_eq!(connection.get("/").expect_field("Location"), "/live/one%20film.ts");
    let response = connection.get("/live/one%20film.ts");
    response.is(200, b"stream");
    assert_eq!(response.expect_field("Content-Type"), "video/x-own; a=b");
    assert_eq!(connection.get("/a.bin").status(), 404);
    server.wait_for_line("/live/one%20film.ts");
}

// ---- folders

#[test]
fn a_folder_is_served_by_its_index_and_redirects_to_a_slash() {
    let folder = Folder::new();
    folder.file("index.html", "<p>root");
    folder.file("sub/index.html", "<p>sub");
    folder.file("bare/film.mp4", "film");
    folder.file("sp ace/index.html", "<p>space");
    let server = Server::start(folder.path(), &[]);
    let mut connection = server.connect();
    for (target, body) in [("/", "<p>root"), ("/sub/", "<p>sub"), ("/sub/index.html", "<p>sub"), ("/sub/.", "<p>sub")] {
        let response = connection.get(target);
        response.is(200, body.as_bytes());
        assert_eq!(response.expect_field("Content-Type"), "text/html; charset=utf-8", "{target}");
    }
    for (target, location) in [
        ("/sub", "/sub/"),
        ("/sub?x=1&y", "/sub/?x=1&y"),
        ("/bare", "/bare/"),
        ("/sp%20ace", "/sp%20ace/"),
        ("//sub", "/sub/"),
    ] {
        let response = connection.get(target);
        assert_eq!((response.status(), response.expect_field("Location")), (301, location), "{target}");
    }
    assert_eq!(connection.get("/bare/").status(), 404, "without an index and without --list there is nothing");
    connection.expect_open();
}

#[test]
fn a_listing_shows_published_names_escaped() {
    let folder = Folder::new();
    folder.file("b <&\">.mp4", "12345");
    folder.file("a.mp4", "1");
    folder.file("z/inner.txt", "");
    folder.file(".hidden", "");
    symlink("/etc/passwd", folder.at("out")).expect("a link can be made");
    let server = Server::start(folder.path(), &["--list"]);
    let mut connection = server.connect();
    let page = connection.get("/");
    assert_eq!((page.status(), page.expect_field("Content-Type")), (200, "text/html; charset=utf-8"));
    let page = page.text();
    let places: Vec<_> = ["href=\"z/\"", "href=\"a.mp4\"", "href=\"b%20%3C"].map(|part| page.find(part)).into();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "folders first, then by name: {page}");
    assert!(page.contains(">b &lt;&amp;&quot;&gt;.mp4<") && !page.contains("b <"), "{page}");
    assert!(!page.contains("hidden") && !page.contains("out"), "{page}");
    let json = connection.request("GET", "/", &["Accept: application/json"]);
    assert_eq!(json.expect_field("Content-Type"), "application/json");
    let json = json.text();
    let promised = r#"{"name":"a.mp4","href":"a.mp4","folder":false,"size":1,"modified":"2024-01-02T03:04:05Z"}"#;
    assert!(json.contains(promised) && json.contains(r#""name":"b <&\">.mp4""#), "{json}");
    assert_eq!(connection.get("/z").expect_field("Location"), "/z/");
    assert!(connection.get("/z/").text().contains("inner.txt"));
}

#[test]
fn a_listing_of_thousands_is_complete() {
    let folder = Folder::new();
    for number in 0..3_000 {
        fs::write(folder.at(&format!("film number {number:04}.mp4")), "").expect("a file can be written");
    }
    let server = Server::start(folder.path(), &["--list"]);
    let mut connection = server.connect();
    let page = connection.get("/").text();
    let missing = (0..3_000).find(|number| !page.contains(&format!(">film number {number:04}.mp4<")));
    assert_eq!(missing, None);
    connection.expect_open();
}

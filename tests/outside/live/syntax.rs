//! FFmpeg's syntax of sources.

use std::fs::File;
use std::io::{self, Read};
use std::process::{Command, Stdio};

use support::live::{Producer, Viewer};
use support::{A_WHILE, Folder, Server, make_fifo, multiclient, noise, run_within, same};

#[test]
fn parts_of_files_are_one_source_with_one_length() {
    let folder = Folder::new();
    let parts = [noise(6, 70_000), noise(7, 1), noise(8, 0), noise(9, 300_000)];
    let paths: Vec<_> = parts.iter().enumerate().map(|(n, part)| folder.file(&format!("{n}.ts"), part)).collect();
    let whole = parts.concat();
    let spelled: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
    let server = Server::start(format!("concat:{}", spelled.join("|")), &[]);
    let response = server.get("/0.ts");
    response.is(200, &whole);
    assert_eq!(response.expect_field("Content-Length"), whole.len().to_string());
    assert!(response.field("ETag").is_some() && response.field("Last-Modified").is_some(), "{:?}", response.header);
    let mut connection = server.connect();
    for (first, last) in
        [(0, 0), (69_999, 70_001), (70_000, 70_000), (70_001, 70_001), (1, 370_000), (370_000, 370_000)]
    {
        let response = connection.get_range("/0.ts", &format!("bytes={first}-{last}"));
        response.is(206, &whole[first..=last]);
        assert_eq!(response.expect_field("Content-Range"), format!("bytes {first}-{last}/{}", whole.len()));
    }
    let response = connection.get_range("/0.ts", "bytes=69998-70002,200000-200009,-5");
    assert_eq!(response.status(), 206);
    for part in [&whole[69_998..=70_002], &whole[200_000..200_010], &whole[whole.len() - 5..]] {
        assert!(response.body.windows(part.len()).any(|window| window == part), "all parts are there");
    }
    // A part that is replaced is served as it is now, and is another version.
    let tag = server.get("/0.ts").expect_field("ETag").to_owned();
    folder.file("1.ts", "xyz");
    let response = server.get("/0.ts");
    response.is(200, &[&parts[0][..], b"xyz", &parts[3]].concat());
    assert_ne!(response.expect_field("ETag"), tag);
}

#[test]
fn a_source_of_many_parts_has_a_short_entity_tag() {
    let folder = Folder::new();
    let paths: Vec<_> =
        (0..40).map(|n| folder.file(&format!("{n}.ts"), noise(n, 1_000)).display().to_string()).collect();
    let server = Server::start(format!("concat:{}", paths.join("|")), &[]);
    let response = server.get("/0.ts");
    response.is(200, &(0..40).flat_map(|n| noise(n, 1_000)).collect::<Vec<_>>());
    let tag = response.expect_field("ETag").to_owned();
    assert!(tag.trim_start_matches("W/").len() <= 66, "{tag}");
    assert_eq!(server.connect().request("GET", "/0.ts", &[&format!("If-None-Match: {tag}")]).status(), 304);
    folder.file("39.ts", noise(99, 1_001));
    assert_ne!(server.get("/0.ts").expect_field("ETag"), tag, "the last part counts as well");
}

#[test]
fn a_fifo_among_the_parts_is_refused_and_not_waited_for() {
    let folder = Folder::new();
    let (film, fifo) = (folder.file("film.ts", "film"), folder.at("fifo"));
    make_fifo(&fifo);
    for source in [
        format!("concat:{}|{}", film.display(), fifo.display()),
        format!("subfile,,start,0,end,5,,:{}", fifo.display()),
    ] {
        let refused = run_within(A_WHILE, multiclient().args([source.as_str(), "0"]));
        assert_eq!(refused.status.code(), Some(1), "{source}");
    }
}

#[test]
fn ffmpegs_other_sources_are_served() {
    let folder = Folder::new();
    let film = noise(10, 10_000);
    let path = folder.file("film.ts", &film).display().to_string();
    for (source, target, promised) in [
        (format!("file:{path}"), "/film.ts", &film[..]),
        (format!("subfile,,start,100,end,200,,:{path}"), "/film.ts", &film[100..200]),
        (format!("subfile,,start,9000,end,0,,:{path}"), "/film.ts", &film[9_000..]),
        (format!("subfile,,start,9000,end,20000,,:{path}"), "/film.ts", &film[9_000..]),
        ("data:text/plain;base64,aGVsbG8=".to_owned(), "/data", b"hello"),
        ("data:,a%20b".to_owned(), "/data", b"a b"),
    ] {
        let server = Server::start(&source, &[]);
        let response = server.get(target);
        response.is(200, promised);
        let part = server.connect().get_range(target, "bytes=1-2");
        part.is(206, &promised[1..=2]);
        assert_eq!(part.expect_field("Content-Range"), format!("bytes 1-2/{}", promised.len()), "{source}");
        if source.starts_with("data:text/plain;") {
            assert!(response.expect_field("Content-Type").starts_with("text/plain"), "{:?}", response.header);
        }
    }
}

#[test]
fn a_file_on_stdin_is_served_as_a_file() {
    let folder = Folder::new();
    let film = noise(11, 100_000);
    let path = folder.file("film.ts", &film);
    let mut command = multiclient();
    command.args(["pipe:0", "0", "--as", "/film.ts", "--log", "text"]).stdout(Stdio::null());
    command.stdin(File::open(path).expect("it is there"));
    let server = Server::run(command);
    server.get("/film.ts").is(200, &film);
    server.connect().get_range("/film.ts", "bytes=-10").is(206, &film[film.len() - 10..]);
}

#[test]
fn a_pipe_of_any_descriptor_is_served() {
    let (mut reader, writer) = io::pipe().expect("there are descriptors left");
    let mut writer = Producer::new(writer);
    // A shell gives the pipe its number.
    let mut command = Command::new("sh");
    let program = multiclient();
    command.arg("-c").arg("exec 7<&0 0</dev/null; exec \"$0\" pipe:7 0 --as /live.ts --log text");
    command.arg(program.get_program());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.stdin(reader.try_clone().expect("there are descriptors left")).stdout(Stdio::null());
    let server = Server::run(command);
    let viewer = Viewer::of(&server, "/live.ts");
    writer.write(b"by another number");
    drop(writer);
    same(&viewer.all(), b"by another number");
    assert_eq!(reader.read(&mut [0]).ok(), Some(0), "the server has read all");
}

#[test]
fn a_source_never_opens_a_network_connection() {
    let folder = Folder::new();
    let film = folder.file("film.ts", "film").display().to_string();
    for (source, code, said) in [
        ("http://127.0.0.1:1/film.ts", 1, "unsupported source `http:`"),
        ("tcp://127.0.0.1:1", 1, "unsupported source `tcp:`"),
        ("async:cache:http://a", 1, "unsupported source `async:`"),
        ("concat:http://127.0.0.1:1/a|b", 1, "does not exist"),
        (&format!("concat:{film}|{}", folder.path().display()), 1, "only files have parts"),
        (&format!("concat:{film}||{film}"), 1, "the syntax of concat is concat:FILE|FILE|FILE"),
        ("subfile,,start,x,,:a", 1, "the syntax of subfile is"),
        ("data:nothing", 1, "the syntax of data is"),
        ("pipe:x", 1, "the syntax of pipe is"),
        ("pipe:123", 1, "pipe:123"),
    ] {
        let output = run_within(A_WHILE, multiclient().args([source, "0"]));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains(said), "{source}: {stderr}");
        assert_eq!(output.status.code(), Some(code), "{source}: {stderr}");
    }
    let output = run_within(A_WHILE, multiclient().args(["rtmp://a/b", "0"]));
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(stderr.contains("file:, pipe:, concat:, subfile, data:"), "it says what there is: {stderr}");
}

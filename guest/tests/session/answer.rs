//! Replies for hosts that speak HTTP themselves: the same as on a connection, but for what is the
//! connection's.

use multiclient_guest::answer::{Answer, Message, More, Next, Piece, Question};
use multiclient_guest::contract::{Entry, Event, Found};

use crate::host::{Host, Response};

/// Lets a host in memory answer a question, and puts the body together.
fn ask(host: &Host, method: &str, target: &str, fields: &[(&str, &str)]) -> (Message, Vec<u8>) {
    let fields: Vec<_> = fields.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
    let question = Question { method, target, fields: &fields };
    let mut next = Answer::to(&question, host.settings.clone(), host.now);
    let mut source = Vec::new();
    loop {
        next = match next {
            Next::Response(mut message) => {
                let mut body = Vec::new();
                for piece in &message.body {
                    match piece {
                        Piece::Bytes(bytes) => body.extend_from_slice(bytes),
                        Piece::Span(span) => {
                            body.extend_from_slice(&source[span.offset as usize..span.end() as usize]);
                        }
                    }
                }
                while let Some(rest) = &mut message.rest {
                    match rest.more() {
                        More::Bytes(bytes) => body.extend_from_slice(&bytes),
                        More::List(portion) => assert!(rest.listed(host.list(&portion))),
                        More::End => break,
                    }
                }
                return (message, body);
            }
            Next::Open(name, answer) => {
                let found = host.find(&name);
                if matches!(found, Ok(Found::Source(_))) {
                    source = host.sources[&name].bytes.clone();
                }
                answer.advance(host.now, Event::Opened(found))
            }
            Next::List(portion, answer) => answer.advance(host.now, Event::Listed(host.list(&portion))),
        };
    }
}

#[test]
fn a_question_has_the_reply_that_it_has_on_a_connection() {
    let mut host = Host::default();
    host.settings.listing = true;
    host.header("X-Of-The-Operator", "yes");
    let none: &[(&str, &str)] = &[];
    for (method, target, fields) in [
        ("GET", "/f.bin", none),
        ("HEAD", "/f.bin", none),
        ("OPTIONS", "/f.bin", none),
        ("OPTIONS", "*", none),
        ("POST", "/f.bin", none),
        ("BREW", "/f.bin", none),
        ("HEAD", "/missing", none),
        ("GET", "/missing", &[("Accept", "text/html")]),
        ("GET", "/secret", none),
        ("GET", "/busy", none),
        ("GET", "/broken", none),
        ("GET", "/empty", none),
        ("GET", "/sub?x=1", none),
        ("GET", "/page/", none),
        ("GET", "/sub/", &[("Accept", "application/json")]),
        ("GET", "/%66.bin?q", none),
        ("GET", "/../f.bin", none),
        ("GET", "/%zz", none),
        ("GET", "/style.css", &[("Accept-Encoding", "gzip, br;q=0.1")]),
        ("GET", "/style.css", &[("accept-encoding", "zstd")]),
        ("GET", "/f.bin", &[("Range", "bytes=100-199")]),
        ("GET", "/f.bin", &[("range", "bytes=0-1,100-")]),
        ("GET", "/f.bin", &[("Range", "bytes=9999-")]),
        ("HEAD", "/f.bin", &[("Range", "bytes=100-199")]),
        ("GET", "/f.bin", &[("Range", "bytes=0-0"), ("If-Range", "\"v2500\"")]),
        ("GET", "/f.bin", &[("Range", "bytes=0-0"), ("If-Range", "\"v1\"")]),
        ("GET", "/f.bin", &[("If-None-Match", "\"v2500\"")]),
        ("GET", "/f.bin", &[("If-Match", "\"v1\"")]),
        ("GET", "/f.bin", &[("If-Modified-Since", "Fri, 02 Jan 2026 03:04:05 GMT")]),
    ] {
        let lines: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let life = host.whole(format!("{method} {target} HTTP/1.1\r\nHost: a\r\n{lines}\r\n").as_bytes());
        let (mut wired, rest) = Response::read(&life.output, method);
        assert_eq!(rest, b"");
        wired.fields.retain(|(name, _)| name != "Connection");
        let (message, body) = ask(&host, method, target, fields);
        let said: Vec<_> = message.fields.into_iter().map(|(name, value)| (name, text(&value))).collect();
        assert_eq!((message.status, said), (wired.status, wired.fields), "{method} {target} {fields:?}");
        assert_eq!(text(&body), text(&wired.body), "{method} {target} {fields:?}");
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_playlist_has_whole_urls_where_the_host_knows_them() {
    let mut host = Host::default();
    host.settings.listing = true;
    let film = Entry { name: b"film.mp4".to_vec(), folder: false, size: 1, modified: None };
    host.folders.insert(b"sub".to_vec(), vec![film; 1]);
    for (target, url) in [("/sub/?m3u", "film.mp4"), ("https://a:1/sub/?m3u", "https://a:1/sub/film.mp4")] {
        let (message, body) = ask(&host, "GET", target, &[]);
        assert_eq!(message.status, 200);
        assert_eq!(text(&body), format!("#EXTM3U\n#EXTINF:-1,film.mp4\n{url}\n"));
    }
}

/// A listing that does not fit one piece has no length that could be known.
#[test]
fn a_folder_of_any_size_is_listed_whole() {
    let mut host = Host::default();
    host.settings.listing = true;
    let entry = |number| Entry { name: format!("{number:0>9}").into(), folder: false, size: 1, modified: None };
    host.folders.insert(b"sub".to_vec(), (0..2_000).map(entry).collect());
    for fields in [&[][..], &[("Accept", "application/json")]] {
        let (message, body) = ask(&host, "GET", "/sub/", fields);
        let names: Vec<&str> = message.fields.iter().map(|(name, _)| name.as_str()).collect();
        assert!(!names.contains(&"Content-Length") && !names.contains(&"Transfer-Encoding"), "{names:?}");
        let body = text(&body);
        assert!((0..2_000).all(|number| body.contains(&format!("\"{number:0>9}\""))), "{body}");
        assert_eq!(text(&ask(&host, "HEAD", "/sub/", fields).1), "");
    }
    let question = Question { method: "GET", target: "/sub/?m3u", fields: &[] };
    let Next::List(portion, answer) = Answer::to(&question, host.settings.clone(), 0) else { panic!("it lists") };
    let listed = answer.advance(0, Event::Listed(host.list(&portion)));
    let Next::Response(Message { rest: Some(mut rest), .. }) = listed else { panic!("there is more") };
    let More::List(_) = rest.more() else { panic!("it goes on") };
    assert!(!rest.listed(host.list(&portion)), "this is the first portion again");
}

#[test]
fn what_would_be_no_head_is_refused() {
    let host = Host::default();
    for (method, target, fields) in [
        ("GET", "/f.bin HTTP/1.1\r\nRange: bytes=0-0\r\nX:", &[][..]),
        ("GET", "/f.bin", &[("X", "a\r\nRange: bytes=0-0")][..]),
        ("GET", "/f.bin", &[("X: a\r\nRange", "bytes=0-0")]),
        ("GET", "/f.bin", &[("X", "a\r\n\r\nGET / HTTP/1.1")]),
        ("GET", "/f.bin", &[("X", "a\nb")]),
        ("GET", "/f.bin", &[("X", "a\0b")]),
        ("GET", "/f.bin", &[("", "a")]),
        ("GET", "/f .bin", &[]),
        ("GET", "f.bin", &[]),
        ("GET", "", &[]),
        ("", "/f.bin", &[]),
        ("G T", "/f.bin", &[]),
    ] {
        assert_eq!(ask(&host, method, target, fields).0.status, 400, "{method:?} {target:?} {fields:?}");
    }
    let long = "x".repeat(9_000);
    assert_eq!(ask(&host, "GET", &format!("/{long}"), &[]).0.status, 414);
    assert_eq!(ask(&host, "GET", "/f.bin", &[("A", &long), ("B", &long)]).0.status, 431);
    assert_eq!(ask(&host, "HEAD", "/%zz", &[]).0.body, []);
}

#[test]
fn what_is_of_the_connection_means_nothing() {
    let mut host = Host::default();
    host.settings.at_capacity = true;
    host.settings.max_exchanges = 1;
    let fields = [
        ("host", "two words"),
        ("Host", "again"),
        ("Connection", "close"),
        ("Content-Length", "x"),
        ("Transfer-Encoding", "gzip"),
        ("Expect", "much"),
    ];
    let (message, body) = ask(&host, "GET", "/ten", &fields);
    assert_eq!((message.status, text(&body).as_str()), (200, "0123456789"));
    assert!(message.fields.iter().all(|(name, _)| name != "Connection"), "{:?}", message.fields);
}

#[test]
fn a_wrong_event_is_a_failure_of_the_server() {
    let question = Question { method: "GET", target: "/ten", fields: &[] };
    let Next::Open(_, answer) = Answer::to(&question, Host::default().settings, 0) else { panic!("it opens") };
    let Next::Response(message) = answer.advance(0, Event::Finished) else { panic!("it responses") };
    assert_eq!(message.status, 500);
}

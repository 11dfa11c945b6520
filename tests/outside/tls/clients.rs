//! What clients get.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use rustls::client::Resumption;
use rustls::{ClientConnection, HandshakeKind, version};
use support::live::{Producer, joined_at, packets};
use support::{Connection, Folder, Server, eventually, multiclient, noise, same, text};

use super::client::{Secure, VERSIONS, connect, hello, speaking, trusting};
use super::{certificate, run, serve};

#[test]
fn each_version_of_tls_carries_exactly_the_bytes() {
    let folder = Folder::new();
    // Longer than a turn of the loop, and than all buffers on the way.
    let film = noise(1, 9_000_001);
    folder.file("film.mp4", &film);
    folder.file("small.txt", "small");
    let tls = serve(folder.path(), &[]);
    for version in VERSIONS {
        let config = speaking(&tls.certificate.der, &[version]);
        let mut client = Secure::to(tls.server.address(), &config);
        assert_eq!(client.0.conn.protocol_version(), Some(version.version));
        assert_eq!(client.get("/small.txt").1, b"small");
        same(&client.get("/film.mp4").1, &film);
        client.send("GET /film.mp4 HTTP/1.1\r\nHost: a\r\nRange: bytes=16383-4000000\r\nConnection: close\r\n\r\n");
        same(&client.response().1, &film[16_383..=4_000_000]);
        assert_eq!(client.rest().expect("the server says that it is over"), b"");
    }
}

#[test]
fn requests_come_one_after_the_other_however_they_are_cut_into_records() {
    let folder = Folder::new();
    folder.file("a", "first");
    folder.file("b", "second");
    let tls = serve(folder.path(), &[]);
    let mut client = tls.connect();
    let requests = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n";
    for byte in requests {
        client.send([*byte]);
    }
    assert_eq!((client.response().1, client.response().1), (b"first".to_vec(), b"second".to_vec()));
    client.send(requests);
    assert_eq!((client.response().1, client.response().1), (b"first".to_vec(), b"second".to_vec()));
    // More in one go than a buffer of the loop has room for.
    client.send(requests.repeat(1_000));
    for _ in 0..1_000 {
        assert_eq!((client.response().1, client.response().1), (b"first".to_vec(), b"second".to_vec()));
    }
}

#[test]
fn a_handshake_may_come_byte_by_byte() {
    let folder = Folder::new();
    folder.file("a", "first");
    let tls = serve(folder.path(), &[]);
    for version in VERSIONS {
        let mut stream = connect(tls.server.address());
        stream.set_nodelay(true).expect("it is TCP");
        let mut connection = hello("localhost", &speaking(&tls.certificate.der, &[version]));
        while connection.is_handshaking() {
            let mut said = Vec::new();
            while connection.wants_write() {
                connection.write_tls(&mut said).expect("a vector takes everything");
            }
            for byte in said {
                stream.write_all(&[byte]).expect("the server takes it");
            }
            if connection.is_handshaking() {
                connection.read_tls(&mut stream).expect("the server goes on");
                connection.process_new_packets().expect("it speaks TLS");
            }
        }
        let mut client = Secure::over(stream, connection).expect("it is over already");
        assert_eq!(client.get("/a").1, b"first");
    }
}

#[test]
fn a_slow_reader_gets_every_byte() {
    let folder = Folder::new();
    let film = noise(2, 12 << 20);
    folder.file("film.mp4", &film);
    let tls = serve(folder.path(), &[]);
    let mut client = tls.connect();
    client.send("GET /film.mp4 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    // The buffers on the way are full before the first byte is read.
    let socket = client.0.sock.try_clone().expect("there is a descriptor left");
    eventually("more waits than is read at once", || {
        socket.peek(&mut vec![0; 1 << 20]).is_ok_and(|seen| seen > 100_000)
    });
    let mut got = Vec::new();
    let mut piece = [0; 1_000];
    for _ in 0..100 {
        let count = client.0.read(&mut piece).expect("more comes");
        got.extend_from_slice(&piece[..count]);
    }
    got.extend(client.rest().expect("the server says that it is over"));
    same(&got[got.len() - film.len()..], &film);
}

#[test]
fn a_rate_holds_for_what_is_encrypted() {
    let folder = Folder::new();
    let film = noise(3, 300_000);
    folder.file("film.mp4", &film);
    let tls = serve(folder.path(), &["--rate", "1M"]);
    let began = std::time::Instant::now();
    same(&tls.connect().get("/film.mp4").1, &film);
    // All but a tenth of a second's worth.
    assert!(began.elapsed().as_millis() > 180, "{:?}", began.elapsed());
}

#[test]
fn viewers_watch_a_live_source() {
    let (reader, writer) = std::io::pipe().expect("there are descriptors left");
    let mut command = multiclient();
    command.args(["-", "--as", "/live.ts"]).stdin(reader);
    let tls = run(command);
    let mut producer = Producer::new(writer);
    let (first, second) = (packets(0, 1_000), packets(1_000, 2_000));
    producer.write(&first);
    let watch = || {
        let mut client = tls.connect();
        client.send("GET /live.ts HTTP/1.0\r\n\r\n");
        client.0.read_exact(&mut [0; 1_000]).expect("it watches");
        client
    };
    let mut client = watch();
    let before = tls.server.descriptors();
    drop(watch());
    tls.server.wait_for_descriptors(before);
    producer.write(&second);
    drop(producer);
    let got = client.rest().expect("the stream ends in good order");
    joined_at(&got, &[first, second].concat());
}

#[test]
fn who_comes_again_need_not_make_the_whole_handshake() {
    let folder = Folder::new();
    folder.file("a", "first");
    let tls = serve(folder.path(), &[]);
    for version in VERSIONS {
        let mut config = speaking(&tls.certificate.der, &[version]);
        config.resumption = Resumption::in_memory_sessions(8);
        let kind = || {
            let mut client = Secure::to(tls.server.address(), &config);
            // Tickets of TLS 1.3 come with the first response.
            assert_eq!(client.get("/a").1, b"first");
            client.0.conn.handshake_kind()
        };
        assert_eq!(kind(), Some(HandshakeKind::Full));
        assert_eq!(kind(), Some(HandshakeKind::Resumed), "{:?}", version.version);
    }
}

#[test]
fn a_client_that_offers_http_2_as_well_gets_http_1() {
    let folder = Folder::new();
    folder.file("a", "first");
    let tls = serve(folder.path(), &[]);
    let mut config = trusting(&tls.certificate.der);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let mut client = Secure::to(tls.server.address(), &config);
    assert_eq!(client.0.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    assert_eq!(client.get("/a").1, b"first");
}

#[test]
fn a_unix_socket_speaks_tls_where_it_is_told_to() {
    let folder = Folder::new();
    let film = folder.file("film.mp4", "film");
    let certificate = certificate(&folder, "localhost", &["localhost"]);
    let socket = folder.at("m.sock");
    let flags = ["--cert", text(&certificate.chain), "--key", text(&certificate.key)];
    let server = Server::start_at(film, &format!("unix:{} tls", text(&socket)), &flags);
    let mut stream = UnixStream::connect(&socket).expect("it listens");
    let mut connection: ClientConnection = hello("localhost", &speaking(&certificate.der, &[&version::TLS13]));
    let mut client = rustls::Stream::new(&mut connection, &mut stream);
    client.write_all(b"GET /film.mp4 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").expect("it is taken");
    let mut response = String::new();
    client.read_to_string(&mut response).expect("the response ends in good order");
    assert!(response.ends_with("\r\n\r\nfilm"), "{response}");
    server.wait_for_line("GET /film.mp4 200");
}

#[test]
fn a_playlist_has_the_scheme_of_the_connection_that_asks_for_it() {
    let folder = Folder::new();
    folder.file("film.mp4", "film");
    let socket = folder.at("m.sock");
    let listen = format!("unix:{}", text(&socket));
    let tls = serve(folder.path(), &["--list", "--listen", &listen]);
    let (_, playlist) = tls.connect().get("/?m3u");
    assert_eq!(String::from_utf8_lossy(&playlist), "#EXTM3U\n#EXTINF:-1,film.mp4\nhttps://localhost/film.mp4\n");
    let playlist = Connection::to_unix(&socket).get("/?m3u");
    assert_eq!(playlist.text(), "#EXTM3U\n#EXTINF:-1,film.mp4\nhttp://test/film.mp4\n");
}

#[test]
fn a_proxy_may_pass_tls_on_and_say_where_the_client_comes_from() {
    let folder = Folder::new();
    folder.file("a", "first");
    let keys = Folder::new();
    let certificate = certificate(&keys, "localhost", &["localhost"]);
    let flags = ["--cert", text(&certificate.chain), "--key", text(&certificate.key)];
    let server = Server::start_at(folder.path(), "https://127.0.0.1:0 proxy", &flags);
    let mut stream = connect(server.address());
    stream.write_all(b"PROXY TCP4 192.0.2.5 192.0.2.6 1 2\r\n").expect("the server takes it");
    let mut client = Secure::over(stream, hello("localhost", &trusting(&certificate.der))).expect("TLS follows");
    assert_eq!(client.get("/a").1, b"first");
    server.wait_for_line("192.0.2.5 GET /a 200");
    // Without the header there is no handshake.
    assert!(Secure::named("localhost", server.address(), &trusting(&certificate.der)).is_err());
    server.wait_for_line("no valid PROXY header");
}

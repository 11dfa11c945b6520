//! The server where others run it: watched, restarted behind a proxy, given its sockets by systemd, in a
//! container. With the very files of `deploy/`, and with the real programs where they are installed.

mod support;

use std::fs;
use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use support::{Connection, Folder, PATIENCE, Server, eventually, multiclient, noise, run_within, skipped};

/// A file that is shipped.
fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(name)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary files have plain names")
}

/// A program, if it is installed.
fn program(name: &str) -> Option<Command> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")]);
    let found = folders.map(|folder| folder.join(name)).find(|path| path.is_file());
    if found.is_none() {
        skipped(&format!("{name} is not installed"));
    }
    found.map(Command::new)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// An address of this machine that was free a moment ago.
fn free_address() -> SocketAddr {
    let probe = TcpListener::bind("127.0.0.1:0").and_then(|probe| probe.local_addr());
    probe.expect("there is a free port")
}

// ---- health

fn health(url: &str) -> Output {
    run_within(PATIENCE, multiclient().args(["health", url, "--timeout", "1s"]))
}

#[test]
fn a_server_that_answers_is_well_whatever_it_answers() {
    let folder = Folder::new();
    let path = folder.at("health.sock");
    // A folder without an index has nothing at its root, and a file is there by a redirect.
    for (source, status) in [(folder.path().to_owned(), 404), (folder.file("film.mp4", "film"), 302)] {
        let server = Server::start(source, &["--listen", &format!("unix:{}", text(&path))]);
        let by_tcp = health(&server.address().to_string());
        assert_eq!(
            (by_tcp.status.code(), said(&by_tcp)),
            (Some(0), format!("{} answers {status}\n", server.address()))
        );
        let by_unix = health(&format!("unix:{}", text(&path)));
        assert_eq!(by_unix.status.code(), Some(0), "{}", said(&by_unix));
    }
}

#[test]
fn a_server_that_is_not_there_or_full_is_not_well() {
    let folder = Folder::new();
    let server = Server::start(folder.path(), &["--max-clients", "1"]);
    let (url, _only_one) = (server.address().to_string(), server.connect());
    eventually("the only place is taken", || health(&url).status.code() == Some(1));
    assert_eq!(said(&health(&url)), format!("error: {url} answers 503\n"));
    server.stop();
    let gone = health(&url);
    assert_eq!(gone.status.code(), Some(1));
    assert!(said(&gone).contains("does not answer: Connection refused"), "{}", said(&gone));
}

#[test]
fn who_says_nothing_or_something_else_is_not_well() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let url = listener.local_addr().expect("it has an address").to_string();
    // It is connected to by the kernel, and then nobody comes.
    let began = Instant::now();
    let silent = health(&url);
    assert_eq!((silent.status.code(), said(&silent)), (Some(1), format!("error: {url} does not answer in time\n")));
    assert!(began.elapsed() < PATIENCE / 2, "a second is not {:?}", began.elapsed());

    let strange = thread::spawn(move || {
        use std::io::Write;
        // The first is the one that waited in vain.
        drop(listener.accept().expect("somebody came"));
        let (mut socket, _) = listener.accept().expect("somebody comes");
        socket.set_read_timeout(Some(PATIENCE)).expect("a socket can time out");
        socket.write_all(b"SSH-2.0-something\r\n").expect("it listens");
        // Closed before what it says is read, it would be a reset.
        let _ = socket.read(&mut [0; 1024]);
    });
    let answered = health(&url);
    assert_eq!(
        (answered.status.code(), said(&answered)),
        (Some(1), format!("error: {url} answers, but not in HTTP\n"))
    );
    strange.join().expect("it was asked");
}

// ---- systemd

/// Runs the server as a socket unit would: it is started when the first client comes. That client is given
/// back too.
fn activated(
    folder: &Folder,
    listen: &str,
    connect: impl Fn() -> Option<Connection> + Sync,
) -> Option<(Server, Connection)> {
    let mut activate = program("systemd-socket-activate")?;
    activate.args(["--listen", listen, env!("CARGO_BIN_EXE_multiclient"), text(folder.path()), "systemd:"]);
    activate.stdin(Stdio::null()).stdout(Stdio::null());
    thread::scope(|scope| {
        let client = scope.spawn(|| {
            let mut client = None;
            eventually("somebody listens", || {
                client = connect();
                client.is_some()
            });
            client.expect("it has just connected")
        });
        let server = Server::run(activate);
        Some((server, client.join().expect("it connects")))
    })
}

#[test]
fn the_sockets_that_systemd_passes_are_served() {
    let folder = Folder::new();
    folder.file("film.mp4", "film");
    let address = free_address();
    let connect = || TcpStream::connect(address).is_ok().then(|| Connection::to(address));
    let Some((server, mut client)) = activated(&folder, &address.to_string(), connect) else { return };
    client.get("/film.mp4").is(200, b"film");
    assert_eq!(server.addresses(), [address], "it says where it is open");
    assert_eq!(server.stop().code, Some(0));
    // What is passed is not ours to close for good: the manager would go on listening. Here it has ended too.

    let path = folder.at("passed.sock");
    let connect = || UnixStream::connect(&path).is_ok().then(|| Connection::to_unix(&path));
    let Some((server, mut client)) = activated(&folder, text(&path), connect) else { return };
    client.get("/film.mp4").is(200, b"film");
    assert_eq!(server.stop().code, Some(0));
    assert!(path.exists(), "the socket belongs to the manager, and stays");
}

#[test]
fn a_server_that_is_passed_nothing_says_so() {
    let folder = Folder::new();
    let elsewhere = std::process::id().to_string();
    for pid in [None, Some(elsewhere.as_str())] {
        let mut command = multiclient();
        command.arg(folder.path()).arg("systemd:").env("LISTEN_FDS", "1");
        if let Some(pid) = pid {
            command.env("LISTEN_PID", pid);
        }
        let output = run_within(PATIENCE, &mut command);
        assert_eq!(output.status.code(), Some(1));
        assert!(
            said(&output).starts_with("error: systemd has passed no sockets\n  start the socket unit"),
            "{output:?}"
        );
    }
}

#[test]
fn the_units_are_valid_and_hardened() {
    let Some(mut analyze) = program("systemd-analyze") else { return };
    let folder = Folder::new();
    let unit = fs::read_to_string(shipped("multiclient.service")).expect("it is shipped");
    // Where the program is here.
    let unit = unit.replace("/usr/local/bin/multiclient", env!("CARGO_BIN_EXE_multiclient"));
    let service = folder.file("multiclient.service", unit);
    let socket = folder.at("multiclient.socket");
    fs::copy(shipped("multiclient.socket"), &socket).expect("it is shipped");

    let verified = run_within(PATIENCE, analyze.arg("verify").args([&service, &socket]));
    let complaints: Vec<_> = String::from_utf8_lossy(&verified.stderr)
        .lines()
        .filter(|line| line.contains("multiclient."))
        .map(str::to_owned)
        .collect();
    assert!(verified.status.success() && complaints.is_empty(), "{complaints:?} {}", said(&verified));

    // Of 100, where 0 is a program that can do nothing at all.
    let mut analyze = program("systemd-analyze").expect("it was there a moment ago");
    analyze.args(["security", "--no-pager", "--offline=true", "--threshold=10"]).arg(&service);
    let judged = run_within(PATIENCE, &mut analyze);
    assert!(judged.status.success(), "{}", said(&judged));
}

/// The flags of a command line in a shipped file are flags of this program, and it starts with them.
#[test]
fn the_server_starts_with_the_flags_that_its_unit_has() {
    let folder = Folder::new();
    let unit = fs::read_to_string(shipped("multiclient.service")).expect("it is shipped");
    let line =
        unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/multiclient ")).expect("it runs");
    let mut words = line.split(' ');
    assert_eq!((words.next(), words.next()), (Some("/srv/media"), Some("systemd:")));
    let flags: Vec<_> = words.collect();
    assert!(flags.contains(&"--drain"), "{flags:?}");
    assert_eq!(Server::start(folder.path(), &flags).stop().code, Some(0));
}

// ---- behind a proxy

/// A program that runs until it is dropped.
struct Background(Child);

impl Drop for Background {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn two_servers_behind_haproxy_are_restarted_in_turn_and_no_request_fails() {
    const ROUNDS: usize = 3;
    const CLIENTS: usize = 8;
    const BUSY: usize = 40;
    let Some(mut haproxy) = program("haproxy") else { return };
    let folder = Folder::new();
    let film = noise(1, 300_000);
    folder.file("root/film.mp4", &film);
    let start = |url: &str| Server::start_at(folder.at("root"), url, &["--per-ip", "0"]);
    let mut servers = vec![start("0"), start("0")];
    let addresses: Vec<_> = servers.iter().map(|server| server.address().to_string()).collect();

    let front = folder.at("front.sock");
    haproxy.args(["-db", "-f"]).arg(shipped("haproxy.cfg")).env("FRONT", format!("unix@{}", text(&front)));
    haproxy.env("ONE", &addresses[0]).env("TWO", &addresses[1]);
    let process = haproxy.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
    let _haproxy = Background(process.expect("an installed program can be run"));
    let heard = || UnixStream::connect(&front).is_ok();
    eventually("the proxy listens", heard);

    // A server that has only just come is known to the proxy when clients are sent to it.
    let serves_more = |server: &Server, count: usize| {
        let served = || server.log().iter().filter(|line| line.contains(" GET /film.mp4 200 ")).count();
        let before = served();
        eventually("the proxy sends clients to a server", || served() >= before + count);
    };
    let over = AtomicBool::new(false);
    let (requests, connections) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        // Ends the clients also where this fails, or nobody would.
        struct Over<'a>(&'a AtomicBool);
        impl Drop for Over<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let _over = Over(&over);
        for client in 0..CLIENTS {
            let (over, requests, connections, film, front) = (&over, &requests, &connections, &film, &front);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let mut connection = Connection::to_unix(front);
                    connections.fetch_add(1, Ordering::Relaxed);
                    // Some come for one request, some stay for many.
                    for _ in 0..=10 * client {
                        let reply = connection.get("/film.mp4");
                        reply.is(200, film);
                        requests.fetch_add(1, Ordering::Relaxed);
                        if reply.closes() || over.load(Ordering::Relaxed) {
                            break;
                        }
                    }
                }
            });
        }
        for _ in 0..ROUNDS {
            for (at, address) in addresses.iter().enumerate() {
                servers.iter().for_each(|server| serves_more(server, BUSY));
                let stopped = servers.remove(at).stop();
                assert_eq!(stopped.code, Some(0), "nobody was cut off: {}", stopped.summary());
                // For so long there is nobody at this address.
                servers.iter().for_each(|server| serves_more(server, BUSY));
                servers.insert(at, start(address));
            }
        }
        servers.iter().for_each(|server| serves_more(server, BUSY));
    });
    let (requests, connections) = (requests.into_inner(), connections.into_inner());
    assert!(requests > 6 * ROUNDS * BUSY, "{requests} requests on {connections} connections");
}

// ---- in a container

/// The root of a container, as the image has it.
fn root_of_a_container(folder: &Folder) {
    let mut gather = Command::new("sh");
    gather.arg(shipped("rootfs.sh")).arg(env!("CARGO_BIN_EXE_multiclient")).arg(folder.at("bundle/rootfs"));
    let gathered = run_within(PATIENCE, &mut gather);
    assert!(gathered.status.success(), "{}", said(&gathered));
}

/// What the runtime is told: nobody's user, no capabilities, a root that cannot be written, nothing mounted but
/// what is served, and this machine's loopback.
fn container(folder: &Folder, arguments: &[&str]) -> String {
    let arguments: Vec<_> = arguments.iter().map(|argument| format!("{argument:?}")).collect();
    format!(
        r#"{{
            "ociVersion": "1.0.2",
            "process": {{
                "user": {{ "uid": 65534, "gid": 65534 }}, "cwd": "/", "noNewPrivileges": true,
                "args": ["/multiclient", {arguments}],
                "capabilities": {{ "bounding": [], "effective": [], "permitted": [], "inheritable": [], "ambient": [] }},
                "rlimits": [{{ "type": "RLIMIT_NOFILE", "hard": 4096, "soft": 1024 }}]
            }},
            "root": {{ "path": "rootfs", "readonly": true }},
            "mounts": [
                {{ "destination": "/proc", "type": "proc", "source": "proc" }},
                {{ "destination": "/srv", "type": "bind", "source": {served:?}, "options": ["rbind", "ro", "nosuid", "nodev"] }}
            ],
            "linux": {{ "namespaces": [
                {{ "type": "pid" }}, {{ "type": "mount" }}, {{ "type": "ipc" }}, {{ "type": "uts" }}
            ] }}
        }}"#,
        arguments = arguments.join(", "),
        served = folder.at("served"),
    )
}

#[test]
fn in_a_container_it_serves_as_nobody_from_a_root_that_cannot_be_written() {
    let folder = Folder::new();
    let film = noise(5, 1_000_000);
    folder.file("served/film.mp4", &film);
    root_of_a_container(&folder);
    let name = format!("multiclient-test-{}", std::process::id());
    let run = |runtime: &str| {
        let mut command = program(runtime)?;
        command.arg("--root").arg(folder.at(&format!("state-of-{runtime}"))).current_dir(folder.at("bundle"));
        Some(command)
    };
    // Whether containers can be made here at all: not everybody may.
    fs::write(folder.at("bundle/config.json"), container(&folder, &["--version"])).expect("a file can be written");
    let works = |runtime: &&str| {
        run(runtime).is_some_and(|mut command| {
            let tried = run_within(PATIENCE, command.args(["run", &name]));
            let works = tried.status.success() && tried.stdout.starts_with(b"multiclient ");
            if !works {
                skipped(&format!("{runtime} cannot run a container here: {}", said(&tried).trim()));
            }
            works
        })
    };
    let Some(runtime) = ["runc", "crun"].into_iter().find(works) else { return };

    fs::write(folder.at("bundle/config.json"), container(&folder, &["/srv", "0", "--drain", "5s"])).expect("as before");
    let mut command = run(runtime).expect("it was there a moment ago");
    command.args(["run", &name]).stdin(Stdio::null()).stdout(Stdio::null());
    let server = Server::run(command);
    server.get("/film.mp4").is(200, &film);
    assert_eq!(server.get("/nothing").status(), 404);

    let inside = |arguments: &[&str]| {
        let mut command = run(runtime).expect("it was there a moment ago");
        run_within(PATIENCE, command.args(["exec", &name, "/multiclient"]).args(arguments))
    };
    let health = inside(&["health", &server.address().to_string()]);
    assert_eq!(health.status.code(), Some(0), "{}", said(&health));
    let health = inside(&["health", "127.0.0.1:1"]);
    assert_eq!(health.status.code(), Some(1), "{}", said(&health));
    let capsules = inside(&["/srv", "0", "--capsules", "/capsules"]);
    assert!(said(&capsules).contains("Read-only file system"), "{}", said(&capsules));
    // As who, and with what, the kernel says.
    let listed = run(runtime).map(|mut command| run_within(PATIENCE, command.args(["ps", "--format", "json", &name])));
    let pids = String::from_utf8_lossy(&listed.expect("it was there a moment ago").stdout).into_owned();
    let pid = pids.trim_matches(|c: char| !c.is_ascii_digit()).split(',').next().unwrap_or_default().to_owned();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    for line in ["Uid:\t65534\t65534\t65534\t65534", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1"] {
        assert!(status.contains(line), "{line} is not in\n{status}");
    }
    let stopped = server.stop();
    assert_eq!((stopped.code, stopped.summary().contains("0 cut off")), (Some(0), true), "{:?}", stopped.lines);
}

#[test]
fn the_server_starts_with_the_flags_that_its_manifest_has() {
    let folder = Folder::new();
    let manifest = fs::read_to_string(shipped("kubernetes.yaml")).expect("it is shipped");
    let arguments: Vec<_> = manifest
        .lines()
        .skip_while(|line| line.trim() != "args:")
        .skip(1)
        .map(str::trim)
        .take_while(|line| line.starts_with(['-', '#']))
        .filter_map(|line| line.strip_prefix("- "))
        .collect();
    assert_eq!(arguments[..2], ["/srv", ":8080"]);
    let mut command = multiclient();
    command.arg(folder.path()).arg("0").args(&arguments[2..]).stdout(Stdio::null());
    assert_eq!(Server::run(command).stop().code, Some(0));
}

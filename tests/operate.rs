//! The program as its operator sees it: signals, terminals, users, files and limits of the system.
//!
//! Rule: nothing waits for ever. What is waited for is a condition that is looked at until [`PATIENCE`] is over.

use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// How long anything may take that should happen at once. Only a test that fails waits so long.
const PATIENCE: Duration = Duration::from_secs(30);

const PROGRAM: &str = env!("CARGO_BIN_EXE_multiclient");

fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// A command without the settings that the person who tests may have in the environment.
fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("MULTICLIENT_")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

/// A shell that runs a script; `$PROGRAM` is the program.
fn shell(script: &str) -> Command {
    let mut shell = command("sh");
    shell.args(["-c", script]).env("PROGRAM", PROGRAM);
    shell
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Whether a program is installed. Where it is not, the test says so, or fails where all are required.
fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let has = std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    if !has {
        skip(&format!("{program} is not installed"));
    }
    has
}

fn skip(why: &str) {
    let required = std::env::var("MULTICLIENT_TESTS_REQUIRE").is_ok_and(|value| value == "all");
    assert!(!required, "{why}");
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

/// A folder with a film in it, and a place for a unix socket.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let place = Self { folder };
        fs::write(place.film(), "film").expect("a file can be made");
        // Others than its owner are to see the film, too.
        fs::set_permissions(place.folder.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
        place
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn film(&self) -> PathBuf {
        self.at("film.mp4")
    }

    fn socket(&self) -> PathBuf {
        self.at("one.sock")
    }

    /// `unix:PATH`, and options.
    fn url(&self, options: &str) -> String {
        format!("unix:{}{options}", self.socket().display())
    }

    /// Serves the film on the unix socket, and waits until there is a response. A socket that is listened on is
    /// not enough: files that a server makes come after it.
    fn serve(&self, mut command: Command) -> Process {
        let child = command.spawn().expect("it can be run");
        let process = Process(child);
        eventually("it serves", || {
            UnixStream::connect(self.socket()).is_ok_and(|stream| !get(stream, "/nothing").is_empty())
        });
        process
    }

    /// The program, serving the film on the unix socket.
    fn program(&self) -> Command {
        let mut program = command(PROGRAM);
        program.arg(self.film()).arg(self.url("")).stdout(Stdio::null()).stderr(Stdio::null());
        program
    }

    /// The same from a shell, which does something before.
    fn shell(&self, script: &str) -> Command {
        let mut shell = shell(script);
        shell.env("FILM", self.film()).env("URL", self.url(""));
        shell.stdout(Stdio::null()).stderr(Stdio::null());
        shell
    }

    fn is_served(&self) -> bool {
        UnixStream::connect(self.socket()).is_ok_and(|stream| get(stream, "/film.mp4").ends_with("\r\n\r\nfilm"))
    }

    fn is_gone(&self) -> bool {
        UnixStream::connect(self.socket()).is_err()
    }
}

/// The response to a `GET`.
fn get(mut stream: impl Read + Write, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let mut response = String::new();
    // What fails is seen by what came.
    let _ = stream.write_all(request.as_bytes()).and_then(|()| stream.read_to_string(&mut response).map(|_| ()));
    response
}

/// A process that is killed when it is dropped.
struct Process(Child);

impl Process {
    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).expect("it runs");
    }

    fn exit_code(&mut self) -> Option<i32> {
        let mut status = None;
        eventually("it ends", || {
            status = self.0.try_wait().expect("it is ours");
            status.is_some()
        });
        status.and_then(|status| status.code())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

// ---- what it prints

#[test]
fn an_answer_that_cannot_be_written_is_exit_1() {
    for arguments in
        ["--help", "-h", "--version", "inspect", "export-guest --output -", "man", "completions bash", "isolate -h"]
    {
        let output = shell(&format!("exec \"$PROGRAM\" {arguments} > /dev/full")).output().expect("it can be run");
        assert_eq!(output.status.code(), Some(1), "{arguments}");
        let said = stderr(&output);
        assert!(said.starts_with("error: cannot write to standard output: "), "{arguments}: {said}");
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_told_nothing() {
    let output = shell("\"$PROGRAM\" man | head -n 1").output().expect("it can be run");
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
}

#[test]
fn the_guest_that_is_exported_is_the_same_in_a_file_and_on_standard_output() {
    let place = Place::new();
    let path = place.at("guest.wasm");
    let written = command(PROGRAM).args(["export-guest", "--output"]).arg(&path).output().expect("it can be run");
    assert_eq!(written.status.code(), Some(0), "{}", stderr(&written));
    let printed = command(PROGRAM).args(["export-guest", "-o", "-"]).output().expect("it can be run");
    assert!(printed.stdout.starts_with(b"\0asm") && printed.stdout == fs::read(&path).expect("it is there"));
}

/// Runs a shell's script on the completions for it, which are in the file `$SCRIPT`.
fn completed(place: &Place, shell: &str, script: &str) -> Option<String> {
    if !has(shell) {
        return None;
    }
    let completions = command(PROGRAM).args(["completions", shell]).output().expect("it can be run");
    let path = place.at(shell);
    fs::write(&path, &completions.stdout).expect("a file can be made");
    let output = command(shell).args(["-c", script]).env("SCRIPT", path).output().expect("it can be run");
    assert!(output.status.success(), "{shell}: {}", stderr(&output));
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn the_shells_complete_commands_and_flags() {
    let place = Place::new();
    let bash = "
        source \"$SCRIPT\"
        complete_words() { COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1))
            _multiclient multiclient \"${@: -1}\" \"${@: -2:1}\"; echo \"${COMPREPLY[@]}\"; }
        complete_words multiclient isol
        complete_words multiclient film.mp4 --max-c
        complete_words multiclient film.mp4 --log j";
    if let Some(said) = completed(&place, "bash", bash) {
        assert_eq!(said, "isolate\n--max-clients\njson\n");
    }
    let fish = "
        source $SCRIPT
        for line in 'isol' 'film.mp4 --max-c' 'film.mp4 --log j'
            complete -C \"multiclient $line\" | string split -f 1 \\t
        end";
    if let Some(said) = completed(&place, "fish", fish) {
        assert_eq!(said, "isolate\n--max-clients\njson\n");
    }
    let zsh = "
        autoload -U compinit && compinit -u -D && source $SCRIPT
        print $_comps[multiclient]; whence -w _multiclient";
    if let Some(said) = completed(&place, "zsh", zsh) {
        assert_eq!(said, "_multiclient\n_multiclient: function\n");
    }
}

#[test]
fn empty_variables_are_not_set() {
    let place = Place::new();
    let mut program = place.program();
    for name in ["RATE", "LIST", "MAX_CLIENTS", "LISTEN", "LOG", "GUEST", "CAPSULES", "USER", "CORS"] {
        program.env(format!("MULTICLIENT_{name}"), "");
    }
    let _server = place.serve(program);
    assert!(place.is_served());
}

// ---- how it is started

#[test]
fn it_starts_without_standard_streams() {
    let place = Place::new();
    let _server = place.serve(place.shell("exec \"$PROGRAM\" \"$FILM\" \"$URL\" <&- >&- 2>&-"));
    assert!(place.is_served());
}

#[test]
fn a_parent_that_blocks_signals_does_not_make_it_unstoppable() {
    let place = Place::new();
    let mut env = command("env");
    env.args(["--block-signal=TERM", "--block-signal=INT", PROGRAM]).arg(place.film()).arg(place.url(""));
    let mut server = place.serve(quietly(env));
    server.signal(Signal::TERM);
    assert_eq!(server.exit_code(), Some(0));
}

fn quietly(mut command: Command) -> Command {
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

#[test]
fn a_limit_on_the_size_of_files_does_not_stop_it() {
    let place = Place::new();
    let mut server = place.serve(place.shell("ulimit -f 0 && exec \"$PROGRAM\" \"$FILM\" \"$URL\" --log off"));
    assert!(place.is_served());
    server.signal(Signal::TERM);
    assert_eq!(server.exit_code(), Some(0));
}

#[test]
fn with_little_address_space_it_serves_fewer_clients_and_says_so() {
    let place = Place::new();
    let script = "ulimit -v 4000000 && exec \"$PROGRAM\" \"$FILM\" \"$URL\"";
    let mut shell = place.shell(script);
    shell.stderr(fs::File::create(place.at("said")).expect("a file can be made"));
    let _server = place.serve(shell);
    assert!(place.is_served());
    let said = fs::read_to_string(place.at("said")).expect("it is there");
    assert!(said.contains(" clients at once instead of 1000: the process may not have more address space"), "{said}");
}

#[test]
fn with_little_address_space_there_is_still_room_for_another_guest() {
    let place = Place::new();
    let guest = place.at("guest.wasm");
    let exported = command(PROGRAM).args(["export-guest", "--output"]).arg(&guest).status().expect("it can be run");
    assert!(exported.success());
    let mut shell = place.shell("ulimit -v 8000000 && exec \"$PROGRAM\" \"$FILM\" \"$URL\" --guest \"$GUEST\"");
    shell.env("GUEST", guest).stderr(fs::File::create(place.at("said")).expect("a file can be made"));
    let server = place.serve(shell);
    assert!(place.is_served());
    server.signal(Signal::HUP);
    let said = || fs::read_to_string(place.at("said")).expect("it is there");
    eventually("the guest is loaded again", || said().contains("for new clients from now on"));
    assert!(said().contains(" clients at once instead of 1000: "), "{}", said());
    assert!(place.is_served());
}

#[test]
fn with_too_little_address_space_it_says_what_to_do() {
    let place = Place::new();
    let mut shell = place.shell("ulimit -v 300000 && exec \"$PROGRAM\" \"$FILM\" \"$URL\"");
    let output = shell.stderr(Stdio::piped()).output().expect("it can be run");
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.starts_with("error: cannot start the sandbox") && said.contains("`ulimit -v unlimited`"), "{said}");
}

// ---- where it listens

#[test]
fn a_unix_socket_has_the_mode_that_is_asked_for() {
    let place = Place::new();
    let mut program = command(PROGRAM);
    program.arg(place.film()).arg(place.url(",mode=600"));
    let _server = place.serve(quietly(program));
    let metadata = fs::metadata(place.socket()).expect("it is there");
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
}

/// The addresses that a server says it is open under. It serves until it is dropped.
fn opened(place: &Place, url: &str, flags: &[&str]) -> (Process, Vec<SocketAddr>, String) {
    let said = place.at("said");
    let mut program = command(PROGRAM);
    program.arg(place.film()).arg(url).args(flags).stdout(Stdio::null());
    program.stderr(fs::File::create(&said).expect("a file can be made"));
    let server = Process(program.spawn().expect("it can be run"));
    let read = || fs::read_to_string(&said).expect("it is there");
    eventually("it is ready", || read().lines().any(|line| line.starts_with("ready ")));
    let text = read();
    let urls = text.lines().filter_map(|line| line.strip_prefix("open     http://"));
    let addresses = urls.filter_map(|url| url.split('/').next()?.parse().ok()).collect();
    (server, addresses, text)
}

#[test]
fn any_port_of_localhost_is_the_same_on_all_its_addresses() {
    let place = Place::new();
    let (_server, addresses, said) = opened(&place, "localhost:0", &[]);
    let port = addresses[0].port();
    assert!(port != 0 && addresses.iter().all(|address| address.port() == port), "{said}");
    for address in addresses {
        let stream = std::net::TcpStream::connect(address).expect("it listens");
        assert!(get(stream, "/film.mp4").ends_with("film"), "{address}");
    }
}

#[test]
fn all_addresses_are_told_one_by_one() {
    let place = Place::new();
    let (_server, addresses, said) = opened(&place, ":0", &["--qr"]);
    assert!(addresses[0].ip().is_loopback(), "{said}");
    assert!(addresses.iter().all(|address| !address.ip().is_unspecified()), "{said}");
    // A machine without a network has nobody to show a code to.
    let has_code = said.contains('\u{2588}');
    assert!(has_code == (addresses.len() > 1) && (has_code || said.contains("no QR code")), "{said}");
}

// ---- while it runs

#[test]
fn the_log_is_opened_again_for_rotation() {
    let place = Place::new();
    let (log, old) = (place.at("log"), place.at("log.1"));
    let mut program = place.program();
    program.arg("--log-file").arg(&log);
    let server = place.serve(program);
    let lines = |path: &Path| fs::read_to_string(path).unwrap_or_default().matches("GET /film.mp4 200").count();
    for signal in [Signal::USR1, Signal::HUP] {
        assert!(place.is_served());
        eventually("the request is logged", || lines(&log) == 1);
        fs::rename(&log, &old).expect("it is there");
        server.signal(signal);
        eventually("the log is opened again", || log.exists());
        assert_eq!(lines(&old), 1, "{signal:?}");
    }
}

#[test]
fn the_pid_file_is_there_while_it_runs() {
    let place = Place::new();
    let path = place.at("pid");
    let mut program = place.program();
    program.arg("--pid-file").arg(&path);
    let mut server = place.serve(program);
    let written = fs::read_to_string(&path).expect("it is there");
    assert_eq!(written, format!("{}\n", server.0.id()));
    server.signal(Signal::TERM);
    assert_eq!(server.exit_code(), Some(0));
    assert!(!path.exists());
}

#[test]
fn it_gives_up_root_once_it_listens() {
    let place = Place::new();
    if !rustix::process::geteuid().is_root() {
        return skip("--user: only root can become another user");
    }
    let log = place.at("log");
    let mut program = place.program();
    program.args(["--user", "nobody", "--log-file"]).arg(&log);
    let server = place.serve(program);
    assert!(place.is_served());
    let status = fs::read_to_string(format!("/proc/{}/status", server.0.id())).expect("it runs");
    let ids = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("the kernel tells it");
        line.split_whitespace().map(|id| id.parse::<u32>().expect("it is a number")).collect::<Vec<_>>()
    };
    let nobody = fs::metadata(&log).expect("it is there").uid();
    assert!(nobody != 0 && ids("Uid:") == [nobody; 4], "{status}");
    assert!(!ids("Gid:").contains(&0) && !ids("Groups:").contains(&0), "{status}");
    let capabilities = status.lines().find_map(|line| line.strip_prefix("CapEff:")).expect("the kernel tells it");
    assert_eq!(capabilities.trim().trim_start_matches('0'), "", "{status}");
}

#[test]
fn somebody_who_is_not_root_is_told_that_only_root_can_change_the_user() {
    let place = Place::new();
    if !rustix::process::geteuid().is_root() || !has("setpriv") {
        return skip("--user: the test needs root to be somebody else");
    }
    fs::set_permissions(place.folder.path(), fs::Permissions::from_mode(0o777)).expect("it is ours");
    let mut setpriv = command("setpriv");
    setpriv.args(["--reuid=65534", "--regid=65534", "--clear-groups", PROGRAM]).arg(place.film());
    let output = setpriv.args(["0", "--user", "root"]).output().expect("it can be run");
    if stderr(&output).starts_with("setpriv: failed to execute") {
        return skip("--user: others may not run the program where it was built");
    }
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).starts_with("error: cannot run as root: "), "{}", stderr(&output));
}

// ---- terminals

/// Runs the program on a terminal of its own, from a shell that does something before, and returns the process
/// that is the terminal's other end.
fn on_a_terminal(place: &Place, script: &str) -> Process {
    let mut script_command = command("script");
    script_command.args(["-q", "-e", "-c", script, "/dev/null"]);
    script_command.env("PROGRAM", PROGRAM).env("FILM", place.film()).env("URL", place.url(""));
    script_command.env("PIDFILE", place.at("pid")).env("LOG", place.at("log"));
    // `script` copies what it reads to the terminal, and ends at its end.
    let mut script_command = quietly(script_command);
    script_command.stdin(Stdio::piped());
    place.serve(script_command)
}

#[test]
fn it_ends_with_its_terminal() {
    if !has("script") {
        return;
    }
    let place = Place::new();
    let mut terminal = on_a_terminal(&place, "exec \"$PROGRAM\" \"$FILM\" \"$URL\"");
    assert!(place.is_served());
    terminal.0.kill().expect("it runs");
    eventually("the server ends", || place.is_gone());
}

#[test]
fn sighup_on_a_terminal_that_is_there_is_a_reload() {
    if !has("script") {
        return;
    }
    let place = Place::new();
    let script = "exec \"$PROGRAM\" \"$FILM\" \"$URL\" --pid-file \"$PIDFILE\" --log-file \"$LOG\"";
    let _terminal = on_a_terminal(&place, script);
    hang_up_and_wait_for_a_reload(&place);
    assert!(place.is_served());
}

#[test]
fn nohup_keeps_it_running_without_its_terminal() {
    if !has("script") || !has("nohup") {
        return;
    }
    let place = Place::new();
    let script =
        "exec nohup \"$PROGRAM\" \"$FILM\" \"$URL\" --pid-file \"$PIDFILE\" --log-file \"$LOG\" > /dev/null 2>&1";
    let mut terminal = on_a_terminal(&place, script);
    terminal.0.kill().expect("it runs");
    hang_up_and_wait_for_a_reload(&place);
    assert!(place.is_served());
    kill_process(pid_of_the_server(&place), Signal::TERM).expect("it runs");
    eventually("the server ends", || place.is_gone());
}

fn pid_of_the_server(place: &Place) -> Pid {
    let pid = fs::read_to_string(place.at("pid")).expect("it is there");
    pid.trim().parse().ok().and_then(Pid::from_raw).expect("it is a process")
}

/// Sends SIGHUP to the server. A reload opens the log again.
fn hang_up_and_wait_for_a_reload(place: &Place) {
    fs::remove_file(place.at("log")).expect("it is there");
    kill_process(pid_of_the_server(place), Signal::HUP).expect("it runs");
    eventually("the log is opened again", || place.at("log").exists());
}

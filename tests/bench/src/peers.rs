//! The servers that are compared.
//!
//! Rule: everybody is set up as a careful operator would, or the label says what was left as it comes.

use std::path::{Path, PathBuf};

use crate::load::Ends;

/// Somebody who takes part.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) name: String,
    /// What it is, for the table's legend.
    pub(crate) label: String,
    /// The command, and a file that it wants, both with `{root}`, `{name}` (of a file in it), `{file}` (both together),
    /// `{port}`, `{work}` and `{config}` to be filled in.
    pub(crate) command: Vec<String>,
    pub(crate) config: Option<&'static str>,
    pub(crate) log: LogIs,
    pub(crate) ends: Ends,
    /// Whether it takes a thousand clients and more, keeps connections, and knows ranges. What it does
    /// not it is not asked for.
    pub(crate) able: bool,
}

/// Whether a peer writes a line for each exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogIs {
    Off,
    On,
}

const NGINX: &str = "daemon off; worker_processes 1; worker_rlimit_nofile 60000;
pid {work}/nginx.pid; error_log {work}/error.log emerg;
events { worker_connections 16384; }
http {
  {log}; sendfile on; tcp_nopush off; keepalive_requests 1000000;
  client_body_temp_path {work}/a; proxy_temp_path {work}/b; fastcgi_temp_path {work}/c;
  uwsgi_temp_path {work}/d; scgi_temp_path {work}/e;
  server { listen 127.0.0.1:{port} backlog=4096; root {root}; }
}
";

/// As somebody sets it up who serves files that rarely change: no accept before there is a request, and open files kept.
const NGINX_TUNED: &str = "daemon off; worker_processes 1; worker_rlimit_nofile 60000;
pid {work}/nginx.pid; error_log {work}/error.log emerg;
events { worker_connections 16384; multi_accept on; }
http {
  {log}; sendfile on; tcp_nopush off; keepalive_requests 1000000; reset_timedout_connection on;
  open_file_cache max=1000 inactive=60s; open_file_cache_valid 30s;
  client_body_temp_path {work}/a; proxy_temp_path {work}/b; fastcgi_temp_path {work}/c;
  uwsgi_temp_path {work}/d; scgi_temp_path {work}/e;
  server { listen 127.0.0.1:{port} backlog=4096 deferred; root {root}; }
}
";

const LIGHTTPD: &str = r#"{log}
server.document-root = "{root}"
server.bind = "127.0.0.1"
server.port = {port}
server.errorlog = "{work}/error.log"
server.max-fds = 60000
server.max-connections = 20000
server.listen-backlog = 4096
server.max-keep-alive-requests = 1000000
server.network-backend = "sendfile"
server.upload-dirs = ( "{work}" )
"#;

const APACHE: &str = r"ServerName localhost
PidFile {work}/httpd.pid
DefaultRuntimeDir {work}
Listen 127.0.0.1:{port}
ListenBacklog 4096
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
StartServers 2
ServerLimit 128
ThreadsPerChild 64
MaxRequestWorkers 8192
AsyncRequestWorkerFactor 16
MaxConnectionsPerChild 0
KeepAlive On
MaxKeepAliveRequests 0
KeepAliveTimeout 60
EnableSendfile On
LogLevel emerg
ErrorLog {work}/error.log
DocumentRoot {root}
<Directory {root}>
Require all granted
</Directory>
";

/// Everybody who is installed, and who is not. Ours comes first.
pub(crate) fn everybody(ours: &Path) -> (Vec<Peer>, Vec<String>) {
    let format = |log| if log == LogIs::On { "text" } else { "off" };
    let us = |name, label, log| {
        let line = "{root} http://127.0.0.1:{port} --max-clients 20000 --max-exchanges 1000000 --log";
        let words = words(line).chain([format(log).to_owned()]);
        Peer::new(name, label, ours, words).with_log(log)
    };
    let mut there = vec![
        us("ours", "multiclient, a loop for each core, `--log off`", LogIs::Off),
        us("ours, log", "the same with `--log text`, to a file", LogIs::On),
    ];
    let mut missing = Vec::new();
    for Installed { program, name, label, line, config, log } in INSTALLED {
        match find(program) {
            Some(path) => there.push(Peer { config, ..Peer::new(name, label, &path, words(line)).with_log(log) }),
            None if log == LogIs::Off => missing.push(format!("{name} ({program})")),
            None => {}
        }
    }
    match find("http_multiclient") {
        Some(path) => {
            let label = "its example `http_multiclient`, a process for each client";
            // It serves a file under the name by which it opens it.
            let script = "cd \"$1\" && exec \"$0\" \"$2\" \"$3\"".to_owned();
            let line = ["-c".to_owned(), script, path.display().to_string()].into_iter();
            let line = line.chain(words("{root} {name} http://127.0.0.1:{port}"));
            there.push(Peer::new("FFmpeg", label, Path::new("sh"), line).for_few(Ends::AtFirstByte));
        }
        None => missing.push("FFmpeg (its example http_multiclient)".into()),
    }
    match find("multiclient-fork") {
        Some(path) => {
            let label = "`peers/fork.c`: C, a process for each client, closes after each response";
            there.push(Peer::new("fork", label, &path, words("{root} {port}")).for_few(Ends::Whole));
        }
        None => missing.push("fork (peers/fork.c)".into()),
    }
    (there, missing)
}

/// Somebody who has to be installed.
struct Installed {
    program: &'static str,
    name: &'static str,
    label: &'static str,
    line: &'static str,
    config: Option<&'static str>,
    log: LogIs,
}

const INSTALLED: [Installed; 6] = [
    Installed {
        program: "nginx",
        name: "nginx",
        label: "one worker, `sendfile on`, `access_log off`",
        line: NGINX_LINE,
        config: Some(NGINX),
        log: LogIs::Off,
    },
    Installed {
        program: "nginx",
        name: "nginx, log",
        label: "the same with an access log, to a file",
        line: NGINX_LINE,
        config: Some(NGINX),
        log: LogIs::On,
    },
    Installed {
        program: "nginx",
        name: "nginx, tuned",
        label: "the same without a log, with `deferred`, `multi_accept` and `open_file_cache`",
        line: NGINX_LINE,
        config: Some(NGINX_TUNED),
        log: LogIs::Off,
    },
    Installed {
        program: "lighttpd",
        name: "lighttpd",
        label: "one process, `sendfile`, no access log",
        line: "-D -f {config}",
        config: Some(LIGHTTPD),
        log: LogIs::Off,
    },
    Installed {
        program: "apache2",
        name: "Apache",
        label: "event MPM, `EnableSendfile On`, no access log",
        line: "-d {work} -f {config} -DFOREGROUND",
        config: Some(APACHE),
        log: LogIs::Off,
    },
    Installed {
        program: "multiclient-native",
        name: "no sandbox",
        label: "`src/bin/native.rs`: our HTTP code as native code, one thread, no limits",
        line: "{root} {port}",
        config: None,
        log: LogIs::Off,
    },
];

const NGINX_LINE: &str = "-p {work} -c {config} -e {work}/error.log";

impl Peer {
    /// What the user names.
    pub(crate) fn of(name: &str, command: &str) -> Self {
        let mut words = command.split_whitespace().map(str::to_owned);
        let program = words.next().unwrap_or_default();
        Self::new(name, &format!("`{command}`"), Path::new(&program), words)
    }

    fn new(name: &str, label: &str, program: &Path, words: impl Iterator<Item = String>) -> Self {
        Self {
            name: name.into(),
            label: label.into(),
            command: [program.display().to_string()].into_iter().chain(words).collect(),
            config: None,
            log: LogIs::Off,
            ends: Ends::Whole,
            able: true,
        }
    }

    fn with_log(self, log: LogIs) -> Self {
        Self { log, ..self }
    }

    /// It closes after each response, and has a process for each client: no ranges, and not thousands.
    fn for_few(self, ends: Ends) -> Self {
        Self { ends, able: false, ..self }
    }
}

fn words(line: &str) -> impl Iterator<Item = String> {
    line.split(' ').map(str::to_owned)
}

/// A program by its name.
fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Ours are beside this program; others are often where only the administrator's shell looks.
    let beside = std::env::current_exe().ok().and_then(|program| Some(program.parent()?.to_owned()));
    let mut folders: Vec<_> = std::env::split_paths(&path).chain(beside).collect();
    folders.extend(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from));
    folders.into_iter().map(|folder| folder.join(name)).find(|path| path.is_file())
}

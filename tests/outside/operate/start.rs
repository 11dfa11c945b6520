//! How the server is started, and where it listens.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::process::Stdio;

use rustix::process::Signal;
use support::{Connection, eventually, multiclient, program_under_test, without_settings};

use super::{Place, Process, silent, stderr};

#[test]
fn the_server_starts_without_standard_streams() {
    let place = Place::new();
    let _server = place.serve(place.shell("exec \"$PROGRAM\" \"$FILM\" \"$URL\" <&- >&- 2>&-"));
    assert!(place.is_served());
}

#[test]
fn a_parent_that_blocks_signals_does_not_make_the_server_unstoppable() {
    let place = Place::new();
    let mut env = without_settings("env");
    env.args(["--block-signal=TERM", "--block-signal=INT"])
        .arg(program_under_test())
        .arg(place.film())
        .arg(place.url(""));
    let mut server = place.serve(silent(env));
    server.signal(Signal::TERM);
    assert_eq!(server.exit_code(), Some(0));
}

#[test]
fn a_limit_on_the_size_of_files_does_not_stop_the_server() {
    let place = Place::new();
    let mut server = place.serve(place.shell("ulimit -f 0 && exec \"$PROGRAM\" \"$FILM\" \"$URL\" --log off"));
    assert!(place.is_served());
    server.signal(Signal::TERM);
    assert_eq!(server.exit_code(), Some(0));
}

#[test]
fn a_lack_of_address_space_is_reported_with_the_number_of_clients() {
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
fn little_address_space_leaves_room_for_another_guest() {
    let place = Place::new();
    let guest = place.at("guest.wasm");
    let exported = multiclient().args(["export-guest", "--output"]).arg(&guest).status().expect("it can be run");
    assert!(exported.success());
    let mut shell =
        place.shell("ulimit -v 8000000 && exec \"$PROGRAM\" \"$FILM\" \"$URL\" --walls auto --guest \"$GUEST\"");
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
fn too_little_address_space_is_an_error_with_advice() {
    let place = Place::new();
    for limit in ["ulimit -v", "ulimit -d"] {
        let mut shell = place.shell(&format!("{limit} 200000 && exec \"$PROGRAM\" \"$FILM\" \"$URL\""));
        let output = shell.stderr(Stdio::piped()).output().expect("it can be run");
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.starts_with("error: cannot start the sandbox") && said.contains(limit), "{said}");
    }
}

#[test]
fn what_is_set_aside_for_clients_is_no_data() {
    let place = Place::new();
    let mut shell = place.shell("ulimit -d 1000000 && exec \"$PROGRAM\" \"$FILM\" \"$URL\"");
    shell.stderr(fs::File::create(place.at("said")).expect("a file can be made"));
    let _server = place.serve(shell);
    assert!(place.is_served());
    let said = fs::read_to_string(place.at("said")).expect("it is there");
    assert!(!said.contains(" clients at once instead of "), "{said}");
}

// ---- where it listens

#[test]
fn a_unix_socket_has_the_given_mode() {
    let place = Place::new();
    let mut program = multiclient();
    program.arg(place.film()).arg(place.url(",mode=600"));
    let _server = place.serve(silent(program));
    let metadata = fs::metadata(place.socket()).expect("it is there");
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
}

/// The addresses that a server says it is open under. It serves until it is dropped.
fn opened(place: &Place, url: &str, flags: &[&str]) -> (Process, Vec<SocketAddr>, String) {
    let said = place.at("said");
    let mut program = multiclient();
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
        Connection::to(address).get("/film.mp4").is(200, b"film");
    }
}

#[test]
fn each_address_of_this_machine_is_printed() {
    let place = Place::new();
    let (_server, addresses, said) = opened(&place, ":0", &["--qr"]);
    assert!(addresses[0].ip().is_loopback(), "{said}");
    assert!(addresses.iter().all(|address| !address.ip().is_unspecified()), "{said}");
    // A machine without a network has nobody to show a code to.
    let has_code = said.contains('\u{2588}');
    assert!(has_code == (addresses.len() > 1) && (has_code || said.contains("no QR code")), "{said}");
}

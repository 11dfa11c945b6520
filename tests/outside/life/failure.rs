//! Errors, help, and what the program says of itself.

use std::collections::BTreeSet;
use std::os::unix::net::UnixListener;
use std::process::Command;

use support::components::repository;
use support::{Folder, PATIENCE, run_within, text};

use super::{run, stderr};

// ---- when it cannot

#[test]
fn wrong_usage_is_exit_2_and_says_what_is_wrong() {
    let folder = Folder::new();
    let film = folder.file("film.mp4", "film");
    let film = text(&film);
    for (arguments, said) in [
        (&[][..], "SOURCE"),
        (&[film, "0", "surplus"], "surplus"),
        (&[film, "0", "--nonsense"], "--nonsense"),
        (&[film, "rtmp://127.0.0.1:0"], "unsupported scheme `rtmp`"),
        (&[film, "https://127.0.0.1:0"], "an `https://` address requires --cert FILE and --key FILE"),
        (&[film, "127.0.0.1"], "a port is missing"),
        (&[film, "http://127.0.0.1:x"], "x is not a port"),
        (&[film, "70000"], "70000"),
        (&[film, "0", "--header-timeout", "10"], "a time is a number and ms, s, m or h"),
        (&[film, "0", "--memory", "8X"], "a size is a number and K, M or G"),
        (&[film, "0", "--memory", "1"], "between 64K and 4G"),
        (&[film, "0", "--max-clients", "0"], "--max-clients"),
        (&[film, "0", "-H", "no colon"], "a header is a name, a colon and a value"),
        (&[film, "0", "-H", "X: a\r\nY: b"], "control characters"),
        (&[film, "0", "--type", "a\nb"], "a line of visible ASCII"),
        (&[film, "0", "--log", "loud"], "loud"),
        (&[text(folder.path()), "0", "--as", "/x"], "--as and --type are for a single file or stream"),
        (&["inspect", "--nonsense"], "--nonsense"),
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).starts_with("error: ") || arguments.is_empty(), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(said), "{arguments:?}: {}", stderr(&output));
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_missing_file_is_reported_with_a_similar_name() {
    let folder = Folder::new();
    folder.file("movie.mp4", "movie");
    let said = |name: &str| {
        let path = folder.at(name);
        let output = run(&[text(&path), "0"]);
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        stderr(&output).replace(&format!("{}/", text(folder.path())), "")
    };
    assert_eq!(said("movie.mpv"), "error: movie.mpv does not exist\n  did you mean movie.mp4?\n");
    assert_eq!(said("something else"), "error: something else does not exist\n");
    assert_eq!(said("no/such/folder/movie.mp4"), "error: no/such/folder/movie.mp4 does not exist\n");
}

#[test]
fn sources_and_addresses_that_cannot_be_used_are_reported() {
    let folder = Folder::new();
    let film = folder.file("film.mp4", "film");
    let _socket = UnixListener::bind(folder.at("socket")).expect("a socket can be made");
    for (arguments, said) in [
        ([text(&folder.at("socket")), "0"], "is neither a file nor a folder"),
        ([text(&film), "192.0.2.1:8080"], "192.0.2.1:8080 is not an address of this machine"),
        ([text(&film), "unix:/no/such/folder/one.sock"], "cannot listen on unix:/no/such/folder/one.sock"),
    ] {
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", stderr(&output));
        let said_it = stderr(&output).starts_with("error: ") && stderr(&output).contains(said);
        assert!(said_it && !stderr(&output).contains("panicked"), "{arguments:?}: {}", stderr(&output));
    }
}

// ---- what it says of itself

#[test]
fn what_is_built_in_imports_nothing() {
    let output = run(&["inspect"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let said = String::from_utf8(output.stdout).expect("it is text");
    let of = |word: &str| said.lines().filter_map(|line| line.strip_prefix(word)).map(str::trim).collect::<Vec<_>>();
    assert_eq!(of("imports"), ["nothing: it can compute, and do nothing else"; 2], "{said}");
    assert_eq!(of("exports"), ["multiclient:session/handler@0.1.0", "multiclient:index/marks@0.1.0"], "{said}");
    for component in ["guest", "index"] {
        let line = of(component).join("");
        let sha256 = line.rsplit(' ').next().unwrap_or_default();
        assert!(sha256.len() == 64 && sha256.bytes().all(|byte| byte.is_ascii_hexdigit()), "{said}");
    }
}

#[test]
fn the_parts_of_the_engine_are_those_that_cargo_compiles_in() {
    let said = run(&["inspect", "--engine"]);
    assert_eq!(said.status.code(), Some(0));
    let said = String::from_utf8(said.stdout).expect("it is text");
    let of = |word: &str| -> BTreeSet<String> {
        said.lines()
            .filter_map(|line| line.split_once(' '))
            .filter(|(first, _)| *first == word)
            .map(|(_, name)| name.trim().to_owned())
            .collect()
    };
    let version = said.lines().next().and_then(|line| line.strip_prefix("engine   wasmtime ")).expect("its version");
    // All features with which the program has it.
    let mut tree = Command::new(env!("CARGO"));
    tree.args(["tree", "--offline", "--package", "multiclient-cli", "--edges", "features,normal", "--invert"]);
    let tree = run_within(PATIENCE, tree.args(["wasmtime", "--prefix", "none"]).current_dir(repository(".")));
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8(tree.stdout).expect("it is text");
    assert!(tree.starts_with(&format!("wasmtime v{version}\n")), "{tree}");
    let features = tree.lines().filter_map(|line| line.strip_prefix("wasmtime feature \"")?.split('"').next());
    // Crates that it may be without are features, too.
    let crates = ["once_cell", "wasmtime-jit-icache-coherence", "wasmtime-unwinder"];
    let compiled_in: BTreeSet<_> = features.filter(|name| !crates.contains(name)).map(str::to_owned).collect();
    assert_eq!(of("with"), compiled_in);
    assert!(of("without").contains("gc") && of("without").is_disjoint(&compiled_in), "{said}");
    assert!(of("off").contains("SIMD") && of("on").contains("bulk memory"), "{said}");
}

#[test]
fn help_and_version_are_printed() {
    let output = run(&["--version"]);
    assert_eq!(output.status.code(), Some(0));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    // Advisories name the version of the engine.
    assert!(said.starts_with(&format!("multiclient {} (wasmtime 48.0.", env!("CARGO_PKG_VERSION"))), "{said}");
    let help = |flag: &str| {
        let output = run(&[flag]);
        assert_eq!(output.status.code(), Some(0), "{flag}");
        String::from_utf8(output.stdout).expect("it is text")
    };
    // The short one is for a screen, the long one tells everything.
    let short = help("-h");
    assert!(short.lines().count() <= 50 && short.lines().all(|line| line.chars().count() <= 100), "{short}");
    assert!(["SOURCE", "URL", "inspect", "--log"].iter().all(|word| short.contains(word)), "{short}");
    let long = help("--help");
    for flag in [
        "--as",
        "--type",
        "--list",
        "--header",
        "--cors",
        "--compat",
        "--memory",
        "--cpu",
        "--header-timeout",
        "--idle-timeout",
        "--stall-timeout",
        "--max-clients",
        "--per-address",
        "--listen",
        "--log",
        "--quiet",
        "--drain",
    ] {
        assert!(long.contains(flag), "{flag}: {long}");
    }
    assert!(long.contains("MULTICLIENT_MAX_CLIENTS=50"), "one rule names all variables: {long}");
}

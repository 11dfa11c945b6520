//! One client on stdin and stdout, for servers that accept clients and start a program for each, such as
//! systemd with `Accept=yes`, `socat` and `s6-tcpserver`.
//!
//! It serves the folder in its first argument, by default the root, out of what the host has opened for it. A
//! second argument `--list` enables listings. It exits with its client: with 0 if the session closed in
//! order, with 1 and a message on stderr if the client or the disk failed.
//!
//! Rule: this carries out actions and knows no HTTP. It is also a second, small implementation of the
//! contract to compare the host with.

#[cfg(target_family = "wasm")]
fn main() -> std::process::ExitCode {
    client::serve()
}

/// Outside a sandbox nobody opens a folder for it, and nothing keeps it inside.
#[cfg(not(target_family = "wasm"))]
#[expect(clippy::print_stderr, reason = "there is nowhere else to say it")]
fn main() -> std::process::ExitCode {
    eprintln!("multiclient-inetd is a component: build it with --target wasm32-wasip2");
    std::process::ExitCode::from(2)
}

#[cfg(target_family = "wasm")]
mod client {
    use std::fs::File;
    use std::io::{self, Write};
    use std::process::ExitCode;
    use std::time::{Duration, SystemTime, UNIX_EPOCH};
    use std::{env, fmt};

    use multiclient_folder::{Folder, pass};
    use multiclient_guest::Session;
    use multiclient_guest::contract::{Action, Event, Remainder, Settings, Window};
    use wasip2::clocks::monotonic_clock::subscribe_duration;
    use wasip2::io::poll::poll;
    use wasip2::io::streams::{InputStream, StreamError};

    /// The most bytes of one event, as the contract has it.
    const EVENT: u64 = 16 * 1024;
    /// How long a client may be silent, like `--idle-timeout` of the server.
    const IDLE: Duration = Duration::from_secs(60);
    /// How long to read and discard input after the last response, so that a reset does not destroy its end.
    const LINGER: Duration = Duration::from_secs(1);

    /// Why a client was disconnected before the session closed.
    enum Ended {
        Silent,
        Client(String),
        Source(io::Error),
    }

    impl fmt::Display for Ended {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            match self {
                Self::Silent => write!(f, "the client was silent for {} s", IDLE.as_secs()),
                Self::Client(error) => write!(f, "the client: {error}"),
                Self::Source(error) => write!(f, "the source: {error}"),
            }
        }
    }

    #[expect(clippy::print_stderr, reason = "that is where a super-server wants it")]
    pub(super) fn serve() -> ExitCode {
        let mut arguments = env::args().skip(1);
        let folder = Folder::at(arguments.next().unwrap_or_else(|| "/".to_owned()));
        let settings =
            Settings { listing: arguments.next().is_some_and(|flag| flag == "--list"), ..Settings::default() };
        match live(Session::new(settings), &folder) {
            Ok(()) => ExitCode::SUCCESS,
            Err(ended) => {
                eprintln!("multiclient-inetd: {ended}");
                ExitCode::FAILURE
            }
        }
    }

    /// Serves the client: an event in, a list of actions out, until the session closes.
    fn live(mut session: Session, folder: &Folder) -> Result<(), Ended> {
        let input = wasip2::cli::stdin::get_stdin();
        let mut output = io::stdout().lock();
        let mut open: Option<(File, Window)> = None;
        let mut event = receive(&input)?;
        loop {
            let mut next = None;
            for action in session.advance(now(), event) {
                match action {
                    Action::Send(bytes) => output.write_all(&bytes).map_err(client)?,
                    Action::Pass(span) => {
                        let (file, _) = open.as_mut().expect("a pass is from the open source");
                        let mut sent = Ok(());
                        let passed = pass(file, span, |piece| {
                            sent = output.write_all(piece);
                            if sent.is_ok() { Ok(()) } else { Err(io::ErrorKind::Other.into()) }
                        });
                        sent.map_err(client)?;
                        passed.map_err(Ended::Source)?;
                    }
                    Action::Report(_) => {}
                    Action::Receive(_) => {
                        output.flush().map_err(client)?;
                        next = Some(receive(&input)?);
                    }
                    Action::Open(name) => {
                        open = None;
                        next = Some(Event::Opened(folder.open(&name).map(|(found, file)| {
                            if let (multiclient_guest::contract::Found::Source(facts), Some(file)) = (&found, file) {
                                open = Some((file, facts.window));
                            }
                            found
                        })));
                    }
                    Action::List(portion) => next = Some(Event::Listed(folder.list(&portion))),
                    // There are no other clients here.
                    Action::Proceed => next = Some(Event::Proceeded),
                    // A file is complete from the beginning.
                    Action::Wait(_) => {
                        let (_, window) = open.as_ref().expect("a wait is for the open source");
                        next = Some(Event::Available(*window));
                    }
                    Action::Close(remainder) => {
                        output.flush().map_err(client)?;
                        if remainder == Remainder::Unread {
                            discard(&input);
                        }
                        return Ok(());
                    }
                }
            }
            event = next.expect("the last action of a list waits");
        }
    }

    /// Waits for the client.
    fn receive(input: &InputStream) -> Result<Event, Ended> {
        let (comes, late) = (input.subscribe(), subscribe_duration(nanoseconds(IDLE)));
        loop {
            if !poll(&[&comes, &late]).contains(&0) {
                return Err(Ended::Silent);
            }
            match input.read(EVENT) {
                Ok(bytes) if bytes.is_empty() => {}
                Ok(bytes) => return Ok(Event::Received(bytes)),
                Err(StreamError::Closed) => return Ok(Event::Finished),
                Err(StreamError::LastOperationFailed(error)) => return Err(Ended::Client(error.to_debug_string())),
            }
        }
    }

    /// Reads and discards what comes for a short time.
    fn discard(input: &InputStream) {
        let (comes, late) = (input.subscribe(), subscribe_duration(nanoseconds(LINGER)));
        while !poll(&[&comes, &late]).contains(&1) && input.read(EVENT).is_ok() {}
    }

    fn client(error: io::Error) -> Ended {
        Ended::Client(error.to_string())
    }

    fn nanoseconds(duration: Duration) -> u64 {
        u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
    }

    fn now() -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

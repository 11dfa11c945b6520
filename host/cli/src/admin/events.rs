//! `/events`: how the server is, once a second, as server-sent events. It is a live source like any other.

use std::io::{self, PipeWriter, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use multiclient::{Join, Live, LiveStream};

use super::view::Before;
use super::watched::Watched;

/// Between two events.
const TICK: Duration = Duration::from_secs(1);

/// What is kept of events: those who watch get them as they come.
const BUFFER: u64 = 1 << 20;

/// Events, made only while somebody watches.
pub(super) struct Events {
    stream: LiveStream,
    asked: Arc<AtomicBool>,
}

impl Events {
    /// Begins to look whether somebody watches.
    pub(super) fn start(watched: Arc<Watched>) -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        // An event is written at once and read at once, so that whoever begins at the edge begins with an event. One
        // that was cut is no event: its reader leaves it out.
        let live = Live { buffer: BUFFER, join: Join::Edge, burst: 0, ..Live::default() };
        let live = Live { media_type: Some("text/event-stream".to_owned()), ..live };
        let stream = LiveStream::new(reader, live)?;
        let asked = Arc::<AtomicBool>::default();
        let events = Self { stream: stream.clone(), asked: Arc::clone(&asked) };
        thread::Builder::new().name("events".into()).spawn(move || run(&watched, &stream, &asked, writer))?;
        Ok(events)
    }

    /// For somebody who asks for them.
    pub(super) fn stream(&self) -> LiveStream {
        self.asked.store(true, Ordering::Relaxed);
        self.stream.clone()
    }
}

/// Writes an event a second while somebody watches, until nobody reads them any more.
fn run(watched: &Watched, stream: &LiveStream, asked: &AtomicBool, mut writer: PipeWriter) {
    let (mut before, mut last) = (Before::default(), Instant::now());
    loop {
        thread::sleep(TICK);
        let is_watched = asked.swap(false, Ordering::Relaxed) || stream.viewers() > 0;
        if !is_watched {
            before = Before::default();
            last = Instant::now();
            continue;
        }
        let event = before.event(watched, last.elapsed());
        last = Instant::now();
        if writer.write_all(format!("data: {event}\n\n").as_bytes()).is_err() {
            return;
        }
    }
}

//! Clients of one address that ask for listings of a large folder and leave at once: how long does another
//! address wait for a listing of a small one?

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use multiclient::isolation_testing::Protection;
use socket2::{Domain, SockRef, Socket, Type};

use crate::arena::{Arena, Ground, Role};
use crate::attack;
use crate::claim::Claim;
use crate::plan::Failure;
use crate::report::{Control, Measure, Outcome, Timeline, Unit, Verdict};
use crate::victims::PATIENCE;

/// Files of the large folder: reading it takes long enough to be noticed when it is done for everybody.
const FILES: usize = 20_000;

/// Clients that leave: what one address may have at once.
const CROWD: usize = 128;

/// How often they come.
const BURST: Duration = Duration::from_millis(250);

/// What a listing may take beside other load on the machine.
const FLOOR: Duration = Duration::from_millis(if cfg!(debug_assertions) { 250 } else { 100 });

/// The address of those that leave. Another one than the victim's.
const ATTACKER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// What the victim finds.
const ONLY: &str = "the-only-one.ts";

pub(crate) fn listings(ground: &Ground<'_>) -> Result<Outcome, Failure> {
    let folder = tempfile::tempdir().map_err(Failure::of("the trial cannot be prepared"))?;
    make(folder.path()).map_err(Failure::of("the trial cannot be prepared"))?;
    let time = ground.plan.pace.measures().attacked;
    let measures = beside_a_crowd(&ground.arena_of(folder.path(), Role::Fresh)?, time);
    let lacking = ground.arena_of(folder.path(), Role::Lacking(Protection::Listings))?;
    let control_measures = beside_a_crowd(&lacking, time);
    let broken = !control_measures[1].holds();
    let wrong = |measure: &&Measure| !measure.holds();
    let (verdict, note) = match measures.iter().find(wrong) {
        None if broken => (Verdict::Held, ""),
        None => (Verdict::Inconclusive, "the control holds, too: the attack showed nothing"),
        Some(late) if late.unit == Unit::Milliseconds && late.value < 2.0 * late.bound => {
            (Verdict::Inconclusive, "latency rose, but not beyond what other load on this machine can cause")
        }
        Some(_) => (Verdict::Broken, ""),
    };
    let control = Some(Control { broken, measures: control_measures, timeline: Timeline::empty() });
    Ok(Outcome {
        claim: Claim::Listings,
        verdict,
        measures,
        control,
        timeline: None,
        effort: None,
        note: note.to_owned(),
    })
}

fn make(folder: &Path) -> io::Result<()> {
    let (large, small) = (folder.join("large"), folder.join("small"));
    fs::create_dir(&large)?;
    fs::create_dir(&small)?;
    File::create(small.join(ONLY))?;
    let first = large.join("0");
    File::create(&first)?;
    // Names of one file are made faster than files.
    (1..FILES).try_for_each(|number| fs::hard_link(&first, large.join(number.to_string())))
}

/// Lists the small folder before and while crowds come, one request after the other.
fn beside_a_crowd(arena: &Arena, time: Duration) -> Vec<Measure> {
    const BASELINE: usize = 20;
    let mut lost = 0;
    let mut list = || {
        let began = Instant::now();
        let response =
            attack::exchange(arena.address(), "GET /small/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        lost += u64::from(!String::from_utf8_lossy(&response).contains(ONLY));
        began.elapsed()
    };
    let baseline = (0..BASELINE).map(|_| list()).max().unwrap_or_default();
    let (began, mut left, mut longest) = (Instant::now(), 0, Duration::ZERO);
    let mut next_crowd = Duration::ZERO;
    while began.elapsed() < time {
        if began.elapsed() >= next_crowd {
            next_crowd = began.elapsed() + BURST;
            left += (0..CROWD).filter(|_| ask_and_reset(arena.address()).is_ok()).count();
        }
        longest = longest.max(list());
    }
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    vec![
        Measure::at_most("listings lost", lost as f64, 0.0, Unit::Count),
        Measure::at_most("longest wait for a listing", ms(longest), ms(FLOOR.max(baseline * 3)), Unit::Milliseconds),
        Measure::at_least("clients that left", left as f64, 1.0, Unit::Count),
        Measure::at_most("faults of the host", arena.ends.host_faults() as f64, 0.0, Unit::Count),
    ]
}

fn ask_and_reset(address: SocketAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((ATTACKER, 0)).into())?;
    socket.connect_timeout(&address.into(), PATIENCE)?;
    let mut stream = TcpStream::from(socket);
    stream.write_all(b"GET /large/ HTTP/1.1\r\nHost: a\r\n\r\n")?;
    // Closing is then a reset.
    SockRef::from(&stream).set_linger(Some(Duration::ZERO))
}

//! Each fault, and how its client is disconnected.

use std::time::Duration;

use multiclient::{Ended, Limit, Settings, Summary};
use support::{Connection, PATIENCE, noise};

use super::arena::{Arena, FAULTS, FORMS, limits};

#[test]
fn each_fault_disconnects_its_client_with_its_reason() {
    for form in FORMS {
        let arena = Arena::of(form, limits(), Settings::default());
        for (fault, verdict) in FAULTS {
            let life = arena.provoke(fault);
            assert!(verdict(&life.ended), "{fault} ended as {:?}, {form:?}", life.ended);
            assert!(life.memory_peak <= 8 << 20, "{fault} had {} bytes, {form:?}", life.memory_peak);
        }
        let Summary { clients, cut_off, .. } = arena.stop();
        assert_eq!((clients, cut_off), (FAULTS.len() as u64, 0));
    }
}

#[test]
fn a_million_actions_cost_no_more_memory_than_the_limit() {
    let mut limits = limits();
    (limits.memory, limits.cpu) = (256 << 20, Duration::from_secs(5));
    for form in FORMS {
        let arena = Arena::of(form, limits.clone(), Settings::default());
        let ended = arena.provoke("actions").ended;
        assert!(matches!(ended, Ended::OverLimit { limit: Limit::ActionBytes(_), .. }), "{ended:?}, {form:?}");
    }
}

#[test]
fn the_names_that_a_guest_waits_for_count_as_memory_of_its_client() {
    // Room for the guest, of which two MiB are a name, and not for what the host holds of it.
    for (total_memory, is_enough) in [(8 << 20, true), (4 << 20, false)] {
        let mut limits = limits();
        limits.total_memory = Some(total_memory);
        let arena = Arena::new(limits, Settings::default());
        let ended = arena.provoke("list-after").ended;
        let is_over = matches!(ended, Ended::OverLimit { limit: Limit::TotalMemory(_), .. });
        assert!(if is_enough { ended == Ended::Finished } else { is_over }, "{total_memory}: {ended:?}");
    }
}

#[test]
fn a_larger_limit_on_sends_can_be_reached() {
    let mut limits = limits();
    limits.max_send = 32 << 20;
    for form in FORMS {
        let arena = Arena::of(form, limits.clone(), Settings::default());
        // 64 sends of a MiB, more than the usual bound on a list, are all taken; that they were never its to give
        // is seen when the guest frees them.
        let ended = arena.provoke("sends").ended;
        assert!(matches!(ended, Ended::Trapped { .. }), "{ended:?}, {form:?}");
    }
}

#[test]
fn a_trap_names_its_function() {
    let arena = Arena::new(limits(), Settings::default());
    match arena.provoke("trap").ended {
        Ended::Trapped { backtrace, .. } => {
            assert!(backtrace.iter().any(|function| function.contains("faulty::")), "{backtrace:?}");
        }
        ended => panic!("{ended:?}"),
    }
}

#[test]
fn an_exceeded_limit_names_its_bound_and_the_function() {
    let arena = Arena::new(limits(), Settings::default());
    for (fault, bound) in
        [("spin", "over limit: cpu 50 ms for one event, in "), ("grow", "over limit: memory 8 MiB, in ")]
    {
        let said = arena.provoke(fault).ended.to_string();
        let function = said.strip_prefix(bound).unwrap_or_else(|| panic!("{fault} ended as {said:?}"));
        assert!(function.starts_with("multiclient_session::faulty::"), "{fault} was in {function:?}");
    }
}

#[test]
fn a_guest_that_leaks_is_stopped_at_its_limit_and_no_other() {
    let arena = Arena::new(limits(), Settings::default());
    // A thousand handles each time, and 4 MiB each time.
    for (fault, which) in [("leak", "handles"), ("hoard", "memory")] {
        let mut connection = Connection::to(arena.address());
        let mut exchanges = 0;
        let request = format!("GET /!{fault} HTTP/1.1\r\nHost: a\r\n\r\n");
        while connection.try_send(&request).is_ok() && !connection.ends_within(PATIENCE) {
            exchanges += 1;
            assert!(exchanges < 100, "there is no limit to what a guest can leak");
        }
        match arena.ends.of(connection.local_address()).ended {
            Ended::OverLimit { limit: Limit::Handles(_), .. } if which == "handles" => {}
            Ended::OverLimit { limit: Limit::Memory(_), .. } if which == "memory" => {}
            ended => panic!("{fault} ended as {ended:?}"),
        }
    }
    Connection::to(arena.address()).get("/small.ts").is(200, &noise(1, 1_000));
}

#[test]
fn faults_in_the_constructor_have_the_same_reasons() {
    for (fault, verdict) in &FAULTS[..4] {
        let mut settings = Settings::default();
        settings.headers = vec![("X-Fault".to_owned(), (*fault).to_owned())];
        for form in FORMS {
            let arena = Arena::of(form, limits(), settings.clone());
            let mut connection = Connection::to(arena.address());
            connection.send_request("GET", "/small.ts", &[]);
            assert_eq!(connection.read_to_cut(), b"");
            let life = arena.ends.of(connection.local_address());
            assert!(verdict(&life.ended), "{fault} ended as {:?}, {form:?}", life.ended);
            // What it used until then is reported, too.
            assert!(life.memory_peak > 64 << 10, "{fault} had {} bytes, {form:?}", life.memory_peak);
            match *fault {
                "spin" => assert!(life.cpu >= limits().cpu, "{:?} of CPU time", life.cpu),
                "grow" => assert!(life.memory_peak > 6 << 20, "{} bytes", life.memory_peak),
                _ => assert!(life.cpu > Duration::ZERO),
            }
        }
    }
}

#[test]
fn no_name_leads_out_of_what_is_published() {
    let arena = Arena::new(limits(), Settings::default());
    let answer = |target: &str| {
        let mut connection = Connection::to(arena.address());
        connection.send_request("GET", target, &[]);
        String::from_utf8_lossy(&connection.read_to_cut()).into_owned()
    };
    for name in ["../../etc/passwd", "/etc/passwd", "x/../../etc/passwd", "..", ".", "small.ts/", "%2e%2e/x", "//"] {
        for way in ["escape", "list"] {
            let answer = answer(&format!("/!{way}/{name}"));
            assert!(answer.ends_with("\r\n\r\nrefused"), "{way} {name}: {answer}");
        }
    }
    assert!(answer("/!escape/small.ts").contains("\r\n\r\nopened: "));
    assert!(answer("/!list/").ends_with("\r\n\r\nopened: a folder"));
}

#[test]
fn a_fresh_memory_holds_nothing_of_earlier_clients() {
    // One slot, so that everybody gets the memory of the one before.
    let mut limits = limits();
    (limits.max_clients, limits.reserve) = (1, 0);
    let arena = Arena::new(limits, Settings::default());
    for number in 0..200 {
        arena.server.wait(PATIENCE);
        let canary = format!("canary-{number:032x}");
        let mut connection = Connection::to(arena.address());
        let ending = if number % 3 == 0 { "trap" } else { "peek" };
        connection.send_request("GET", &format!("/!{ending}"), &[&format!("X-Canary: {canary}")]);
        let seen = String::from_utf8_lossy(&connection.read_to_cut()).into_owned();
        if ending == "peek" {
            let life = arena.ends.of(connection.local_address());
            assert_eq!(life.ended, Ended::Finished, "after {number} others, with {:?} of CPU time", life.cpu);
            let (_, found) = seen.split_once("\r\n\r\n").expect("a response has a head");
            assert_eq!(found, canary, "its own, and no other");
        }
    }
}

//! The metrics of `--admin`, as Prometheus reads them.

use std::io::Write;
use std::process::Stdio;

use support::live::{Viewer, fed, packets};
use support::{Connection, require};

#[test]
fn prometheus_has_nothing_to_object_to_in_the_metrics() {
    let Some(mut promtool) = require("promtool") else { return };
    let (server, mut producer) = fed(&["--admin", "0", "--header-timeout", "50ms"]);
    producer.write(&packets(0, 100));
    let mut viewer = Viewer::of(&server, "/live.ts");
    viewer.until(1);
    server.get("/missing");
    let mut slow = server.connect();
    slow.send("GET");
    server.wait_for_line("timed out: no complete request");
    let line = server.wait_for_line("admin    http://");
    let address = line.trim_start_matches("admin    http://").split('/').next();
    let address = address.and_then(|address| address.parse().ok()).expect("it is an address");
    let metrics = Connection::to(address).get("/metrics");
    let media_type = metrics.header.expect_field("Content-Type");
    assert_eq!(media_type, "text/plain; version=0.0.4; charset=utf-8");
    for family in ["multiclient_live_viewers{source=\"live.ts\"} 1\n", "which=\"header-timeout\"} 1\n"] {
        assert!(String::from_utf8_lossy(&metrics.body).contains(family), "{family}");
    }

    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut checking = promtool.spawn().expect("it can be run");
    checking.stdin.take().expect("it is piped").write_all(&metrics.body).expect("it reads on");
    let checked = checking.wait_with_output().expect("it ends");
    assert!(checked.status.success() && checked.stdout.is_empty() && checked.stderr.is_empty(), "{checked:?}");
}

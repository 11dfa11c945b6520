//! The page of `--admin` in a browser.

use std::process::Stdio;

use support::live::{PACKET, Producer, Viewer, packets};
use support::{Connection, Server, eventually, multiclient, require};

use crate::browser::Browser;

/// The text of what a selector finds, or nothing.
fn text_of(browser: &mut Browser, selector: &str) -> String {
    let expression = format!("document.querySelector({selector:?})?.textContent");
    browser.value(&expression).as_str().unwrap_or_default().to_owned()
}

#[test]
fn the_page_shows_clients_as_they_come_and_go() {
    let Some(chromium) = require("chromium") else { return };
    let name = "/a%20%3Cb%3Eb%3C/b%3E.ts";
    let (reader, writer) = std::io::pipe().expect("there are descriptors left");
    let mut command = multiclient();
    command.args(["-", "0", "--as", "/a <b>b</b>.ts", "--admin", "0"]).stdin(reader).stdout(Stdio::null());
    let (server, mut producer) = (Server::run(command), Producer::new(writer));
    producer.write(&packets(0, 1_000));
    let line = server.wait_for_line("admin    http://");
    let url = line.trim_start_matches("admin    ").split(' ').next().expect("it is an address").to_owned();
    let mut viewers: Vec<_> = (0..3).map(|_| Viewer::of(&server, name)).collect();
    viewers.iter_mut().for_each(|viewer| viewer.until(PACKET));

    let mut browser = Browser::start(chromium);
    browser.open(&url);
    let rows = "document.querySelectorAll('#clients tr').length";
    browser.wait_for("a row for each viewer", |browser| (browser.value(rows) == 3).then_some(()));
    assert_eq!(text_of(&mut browser, "#state"), "serving");
    assert_eq!(text_of(&mut browser, "#stream-name"), "a <b>b</b>.ts", "a name is text and no markup");
    assert_eq!(text_of(&mut browser, "#clients .source"), "a <b>b</b>.ts");
    let address = viewers[2].connection.local_address().to_string();
    assert_eq!(text_of(&mut browser, "#clients .address"), address, "the latest is first");

    drop(viewers.pop());
    producer.write(&packets(1_000, 2_000));
    browser.wait_for("the row of the one that has left is gone", |browser| (browser.value(rows) == 2).then_some(()));
    let last = browser.wait_for("it is among those that have left", |browser| {
        Some(text_of(browser, "#last tr")).filter(|text| text.starts_with("#3"))
    });
    assert!(last.starts_with("#3disconnected"), "{last}");

    // A page that is wider than the screen has to be moved to and fro.
    let is_narrow = "document.documentElement.scrollWidth <= innerWidth";
    assert_eq!(browser.value(is_narrow), true);
    let mut connection = Connection::to(url.trim_start_matches("http://").trim_end_matches('/').parse().expect("one"));
    let pages = "performance.getEntriesByType('resource').every(entry => entry.name.startsWith(location.origin))";
    assert_eq!(browser.value(pages), true, "it loads nothing from elsewhere");
    drop(browser);
    drop(viewers);
    eventually("nobody is left", || connection.get("/clients.json").body == b"{\"clients\":[]}");
}

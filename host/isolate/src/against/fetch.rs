//! One request, and its response, of whoever asks.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::place::Place;
use super::response::{self, Complaint, Response};

/// How long a victim waits for anything before it calls it lost.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);

/// Fetches all of it, or a part.
pub(crate) fn fetch(place: &Place, part: Option<(usize, usize)>, patience: Duration) -> Result<Response, Complaint> {
    get(place, "", part, patience)
}

/// Each on a connection of its own: a server that keeps one for each worker would wait for the next request.
pub(crate) fn get(
    place: &Place,
    fields: &str,
    part: Option<(usize, usize)>,
    patience: Duration,
) -> Result<Response, Complaint> {
    let began = Instant::now();
    let mut stream = connect(place, PATIENCE.min(patience)).map_err(|error| Complaint::of("cannot connect", &error))?;
    let range = part.map_or(String::new(), |(first, last)| format!("Range: bytes={first}-{last}\r\n"));
    let Place { host, target, .. } = place;
    let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{fields}{range}\r\n");
    stream.write_all(request.as_bytes()).map_err(|error| Complaint::of("cannot ask", &error))?;
    response::read(&mut stream, began, patience)
}

/// Connects to what was checked and nothing else.
pub(crate) fn connect(place: &Place, patience: Duration) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&place.address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

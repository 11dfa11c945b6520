//! The PROXY protocol, versions 1 and 2: what a proxy says of a client before it passes on the client's bytes.
//!
//! Rule: nothing here waits, and nothing is taken from a listener that was not told to expect it.
//!
//! <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Bytes of the longest header: what every receiver has to take (section 2.2).
pub(crate) const LONGEST: usize = 536;

/// Bytes of the longest header of version 1, its line end among them (section 2.1).
const LONGEST_LINE: usize = 107;

/// What a header of version 1 begins with.
const WORD: &[u8] = b"PROXY ";

/// What a header of version 2 begins with: a line that nothing else begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Bytes of such a header before the addresses.
const FIXED: usize = 16;

/// What has come so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Header {
    /// All of it, in so many bytes.
    Whole(usize, Origin),
    /// It is not whole, and may become a header.
    Partial,
    /// It is something else.
    Invalid,
}

/// Where a connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// From this client.
    Client(SocketAddr),
    /// From the proxy itself, which looks whether the server is there; or from somebody without an address.
    Proxy,
}

/// Looks for a header at the beginning of what has come.
pub(crate) fn parse(bytes: &[u8]) -> Header {
    if begins(bytes, WORD) {
        return line(bytes).unwrap_or(Header::Invalid);
    }
    if begins(bytes, SIGNATURE) {
        return binary(bytes).unwrap_or(Header::Invalid);
    }
    Header::Invalid
}

/// Whether these bytes begin so, as far as there are any.
fn begins(bytes: &[u8], with: &[u8]) -> bool {
    let length = bytes.len().min(with.len());
    bytes[..length] == with[..length]
}

/// Version 1: `PROXY TCP4 192.0.2.1 198.51.100.1 56324 443` and a line end. None: it is no such line.
fn line(bytes: &[u8]) -> Option<Header> {
    let most = &bytes[..bytes.len().min(LONGEST_LINE)];
    let Some(end) = most.windows(2).position(|two| two == b"\r\n") else {
        return (bytes.len() < LONGEST_LINE).then_some(Header::Partial);
    };
    let text = std::str::from_utf8(bytes.get(WORD.len()..end)?).ok()?;
    let whole = |origin| Some(Header::Whole(end + 2, origin));
    // What follows this word has to be ignored.
    if text == "UNKNOWN" || text.starts_with("UNKNOWN ") {
        return whole(Origin::Proxy);
    }
    let mut words = text.split(' ');
    let (family, mut address) = (words.next()?, || words.next()?.parse::<IpAddr>().ok());
    let (source, destination) = (address()?, address()?);
    let fits = match family {
        "TCP4" => source.is_ipv4() && destination.is_ipv4(),
        "TCP6" => source.is_ipv6() && destination.is_ipv6(),
        _ => false,
    };
    let (source_port, _) = (port(words.next()?)?, port(words.next()?)?);
    (fits && words.next().is_none()).then_some(())?;
    whole(Origin::Client(SocketAddr::new(source, source_port)))
}

/// A number as the protocol writes it: digits only, without zeros before them.
fn port(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    is_plain.then(|| text.parse().ok()).flatten()
}

/// Version 2. None: it is no such header.
fn binary(bytes: &[u8]) -> Option<Header> {
    /// Version and command: a connection of the proxy's own, or one that it passes on.
    const LOCAL: u8 = 0x20;
    const PROXY: u8 = 0x21;
    let Some(&[command, family, high, low]) = bytes.get(SIGNATURE.len()..FIXED) else {
        let is_possible = bytes.get(SIGNATURE.len()).is_none_or(|command| matches!(*command, LOCAL | PROXY));
        return is_possible.then_some(Header::Partial);
    };
    let length = FIXED + usize::from(u16::from_be_bytes([high, low]));
    if !matches!(command, LOCAL | PROXY) || length > LONGEST {
        return None;
    }
    let Some(rest) = bytes.get(FIXED..length) else { return Some(Header::Partial) };
    let origin = match (command, family) {
        (PROXY, 0x11) => {
            let [a, b, c, d, _, _, _, _, high, low, _, _] = *rest.first_chunk()?;
            client(Ipv4Addr::new(a, b, c, d).into(), [high, low])
        }
        (PROXY, 0x21) => {
            rest.get(..36)?;
            client(Ipv6Addr::from(*rest.first_chunk::<16>()?).into(), [rest[32], rest[33]])
        }
        // UDP, unix sockets, and whatever comes later. What is said of them has to be skipped.
        _ => Origin::Proxy,
    };
    Some(Header::Whole(length, origin))
}

fn client(address: IpAddr, port: [u8; 2]) -> Origin {
    Origin::Client(SocketAddr::new(address, u16::from_be_bytes(port)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn from(address: &str) -> Origin {
        Origin::Client(address.parse().expect("an address"))
    }

    /// A header of version 2.
    fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).expect("it is short").to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, rest].concat()
    }

    fn headers() -> Vec<(Vec<u8>, Origin)> {
        let v4 = [192, 0, 2, 1, 198, 51, 100, 1, 0x12, 0x34, 0x01, 0xbb];
        let mut v6 = [0; 36];
        v6[..16].copy_from_slice(&"2001:db8::7".parse::<Ipv6Addr>().expect("an address").octets());
        v6[32..34].copy_from_slice(&[0, 80]);
        let with_more = |address: &[u8], more: usize| [address, &vec![9; more]].concat();
        vec![
            (b"PROXY TCP4 192.0.2.1 198.51.100.1 4660 443\r\n".to_vec(), from("192.0.2.1:4660")),
            (b"PROXY TCP6 2001:db8::7 ::1 80 443\r\n".to_vec(), from("[2001:db8::7]:80")),
            (b"PROXY UNKNOWN\r\n".to_vec(), Origin::Proxy),
            (b"PROXY UNKNOWN ffff::1 what ever\r\n".to_vec(), Origin::Proxy),
            (binary(0x21, 0x11, &v4), from("192.0.2.1:4660")),
            (binary(0x21, 0x11, &with_more(&v4, 100)), from("192.0.2.1:4660")),
            (binary(0x21, 0x21, &v6), from("[2001:db8::7]:80")),
            (binary(0x21, 0x21, &with_more(&v6, LONGEST - FIXED - 36)), from("[2001:db8::7]:80")),
            (binary(0x20, 0x00, &[]), Origin::Proxy),
            (binary(0x20, 0x11, &v4), Origin::Proxy),
            (binary(0x21, 0x00, &[]), Origin::Proxy),
            (binary(0x21, 0x31, &[0; 216]), Origin::Proxy),
        ]
    }

    #[test]
    fn a_header_is_read_whole_and_byte_by_byte_and_nothing_after_it() {
        for (header, origin) in headers() {
            let whole = Header::Whole(header.len(), origin);
            assert_eq!(parse(&header), whole, "{header:?}");
            for at in 0..header.len() {
                assert_eq!(parse(&header[..at]), Header::Partial, "{:?}", &header[..at]);
            }
            for more in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\r\n", b"PROXY UNKNOWN\r\n", &[0; 600]] {
                assert_eq!(parse(&[&header[..], more].concat()), whole);
            }
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let long = format!("PROXY TCP4 {}", "1".repeat(100));
        for text in [
            "GET / HTTP/1.1\r\n",
            "PROXY\r\n",
            "PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n",
            "PROXY TCP4 192.0.2.1 ::1 1 2\r\n",
            "PROXY TCP4 ::1 ::1 1 2\r\n",
            "PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY UNKNOWNS\r\n",
            "proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
            &long,
        ] {
            assert_eq!(parse(text.as_bytes()), Header::Invalid, "{text}");
        }
        for header in [
            binary(0x11, 0x11, &[0; 12]),
            binary(0x22, 0x11, &[0; 12]),
            binary(0x21, 0x11, &[0; 11]),
            binary(0x21, 0x21, &[0; 35]),
            binary(0x21, 0x11, &[0; LONGEST - FIXED + 1]),
        ] {
            assert_eq!(parse(&header), Header::Invalid, "{header:?}");
        }
    }

    proptest! {
        #[test]
        fn garbage_never_reaches_beyond_its_end(
            mut bytes in prop::collection::vec(any::<u8>(), 0..700),
            beginning in prop_oneof![Just(&b""[..]), Just(WORD), Just(&SIGNATURE[..])],
        ) {
            let length = bytes.len().min(beginning.len());
            bytes[..length].copy_from_slice(&beginning[..length]);
            match parse(&bytes) {
                Header::Whole(length, _) => {
                    prop_assert!(length <= bytes.len() && length <= LONGEST);
                    // What comes after it makes no difference.
                    prop_assert_eq!(parse(&bytes[..length]), parse(&bytes));
                }
                Header::Partial => prop_assert!(bytes.len() < LONGEST),
                Header::Invalid => {}
            }
        }
    }
}

//! Where a server is, and whether it may be attacked there.
//!
//! Rule: nobody connects to an address that has not come from here. A name is looked up once, so that what was
//! checked and what is attacked are the same.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

/// A server's address, and what to ask it for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// As it stands in the field `Host`.
    pub(crate) host: String,
    pub(crate) address: SocketAddr,
    /// Path and query.
    pub(crate) target: String,
}

/// How far away an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    Loopback,
    Private,
    Public,
}

impl Place {
    /// Takes a URL apart. `mine` is the host that the user has called their own.
    pub(crate) fn parse(url: &str, mine: Option<&str>) -> Result<Self, String> {
        let rest = url.strip_prefix("http://").ok_or_else(|| format!("{url}: only http:// can be tried"))?;
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.is_empty() || authority.contains('@') || url.chars().any(|c| c.is_control() || c == ' ') {
            return Err(format!("{url}: write it as http://HOST:PORT/PATH"));
        }
        let (name, port) = split(authority).ok_or_else(|| format!("{url}: the port is not a number"))?;
        let addresses = (name, port).to_socket_addrs().map_err(|error| format!("{name}: {error}"))?;
        let addresses: Vec<_> = addresses.collect();
        for address in &addresses {
            permit(name, address.ip(), mine)?;
        }
        // Where a name has several, the first is the one that clients prefer.
        let address = *addresses.first().ok_or_else(|| format!("{name}: it has no address"))?;
        let target = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { host: authority.to_owned(), address, target })
    }
}

/// Host and port, also of `[::1]:80`.
fn split(authority: &str) -> Option<(&str, u16)> {
    let (name, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((name, rest)) => (name, rest),
        None => authority.split_at(authority.rfind(':').unwrap_or(authority.len())),
    };
    let port = match port.strip_prefix(':') {
        Some(port) => port.parse().ok()?,
        None => 80,
    };
    Some((name, port))
}

fn permit(name: &str, ip: IpAddr, mine: Option<&str>) -> Result<(), String> {
    match reach(ip) {
        Reach::Loopback => Ok(()),
        Reach::Private if mine == Some(name) => Ok(()),
        Reach::Private => {
            Err(format!("{name} is not this machine: attack it only if it is yours, with `--yes-this-is-mine {name}`"))
        }
        Reach::Public => {
            Err(format!("{name} has a public address ({ip}), which is never attacked: run the server on this machine"))
        }
    }
}

fn reach(ip: IpAddr) -> Reach {
    match ip {
        IpAddr::V4(ip) if ip.is_loopback() => Reach::Loopback,
        IpAddr::V4(ip) if ip.is_private() => Reach::Private,
        IpAddr::V4(_) => Reach::Public,
        IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
            Some(ip) => reach(IpAddr::V4(ip)),
            None if ip.is_loopback() => Reach::Loopback,
            None if ip.is_unique_local() => Reach::Private,
            None => Reach::Public,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        for (url, host, address, target) in [
            ("http://127.0.0.1:8080/a?b", "127.0.0.1:8080", "127.0.0.1:8080", "/a?b"),
            ("http://[::1]:81", "[::1]:81", "[::1]:81", "/"),
            ("http://127.1.2.3?q", "127.1.2.3", "127.1.2.3:80", "/?q"),
        ] {
            let place = Place::parse(url, None).expect(url);
            assert_eq!((place.host.as_str(), place.target.as_str()), (host, target));
            assert_eq!(place.address, address.parse().expect("an address"));
        }
        for url in ["https://127.0.0.1/", "127.0.0.1", "http://", "http://a@127.0.0.1/", "http://127.0.0.1:x/"] {
            assert!(Place::parse(url, None).is_err(), "{url}");
        }
        assert!(Place::parse("http://127.0.0.1/a\r\nb", None).is_err());
    }

    #[test]
    fn only_loopback_is_attacked_and_what_is_called_mine() {
        for private in ["10.1.2.3", "172.16.0.1", "192.168.1.1", "::ffff:10.0.0.1", "fd00::1"] {
            let host = if private.contains(':') { format!("[{private}]") } else { private.to_owned() };
            let url = format!("http://{host}/");
            let refused = Place::parse(&url, None).expect_err(private);
            assert!(refused.contains("--yes-this-is-mine"), "{refused}");
            assert!(Place::parse(&url, Some("10.1.2.4")).is_err(), "another host is mine");
            assert!(Place::parse(&url, Some(private)).is_ok(), "{private}");
        }
        for public in ["192.0.2.1", "8.8.8.8", "0.0.0.0", "169.254.169.254", "[2001:db8::1]", "[::]", "[fe80::1]"] {
            let name = public.trim_matches(['[', ']']);
            let refused = Place::parse(&format!("http://{public}/"), Some(name)).expect_err(public);
            assert!(refused.contains("never attacked"), "{refused}");
        }
    }
}

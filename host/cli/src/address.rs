//! Where to listen, or whom to ask: `9000`, `:9000`, `HOST:PORT`, `unix:PATH`, `systemd:`.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, ToSocketAddrs};
use std::path::PathBuf;

use multiclient::listen::UnixAccess;
use nix::unistd::{Group, User};

/// What an operator writes where an address is expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    Tcp(TcpAddress),
    Unix(UnixAddress),
    /// The sockets that systemd listens on and passes.
    Passed,
}

/// What was written, and the addresses that it stands for: at least one, each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TcpAddress {
    written: String,
    pub(crate) sockets: Vec<SocketAddr>,
}

/// A server to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerUrl {
    pub(crate) address: Address,
    /// Whether it speaks TLS there.
    pub(crate) is_secure: bool,
}

/// A unix socket, and who may connect to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UnixAddress {
    pub(crate) path: PathBuf,
    pub(crate) access: UnixAccess,
}

impl TcpAddress {
    /// The host as it was written: a name or an address, or nothing.
    pub(crate) fn host(&self) -> &str {
        self.written.rsplit_once(':').map_or("", |(host, _)| host)
    }
}

impl Address {
    /// Reads an address that others than this machine cannot reach: a unix socket, or a loopback address.
    pub(crate) fn parse_local(written: &str) -> Result<Self, String> {
        let address = Self::parse(written)?;
        let is_local = match &address {
            Self::Unix(_) => true,
            Self::Tcp(tcp) => tcp.sockets.iter().all(|socket| socket.ip().is_loopback()),
            Self::Passed => false,
        };
        match is_local {
            true => Ok(address),
            false => Err("only this machine may connect; use unix:PATH, PORT or a loopback address".to_owned()),
        }
    }

    /// Reads the path of a unix socket.
    pub(crate) fn parse_unix(written: &str) -> Result<Self, String> {
        match Self::parse(written)? {
            address @ Self::Unix(_) => Ok(address),
            Self::Tcp(_) | Self::Passed => Err("not a unix socket, as in unix:/run/m.sock".to_owned()),
        }
    }

    pub(crate) fn parse(written: &str) -> Result<Self, String> {
        if let Some(rest) = written.strip_prefix("unix:") {
            return unix(rest).map(Self::Unix);
        }
        if written == "systemd:" {
            return Ok(Self::Passed);
        }
        let rest = match written.split_once("://") {
            Some(("http", rest)) => rest.trim_end_matches('/'),
            Some((scheme, _)) => {
                return Err(format!("unsupported scheme `{scheme}` (supported: http://HOST:PORT, PORT, unix:PATH)"));
            }
            None => written,
        };
        match sockets(rest)? {
            sockets if sockets.is_empty() => Err(format!("cannot resolve {rest}: the name has no address")),
            sockets => Ok(Self::Tcp(TcpAddress { written: rest.to_owned(), sockets })),
        }
    }
}

impl ServerUrl {
    pub(crate) fn parse(written: &str) -> Result<Self, String> {
        let (address, is_secure) = match written.strip_prefix("https://") {
            Some(rest) => (Address::parse(&format!("http://{rest}"))?, true),
            None => (Address::parse(written)?, false),
        };
        Ok(Self { address, is_secure })
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_secure { "https://" } else { "" })?;
        self.address.fmt(f)
    }
}

fn sockets(text: &str) -> Result<Vec<SocketAddr>, String> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(vec![(Ipv4Addr::LOCALHOST, port(text)?).into()]);
    }
    let (host, port_text) = text
        .rsplit_once(':')
        .filter(|(_, port)| !port.contains(']'))
        .ok_or("a port is missing, as in http://127.0.0.1:8080")?;
    let port = port(port_text)?;
    if host.is_empty() {
        // `[::]` takes IPv4 too, but not every machine has IPv6.
        return Ok(vec![(Ipv4Addr::UNSPECIFIED, port).into()]);
    }
    if let Some(inside) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return ipv6(inside, port).map(|socket| vec![socket.into()]);
    }
    let found = (host, port).to_socket_addrs().map_err(|error| format!("cannot resolve {host}: {error}"))?;
    let mut sockets = Vec::new();
    for socket in found {
        // `/etc/hosts` may list an address twice, and the second listener would find it in use.
        if !sockets.contains(&socket) {
            sockets.push(socket);
        }
    }
    Ok(sockets)
}

fn port(text: &str) -> Result<u16, String> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let port = digits.then(|| text.parse().ok()).flatten();
    port.ok_or_else(|| format!("{text} is not a port; a port is a number up to 65535"))
}

/// `::1`, `fe80::1%eth0`, or `fe80::1%25eth0` as it stands in a URL (RFC 6874).
fn ipv6(text: &str, port: u16) -> Result<SocketAddrV6, String> {
    let (ip, zone) = text.split_once('%').map_or((text, None), |(ip, zone)| (ip, Some(zone)));
    let ip: Ipv6Addr = ip.parse().map_err(|_| format!("{ip} is not an IPv6 address"))?;
    let zone = match zone {
        Some(zone) => scope(zone)?,
        None if ip.is_unicast_link_local() => {
            return Err(format!("{ip} is on each link of this machine; add the interface, as in [{ip}%eth0]:{port}"));
        }
        None => 0,
    };
    Ok(SocketAddrV6::new(ip, port, 0, zone))
}

/// The number of a zone: of an interface by its name, or itself.
fn scope(zone: &str) -> Result<u32, String> {
    let index = |zone: &str| {
        let by_name = nix::net::if_::if_nametoindex(zone).ok();
        by_name.or_else(|| zone.parse().ok()).filter(|index| *index > 0)
    };
    let unescaped = zone.strip_prefix("25").filter(|rest| !rest.is_empty()).and_then(index);
    unescaped.or_else(|| index(zone)).ok_or_else(|| format!("this machine has no network interface {zone}"))
}

/// `PATH`, and then `,mode=660`, `,owner=NAME`, `,group=NAME` in any order.
fn unix(text: &str) -> Result<UnixAddress, String> {
    let (mut path, mut access) = (text, UnixAccess::default());
    while let Some((rest, (key, value))) = option(path) {
        match key {
            "mode" => access.mode = Some(mode(value)?),
            "owner" => access.owner = Some(user_id(value)?),
            "group" => access.group = Some(group_id(value)?),
            _ => return Err(format!("unknown option `{key}` of a unix socket (known: mode, owner, group)")),
        }
        path = rest;
    }
    match path {
        "" => Err("a path is missing, as in unix:/run/m.sock".into()),
        path => Ok(UnixAddress { path: path.into(), access }),
    }
}

/// The last `,key=value`, and what comes before it. Paths may have commas, too.
fn option(text: &str) -> Option<(&str, (&str, &str))> {
    let (rest, last) = text.rsplit_once(',')?;
    let (key, value) = last.split_once('=')?;
    let is_key = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_lowercase());
    is_key.then_some((rest, (key, value)))
}

fn mode(text: &str) -> Result<u32, String> {
    let octal = (3..=4).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    let mode = octal.then(|| u32::from_str_radix(text, 8).ok()).flatten().filter(|mode| *mode <= 0o777);
    mode.ok_or_else(|| format!("{text} is not a mode; a mode is three octal digits, as in 660"))
}

fn user_id(name: &str) -> Result<u32, String> {
    match User::from_name(name) {
        Ok(Some(user)) => Ok(user.uid.as_raw()),
        _ => name.parse().map_err(|_| format!("this machine has no user {name}")),
    }
}

fn group_id(name: &str) -> Result<u32, String> {
    match Group::from_name(name) {
        Ok(Some(group)) => Ok(group.gid.as_raw()),
        _ => name.parse().map_err(|_| format!("this machine has no group {name}")),
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(&address.written),
            Self::Unix(address) => write!(f, "unix:{}", address.path.display()),
            Self::Passed => f.write_str("systemd:"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(written: &str) -> Vec<String> {
        match Address::parse(written) {
            Ok(Address::Tcp(address)) => address.sockets.iter().map(ToString::to_string).collect(),
            other => panic!("{written}: {other:?}"),
        }
    }

    #[test]
    fn addresses_are_read_as_documented() {
        for (written, promised) in [
            ("9000", "127.0.0.1:9000"),
            (":9000", "0.0.0.0:9000"),
            ("0.0.0.0:9000", "0.0.0.0:9000"),
            ("http://0.0.0.0:9000", "0.0.0.0:9000"),
            ("http://127.0.0.1:9000/", "127.0.0.1:9000"),
            ("http://[::]:0", "[::]:0"),
            ("[::1]:80", "[::1]:80"),
        ] {
            assert_eq!(tcp(written), [promised], "{written}");
        }
        for written in
            ["https://127.0.0.1:9000", "http://127.0.0.1", "rtmp://x:1", "70000", ":x", ":+1", "[::1]", "[::g]:1", ""]
        {
            assert!(Address::parse(written).is_err(), "{written}");
        }
    }

    #[test]
    fn a_server_to_ask_may_speak_tls() {
        let secure = ServerUrl::parse("https://127.0.0.1:8443/").expect("it is one");
        assert_eq!((secure.is_secure, secure.to_string().as_str()), (true, "https://127.0.0.1:8443"));
        let plain = ServerUrl::parse("http://127.0.0.1:8080").expect("it is one");
        assert_eq!((plain.is_secure, plain.to_string().as_str()), (false, "127.0.0.1:8080"));
        assert!(ServerUrl::parse("https://unix:/run/m.sock").is_err());
    }

    #[test]
    fn a_local_address_can_be_reached_from_this_machine_only() {
        for written in ["unix:/run/admin.sock", "9090", "127.0.0.2:9090", "[::1]:9090", "localhost:9090"] {
            assert!(Address::parse_local(written).is_ok(), "{written}");
        }
        for written in [":9090", "0.0.0.0:9090", "[::]:9090", "192.0.2.1:9090", "systemd:"] {
            let error = Address::parse_local(written).expect_err(written);
            assert!(error.starts_with("only this machine may connect"), "{error}");
        }
    }

    #[test]
    fn a_name_stands_for_each_of_its_addresses_once() {
        let sockets = tcp("localhost:9000");
        assert!(sockets.contains(&"127.0.0.1:9000".to_owned()), "{sockets:?}");
        let mut once = sockets.clone();
        once.dedup();
        assert_eq!(sockets, once);
    }

    #[test]
    fn a_zone_is_an_interface_or_its_number() {
        let lo = nix::net::if_::if_nametoindex("lo").expect("every machine has a loopback interface");
        for written in ["[fe80::1%lo]:80", "http://[fe80::1%25lo]:80/", &format!("[fe80::1%{lo}]:80")] {
            assert_eq!(tcp(written), [format!("[fe80::1%{lo}]:80")], "{written}");
        }
        for written in ["[fe80::1%]:80", "[fe80::1%no-such-one]:80", "[fe80::1%25]:x", "[fe80::1%0]:80"] {
            assert!(Address::parse(written).is_err(), "{written}");
        }
    }

    #[test]
    fn a_unix_socket_has_options_at_its_end() {
        let parse = |written: &str| match Address::parse(written) {
            Ok(Address::Unix(unix)) => (unix.path, unix.access.mode, unix.access.owner, unix.access.group),
            other => panic!("{written}: {other:?}"),
        };
        assert_eq!(parse("unix:/run/m.sock"), ("/run/m.sock".into(), None, None, None));
        assert_eq!(parse("unix:a,b.sock,mode=660"), ("a,b.sock".into(), Some(0o660), None, None));
        assert_eq!(
            parse("unix:m.sock,group=root,owner=root,mode=0600"),
            ("m.sock".into(), Some(0o600), Some(0), Some(0))
        );
        assert_eq!(parse("unix:m.sock,owner=1234"), ("m.sock".into(), None, Some(1234), None));
        for written in [
            "unix:",
            "unix:,mode=660",
            "unix:m.sock,mode=9",
            "unix:m.sock,mode=999",
            "unix:m.sock,mode=1777",
            "unix:m.sock,mod=660",
            "unix:m.sock,owner=no such user",
            "unix:m.sock,group=",
        ] {
            assert!(Address::parse(written).is_err(), "{written}");
        }
    }
}

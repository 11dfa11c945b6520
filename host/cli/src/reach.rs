//! Under which addresses others reach this machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use nix::net::if_::InterfaceFlags;
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;

/// Addresses that are shown. A machine with more of them has containers, and its operator knows which is which.
const SHOWN: usize = 4;

/// The addresses that stand for a listener on all addresses: this machine's own first, then those under which
/// others reach it, the one that its network prefers before the others.
pub(crate) fn addresses(listener: SocketAddr) -> Vec<SocketAddr> {
    let port = listener.port();
    let takes = |ip: &IpAddr| match listener.ip() {
        IpAddr::V4(_) => ip.is_ipv4(),
        // `[::]` takes IPv4, too.
        IpAddr::V6(_) => true,
    };
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let mut ips = Vec::new();
    for ip in preferred().into_iter().chain(of_interfaces()).filter(takes) {
        if !ips.contains(&ip) && ips.len() < SHOWN {
            ips.push(ip);
        }
    }
    std::iter::once(loopback).chain(ips).map(|ip| SocketAddr::new(ip, port)).collect()
}

/// The addresses that this machine uses towards the rest of the world. Nothing is sent: connecting a UDP
/// socket only looks for a route, here to addresses that are for documentation (RFC 5737, RFC 3849).
fn preferred() -> Vec<IpAddr> {
    let towards = |from: IpAddr, to: IpAddr| {
        let socket = UdpSocket::bind((from, 0)).ok()?;
        socket.connect((to, 9)).ok()?;
        socket.local_addr().ok().map(|address| address.ip()).filter(is_reached_by_others)
    };
    let v4 = towards(Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(192, 0, 2, 1).into());
    let v6 = towards(Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into());
    v4.into_iter().chain(v6).collect()
}

fn of_interfaces() -> Vec<IpAddr> {
    let interfaces = nix::ifaddrs::getifaddrs().into_iter().flatten();
    let up = interfaces.filter(|interface| interface.flags.contains(InterfaceFlags::IFF_UP));
    let ips = up.filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
    });
    ips.filter(is_reached_by_others).collect()
}

/// Not by those on one link only: such an address needs the name of an interface on the other side.
fn is_reached_by_others(ip: &IpAddr) -> bool {
    let is_link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !ip.is_loopback() && !ip.is_unspecified() && !is_link_local
}

/// How a QR code is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Colours {
    /// Black on white, by escape sequences.
    Terminal,
    /// By blocks only, for light text on a dark ground.
    Text,
}

/// A QR code as lines of text, with the margin that readers want. None: the text is too long for one.
pub(crate) fn qr_code(text: &str, colours: Colours) -> Option<String> {
    let code = QrCode::new(text).ok()?;
    let blocks = match colours {
        Colours::Terminal => code.render::<Dense1x2>().build(),
        Colours::Text => {
            let (dark, light) = (Dense1x2::Light, Dense1x2::Dark);
            code.render::<Dense1x2>().dark_color(dark).light_color(light).build()
        }
    };
    Some(match colours {
        Colours::Terminal => {
            let lines: Vec<_> = blocks.lines().map(|line| format!("\x1b[30;107m{line}\x1b[0m")).collect();
            lines.join("\n")
        }
        Colours::Text => blocks,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_addresses_begin_with_one_of_this_machine_and_go_on_with_those_for_others() {
        for listener in ["0.0.0.0:9000", "[::]:9000"] {
            let addresses = addresses(listener.parse().expect("it is an address"));
            assert_eq!(addresses[0].to_string(), "127.0.0.1:9000");
            let others = &addresses[1..];
            assert!(others.len() <= SHOWN, "{others:?}");
            assert!(others.iter().all(|address| is_reached_by_others(&address.ip()) && address.port() == 9000));
            assert!(listener.starts_with('[') || others.iter().all(SocketAddr::is_ipv4), "{others:?}");
        }
    }

    #[test]
    fn a_qr_code_has_a_margin_and_is_square() {
        let code = qr_code("http://192.168.1.7:8080/film.mp4", Colours::Text).expect("it is short");
        let lines: Vec<&str> = code.lines().collect();
        let width = lines[0].chars().count();
        assert!(lines.iter().all(|line| line.chars().count() == width), "{code}");
        assert_eq!(lines.len(), width.div_ceil(2), "{code}");
        assert!(lines[0].chars().all(|block| block == '\u{2588}'), "the margin is light:\n{code}");
        assert!(qr_code(&"x".repeat(10_000), Colours::Text).is_none());
    }
}

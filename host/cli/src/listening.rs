//! Where to listen, and how clients speak there: an address, `https://HOST:PORT`, or an address and the word `tls`.

use crate::address::Address;

/// An address to listen on, and how clients speak there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listening {
    pub(crate) address: Address,
    pub(crate) encryption: Encryption,
}

/// Whether clients speak TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encryption {
    None,
    Tls,
}

impl Encryption {
    /// What a URL begins with.
    pub(crate) fn scheme(self) -> &'static str {
        match self {
            Self::None => "http",
            Self::Tls => "https",
        }
    }

    /// What an address begins with where it can be left out.
    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Tls => "https://",
        }
    }
}

impl Listening {
    /// `PORT`, `https://HOST:PORT`, `ADDRESS tls`.
    pub(crate) fn parse(written: &str) -> Result<Self, String> {
        let mut encryption = Encryption::None;
        let mut address = written;
        while let Some((rest, word)) = address.rsplit_once(' ') {
            match word {
                "tls" => encryption = Encryption::Tls,
                "" => {}
                // Paths may have blanks in them.
                _ => break,
            }
            address = rest;
        }
        if let Some(rest) = address.strip_prefix("https://") {
            let address = Address::parse(&format!("http://{rest}"))?;
            return Ok(Self { address, encryption: Encryption::Tls });
        }
        Ok(Self { address: Address::parse(address)?, encryption })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_words_that_say_how_clients_speak() {
        for (written, address, encryption) in [
            ("9000", "9000", Encryption::None),
            ("https://127.0.0.1:9000/", "127.0.0.1:9000", Encryption::Tls),
            ("http://127.0.0.1:9000 tls", "127.0.0.1:9000", Encryption::Tls),
            (":9000  tls", ":9000", Encryption::Tls),
            ("systemd: tls", "systemd:", Encryption::Tls),
            ("unix:/run/a b.sock,mode=660 tls", "unix:/run/a b.sock", Encryption::Tls),
            ("unix:/run/a tlsx", "unix:/run/a tlsx", Encryption::None),
        ] {
            let listening = Listening::parse(written).expect(written);
            assert_eq!((listening.address.to_string().as_str(), listening.encryption), (address, encryption));
        }
        for written in ["tls", "9000 what", "https://", "https://127.0.0.1", ""] {
            assert!(Listening::parse(written).is_err(), "{written}");
        }
    }
}

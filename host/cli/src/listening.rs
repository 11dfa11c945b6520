//! Where to listen, and how clients come and speak there: an address, `https://HOST:PORT`, and the words `tls` and
//! `proxy` after it.

use crate::address::Address;

/// An address to listen on, and how clients speak there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listening {
    pub(crate) address: Address,
    pub(crate) manner: Manner,
}

/// How clients come and speak at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Manner {
    pub(crate) encryption: Encryption,
    pub(crate) origin: Origin,
}

/// Where connections come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Clients,
    /// From a proxy that says in a PROXY header where the client comes from.
    Proxy,
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
        let (mut encryption, mut origin) = (Encryption::None, Origin::Clients);
        let mut address = written;
        while let Some((rest, word)) = address.rsplit_once(' ') {
            match word {
                "tls" => encryption = Encryption::Tls,
                "proxy" => origin = Origin::Proxy,
                "" => {}
                // Paths may have blanks in them.
                _ => break,
            }
            address = rest;
        }
        if let Some(rest) = address.strip_prefix("https://") {
            let address = Address::parse(&format!("http://{rest}"))?;
            return Ok(Self { address, manner: Manner { encryption: Encryption::Tls, origin } });
        }
        Ok(Self { address: Address::parse(address)?, manner: Manner { encryption, origin } })
    }
}

impl Manner {
    /// The words that say so, with a blank before each.
    pub(crate) fn words(self) -> String {
        let Self { encryption, origin } = self;
        let tls = if encryption == Encryption::Tls { " tls" } else { "" };
        let proxy = if origin == Origin::Proxy { " proxy" } else { "" };
        format!("{tls}{proxy}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_words_that_say_how_clients_speak() {
        for (written, address, words) in [
            ("9000", "9000", ""),
            ("https://127.0.0.1:9000/", "127.0.0.1:9000", " tls"),
            ("http://127.0.0.1:9000 tls", "127.0.0.1:9000", " tls"),
            ("http://10.0.0.5:9000 proxy", "10.0.0.5:9000", " proxy"),
            ("https://10.0.0.5:9000 proxy", "10.0.0.5:9000", " tls proxy"),
            (":9000  proxy tls", ":9000", " tls proxy"),
            ("systemd: tls", "systemd:", " tls"),
            ("unix:/run/a b.sock,mode=660 proxy", "unix:/run/a b.sock", " proxy"),
            ("unix:/run/a tlsx", "unix:/run/a tlsx", ""),
        ] {
            let Listening { address: parsed, manner } = Listening::parse(written).expect(written);
            assert_eq!((parsed.to_string().as_str(), manner.words().as_str()), (address, words));
        }
        for written in ["tls", "proxy", "9000 what", "https://", "https://127.0.0.1", ""] {
            assert!(Listening::parse(written).is_err(), "{written}");
        }
    }
}

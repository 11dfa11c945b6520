//! What of a client's life is nobody's business, and is replaced before the life is written down.
//!
//! This is the one file of the host that knows what HTTP looks like, and the only use of it is to leave
//! things out: a capsule must be safe to hand on also where the guest failed before it could have said
//! what is secret.
//!
//! Rules:
//!
//! - Secret are the values of `Authorization`, `Proxy-Authorization` and `Cookie`, and whatever follows a
//!   question mark in a line. Where bodies begin is not known here, so every line counts as one of a head:
//!   it may be too much that is hidden, and not too little. The rest of a body stays as it is.
//! - Filler is as long as what it stands for, and to a guest it is the same kind of thing: a letter for a
//!   letter, an escape for an escape, a character for a character. So a life with filler in it goes as it
//!   went without, unless the guest does something because of what was secret, such as `?m3u`.
//! - Filler stays what it is: to hide twice is to hide once.
//! - A secret that a guest repeats is hidden there too, as far as it can be recognised: where it stands as
//!   it came in, whole or in words of at least [`WORD`] bytes. One that a guest has turned into something
//!   else (the name in a decoded `Basic`) is not.

use std::collections::HashSet;
use std::ops::Range;

/// The names whose values are secret.
const SECRET: [&[u8]; 3] = [b"authorization", b"proxy-authorization", b"cookie"];

/// What stands for a letter, a digit or a mark within a word. Rare in what guests say, so that a reader
/// sees what it is.
const FILLER: u8 = b'X';

/// Bytes of the shortest word of a secret that is looked for by itself. What is shorter can be guessed
/// in a moment, and would be found in `HTTP/1.1`.
const WORD: usize = 4;

/// Where in a text there are secrets, in order.
pub(crate) fn secrets(text: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    // A line that begins with a blank continues the one before, and what was secret there.
    let mut secret_so_far = false;
    for line in lines(text) {
        let bytes = &text[line.clone()];
        let folded = secret_so_far && matches!(bytes, [b' ' | b'\t', ..]);
        let secret = if folded { Some(0..bytes.len()) } else { secret_in(bytes) };
        secret_so_far = secret.is_some();
        found.extend(secret.map(|secret| line.start + secret.start..line.start + secret.end));
    }
    found
}

/// Replaces the secrets in a text by filler.
pub(crate) fn redact(text: &mut [u8]) {
    for secret in secrets(text) {
        redact_all(&mut text[secret]);
    }
}

/// Replaces all of a text by filler.
pub(crate) fn redact_all(text: &mut [u8]) {
    text.copy_from_slice(&filler(text));
}

/// The first place at which `came` is neither what stands in a capsule nor what filler stands there for;
/// also where one of them ends before the other.
pub(crate) fn differs_at(capsule: &[u8], came: &[u8]) -> Option<usize> {
    let filled = filler(came);
    let pairs = capsule.iter().zip(came.iter().zip(&filled));
    // A word may have been hidden without the percent sign in front of it.
    let is_filler = |there: u8, came: u8| came.is_ascii() && there == filled_ascii(came);
    let same = pairs
        .take_while(|(there, (came, filled))| there == came || there == filled || is_filler(**there, **came))
        .count();
    (same < capsule.len().max(came.len())).then_some(same)
}

/// The words of secrets, to find them again in what a guest says.
#[derive(Debug, Default)]
pub(crate) struct Words(HashSet<Vec<u8>>);

impl Words {
    /// The words that `text` has in its secrets and nowhere else: what is also said in the open is none.
    pub(crate) fn of_secrets(text: &[u8]) -> Self {
        let secrets = secrets(text);
        let mut words = HashSet::new();
        for secret in &secrets {
            each_word(&text[secret.clone()], |_, word| {
                words.insert(word.to_vec());
            });
        }
        let starts = secrets.iter().map(|secret| secret.start).chain([text.len()]);
        let ends = [0].into_iter().chain(secrets.iter().map(|secret| secret.end));
        for (end, start) in ends.zip(starts) {
            each_word(&text[end..start], |_, word| {
                words.remove(word);
            });
        }
        // What is filler already can be seen by everybody.
        words.retain(|word| filler(word) != *word);
        Self(words)
    }

    /// Replaces these words by filler, wherever they stand.
    pub(crate) fn redact_in(&self, text: &mut [u8]) {
        let mut found = Vec::new();
        if !self.0.is_empty() {
            each_word(text, |place, word| {
                if self.0.contains(word) {
                    found.push(place);
                }
            });
        }
        for place in found {
            redact_all(&mut text[place]);
        }
    }
}

/// Calls `with` for every word: as runs of what a token is made of, and of letters and digits alone.
fn each_word(text: &[u8], mut with: impl FnMut(Range<usize>, &[u8])) {
    let of_tokens = |byte: &u8| byte.is_ascii_alphanumeric() || !byte.is_ascii() || b"-._~+/%".contains(byte);
    let of_letters = |byte: &u8| byte.is_ascii_alphanumeric() || !byte.is_ascii();
    let kinds: [&dyn Fn(&u8) -> bool; 2] = [&of_tokens, &of_letters];
    for is_part in kinds {
        let mut start = 0;
        for word in text.split(|byte| !is_part(byte)) {
            if word.len() >= WORD {
                with(start..start + word.len(), word);
            }
            start += word.len() + 1;
        }
    }
}

/// The lines of a text that are not empty, whatever ends them: a guest may take a CR for an end, or an LF.
fn lines(text: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0;
    text.split(|byte| matches!(byte, b'\r' | b'\n')).filter_map(move |line| {
        let place = start..start + line.len();
        start = place.end + 1;
        (!place.is_empty()).then_some(place)
    })
}

/// The secret in one line.
fn secret_in(line: &[u8]) -> Option<Range<usize>> {
    if let Some(start) = named_value(line) {
        return Some(start..line.len());
    }
    let start = line.iter().position(|byte| *byte == b'?')? + 1;
    Some(start..start + line[start..].len() - version(&line[start..]).len())
}

/// Where the value begins of a line whose name is one of the secret ones, as a head has it or nearly so:
/// a line that a guest refuses for what is around its name is no less secret.
fn named_value(line: &[u8]) -> Option<usize> {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let name = line.iter().position(|byte| byte.is_ascii_alphabetic())?;
    let length = line[name..].iter().position(|byte| !is_part(byte))?;
    let (said, rest) = line[name..].split_at(length);
    let blanks = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    // What ends the name stays, also where it is no colon: the name would not end there any more.
    let ends = rest.get(blanks).is_some_and(|byte| *byte == b':' || (blanks == 0 && filled_ascii(*byte) != *byte));
    let value = line.len() - rest.len() + blanks + usize::from(ends);
    SECRET.contains(&said.to_ascii_lowercase().as_slice()).then_some(value)
}

/// The version at the end of a request line, with the blank before it. Empty: there is none.
fn version(line: &[u8]) -> &[u8] {
    let blank = line.iter().rposition(|byte| *byte == b' ');
    let Some((rest, version)) = blank.map(|blank| line.split_at(blank)) else { return &[] };
    let is_version = version.len() <= b" HTTP/1.1".len() + 1
        && version.get(1..6).is_some_and(|name| name.eq_ignore_ascii_case(b"HTTP/"));
    if is_version { &line[rest.len()..] } else { &[] }
}

/// What stands for a secret.
fn filler(secret: &[u8]) -> Vec<u8> {
    // Escapes are judged by what they stand for: it is that which a guest may repeat.
    let mut meant = Vec::with_capacity(secret.len());
    let mut places = Vec::with_capacity(secret.len());
    let mut at = 0;
    while at < secret.len() {
        let escaped = escape(&secret[at..]);
        meant.push(escaped.unwrap_or(secret[at]));
        places.push((at, escaped.is_some()));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    let mut filler = secret.to_vec();
    for ((at, escaped), (was, is)) in places.into_iter().zip(meant.iter().zip(&filled(&meant))) {
        match escaped {
            _ if was == is => {}
            false => filler[at] = *is,
            true => filler[at + 1..at + 3].copy_from_slice(format!("{is:02X}").as_bytes()),
        }
    }
    filler
}

/// What an escape at the beginning of a text stands for.
fn escape(text: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = text else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(*high)? << 4 | digit(*low)?)
}

/// Filler for a text without escapes. It is UTF-8 wherever that was, and as broken wherever it was not.
fn filled(text: &[u8]) -> Vec<u8> {
    let mut filled = Vec::with_capacity(text.len());
    for chunk in text.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character.len_utf8() {
                1 => filled.push(filled_ascii(character as u8)),
                2 => filled.extend_from_slice("·".as_bytes()),
                3 => filled.extend_from_slice("…".as_bytes()),
                _ => filled.extend_from_slice("😀".as_bytes()),
            }
        }
        filled.extend_from_slice(match chunk.invalid().len() {
            0 => b"",
            1 => b"\xff",
            // The beginning of a character that does not end.
            2 => &"…".as_bytes()[..2],
            _ => &"😀".as_bytes()[..3],
        });
    }
    filled
}

/// What separates stays as it is, and so does what some guests do not take: the one holds the rest
/// together, the other may be why the life ended as it did.
fn filled_ascii(byte: u8) -> u8 {
    match byte {
        b'!' | b'$' | b'\'' | b'(' | b')' | b'*' | b'+' | b'-' | b'.' | b'/' | b':' | b'?' | b'@' | b'_' | b'~' => {
            FILLER
        }
        _ if byte.is_ascii_alphanumeric() => FILLER,
        _ => byte,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &[u8], hidden: &[u8]) {
        let mut filled = text.to_vec();
        redact(&mut filled);
        assert_eq!(filled.escape_ascii().to_string(), hidden.escape_ascii().to_string());
        assert_eq!(differs_at(&filled, text), None, "{}", text.escape_ascii());
        redact(&mut filled);
        assert_eq!(filled.escape_ascii().to_string(), hidden.escape_ascii().to_string(), "twice is once");
    }

    #[test]
    fn values_of_secret_names_are_hidden() {
        check(
            b"GET / HTTP/1.1\r\nCookie: a=b1; c=d2\r\nHost: a\r\n\r\n",
            b"GET / HTTP/1.1\r\nCookie: X=XX; X=XX\r\nHost: a\r\n\r\n",
        );
        check(b"Authorization: Basic YWxhZA==\r\n", b"Authorization: XXXXX XXXXXX==\r\n");
        check(b"pRoXy-aUtHoRiZaTiOn:\tDigest u=\"me\"\r\n", b"pRoXy-aUtHoRiZaTiOn:\tXXXXXX X=\"XX\"\r\n");
    }

    #[test]
    fn a_name_that_is_nearly_right_hides_as_well() {
        for (text, hidden) in [
            (&b"Cookie : abc"[..], &b"Cookie : XXX"[..]),
            (b" Cookie: abc", b" Cookie: XXX"),
            (b"\0Cookie:abc", b"\0Cookie:XXX"),
            (b"COOKIE=abc", b"COOKIE=XXX"),
            (b"cookie\tabc", b"cookie\tXXX"),
            (b"cookie!!: abc", b"cookie!XX XXX"),
            ("cookieäabc".as_bytes(), "cookie·XXX".as_bytes()),
        ] {
            check(text, hidden);
        }
        for text in [&b"Cookies: abc"[..], b"X-Cookie: abc", b"Cookie", b"GET /cookie: HTTP/1.1", b""] {
            check(text, text);
        }
    }

    #[test]
    fn a_folded_line_goes_on_being_secret() {
        check(b"Cookie: a\r\n b\r\n\tc\r\nHost: d\r\n", b"Cookie: X\r\n X\r\n\tX\r\nHost: d\r\n");
        check(b"Cookie: a\n b\n", b"Cookie: X\n X\n");
        check(b"Referer: /?a\r\n b\r\n", b"Referer: /?X\r\n X\r\n");
        check(b"Host: a\r\n b\r\n", b"Host: a\r\n b\r\n");
    }

    #[test]
    fn what_follows_a_question_mark_is_hidden() {
        for (text, hidden) in [
            (&b"GET /a?b=c&d HTTP/1.1\r\n"[..], &b"GET /a?X=X&X HTTP/1.1\r\n"[..]),
            (b"GET /?a HTTP/1.1", b"GET /?X HTTP/1.1"),
            (b"GET /? HTTP/1.1", b"GET /? HTTP/1.1"),
            (b"GET /?a?b", b"GET /?XXX"),
            (b"GET /?a b c HTTP/1.0\n", b"GET /?X X X HTTP/1.0\n"),
            (b"GET /?a http/2", b"GET /?X http/2"),
            (b"GET /?a HTTP/secret", b"GET /?X XXXXXXXXXXX"),
            (b"Referer: http://a/b?c#d\r\n", b"Referer: http://a/b?X#X\r\n"),
            (b"GET /?a\rCookie: b\r", b"GET /?X\rCookie: X\r"),
        ] {
            check(text, hidden);
        }
    }

    #[test]
    fn filler_is_the_kind_of_thing_that_it_stands_for() {
        for (text, hidden) in [
            ("?a%41%20%2f%zz%4", "?X%58%20%58%XX%X"),
            ("?%C3%A4%c3", "?%C2%B7%FF"),
            ("?aäb€c𝄞", "?X·X…X😀"),
            ("?\"<\\^`{|}>", "?\"<\\^`{|}>"),
        ] {
            check(text.as_bytes(), hidden.as_bytes());
        }
        check(b"?a\xe4b\xe2\x82c\xf0\x9d\x84", b"?X\xffX\xe2\x80X\xf0\x9f\x98");
        check(b"?\x00\x7f", b"?\x00\x7f");
    }

    #[test]
    fn what_a_guest_repeats_is_recognised() {
        let words = Words::of_secrets(b"GET /films?token=k3y0&file=films HTTP/1.1\r\nCookie: id=1234-abcd.efgh\r\n");
        for (text, hidden) in [
            (&b"you are 1234-abcd.efgh"[..], &b"you are XXXXXXXXXXXXXX"[..]),
            (b"<b>abcd</b>", b"<b>XXXX</b>"),
            (b"k3y0/k3y0x", b"XXXX/k3y0x"),
            (b"%41k3y0%41abcd", b"%41k3y0%41abcd"),
            (b"%41%20k3y0", b"%41%20k3y0"),
            // Said in the open, or too short to be told from anything else.
            (b"films id films", b"films id films"),
        ] {
            let mut filled = text.to_vec();
            words.redact_in(&mut filled);
            assert_eq!(filled.escape_ascii().to_string(), hidden.escape_ascii().to_string());
        }
    }

    #[test]
    fn a_difference_is_found_through_filler() {
        assert_eq!(differs_at(b"a?XXX b", b"a?key b"), None);
        assert_eq!(differs_at(b"a?XXX b", b"a?key c"), Some(6));
        assert_eq!(differs_at(b"a?XXX", b"a?keys"), Some(5));
        assert_eq!(differs_at(b"a?key", b"a?XXX"), Some(2));
        assert_eq!(differs_at(b"", b""), None);
    }

    /// Text in which there is something to hide more often than in noise.
    fn texts() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..8),
            proptest::sample::select(vec![
                "\r\n",
                "\n",
                "\r",
                " ",
                "\t",
                "?",
                "%",
                "%41",
                "%C3",
                "%A4",
                "Cookie:",
                "authorization",
                ":",
                " HTTP/1.1",
                "ä",
                "€",
                "abcd",
                "X",
                "GET /",
            ])
            .prop_map(|text| text.as_bytes().to_vec()),
        ];
        proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn hiding_changes_no_length_and_no_line_and_is_done_once(text in texts()) {
            let mut once = text.clone();
            redact(&mut once);
            prop_assert_eq!(once.len(), text.len());
            let places: Vec<_> = lines(&text).collect();
            prop_assert_eq!(lines(&once).collect::<Vec<_>>(), places);
            prop_assert_eq!(secrets(&once), secrets(&text));
            prop_assert_eq!(differs_at(&once, &text), None);
            let mut twice = once.clone();
            redact(&mut twice);
            prop_assert_eq!(twice, once);
        }

        #[test]
        fn filler_is_as_much_text_as_what_it_stands_for(text in texts()) {
            let kinds = |text: &[u8]| String::from_utf8_lossy(text).chars().map(char::len_utf8).collect::<Vec<_>>();
            prop_assert_eq!(kinds(&filled(&text)), kinds(&text));
        }
    }
}

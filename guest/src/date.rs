//! HTTP dates (RFC 9110 section 5.6.7): three forms are read, one is written.

use alloc::vec::Vec;

use crate::contract::Instant;
use crate::text::{decimal, push_decimal, push_two_digits};

/// A point in time in whole seconds, which is all that HTTP dates can say.
pub(crate) type Seconds = u64;

const DAYS: [&[u8; 3]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];
const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
const DAY: Seconds = 86_400;
/// The last second of the year 9999: later ones do not fit the form.
const LAST: Seconds = 253_402_300_799;

/// The whole seconds of a point in time.
pub(crate) fn seconds(instant: Instant) -> Seconds {
    instant / 1_000
}

/// Writes an IMF-fixdate, such as `Sun, 06 Nov 1994 08:49:37 GMT`.
pub(crate) fn push(out: &mut Vec<u8>, time: Seconds) {
    let time = time.min(LAST);
    let (year, month, day) = civil(time / DAY);
    let [w1, w2, w3] = *DAYS[(time / DAY % 7) as usize];
    let [m1, m2, m3] = *MONTHS[month as usize - 1];
    // Every year up to the last one, and all else, has a fixed width: one piece, and not fifteen.
    let second = (time % DAY) as u32;
    let ([d1, d2], [y1, y2], [y3, y4]) = (two(day as u32), two(year as u32 / 100), two(year as u32));
    let ([h1, h2], [i1, i2], [s1, s2]) = (two(second / 3_600), two(second / 60 % 60), two(second % 60));
    #[rustfmt::skip]
    out.extend_from_slice(&[
        w1, w2, w3, b',', b' ', d1, d2, b' ', m1, m2, m3, b' ', y1, y2, y3, y4, b' ',
        h1, h2, b':', i1, i2, b':', s1, s2, b' ', b'G', b'M', b'T',
    ]);
}

/// Writes an ISO 8601 time, such as `1994-11-06T08:49:37Z`, as JSON readers and people sort it.
pub(crate) fn push_iso(out: &mut Vec<u8>, time: Seconds) {
    let time = time.min(LAST);
    let (year, month, day) = civil(time / DAY);
    push_decimal(out, year);
    out.push(b'-');
    push_two_digits(out, month);
    out.push(b'-');
    push_two_digits(out, day);
    out.push(b'T');
    push_clock(out, time);
    out.push(b'Z');
}

/// Writes a time as people read it, to the minute: `1994-11-06 08:49`.
pub(crate) fn push_minute(out: &mut Vec<u8>, time: Seconds) {
    let start = out.len();
    push_iso(out, time);
    out[start + b"1994-11-06".len()] = b' ';
    out.truncate(start + b"1994-11-06 08:49".len());
}

/// The last two digits of a number.
fn two(number: u32) -> [u8; 2] {
    [b'0' + (number / 10 % 10) as u8, b'0' + (number % 10) as u8]
}

fn push_clock(out: &mut Vec<u8>, time: Seconds) {
    push_two_digits(out, time / 3_600 % 24);
    out.push(b':');
    push_two_digits(out, time / 60 % 60);
    out.push(b':');
    push_two_digits(out, time % 60);
}

/// Reads any of the three forms. `now` decides the century of a year with two digits. Dates before 1970
/// are read as 1970: nothing here is older.
pub(crate) fn parse(text: &[u8], now: Seconds) -> Option<Seconds> {
    imf_fixdate(text).or_else(|| rfc_850(text, now)).or_else(|| asctime(text))
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`
fn imf_fixdate(text: &[u8]) -> Option<Seconds> {
    let (_, rest) = text.split_first_chunk::<3>()?;
    let [b',', b' ', d1, d2, b' ', m1, m2, m3, b' ', y1, y2, y3, y4, b' ', clock @ ..] = rest else {
        return None;
    };
    let clock = clock.strip_suffix(b" GMT")?;
    at(decimal(&[*y1, *y2, *y3, *y4])?, month(&[*m1, *m2, *m3])?, decimal(&[*d1, *d2])?, clock)
}

/// `Sunday, 06-Nov-94 08:49:37 GMT`. A year that would lie more than 50 years ahead is the one a
/// century before.
fn rfc_850(text: &[u8], now: Seconds) -> Option<Seconds> {
    let comma = text.iter().position(|byte| *byte == b',')?;
    let [b',', b' ', d1, d2, b'-', m1, m2, m3, b'-', y1, y2, b' ', clock @ ..] = &text[comma..] else {
        return None;
    };
    let clock = clock.strip_suffix(b" GMT")?;
    let (this_year, ..) = civil(now.min(LAST) / DAY);
    let mut year = this_year / 100 * 100 + decimal(&[*y1, *y2])?;
    if year > this_year + 50 {
        year -= 100;
    }
    at(year, month(&[*m1, *m2, *m3])?, decimal(&[*d1, *d2])?, clock)
}

/// `Sun Nov  6 08:49:37 1994`
fn asctime(text: &[u8]) -> Option<Seconds> {
    let (_, rest) = text.split_first_chunk::<3>()?;
    let [b' ', m1, m2, m3, b' ', d1, d2, b' ', rest @ ..] = rest else {
        return None;
    };
    let (clock, year) = rest.split_first_chunk::<8>()?;
    let year = year.strip_prefix(b" ").filter(|year| year.len() == 4)?;
    let day = if *d1 == b' ' { decimal(&[*d2]) } else { decimal(&[*d1, *d2]) };
    at(decimal(year)?, month(&[*m1, *m2, *m3])?, day?, clock)
}

fn month(name: &[u8; 3]) -> Option<u64> {
    MONTHS.iter().position(|month| *month == name).map(|index| index as u64 + 1)
}

/// Puts a date together. None where there is no such day or time; a leap second (`:60`) is the last
/// second of its minute.
fn at(year: u64, month: u64, day: u64, clock: &[u8]) -> Option<Seconds> {
    let &[h1, h2, b':', m1, m2, b':', s1, s2] = clock else {
        return None;
    };
    let (hour, minute, second) = (decimal(&[h1, h2])?, decimal(&[m1, m2])?, decimal(&[s1, s2])?);
    if day == 0 || day > month_length(year, month) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    if year < 1970 {
        return Some(0);
    }
    Some(days(year, month, day) * DAY + hour * 3_600 + minute * 60 + second.min(59))
}

fn month_length(year: u64, month: u64) -> u64 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

// Both ways between days and dates count years from the first of March, so that the leap day is the
// last of its year, in eras of 400 years, after which the calendar repeats. 719,468 is the number of
// days from 0000-03-01 to 1970-01-01.

fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    365 * year + year / 4 - year / 100 + year / 400 + of_year - 719_468
}

fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    if month < 10 { (era * 400 + year, month + 3, day) } else { (era * 400 + year + 1, month - 9, day) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1994-11-06T08:49:37Z, the example of RFC 9110.
    const EXAMPLE: Seconds = 784_111_777;

    fn written(time: Seconds) -> Vec<u8> {
        let mut out = Vec::new();
        push(&mut out, time);
        out
    }

    #[test]
    fn all_three_forms_are_read() {
        for text in ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"] {
            assert_eq!(parse(text.as_bytes(), EXAMPLE), Some(EXAMPLE), "{text}");
        }
    }

    #[test]
    fn imf_fixdate_is_written() {
        assert_eq!(written(EXAMPLE), b"Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(written(0), b"Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(written(951_782_400), b"Tue, 29 Feb 2000 00:00:00 GMT");
        assert_eq!(written(u64::MAX), b"Fri, 31 Dec 9999 23:59:59 GMT");
    }

    #[test]
    fn what_is_written_is_read_again() {
        for day in 0..200_000 {
            let time = day * DAY + 1;
            assert_eq!(parse(&written(time), 0), Some(time));
        }
    }

    #[test]
    fn a_year_of_two_digits_is_at_most_fifty_years_ahead() {
        let in_2026 = 1_780_000_000;
        let year = |text: &[u8]| civil(parse(text, in_2026).expect("a date") / DAY).0;
        assert_eq!(year(b"Sunday, 06-Nov-76 08:49:37 GMT"), 2076);
        assert_eq!(year(b"Sunday, 06-Nov-77 08:49:37 GMT"), 1977);
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in [
            "",
            "0",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 31 Feb 1994 08:49:37 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, 06 nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, +6 Nov 1994 08:49:37 GMT",
            "Sun Nov  6 08:49:37 94",
        ] {
            assert_eq!(parse(text.as_bytes(), EXAMPLE), None, "{text}");
        }
    }
}

//! Sizes and times, as people read them.

use std::fmt;
use std::time::Duration;

/// A number of bytes for people: `1.4 GiB`.
#[derive(Clone, Copy, Debug)]
pub struct Size(pub u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        if self.0 < 1024 {
            return write!(f, "{} B", self.0);
        }
        let exponent = self.0.ilog2() / 10;
        let unit = UNITS[exponent as usize - 1];
        let tenths = (u128::from(self.0) * 10 + (1 << (10 * exponent - 1))) >> (10 * exponent);
        if tenths < 1_000 && !tenths.is_multiple_of(10) {
            write!(f, "{}.{} {unit}", tenths / 10, tenths % 10)
        } else {
            write!(f, "{} {unit}", tenths / 10)
        }
    }
}

/// A duration for people: `12 ms`.
#[derive(Clone, Copy, Debug)]
pub struct Took(pub Duration);

impl fmt::Display for Took {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        match micros {
            0..1_000 => write!(f, "0.{} ms", micros / 100),
            1_000..10_000 => write!(f, "{}.{} ms", micros / 1_000, micros % 1_000 / 100),
            10_000..1_000_000 => write!(f, "{} ms", micros / 1_000),
            _ => write!(f, "{}.{} s", micros / 1_000_000, micros % 1_000_000 / 100_000),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_read_well() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (1536, "1.5 KiB"),
            (320 << 10, "320 KiB"),
            (1_503_238_553, "1.4 GiB"),
            (1 << 20, "1 MiB"),
            (u64::MAX, "16 EiB"),
        ] {
            assert_eq!(Size(bytes).to_string(), text);
        }
        for (micros, text) in
            [(0, "0.0 ms"), (140, "0.1 ms"), (1_234, "1.2 ms"), (12_900, "12 ms"), (2_500_000, "2.5 s")]
        {
            assert_eq!(Took(Duration::from_micros(micros)).to_string(), text);
        }
    }
}

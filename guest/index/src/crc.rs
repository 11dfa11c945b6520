//! The cyclic redundancy checks of the formats, bit by bit of their polynomials into tables.

/// CRC-32 with the polynomial 0x04C11DB7, not reflected, without a final inversion. Ogg (RFC 3533,
/// section 6) begins with 0, MPEG-TS (ISO/IEC 13818-1, annex A) with all ones.
pub(crate) fn crc32(start: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(start, |crc, byte| crc << 8 ^ entry(&CRC32, (crc >> 24) as u8 ^ byte))
}

/// CRC-8 with the polynomial 0x07, of FLAC's frame headers (RFC 9639, section 9.1.8).
pub(crate) fn crc8(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |crc, byte| (entry(&CRC8, crc ^ byte) >> 24) as u8)
}

static CRC32: [u32; 256] = table(0x04C1_1DB7);
static CRC8: [u32; 256] = table(0x0700_0000);

fn entry(table: &[u32; 256], index: u8) -> u32 {
    table.get(usize::from(index)).copied().unwrap_or_default()
}

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
const fn table(polynomial: u32) -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut crc = (index as u32) << 24;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 << 31 == 0 { crc << 1 } else { crc << 1 ^ polynomial };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check values of CRC-32/MPEG-2 and CRC-8/SMBUS in the catalogue of parametrised CRC algorithms.
    #[test]
    fn checks_are_those_of_the_catalogue() {
        assert_eq!(crc32(u32::MAX, b"123456789"), 0x0376_E6E7);
        assert_eq!(crc8(b"123456789"), 0xF4);
    }
}

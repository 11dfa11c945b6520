//! Random choices that can be made again: everything follows from the seed.

/// How something begins that nobody else sends, and how many hexadecimal digits follow.
pub(crate) const CANARY: &str = "canary-";
pub(crate) const CANARY_DIGITS: usize = 32;

/// Numbers that look random and are always the same for the same seed (SplitMix64).
pub(crate) struct Noise(pub(crate) u64);

impl Noise {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("less than a usize")
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..count.div_ceil(8)).flat_map(|_| self.next().to_le_bytes()).collect();
        bytes.truncate(count);
        bytes
    }

    /// Something that nobody else sends.
    pub(crate) fn canary(&mut self) -> String {
        format!("{CANARY}{:016x}{:016x}", self.next(), self.next())
    }
}

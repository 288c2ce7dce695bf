//! What keys are known by in this process: 128 bits that nobody outside can aim at.
//!
//! The hash is SipHash-1-3 with 128 bits of output, under a key of this process, over everything that tells one count
//! from another. So no two keys share a count, but for a chance that even with as many keys as memory can hold is smaller
//! than that of the memory failing, and which nobody who does not know the key can raise.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};

/// What a key is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct KeyHash(pub(super) u64, pub(super) u64);

impl KeyHash {
    /// Bits that differ from key to key.
    #[cfg(feature = "redis")]
    #[expect(clippy::cast_possible_truncation, reason = "only the low bits are wanted")]
    pub(crate) const fn spread(self) -> usize {
        self.1 as usize
    }
}

/// Makes fingerprints under a key of its own.
pub(super) struct Fingerprints(State);

impl Fingerprints {
    pub(super) fn new() -> Self {
        // What the standard library seeds with randomness of the system.
        let random = || RandomState::new().hash_one(0_u8);
        Self(State::keyed(random(), random()))
    }

    /// The fingerprint of `key`.
    #[inline]
    pub(super) fn of<K: Hash + ?Sized>(&self, key: &K) -> KeyHash {
        let mut hasher: Sip = Sip { state: self.0, tail: 0, filled: 0, length: 0 };
        key.hash(&mut hasher);
        hasher.finish_128()
    }
}

/// SipHash with `ROUNDS` rounds for each word and `LAST` at each end.
#[derive(Clone, Copy)]
struct Sip<const ROUNDS: usize = 1, const LAST: usize = 3> {
    state: State,
    /// The bytes that do not fill a word yet, the first in the lowest bits; and how many bits that is.
    tail: u64,
    filled: u32,
    /// Of everything, in bytes.
    length: u64,
}

#[derive(Clone, Copy)]
struct State {
    v0: u64,
    v1: u64,
    v2: u64,
    v3: u64,
}

impl State {
    const fn keyed(k0: u64, k1: u64) -> Self {
        Self {
            v0: k0 ^ 0x736f_6d65_7073_6575,
            // For 128 bits of output.
            v1: k1 ^ 0x646f_7261_6e64_6f6d ^ 0xee,
            v2: k0 ^ 0x6c79_6765_6e65_7261,
            v3: k1 ^ 0x7465_6462_7974_6573,
        }
    }

    #[inline]
    const fn round(self) -> Self {
        let Self { mut v0, mut v1, mut v2, mut v3 } = self;
        v0 = v0.wrapping_add(v1);
        v2 = v2.wrapping_add(v3);
        v1 = v1.rotate_left(13) ^ v0;
        v3 = v3.rotate_left(16) ^ v2;
        v0 = v0.rotate_left(32).wrapping_add(v3);
        v2 = v2.wrapping_add(v1);
        v1 = v1.rotate_left(17) ^ v2;
        v3 = v3.rotate_left(21) ^ v0;
        v2 = v2.rotate_left(32);
        Self { v0, v1, v2, v3 }
    }

    #[inline]
    fn rounds<const N: usize>(self) -> Self {
        (0..N).fold(self, |state, _| state.round())
    }

    #[inline]
    const fn folded(self) -> u64 {
        self.v0 ^ self.v1 ^ self.v2 ^ self.v3
    }
}

impl<const ROUNDS: usize, const LAST: usize> Sip<ROUNDS, LAST> {
    #[inline]
    fn word(&mut self, word: u64) {
        self.state.v3 ^= word;
        self.state = self.state.rounds::<ROUNDS>();
        self.state.v0 ^= word;
    }

    /// Takes the low `bits` of a word, eight to sixty-four; those above them are zero.
    #[inline]
    fn take(&mut self, word: u64, bits: u32) {
        self.length = self.length.wrapping_add(u64::from(bits / 8));
        let whole = self.tail | word << self.filled;
        let filled = self.filled + bits;
        if filled < 64 {
            (self.tail, self.filled) = (whole, filled);
            return;
        }
        self.word(whole);
        // What did not fit; all of it did where nothing was there before.
        self.tail = if self.filled == 0 { 0 } else { word >> (64 - self.filled) };
        self.filled = filled - 64;
    }

    #[inline]
    fn finish_128(mut self) -> KeyHash {
        self.word(self.tail | self.length << 56);
        self.state.v2 ^= 0xee;
        self.state = self.state.rounds::<LAST>();
        let first = self.state.folded();
        self.state.v1 ^= 0xdd;
        self.state = self.state.rounds::<LAST>();
        KeyHash(first, self.state.folded())
    }
}

impl<const ROUNDS: usize, const LAST: usize> Hasher for Sip<ROUNDS, LAST> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.take(u64::from_le_bytes(*word), 64);
        }
        if !rest.is_empty() {
            let (mut last, mut bits) = (0, 0);
            for byte in rest {
                last |= u64::from(*byte) << bits;
                bits += 8;
            }
            self.take(last, bits);
        }
    }

    #[inline]
    fn write_u8(&mut self, number: u8) {
        self.take(number.into(), 8);
    }

    #[inline]
    fn write_u32(&mut self, number: u32) {
        self.take(number.into(), 32);
    }

    #[inline]
    fn write_u64(&mut self, number: u64) {
        self.take(number, 64);
    }

    #[inline]
    fn write_usize(&mut self, number: usize) {
        self.take(number as u64, 64);
    }

    #[inline]
    fn write_isize(&mut self, number: isize) {
        self.write_usize(number.cast_unsigned());
    }

    fn finish(&self) -> u64 {
        self.finish_128().0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of SipHash's authors are for twice as many rounds: SipHash-2-4 with 128 bits of the key 00 01 .. 0f,
    /// over nothing, 00, and 00 01.
    #[test]
    fn hashes_as_its_authors_do() {
        let state = State::keyed(0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908);
        for (length, expected) in [
            (0, 0xa381_7f04_ba25_a8e6_6df6_7214_c755_0293_u128),
            (1, 0xda87_c1d8_6b99_af44_3476_5911_9b22_fc45),
            (2, 0x8177_228d_a4a4_5dc7_fca3_8bde_f60a_ffe4),
        ] {
            let mut sip = Sip::<2, 4> { state, tail: 0, filled: 0, length: 0 };
            (0..length).for_each(|byte| sip.write_u8(byte));
            let KeyHash(first, second) = sip.finish_128();
            let found = u128::from(first.swap_bytes()) << 64 | u128::from(second.swap_bytes());
            assert_eq!(found, expected, "{length} bytes");
        }
    }

    #[test]
    fn the_same_bytes_hash_alike_however_they_come() {
        let fingerprints = Fingerprints::new();
        let bytes: Vec<u8> = (0..40).collect();
        let hash = |cuts: &[usize]| {
            let mut sip: Sip = Sip { state: fingerprints.0, tail: 0, filled: 0, length: 0 };
            let mut from = 0;
            for cut in cuts.iter().chain([&bytes.len()]) {
                sip.write(&bytes[from..*cut]);
                from = *cut;
            }
            sip.finish_128()
        };
        let whole = hash(&[]);
        for first in 0..bytes.len() {
            for second in first..bytes.len() {
                assert_eq!(hash(&[first, second]), whole, "cut at {first} and {second}");
            }
        }
        assert_ne!(fingerprints.of("a"), fingerprints.of("b"));
        assert_ne!(fingerprints.of("a"), Fingerprints::new().of("a"), "each has a key of its own");
    }
}

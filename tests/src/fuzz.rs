//! Seeded nonsense: the same seed gives the same bytes on every machine, so that a failure can be had again.

use std::env;

use serde_json::{Map, Number, Value};

/// Names the seed of a run; without it every run is the same.
pub const SEED_VARIABLE: &str = "AUTHV2_TEST_SEED";

/// A stream of pseudo-random numbers (SplitMix64): good enough for nonsense, useless for secrets.
#[derive(Debug, Clone)]
pub struct Nonsense {
    state: u64,
    seed: u64,
}

impl Nonsense {
    /// From a given seed.
    #[must_use]
    pub const fn seeded(seed: u64) -> Self {
        Self { state: seed, seed }
    }

    /// From `AUTHV2_TEST_SEED`, else from a fixed one.
    #[must_use]
    pub fn from_environment() -> Self {
        Self::seeded(env::var(SEED_VARIABLE).ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_250_821))
    }

    /// The seed, for the message of a failure.
    #[must_use]
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// The next number.
    pub const fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number under `bound`; 0 for a bound of 0.
    pub fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.number() % bound).unwrap_or(0)
    }

    /// One of the choices.
    ///
    /// # Panics
    /// When there are none.
    #[allow(clippy::expect_used, reason = "a choice among nothing is a mistake in the test itself")]
    pub fn choose<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        choices.get(self.below(choices.len())).expect("there is something to choose from")
    }

    /// Bytes of any kind, at most `longest` of them.
    pub fn bytes(&mut self, longest: usize) -> Vec<u8> {
        let length = self.below(longest + 1);
        // Only the low byte is taken, and it always fits.
        (0..length).map(|_| u8::try_from(self.number() & 0xFF).unwrap_or(0)).collect()
    }

    /// A string with what trips parsers up: controls, combining marks, other scripts, quotes, markup, SQL.
    pub fn string(&mut self) -> String {
        const PIECES: [&str; 22] = [
            "",
            "a",
            "Z9",
            " ",
            "\u{0}",
            "\n",
            "\u{7f}",
            "\u{202e}",
            "e\u{301}",
            "é",
            "ß",
            "日本",
            "😀",
            "\u{fffd}",
            "'",
            "\"",
            "\\",
            "<b>",
            "'; DROP TABLE users; --",
            "../..",
            "%00",
            "@example.org",
        ];
        let length = self.below(8);
        (0..length).map(|_| *self.choose(&PIECES)).collect()
    }

    /// Any JSON value, nested at most `depth` deep.
    pub fn json(&mut self, depth: usize) -> Value {
        match self.below(if depth == 0 { 6 } else { 8 }) {
            0 => Value::Null,
            1 => Value::Bool(self.below(2) == 0),
            2 => Value::from(self.number()),
            3 => Value::from(self.number().cast_signed()),
            4 => Number::from_f64(f64::from_bits(self.number())).map_or(Value::Null, Value::Number),
            5 => Value::String(self.string()),
            6 => {
                let length = self.below(5);
                Value::Array((0..length).map(|_| self.json(depth - 1)).collect())
            }
            _ => {
                let length = self.below(5);
                Value::Object((0..length).map(|_| (self.string(), self.json(depth - 1))).collect::<Map<_, _>>())
            }
        }
    }

    /// The body with one of its fields missing, of another type, or joined by one that nobody knows.
    pub fn damage(&mut self, body: &Value) -> Value {
        let Value::Object(fields) = body else { return self.json(3) };
        let mut fields = fields.clone();
        let names: Vec<String> = fields.keys().cloned().collect();
        match self.below(4) {
            0 => {
                fields.remove(self.choose(&names));
            }
            1 => {
                let name = format!("x{}", self.string());
                fields.insert(name, self.json(2));
            }
            _ => {
                let name = self.choose(&names).clone();
                fields.insert(name, self.json(3));
            }
        }
        Value::Object(fields)
    }

    /// The text cut off, or with a few of its bytes changed.
    pub fn corrupt(&mut self, text: &str) -> Vec<u8> {
        let mut bytes = text.as_bytes().to_vec();
        if self.below(3) == 0 {
            bytes.truncate(self.below(bytes.len()));
            return bytes;
        }
        for _ in 0..=self.below(4) {
            let place = self.below(bytes.len());
            let fresh = self.bytes(1).first().copied().unwrap_or(0);
            if let Some(byte) = bytes.get_mut(place) {
                *byte = fresh;
            }
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_nonsense() {
        let mut first = Nonsense::seeded(7);
        let mut second = Nonsense::seeded(7);
        for _ in 0..100 {
            assert_eq!(first.json(4), second.json(4));
        }
    }
}

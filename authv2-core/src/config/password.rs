//! Settings of password hashing and of the passwords that are accepted.

use super::{Problem, Profile, problem::Problems, visitor::Visitor};
use crate::secret::Secret;

/// The weakest Argon2id parameters that OWASP's password storage guidance accepts, as (KiB, passes): more passes make
/// up for less memory.
const OWASP_MINIMUMS: [(u32, u32); 5] = [(47_104, 1), (19_456, 2), (12_288, 3), (9_216, 4), (7_168, 5)];

/// The shortest pepper that the hasher takes.
const PEPPER_BYTES: usize = 16;

/// The most memory that the hasher takes for one hash: 1 GiB.
const MAX_MEMORY_KIB: u32 = 1 << 20;

/// The most memory times passes that the hasher takes for one hash: 4 GiB, some seconds of work.
const MAX_WORK_KIB: u64 = 4 << 20;

/// How passwords are hashed (Argon2id, RFC 9106) and judged.
#[derive(Debug, Clone)]
pub struct PasswordConfig {
    /// The memory of one hash, in KiB, 1 GiB at most; 19456 by default. With `iterations` it is what a guess costs a
    /// thief.
    pub memory_kib: u32,
    /// The passes over it, memory times passes being 4 GiB at most; 2 by default.
    pub iterations: u32,
    /// The lanes; 1 by default.
    pub parallelism: u32,
    /// A key mixed into every hash, kept apart from the database, so that the database alone is not enough for
    /// guessing. At least 16 bytes. Whoever loses it has lost every password.
    pub pepper: Option<Secret>,
    /// The threads that hash; as many as there are cores by default.
    pub threads: Option<usize>,
    /// How many requests wait for them before further ones are shed with 503; 128 by default.
    pub queue: usize,
    /// Words that passwords must not be made of: the product's or the company's name (ASVS 6.2.11).
    pub context_words: Vec<String>,
    /// The least strength by zxcvbn, 0 to 4; none by default. Needs the crate feature `zxcvbn`.
    pub min_strength: Option<u8>,
}

impl Default for PasswordConfig {
    fn default() -> Self {
        Self {
            memory_kib: 19_456,
            iterations: 2,
            parallelism: 1,
            pepper: None,
            threads: None,
            queue: 128,
            context_words: Vec::new(),
            min_strength: None,
        }
    }
}

impl PasswordConfig {
    pub(super) fn walk(&mut self, visitor: &mut impl Visitor) {
        // The upper limits keep a slip of the finger from taking all memory at the first sign-in.
        let least = u64::from(argon2::Params::MIN_M_COST);
        let most = u64::from(MAX_MEMORY_KIB);
        visitor.number("password.memory_kib", least..=most, "Argon2id's memory in KiB.", &mut self.memory_kib);
        visitor.number("password.iterations", 1..=1_000, "Argon2id's passes.", &mut self.iterations);
        visitor.number("password.parallelism", 1..=64, "Argon2id's lanes.", &mut self.parallelism);
        visitor.setting(
            "password.pepper",
            "A key mixed into every hash, of 16 bytes or more; losing it loses every password.",
            &mut self.pepper,
        );
        visitor.number(
            "password.threads",
            1..=1_024,
            "Threads that hash; as many as there are cores where it is not set.",
            &mut self.threads,
        );
        visitor.number("password.queue", 1..=100_000, "Requests that wait for them.", &mut self.queue);
        visitor.setting(
            "password.context_words",
            "Words that passwords must not be made of, as the product's name.",
            &mut self.context_words,
        );
        visitor.number(
            "password.min_strength",
            0..=4,
            "The least strength by zxcvbn; needs the crate feature `zxcvbn`.",
            &mut self.min_strength,
        );
    }

    pub(super) fn check(&self, profile: Profile, problems: &mut Problems) {
        // RFC 9106 section 3.1: at least 8 KiB a lane.
        if self.memory_kib < self.parallelism.saturating_mul(argon2::Params::MIN_M_COST) {
            problems.report("password.memory_kib", Problem::Refused("must be at least 8 KiB for each lane"));
        }
        // Memory over its own limit is reported as such: fewer passes would not mend it.
        let work = u64::from(self.memory_kib) * u64::from(self.iterations);
        if self.memory_kib <= MAX_MEMORY_KIB && work > MAX_WORK_KIB {
            problems.report(
                "password.iterations",
                Problem::Refused("times password.memory_kib must be at most 4194304 KiB (4 GiB)"),
            );
        }
        if profile == Profile::Production && !self.is_strong_enough() {
            problems.report(
                "password.memory_kib",
                Problem::RefusedInProduction(
                    "with these password.iterations Argon2id is below OWASP's minimum (19456 KiB with 2 passes, or its \
                     equivalents)",
                ),
            );
        }
        let pepper = self.pepper.as_ref().map(|pepper| pepper.expose().len());
        match pepper {
            Some(0) => problems.report("password.pepper", Problem::Empty),
            Some(1..PEPPER_BYTES) => {
                problems.report("password.pepper", Problem::Refused("must be at least 16 bytes"));
            }
            _ => {}
        }
        if self.context_words.iter().any(String::is_empty) {
            problems.report("password.context_words", Problem::Expected("words that are not empty"));
        }
        if self.min_strength.is_some() && !cfg!(feature = "zxcvbn") {
            problems.report("password.min_strength", Problem::NeedsFeature("zxcvbn"));
        }
    }

    fn is_strong_enough(&self) -> bool {
        OWASP_MINIMUMS.iter().any(|&(memory, iterations)| self.memory_kib >= memory && self.iterations >= iterations)
    }
}

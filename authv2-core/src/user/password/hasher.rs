//! Argon2id: hashing passwords into PHC strings and verifying them (RFC 9106; OWASP ASVS 11.4.2).

use argon2::{
    Algorithm, Argon2, Block, KeyId, Params, ParamsBuilder, PasswordHash, Version,
    password_hash::phc::{Ident, Output, ParamsString, Salt},
};
use zeroize::Zeroize as _;

use super::Password;
use crate::{
    secret::{NoRandomness, Secret, SecretHash, equal_in_constant_time, random_bytes},
    store::Redacted,
};

const SALT_LEN: usize = 16;
const TAG_LEN: usize = 32;
const KEY_ID_LEN: usize = 6;

/// Memory that any hash may ask for: 1 GiB.
const MAX_MEMORY_KIB: u32 = 1 << 20;
/// Memory times iterations that any hash may ask for: 4 GiB, some seconds of work.
const MAX_WORK_KIB: u64 = 4 << 20;

/// The cost of one hash.
///
/// Default: 19 MiB, two iterations, one lane, the first of OWASP's equivalent choices. Less memory makes guessing on graphics cards
/// cheaper; each hash that runs at the same time takes this much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Argon2Params {
    /// Memory in KiB: 8 for each lane at least, 1 GiB at most.
    pub memory_kib: u32,
    /// Passes over the memory; memory times passes is 4 GiB at most.
    pub iterations: u32,
    /// Lanes. They are computed one after the other here: more of them only help a guesser with more cores.
    pub parallelism: u32,
}

impl Default for Argon2Params {
    fn default() -> Self {
        Self { memory_kib: 19_456, iterations: 2, parallelism: 1 }
    }
}

/// Why a password could not be hashed or judged. Never a statement about the password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HashError {
    /// The stored text is no PHC string with parameters, salt and tag.
    #[error("the stored password hash is malformed")]
    Malformed,
    /// The stored hash is of another algorithm or of a version of Argon2 that does not exist.
    #[error("the stored password hash is of an unknown algorithm")]
    UnknownAlgorithm,
    /// The costs are over the bounds: whoever can write one hash must not be able to exhaust the machine.
    #[error("hashing would cost too much: {memory_kib} KiB, {iterations} iterations")]
    TooCostly {
        /// The memory asked for.
        memory_kib: u32,
        /// The passes asked for.
        iterations: u32,
    },
    /// The costs configured are not ones that Argon2 has.
    #[error("not valid as Argon2 parameters")]
    InvalidParameters,
    /// The hash was made with a pepper that is not configured (any more).
    #[error("the stored password hash needs a pepper that is not configured")]
    UnknownPepper,
    /// The pepper configured is under 16 octets.
    #[error("a pepper has at least 16 octets")]
    WeakPepper,
    /// There is not enough memory for one hash.
    #[error("not enough memory for a password hash")]
    OutOfMemory,
    /// There was no randomness for the salt.
    #[error("no randomness for the salt")]
    NoRandomness,
    /// Hashing stopped in the middle: a defect.
    #[error("hashing a password failed")]
    Defect,
}

impl From<NoRandomness> for HashError {
    fn from(_: NoRandomness) -> Self {
        Self::NoRandomness
    }
}

/// What came of verifying a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Verification {
    /// The password is the one that was hashed.
    pub matches: bool,
    /// The hash was made with other parameters, another variant or another pepper than today's: hash the password anew while it is at
    /// hand, if it matches.
    pub needs_rehash: bool,
}

/// A server-side key mixed into each hash (Argon2's `K`), kept apart from the database: without it, stolen hashes cannot even be guessed at.
///
/// A hash names its pepper by an identifier derived from it (`keyid`), so that hashes from before, and from an earlier pepper, still verify.
#[derive(Debug, Clone)]
pub struct Pepper {
    id: [u8; KEY_ID_LEN],
    key: Secret<Vec<u8>>,
}

impl Pepper {
    /// Takes a random key of at least 16 octets.
    ///
    /// # Errors
    /// [`HashError::WeakPepper`] if it is shorter.
    pub fn new(key: Vec<u8>) -> Result<Self, HashError> {
        let key = Secret::new(key);
        if key.expose().len() < 16 {
            return Err(HashError::WeakPepper);
        }
        let mut labelled = zeroize::Zeroizing::new(b"authv2 pepper id\0".to_vec());
        labelled.extend_from_slice(key.expose());
        let mut id = [0; KEY_ID_LEN];
        for (to, from) in id.iter_mut().zip(SecretHash::of(&labelled).as_bytes()) {
            *to = *from;
        }
        Ok(Self { id, key })
    }
}

/// The memory of one hash, kept between hashes so that the pages need not be asked for and cleared again.
///
/// What a hash leaves in it is wiped where it would help a guesser; see [`PasswordHasher::hash`].
#[derive(Default)]
pub struct WorkMemory(Vec<Block>);

impl WorkMemory {
    /// At least `count` blocks.
    fn blocks(&mut self, count: usize) -> Result<&mut [Block], HashError> {
        let missing = count.saturating_sub(self.0.len());
        self.0.try_reserve_exact(missing).map_err(|_| HashError::OutOfMemory)?;
        if missing > 0 {
            self.0.resize(count, Block::new());
        }
        self.0.get_mut(..count).ok_or(HashError::OutOfMemory)
    }

    /// Gives back what is over `count` blocks.
    fn shrink_to(&mut self, count: usize) {
        if self.0.len() > count {
            self.0.truncate(count);
            self.0.shrink_to_fit();
        }
    }
}

impl std::fmt::Debug for WorkMemory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WorkMemory({} KiB)", self.0.len())
    }
}

/// Hashes and verifies, one after the other and in the caller's thread: use it through a [`HashPool`](super::pool::HashPool).
#[derive(Debug, Clone)]
pub struct PasswordHasher {
    params: Params,
    pepper: Option<Pepper>,
    earlier_peppers: Vec<Pepper>,
}

impl PasswordHasher {
    /// A hasher without a pepper.
    ///
    /// # Errors
    /// [`HashError::InvalidParameters`] or [`HashError::TooCostly`].
    pub fn new(params: Argon2Params) -> Result<Self, HashError> {
        let Argon2Params { memory_kib, iterations, parallelism } = params;
        check_costs(memory_kib, iterations)?;
        let params = Params::new(memory_kib, iterations, parallelism, Some(TAG_LEN));
        let params = params.map_err(|_| HashError::InvalidParameters)?;
        Ok(Self { params, pepper: None, earlier_peppers: Vec::new() })
    }

    /// Hashes with `pepper` from now on. Default: none. Losing it locks every user out.
    #[must_use]
    pub fn with_pepper(mut self, pepper: Pepper) -> Self {
        self.pepper = Some(pepper);
        self
    }

    /// Still verifies hashes made with `pepper`, and wants them hashed anew.
    #[must_use]
    pub fn with_earlier_pepper(mut self, pepper: Pepper) -> Self {
        self.earlier_peppers.push(pepper);
        self
    }

    /// Hashes a password with a fresh salt into a PHC string.
    ///
    /// The first two blocks of each lane follow from the password by BLAKE2b alone, so finding them in a memory dump would make
    /// guessing cheap; after two passes nothing is left of them, after one they are wiped. The rest costs a guesser as
    /// much as the hash itself does, and is left to be overwritten.
    ///
    /// # Errors
    /// [`HashError::NoRandomness`], [`HashError::OutOfMemory`].
    pub fn hash(&self, password: &Password, memory: &mut WorkMemory) -> Result<Redacted, HashError> {
        let salt = random_bytes::<SALT_LEN>()?;
        let mut tag = [0; TAG_LEN];
        let variant = Variant { algorithm: Algorithm::Argon2id, version: Version::V0x13 };
        fill(&variant, &self.params, self.pepper.as_ref(), password, &salt, &mut tag, memory)?;
        let phc = self.phc_string(&salt, &tag).ok_or(HashError::Defect);
        tag.zeroize();
        phc
    }

    /// Compares a password with a stored hash, in constant time once both tags are there.
    ///
    /// Accepts Argon2id, Argon2i and Argon2d of both versions, with any parameters within the bounds.
    ///
    /// # Errors
    /// Says why the hash cannot be judged; that is an incident to look into, not a wrong password.
    pub fn verify(
        &self,
        hash: &Redacted,
        password: &Password,
        memory: &mut WorkMemory,
    ) -> Result<Verification, HashError> {
        let stored = StoredHash::parse(&hash.0)?;
        let pepper = self.pepper_of(&stored.params)?;
        let mut tag = zeroize::Zeroizing::new(vec![0; stored.tag.len()]);
        let outcome = fill(&stored.variant, &stored.params, pepper, password, &stored.salt, &mut tag, memory);
        // A costly hash from elsewhere must not leave its memory with this thread for good.
        memory.shrink_to(self.params.block_count());
        outcome?;
        Ok(Verification {
            matches: equal_in_constant_time(&tag, stored.tag.as_bytes()),
            needs_rehash: !self.is_current(&stored),
        })
    }

    fn is_current(&self, stored: &StoredHash) -> bool {
        let (now, then) = (&self.params, &stored.params);
        let costs = |params: &Params| (params.m_cost(), params.t_cost(), params.p_cost());
        matches!(stored.variant, Variant { algorithm: Algorithm::Argon2id, version: Version::V0x13 })
            && costs(now) == costs(then)
            && then.keyid() == self.pepper.as_ref().map_or(&[][..], |pepper| pepper.id.as_slice())
            && then.data().is_empty()
            && stored.salt.len() >= SALT_LEN
            && stored.tag.len() == TAG_LEN
    }

    /// The pepper that a hash names; none if it names none.
    fn pepper_of(&self, params: &Params) -> Result<Option<&Pepper>, HashError> {
        if params.keyid().is_empty() {
            return Ok(None);
        }
        let mut known = self.pepper.iter().chain(&self.earlier_peppers);
        known.find(|pepper| pepper.id == params.keyid()).map(Some).ok_or(HashError::UnknownPepper)
    }

    fn phc_string(&self, salt: &[u8], tag: &[u8]) -> Option<Redacted> {
        let mut params = ParamsBuilder::new();
        params.m_cost(self.params.m_cost()).t_cost(self.params.t_cost()).p_cost(self.params.p_cost());
        if let Some(pepper) = &self.pepper {
            params.keyid(KeyId::new(&pepper.id).ok()?);
        }
        let phc = PasswordHash {
            algorithm: Ident::new(Algorithm::Argon2id.as_str()).ok()?,
            version: Some(Version::V0x13.into()),
            params: ParamsString::try_from(&params.build().ok()?).ok()?,
            salt: Some(Salt::new(salt).ok()?),
            hash: Some(Output::new(tag).ok()?),
        };
        Some(Redacted(phc.to_string()))
    }
}

struct Variant {
    algorithm: Algorithm,
    version: Version,
}

/// A PHC string that was read and found to be within the bounds.
struct StoredHash {
    variant: Variant,
    params: Params,
    salt: Salt,
    tag: Output,
}

impl StoredHash {
    fn parse(text: &str) -> Result<Self, HashError> {
        let phc = PasswordHash::new(text).map_err(|_| HashError::Malformed)?;
        let algorithm = Algorithm::try_from(phc.algorithm.as_str()).map_err(|_| HashError::UnknownAlgorithm)?;
        // No version means the first one (the PHC string format's rule for Argon2).
        let version = phc.version.map_or(Ok(Version::V0x10), Version::try_from);
        let version = version.map_err(|_| HashError::UnknownAlgorithm)?;
        let params = Params::try_from(&phc).map_err(|_| HashError::Malformed)?;
        check_costs(params.m_cost(), params.t_cost())?;
        let (Some(salt), Some(tag)) = (phc.salt, phc.hash) else { return Err(HashError::Malformed) };
        Ok(Self { variant: Variant { algorithm, version }, params, salt, tag })
    }
}

fn check_costs(memory_kib: u32, iterations: u32) -> Result<(), HashError> {
    let work = u64::from(memory_kib).saturating_mul(u64::from(iterations));
    if memory_kib > MAX_MEMORY_KIB || work > MAX_WORK_KIB {
        return Err(HashError::TooCostly { memory_kib, iterations });
    }
    Ok(())
}

fn fill(
    variant: &Variant,
    params: &Params,
    pepper: Option<&Pepper>,
    password: &Password,
    salt: &[u8],
    tag: &mut [u8],
    memory: &mut WorkMemory,
) -> Result<(), HashError> {
    let argon2 = match pepper {
        Some(pepper) => {
            Argon2::new_with_secret(pepper.key.expose(), variant.algorithm, variant.version, params.clone())
                .map_err(|_| HashError::InvalidParameters)?
        }
        None => Argon2::new(variant.algorithm, variant.version, params.clone()),
    };
    let blocks = memory.blocks(params.block_count())?;
    let outcome = argon2.hash_password_into_with_memory(password.expose().as_bytes(), salt, tag, &mut *blocks);
    if params.t_cost() < 2 {
        let lanes = usize::try_from(params.p_cost()).unwrap_or(1);
        let lane_length = params.block_count().checked_div(lanes).unwrap_or(1).max(1);
        for lane in blocks.chunks_mut(lane_length) {
            lane.iter_mut().take(2).for_each(|block| block.as_mut().zeroize());
        }
    }
    outcome.map_err(|_| HashError::InvalidParameters)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: Argon2Params = Argon2Params { memory_kib: 32, iterations: 2, parallelism: 1 };

    fn hasher() -> PasswordHasher {
        PasswordHasher::new(CHEAP).unwrap()
    }

    fn password(text: &str) -> Password {
        Password::for_verification(text).unwrap()
    }

    fn verify(hasher: &PasswordHasher, hash: &str, text: &str) -> Result<Verification, HashError> {
        hasher.verify(&Redacted(hash.to_owned()), &password(text), &mut WorkMemory::default())
    }

    fn hash(hasher: &PasswordHasher, text: &str) -> String {
        hasher.hash(&password(text), &mut WorkMemory::default()).unwrap().0
    }

    #[test]
    fn a_password_verifies_against_its_hash_only() {
        let stored = hash(&hasher(), "violet teapot");
        assert!(stored.starts_with("$argon2id$v=19$m=32,t=2,p=1$"), "{stored}");
        assert_eq!(
            verify(&hasher(), &stored, "violet teapot"),
            Ok(Verification { matches: true, needs_rehash: false })
        );
        assert_eq!(
            verify(&hasher(), &stored, "violet teapoT"),
            Ok(Verification { matches: false, needs_rehash: false })
        );
        assert_ne!(stored, hash(&hasher(), "violet teapot"), "each hash has its own salt");
    }

    #[test]
    fn spellings_of_a_password_verify() {
        let stored = hash(&hasher(), "caf\u{e9} teapot");
        assert!(verify(&hasher(), &stored, "cafe\u{301} teapot").unwrap().matches);
    }

    #[test]
    fn other_variants_versions_and_costs_verify_and_want_a_rehash() {
        let memory = &mut WorkMemory::default();
        for algorithm in [Algorithm::Argon2id, Algorithm::Argon2i, Algorithm::Argon2d] {
            for (version, field) in [(Version::V0x13, "$v=19"), (Version::V0x10, "$v=16"), (Version::V0x10, "")] {
                let params = Params::new(64, 1, 2, Some(24)).unwrap();
                let mut tag = [0; 24];
                fill(
                    &Variant { algorithm, version },
                    &params,
                    None,
                    &password("violet teapot"),
                    b"eight or more",
                    &mut tag,
                    memory,
                )
                .unwrap();
                let (salt, tag) = (Salt::new(b"eight or more").unwrap(), Output::new(&tag).unwrap());
                let stored = format!("${}{field}$m=64,t=1,p=2${salt}${tag}", algorithm.as_str());
                assert_eq!(
                    verify(&hasher(), &stored, "violet teapot"),
                    Ok(Verification { matches: true, needs_rehash: true }),
                    "{stored}"
                );
                assert!(!verify(&hasher(), &stored, "violet teapo").unwrap().matches);
            }
        }
    }

    #[test]
    fn agrees_with_the_reference_implementation() {
        // Made with the C reference's command line: echo -n password | argon2 somesalt -t 2 -m 16 -p 1 (RFC 9106's authors).
        let stored = "$argon2i$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$wWKIMhR9lyDFvRz9YTZweHKfbftvj+qf+YFY4NeBbtA";
        assert!(verify(&hasher(), stored, "password").unwrap().matches);
    }

    #[test]
    fn changed_costs_want_a_rehash() {
        let stored = hash(&hasher(), "violet teapot");
        for params in [
            Argon2Params { memory_kib: 40, ..CHEAP },
            Argon2Params { iterations: 3, ..CHEAP },
            Argon2Params { parallelism: 2, ..CHEAP },
        ] {
            let verdict = verify(&PasswordHasher::new(params).unwrap(), &stored, "violet teapot");
            assert_eq!(verdict, Ok(Verification { matches: true, needs_rehash: true }));
        }
    }

    #[test]
    fn a_pepper_is_needed_once_used_and_can_be_introduced_and_rotated() {
        let [first, second] = [1, 2].map(|byte| Pepper::new(vec![byte; 32]).unwrap());
        let old = hash(&hasher(), "violet teapot");
        let peppered = hasher().with_pepper(first.clone());
        let stored = hash(&peppered, "violet teapot");
        assert!(stored.contains(",keyid="), "{stored}");
        assert_eq!(
            verify(&peppered, &stored, "violet teapot"),
            Ok(Verification { matches: true, needs_rehash: false })
        );
        assert_eq!(verify(&peppered, &old, "violet teapot"), Ok(Verification { matches: true, needs_rehash: true }));
        assert_eq!(verify(&hasher(), &stored, "violet teapot"), Err(HashError::UnknownPepper));
        let rotated = hasher().with_pepper(second.clone()).with_earlier_pepper(first);
        assert_eq!(verify(&rotated, &stored, "violet teapot"), Ok(Verification { matches: true, needs_rehash: true }));
        let unnamed = stored.split_once(",keyid=").map(|(head, tail)| format!("{head}{}", &tail[8..])).unwrap();
        assert!(!verify(&peppered, &unnamed, "violet teapot").unwrap().matches, "the pepper changes the tag");
        assert!(matches!(Pepper::new(vec![1; 15]), Err(HashError::WeakPepper)));
        assert!(!format!("{peppered:?}").contains("1, 1, 1"));
    }

    #[test]
    fn refuses_hostile_and_broken_hashes_without_doing_the_work() {
        let rest = "$c29tZXNhbHQ$wWKIMhR9lyDFvRz9YTZweHKfbftvj+qf+YFY4NeBbtA";
        for (params, why) in [
            ("m=4294967295,t=1,p=1", HashError::TooCostly { memory_kib: u32::MAX, iterations: 1 }),
            ("m=1048577,t=1,p=1", HashError::TooCostly { memory_kib: 1_048_577, iterations: 1 }),
            ("m=8,t=4294967295,p=1", HashError::TooCostly { memory_kib: 8, iterations: u32::MAX }),
            ("m=1048576,t=5,p=1", HashError::TooCostly { memory_kib: 1_048_576, iterations: 5 }),
            ("m=8,t=0,p=1", HashError::Malformed),
            ("m=8,t=1,p=0", HashError::Malformed),
            ("m=8,t=1,p=2", HashError::Malformed),
            ("m=64,t=1,p=1,x=1", HashError::Malformed),
            ("m=64,t=1,p=1,keyid=AAAA", HashError::UnknownPepper),
        ] {
            assert_eq!(verify(&hasher(), &format!("$argon2id$v=19${params}{rest}"), "password"), Err(why), "{params}");
        }
        for text in [
            "",
            "x",
            "$argon2id$v=19$m=64,t=1,p=1",
            "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ",
            "$2b$12$abcdefghijklmnopqrstuv",
        ] {
            assert_eq!(verify(&hasher(), text, "password"), Err(HashError::Malformed), "{text}");
        }
        assert_eq!(
            verify(&hasher(), &format!("$scrypt$ln=1,r=1,p=1{rest}"), "password"),
            Err(HashError::UnknownAlgorithm)
        );
        assert_eq!(
            verify(&hasher(), &format!("$argon2id$v=18$m=64,t=1,p=1{rest}"), "password"),
            Err(HashError::UnknownAlgorithm)
        );
    }

    #[test]
    fn memory_is_kept_up_to_the_live_cost() {
        let memory = &mut WorkMemory::default();
        let small = hasher();
        let large = PasswordHasher::new(Argon2Params { memory_kib: 256, ..CHEAP }).unwrap();
        let stored = large.hash(&password("violet teapot"), memory).unwrap();
        assert_eq!(memory.0.len(), 256);
        assert!(small.verify(&stored, &password("violet teapot"), memory).unwrap().matches);
        assert_eq!(memory.0.len(), 32);
        assert!(small.hash(&password("violet teapot"), memory).is_ok());
    }

    #[test]
    fn one_pass_leaves_no_first_blocks_behind() {
        let memory = &mut WorkMemory::default();
        let hasher = PasswordHasher::new(Argon2Params { memory_kib: 64, iterations: 1, parallelism: 2 }).unwrap();
        hasher.hash(&password("violet teapot"), memory).unwrap();
        for at in [0, 1, 32, 33] {
            assert!(memory.0[at].as_ref().iter().all(|word| *word == 0), "{at}");
        }
    }

    #[test]
    fn refuses_costs_that_argon2_does_not_have() {
        for params in [
            Argon2Params { memory_kib: 7, ..CHEAP },
            Argon2Params { iterations: 0, ..CHEAP },
            Argon2Params { parallelism: 0, ..CHEAP },
        ] {
            assert!(matches!(PasswordHasher::new(params), Err(HashError::InvalidParameters)), "{params:?}");
        }
        let params = Argon2Params { memory_kib: MAX_MEMORY_KIB + 1, ..CHEAP };
        assert!(matches!(PasswordHasher::new(params), Err(HashError::TooCostly { .. })));
    }
}

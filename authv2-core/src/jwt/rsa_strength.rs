//! Refuses RSA public keys that are known to be weak.

use super::KeyError;

/// Primes whose residues the ROCA test looks at.
const PRIMES: [u32; 38] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109,
    113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
];

/// Checks a public key, given big-endian and without leading zeros: 2048 to 8192 bits (RFC 7518 section 3.3 and a
/// bound on the work), an odd exponent over 1, and a modulus that is not of the ROCA family (CVE-2017-15361).
pub(super) fn check(modulus: &[u8], exponent: &[u8]) -> Result<(), KeyError> {
    let bits = bits(modulus);
    if !(2048..=8192).contains(&bits) {
        return Err(KeyError::RsaSize { bits });
    }
    if exponent.last().is_none_or(|last| last % 2 == 0) || exponent == [1] {
        return Err(KeyError::Rejected);
    }
    if is_roca(modulus) { Err(KeyError::Roca) } else { Ok(()) }
}

/// The length of a number, given big-endian.
pub(super) fn bits(number: &[u8]) -> usize {
    number.first().map_or(0, |first| number.len() * 8 - first.leading_zeros() as usize)
}

/// Whether every residue of the modulus is a power of 65537, which is how the affected chips made their primes. The
/// chance that a sound key looks like that is below 2^-50.
fn is_roca(modulus: &[u8]) -> bool {
    PRIMES.iter().all(|&prime| {
        let residue = modulus.iter().fold(0, |rest, &byte| (rest * 256 + u32::from(byte)) % prime);
        let mut power = 1;
        (0..prime).any(|_| {
            power = power * 65_537 % prime;
            power == residue
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The product of all primes looked at, plus one: 1, a power of everything, modulo each of them.
    fn one_modulo_every_prime() -> Vec<u8> {
        let mut limbs = vec![1_u32];
        for prime in PRIMES {
            let mut carry = 0;
            for limb in &mut limbs {
                let value = *limb * prime + carry;
                *limb = value % 256;
                carry = value / 256;
            }
            if carry > 0 {
                limbs.push(carry);
            }
        }
        limbs[0] += 1;
        limbs.into_iter().rev().map(|limb| u8::try_from(limb).unwrap()).collect()
    }

    #[test]
    fn recognises_the_roca_pattern() {
        let mut number = one_modulo_every_prime();
        assert!(is_roca(&number));
        *number.last_mut().unwrap() -= 1;
        assert!(!is_roca(&number));
    }

    #[test]
    fn refuses_short_moduli_and_bad_exponents() {
        let modulus = [0xd5; 256];
        assert!(check(&modulus, &[1, 0, 1]).is_ok());
        assert!(matches!(check(&modulus[..128], &[1, 0, 1]), Err(KeyError::RsaSize { bits: 1024 })));
        for exponent in [&[][..], &[1], &[2], &[1, 0, 0]] {
            assert!(matches!(check(&modulus, exponent), Err(KeyError::Rejected)), "{exponent:?}");
        }
    }
}

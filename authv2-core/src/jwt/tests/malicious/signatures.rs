//! Signatures that are none, or another's.

use super::*;

/// The order of P-256's group, big-endian.
const P256_ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad, 0xa7,
    0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// The order of Ed25519's group, little-endian.
const ED25519_ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// The sum of two little-endian numbers, modulo 2^256.
fn sum(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut carry = 0_u16;
    a.iter()
        .zip(b)
        .map(|(a, b)| {
            carry += u16::from(*a) + u16::from(*b);
            let digit = u8::try_from(carry & 0xff).unwrap();
            carry >>= 8;
            digit
        })
        .collect()
}

/// The difference of two big-endian numbers of which the first is the larger.
fn difference(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut borrow = 0_i16;
    let mut digits: Vec<u8> = a
        .iter()
        .zip(b)
        .rev()
        .map(|(a, b)| {
            let digit = i16::from(*a) - i16::from(*b) - borrow;
            borrow = i16::from(digit < 0);
            u8::try_from(digit.rem_euclid(256)).unwrap()
        })
        .collect();
    digits.reverse();
    digits
}

/// Two unsigned big-endian numbers as ASN.1 has them (RFC 3279 section 2.2.3).
fn der(signature: &[u8]) -> Vec<u8> {
    let integer = |number: &[u8]| {
        let mut digits: Vec<u8> = number.iter().copied().skip_while(|&digit| digit == 0).collect();
        if digits.first().is_none_or(|&first| first >= 0x80) {
            digits.insert(0, 0);
        }
        [&[2, u8::try_from(digits.len()).unwrap()], digits.as_slice()].concat()
    };
    let (r, s) = signature.split_at(signature.len() / 2);
    let both = [integer(r), integer(s)].concat();
    [&[0x30, u8::try_from(both.len()).unwrap()], both.as_slice()].concat()
}

refused! {
    EdDSA: {
        the_signature_of_another_token: BadSignature, |f| {
            let other = f.claim("sub", json!("somebody-else"));
            let [header, payload, _] = f.parts();
            format!("{header}.{payload}.{}", other.rsplit_once('.').unwrap().1)
        };
        the_payload_of_another_token: BadSignature, |f| {
            let other = f.claim("sub", json!("somebody-else"));
            let [header, _, signature] = f.parts();
            format!("{header}.{}.{signature}", other.split('.').nth(1).unwrap())
        };
        a_signature_over_the_payload_alone: BadSignature, |f| {
            let [header, payload, _] = f.parts();
            let signature = f.key().sign(payload.as_bytes()).unwrap();
            format!("{header}.{payload}.{}", URL_SAFE_NO_PAD.encode(signature))
        };
        a_signature_over_what_is_decoded: BadSignature, |f| {
            let [header, payload, _] = f.parts();
            let input = format!("{}.{}", f.header(), f.claims);
            format!("{header}.{payload}.{}", URL_SAFE_NO_PAD.encode(f.key().sign(input.as_bytes()).unwrap()))
        };
        a_header_and_a_payload_that_meet_elsewhere: BadHeader, |f| {
            let [header, payload, signature] = f.parts();
            let place = (header.len() - 1) / 4 * 4;
            format!("{}.{}{payload}.{signature}", &header[..place], &header[place..])
        };
        one_bit_of_the_signature: BadSignature, |f| f.signature(|mut signature| { signature[0] ^= 1; signature });
        a_signature_cut_short: BadSignature, |f| f.signature(|signature| signature[..63].to_vec());
        a_signature_with_a_byte_more: BadSignature, |f| f.signature(|signature| [&*signature, &[0]].concat());
        a_signature_twice: BadSignature, |f| f.signature(|signature| signature.repeat(2));
        a_signature_of_zeros: BadSignature, |f| f.signature(|signature| vec![0; signature.len()]);
        a_signature_whose_scalar_is_beyond_the_order: BadSignature, |f| f.signature(|signature| {
            let (point, scalar) = signature.split_at(32);
            [point, &sum(scalar, &ED25519_ORDER)].concat()
        });
        a_signature_with_the_point_of_order_one: BadSignature, |f| f.signature(|_| {
            let mut signature = vec![0; 64];
            signature[0] = 1;
            signature
        });
        a_signature_with_a_point_that_is_not_canonical: BadSignature, |f| f.signature(|_| {
            // y = p + 1, which is 1 again.
            let mut signature = vec![0xff; 32];
            (signature[0], signature[31]) = (0xee, 0x7f);
            signature.resize(64, 0);
            signature
        });
    }
    ES256: {
        the_psychic_signature: BadSignature, |f| f.signature(|_| vec![0; 64]);
        an_r_of_zero: BadSignature, |f| f.signature(|signature| [&[0; 32], &signature[32..]].concat());
        an_s_of_zero: BadSignature, |f| f.signature(|signature| [&signature[..32], &[0; 32]].concat());
        an_r_and_s_of_the_order: BadSignature, |f| f.signature(|_| P256_ORDER.repeat(2));
        an_s_beyond_the_order: BadSignature, |f| f.signature(|signature| {
            let mut s = signature[32..].to_vec();
            s.reverse();
            let mut order = P256_ORDER.to_vec();
            order.reverse();
            let mut beyond = sum(&s, &order);
            beyond.reverse();
            [&signature[..32], &beyond].concat()
        });
        a_signature_in_der: BadSignature, |f| f.signature(|signature| der(&signature));
        a_signature_whose_halves_changed_places: BadSignature, |f| f.signature(|signature| {
            [&signature[32..], &signature[..32]].concat()
        });
        a_signature_of_another_curve: BadSignature, |f| {
            f.by(&SigningKey::generate(Algorithm::ES384).unwrap(), &f.header())
        };
        a_signature_as_long_as_another_curves: BadSignature, |f| f.signature(|signature| {
            [&[0; 16], &signature[..32], &[0; 16], &signature[32..]].concat()
        });
    }
    ES384: {
        the_psychic_signature_on_p384: BadSignature, |f| f.signature(|_| vec![0; 96]);
        a_signature_of_the_smaller_curve: BadSignature, |f| {
            f.by(&SigningKey::generate(Algorithm::ES256).unwrap(), &f.header())
        };
    }
    HS256: {
        an_hmac_cut_short: BadSignature, |f| f.signature(|tag| tag[..16].to_vec());
        an_hmac_of_zeros: BadSignature, |f| f.signature(|tag| vec![0; tag.len()]);
        an_hmac_left_out: BadSignature, |f| f.signature(|_| Vec::new());
        an_hmac_under_a_word: BadSignature, |f| f.hmac(b"secret");
        an_hmac_under_no_secret: BadSignature, |f| f.hmac(b"");
        an_hmac_under_a_key_for_another_purpose: BadSignature, |f| {
            f.hmac(MasterKey::from_bytes(&[1; 32]).derive("csrf tokens").as_slice())
        };
        a_longer_hmac_under_the_same_secret: AlgorithmMismatch, |f| f.header_with("alg", json!("HS512"));
    }
}

/// Of the two signatures (r, s) and (r, n - s) JWS demands neither (RFC 7518 section 3.4): both are taken, so that
/// nothing may be built on a token's signature being the only one. What a token is revoked by is its `jti`.
#[test]
fn the_other_signature_of_ecdsa_is_as_good() {
    let forge = Forge::new(Algorithm::ES256);
    let other = forge.signature(|signature| {
        let (r, s) = signature.split_at(32);
        [r, &difference(&P256_ORDER, s)].concat()
    });
    assert_ne!(other, forge.good());
    assert!(forge.deployment.verify(&other).is_ok());
}

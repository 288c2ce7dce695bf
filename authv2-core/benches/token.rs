//! Tokens that nobody has seen before, verified and minted: ours, `jsonwebtoken`'s, and the signature alone.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark may stop where it cannot go on")]

use std::{hint::black_box, sync::Arc, time::Duration};

use authv2_core::{
    clock::{SystemClock, Timestamp},
    id::{OrgId, SessionId},
    jwt::{AccessClaims, Algorithm, Audience, JwtService, SigningKey, seal_key},
    master_key::MasterKey,
    store::KeyState,
};
use criterion::{Criterion, criterion_group, criterion_main};
use futures_util::FutureExt as _;
use jsonwebtoken::{DecodingKey, EncodingKey, Header, Validation, decode, encode, jwk::Jwk};
use serde_json::Value;
use uuid::Uuid;

criterion_group!(benches, verify, mint);
criterion_main!(benches);

const ISSUER: &str = "https://auth.example.org";
const ALGORITHMS: [Algorithm; 4] = [Algorithm::EdDSA, Algorithm::ES256, Algorithm::RS256, Algorithm::HS256];

struct World {
    algorithm: Algorithm,
    key: SigningKey,
    service: JwtService,
    now: Timestamp,
    claims: AccessClaims,
    token: String,
}

impl World {
    fn new(algorithm: Algorithm) -> Self {
        let (now, master) = (SystemClock::wall(), Arc::new(MasterKey::from_bytes(&[1; 32])));
        let key = SigningKey::generate(algorithm).unwrap();
        let record = seal_key(&key, KeyState::Active, now, &master).unwrap();
        let service = JwtService::new(ISSUER, ISSUER, &[record], master).unwrap();
        let claims = AccessClaims {
            iss: ISSUER.to_owned(),
            aud: Audience::one(ISSUER),
            sub: Uuid::now_v7().to_string(),
            exp: now + Duration::from_secs(3600),
            iat: now,
            jti: Uuid::now_v7().to_string(),
            client_id: "authv2".to_owned(),
            sid: Some(SessionId::new()),
            org: Some(OrgId::new()),
            store: None,
            amr: vec!["pwd".to_owned()],
            acr: Some("aal1".to_owned()),
            auth_time: None,
            scope: None,
            cnf: None,
        };
        let token = service.mint(&claims, now).now_or_never().unwrap().unwrap();
        Self { algorithm, key, service, now, claims, token }
    }

    /// What is signed.
    fn input(&self) -> &[u8] {
        self.token.rsplit_once('.').unwrap().0.as_bytes()
    }

    fn their_algorithm(&self) -> jsonwebtoken::Algorithm {
        self.algorithm.as_str().parse().unwrap()
    }
}

fn verify(criterion: &mut Criterion) {
    for algorithm in ALGORITHMS {
        let world = World::new(algorithm);
        let mut group = criterion.benchmark_group(format!("verify {algorithm}, {} bytes", world.input().len()));
        group.bench_function("ours", |bencher| {
            bencher.iter(|| world.service.verify(black_box(&world.token), world.now).unwrap());
        });
        let key = match world.key.public_jwk("k") {
            Some(jwk) => {
                let jwk: Jwk = serde_json::from_value(serde_json::to_value(jwk).unwrap()).unwrap();
                DecodingKey::from_jwk(&jwk).unwrap()
            }
            None => DecodingKey::from_secret(&world.key.private_bytes().unwrap()),
        };
        let mut validation = Validation::new(world.their_algorithm());
        validation.set_audience(&[ISSUER]);
        validation.set_issuer(&[ISSUER]);
        group.bench_function("jsonwebtoken", |bencher| {
            bencher.iter(|| decode::<Value>(black_box(&world.token), &key, &validation).unwrap());
        });
        let (key, signature) = (world.key.verifying_key().unwrap(), world.key.sign(world.input()).unwrap());
        group.bench_function("the signature alone", |bencher| {
            bencher.iter(|| assert!(key.verifies(black_box(world.input()), &signature)));
        });
        group.finish();
    }
}

fn mint(criterion: &mut Criterion) {
    for algorithm in ALGORITHMS {
        let world = World::new(algorithm);
        let mut group = criterion.benchmark_group(format!("mint {algorithm}"));
        group.bench_function("ours", |bencher| {
            bencher.iter(|| world.service.mint(black_box(&world.claims), world.now).now_or_never().unwrap().unwrap());
        });
        let private = world.key.private_bytes().unwrap();
        let key = match algorithm {
            Algorithm::EdDSA => Some(EncodingKey::from_ed_der(&private)),
            Algorithm::ES256 => Some(EncodingKey::from_ec_der(&private)),
            Algorithm::HS256 => Some(EncodingKey::from_secret(&private)),
            _ => None,
        };
        if let Some(key) = key {
            let header = Header { kid: Some("k".to_owned()), ..Header::new(world.their_algorithm()) };
            group.bench_function("jsonwebtoken", |bencher| {
                bencher.iter(|| encode(&header, black_box(&world.claims), &key).unwrap());
            });
        }
        group.bench_function("the signature alone", |bencher| {
            bencher.iter(|| world.key.sign(black_box(world.input())).unwrap());
        });
        group.finish();
    }
}

//! Random histories of refresh rotations, judged by a naive model in memory.
//!
//! Each step presents one to three tokens at the same moment, in parallel where there are several. Whatever the
//! store does inside, its answers must be those of the model in *some* order of the step's rotations.

use std::time::Duration;

use super::{
    Case,
    act::{DAY, GRACE, IDLE, MINUTE, Random, act, at, rotation},
    refresh::{Verdict, rotate, verdict},
    room,
    world::{World, at_once},
};
use crate::{clock::Timestamp, secret::SecretHash, store::Rotation};

pub(super) const CASES: &[Case] = room!["refresh_model": answers_random_histories_as_the_model_does];

const HISTORIES: u64 = 12;
const STEPS: u64 = 40;

/// A token of the model.
#[derive(Debug, Clone)]
struct Token {
    hash: SecretHash,
    used: Option<Use>,
}

/// The one use of a token.
#[derive(Debug, Clone)]
struct Use {
    at: Timestamp,
    salt: [u8; 16],
    successor: SecretHash,
}

/// One session as the rules have it.
#[derive(Debug, Clone)]
struct Model {
    tokens: Vec<Token>,
    expires_at: Timestamp,
    idle_expires_at: Timestamp,
    revoked: bool,
}

impl Model {
    fn used(&self, hash: SecretHash) -> Option<&Use> {
        self.tokens.iter().find(|token| token.hash == hash).and_then(|token| token.used.as_ref())
    }

    fn is_live(&self, now: Timestamp) -> bool {
        !self.revoked && now < self.expires_at && now < self.idle_expires_at
    }

    fn rotate(&mut self, rotation: &Rotation, now: Timestamp) -> Verdict {
        let live = self.is_live(now);
        let Some(index) = self.tokens.iter().position(|token| token.hash == rotation.presented) else {
            return Verdict::Invalid;
        };
        if !live {
            return Verdict::Invalid;
        }
        match self.tokens[index].used.clone() {
            None => {
                let used = Use { at: now, salt: rotation.salt, successor: rotation.successor };
                self.tokens[index].used = Some(used);
                self.tokens.push(Token { hash: rotation.successor, used: None });
                self.idle_expires_at = self.idle_expires_at.max(now + rotation.idle_ttl);
                Verdict::Fresh
            }
            Some(used) if now.since(used.at) > rotation.grace => {
                self.revoked = true;
                Verdict::Reused
            }
            Some(used) if self.used(used.successor).is_some() => Verdict::Invalid,
            Some(used) => Verdict::Again(used.salt),
        }
    }
}

/// The orders in which up to three rotations may have happened.
fn orders(count: usize) -> &'static [&'static [usize]] {
    match count {
        1 => &[&[0]],
        2 => &[&[0, 1], &[1, 0]],
        _ => &[&[0, 1, 2], &[0, 2, 1], &[1, 0, 2], &[1, 2, 0], &[2, 0, 1], &[2, 1, 0]],
    }
}

/// The model after `step`, if some order of it explains the answers.
fn explained(model: &Model, step: &[(Rotation, Verdict)], now: Timestamp) -> Option<Model> {
    orders(step.len()).iter().find_map(|order| {
        let mut model = model.clone();
        let agrees = order.iter().all(|&index| model.rotate(&step[index].0, now) == step[index].1);
        agrees.then_some(model)
    })
}

/// How long until the next step: mostly a moment, sometimes past the grace, rarely past the idle time. Never exactly
/// the grace, where the rules leave the answer open.
fn pause(random: &mut Random) -> Duration {
    match random.below(40) {
        0 => IDLE + Duration::from_secs(1),
        1..=5 => GRACE + Duration::from_millis(1 + random.below(MINUTE * 1000)),
        _ => Duration::from_millis(random.below(2_000)),
    }
}

/// Mostly one of the newest tokens; sometimes any; rarely one that never was.
fn pick(random: &mut Random, model: &Model) -> Rotation {
    let mut attempt = match random.below(20) {
        0 => rotation(super::act::new_token()),
        1..=4 => rotation(model.tokens[random.index(model.tokens.len())].hash),
        _ => {
            let newest = model.tokens.len().min(3);
            rotation(model.tokens[model.tokens.len() - 1 - random.index(newest)].hash)
        }
    };
    attempt.idle_ttl = if random.below(10) == 0 { Duration::from_secs(MINUTE) } else { IDLE };
    attempt
}

async fn answers_random_histories_as_the_model_does(world: World) {
    let user = world.user("ada").await.id;
    for seed in 0..HISTORIES {
        let mut random = Random::seeded(seed);
        let session = world.sign_in(user, at(seed * 100 * DAY)).await;
        let mut model = Model {
            tokens: vec![Token { hash: session.refresh, used: None }],
            expires_at: session.record.expires_at,
            idle_expires_at: session.record.idle_expires_at,
            revoked: false,
        };
        let mut now = session.record.created_at;
        for step in 0..STEPS {
            now = now + pause(&mut random);
            if random.below(60) == 0 && model.is_live(now) {
                let logout = act("session.revoked", now);
                assert!(world.store().revoke_session(user, session.id, logout).await.unwrap());
                model.revoked = true;
            }
            let together = 1 + random.index(3);
            let attempts: Vec<_> = (0..together).map(|_| pick(&mut random, &model)).collect();
            let answers = at_once(together, |index| {
                let (world, attempt) = (world.clone(), attempts[index].clone());
                async move {
                    let answer = rotate(&world, &attempt, now).await;
                    (attempt, verdict(&answer))
                }
            })
            .await;
            let Some(next) = explained(&model, &answers, now) else {
                panic!("history {seed}, step {step}, {now}: no order explains {answers:?} for {model:?}");
            };
            model = next;
            let stored = world.session(session.id).await;
            assert_eq!(stored.is_live(now), model.is_live(now), "history {seed}, step {step}: {stored:?} {model:?}");
            if !model.is_live(now) {
                break;
            }
        }
    }
}

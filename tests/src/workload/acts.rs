//! What a client does: one act at a time, on a node that chance picks.

use std::sync::Arc;

use reqwest::Method;
use serde_json::json;

use super::{
    Client,
    cast::{PASSWORD, PERMISSION, Seat, roles},
    held::Held,
};
use crate::{fuzz::Nonsense, history::Act};

impl Client {
    /// Sign-ins about as many as sessions are ended, and uses more than all else.
    pub(super) async fn do_something(&self, random: &mut Nonsense) {
        let node = self.any_node(random);
        match random.below(100) {
            0..14 => {
                self.sign_in(node, random).await;
            }
            14..30 => self.refresh(node, random).await,
            30..40 => self.end(node, random).await,
            40..42 => self.end_all(node, random).await,
            42..48 => self.assign(node, random).await,
            48..62 => {
                if let Some(member) = self.0.cast.members.get(random.below(self.0.cast.members.len())) {
                    self.check(node, member).await;
                }
            }
            // What was ended is used as often as what lives: that is where mistakes would show.
            number => {
                let held = if number % 2 == 0 { self.0.book.live(random) } else { self.0.book.dead(random) };
                if let Some(held) = held {
                    self.use_(node, &held).await;
                }
            }
        }
    }

    /// Whether it was acknowledged.
    pub(super) async fn sign_in(&self, node: usize, random: &mut Nonsense) -> bool {
        let user = random.choose(&self.0.cast.users).clone();
        let transport = if random.below(3) == 0 { "cookie" } else { "bearer" };
        let body = json!({"email": user, "password": PASSWORD, "transport": transport});
        let act = Act::SignIn { user: user.clone() };
        let answer = self.ask(node, act, |api| api.request(Method::POST, "/auth/login").json(&body)).await;
        let Some(answer) = answer.filter(|answer| answer.status == 200) else { return false };
        self.0.book.add(Held::of(&user, &answer));
        true
    }

    /// Whether an answer came, be it yes or no.
    pub(super) async fn use_(&self, node: usize, held: &Held) -> bool {
        let act = Act::Use { session: held.session.clone() };
        let answer = self.ask(node, act, |api| held.sign(api.request(Method::GET, "/private"))).await;
        answer.is_some_and(|answer| answer.status != 503)
    }

    async fn refresh(&self, node: usize, random: &mut Nonsense) {
        let held = if random.below(6) == 0 { self.0.book.dead(random) } else { self.0.book.live(random) };
        let Some(held) = held else { return };
        // One client at a time knows what the newest is.
        let Ok(mut tokens) = held.tokens.try_lock() else { return };
        let Some(token) = tokens.last().cloned() else { return };
        let successor = if random.below(4) == 0 {
            let second = (node + 1) % self.0.apis.len();
            let both = tokio::join!(self.present(node, &held, &token), self.present(second, &held, &token));
            both.0.or(both.1)
        } else {
            self.present(node, &held, &token).await
        };
        tokens.extend(successor);
    }

    /// Trades a refresh token; its successor, if one was given.
    pub(super) async fn present(&self, node: usize, held: &Held, token: &str) -> Option<String> {
        let act = Act::Refresh { session: held.session.clone(), token: token.to_owned() };
        let body = json!({"refresh_token": token});
        let answer = self.ask(node, act, |api| api.request(Method::POST, "/auth/refresh").json(&body)).await?;
        (answer.status == 200).then(|| answer.string("/refresh_token").to_owned())
    }

    /// A session ends itself, or another one of its user ends it.
    async fn end(&self, node: usize, random: &mut Nonsense) {
        let Some(held) = self.0.book.live(random) else { return };
        let by = if random.below(2) == 0 { self.0.book.sibling(&held, random) } else { None };
        held.die();
        let by: &Held = by.as_ref().map_or(&held, Arc::as_ref);
        let act = Act::End { session: held.session.clone(), by: by.session.clone() };
        self.ask(node, act, |api| {
            by.sign(if by.session == held.session {
                api.request(Method::POST, "/auth/logout")
            } else {
                api.request(Method::DELETE, &format!("/auth/sessions/{}", held.session))
            })
        })
        .await;
    }

    async fn end_all(&self, node: usize, random: &mut Nonsense) {
        let Some(held) = self.0.book.live(random) else { return };
        let keeps_own = random.below(2) == 0;
        self.0.book.all_die(&held.user, keeps_own.then_some(held.session.as_str()));
        let act = Act::EndAll { user: held.user.clone(), by: held.session.clone(), keeps_own };
        let body = json!({"except_current": keeps_own});
        self.ask(node, act, |api| held.sign(api.request(Method::POST, "/auth/logout-all")).json(&body)).await;
    }

    async fn assign(&self, node: usize, random: &mut Nonsense) {
        let Some(member) = self.0.cast.members.get(random.below(self.0.cast.members.len())) else { return };
        let holds = random.below(2) == 0;
        let owner = &self.0.cast.owner;
        let act = Act::Assign { member: member.user.clone(), holds, by: owner.session.clone() };
        let path = format!("/auth/orgs/acme/members/{}/roles", member.user);
        let body = roles(holds);
        self.ask(node, act, |api| api.request(Method::PUT, &path).bearer_auth(&owner.access).json(&body)).await;
    }

    /// Whether an answer came, be it yes or no.
    pub(super) async fn check(&self, node: usize, member: &Seat) -> bool {
        let act = Act::Check { member: member.user.clone(), by: member.session.clone() };
        let body = json!({"permission": PERMISSION});
        let path = "/auth/permissions/check";
        let answer =
            self.ask(node, act, |api| api.request(Method::POST, path).bearer_auth(&member.access).json(&body)).await;
        answer.is_some_and(|answer| answer.status != 503)
    }
}

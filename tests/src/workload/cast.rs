//! Who takes part: users that sign in and out, and an organization whose owner gives and takes a role.

use serde_json::{Value, json};

use crate::{
    client::{Answer, Api},
    error::HarnessError,
};

pub(super) const PASSWORD: &str = "correct horse battery";
/// What the role allows, and nothing else does.
pub(super) const PERMISSION: &str = "orders:refund";
const USERS: usize = 12;
const MEMBERS: usize = 4;

/// Who takes part.
#[derive(Debug)]
pub(super) struct Cast {
    /// The addresses of those who sign in and out.
    pub(super) users: Vec<String>,
    pub(super) owner: Seat,
    pub(super) members: Vec<Seat>,
}

/// Somebody in a session that nobody ends, in the organization.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) user: String,
    pub(super) session: String,
    pub(super) access: String,
}

impl Cast {
    /// Makes all of them through the first node.
    pub(super) async fn introduce(apis: &[Api]) -> Result<Self, HarnessError> {
        let api = apis.first().ok_or_else(|| refused("a load needs a node", ""))?;
        let mut users = Vec::new();
        for number in 0..USERS {
            let user = format!("user{number}@example.org");
            expect(api.register(&user, PASSWORD).await?, 201)?;
            users.push(user);
        }
        expect(api.register("owner@example.org", PASSWORD).await?, 201)?;
        let founder = expect(api.login("owner@example.org", PASSWORD).await?, 200)?;
        let founded = json!({"slug": "acme", "name": "Acme"});
        expect(api.post("/auth/orgs", founder.string("/access_token"), &founded).await?, 201)?;
        let owner = Seat::take(api, "owner@example.org").await?;

        let role = json!({"inherits": [], "grants": [{"permission": PERMISSION, "effect": "allow"}]});
        let put = api.call(reqwest::Method::PUT, "/auth/orgs/acme/roles/clerk", &owner.access, Some(&role));
        expect(put.await?, 201)?;
        let mut members = Vec::new();
        for number in 0..MEMBERS {
            let email = format!("member{number}@example.org");
            expect(api.register(&email, PASSWORD).await?, 201)?;
            let body = json!({"email": email, "roles": []});
            expect(api.post("/auth/orgs/acme/members", &owner.access, &body).await?, 201)?;
            members.push(Seat::take(api, &email).await?);
        }
        Ok(Self { users, owner, members })
    }
}

impl Seat {
    async fn take(api: &Api, email: &str) -> Result<Self, HarnessError> {
        let body = json!({"email": email, "password": PASSWORD, "organization": "acme"});
        let answer = expect(api.post("/auth/login", "", &body).await?, 200)?;
        let string = |pointer| answer.string(pointer).to_owned();
        Ok(Self { user: string("/user/id"), session: string("/session/id"), access: string("/access_token") })
    }
}

/// The roles of a member that holds the role, or none.
pub(super) fn roles(holds: bool) -> Value {
    if holds { json!({"roles": [{"role": "clerk"}]}) } else { json!({"roles": []}) }
}

fn expect(answer: Answer, status: u16) -> Result<Answer, HarnessError> {
    if answer.status == status { Ok(answer) } else { Err(refused("a load could not begin", &answer.text)) }
}

fn refused(what: &str, answer: &str) -> HarnessError {
    HarnessError::Failed { program: what.to_owned(), output: answer.to_owned() }
}

//! API keys: minting, rotating and deleting them.

use std::time::Duration;

use ipnet::IpNet;
use serde_json::{Map, Value};

use super::{AuthenticationService, Basis, Standing, Tries, Written};
use crate::{
    api_key::{self, ApiKey, LiveKey},
    audit::Origin,
    error::{Code, Error, FieldError, Result},
    id::{KeyId, MemberId, StoreId},
    organization,
    permission::{KeyRights, Model, Pattern, Permission, Refusal, judge_key},
    principal::{Method, Principal},
    secret::{Secret, random_bytes},
    store::{
        ApiKeyPage, ApiKeyRecord, Assignment, KeyCreation, KeyQuota, KeyRateLimit, KeyRotation, MemberKind, NewApiKey,
        StoreError,
    },
};

const CREATE: Permission = crate::permission!("api_keys:create");
pub(super) const READ: Permission = crate::permission!("api_keys:read");
const UPDATE: Permission = crate::permission!("api_keys:update");
const DELETE: Permission = crate::permission!("api_keys:delete");

/// How many keys an organization may have.
const KEYS_MAX: u32 = 1_000;

/// A key to mint, as a request describes it.
#[derive(Debug, Clone)]
pub(crate) struct NewKey {
    pub(crate) name: String,
    pub(crate) scopes: Vec<Pattern>,
    pub(crate) expires_in: Option<Duration>,
    /// The store that it is to act at, by slug or id.
    pub(crate) store: Option<String>,
    pub(crate) rate_limit: Option<KeyRateLimit>,
    pub(crate) quota: Option<KeyQuota>,
    pub(crate) environment: String,
    pub(crate) allowed_ips: Vec<IpNet>,
    pub(crate) metadata: Map<String, Value>,
    /// The service account that it is to be of, if not of the caller.
    pub(crate) service_account: Option<MemberId>,
}

/// The member whose rights bound a key.
struct Bounding {
    member: MemberId,
    kind: MemberKind,
    roles: Vec<Assignment>,
}

impl AuthenticationService {
    /// Mints a key; its secret is told here and never again.
    ///
    /// # Errors
    /// [`Code::PermissionDenied`], [`Code::StepUpRequired`], [`Code::PrivilegeEscalation`] where a scope is beyond the
    /// caller's own, or beyond the service account's, or the caller is a key that has bounds of its own;
    /// [`Code::ValidationFailed`] on `name`, `store` and `service_account`, [`Code::TooManyApiKeys`], or an outage.
    pub(crate) async fn mint_api_key(
        &self,
        standing: &Standing,
        wanted: NewKey,
        origin: &Origin,
    ) -> Result<Written<(ApiKey, Secret)>> {
        let mut problems = Vec::new();
        let name = organization::named(&wanted.name, &mut problems);
        let id = KeyId::new();
        let (secret, hash) = new_secret(&wanted.environment, id)?;
        let mut tries = Tries::new();
        loop {
            let basis = self.basis(standing).await?;
            let store = store_named(&basis.model, wanted.store.as_deref(), &mut problems);
            let bounding = match wanted.service_account {
                None => basis.caller(),
                Some(account) => match self.account(standing, account).await? {
                    Some(found) => found,
                    None => {
                        let message = "is not a service account of this organization";
                        problems.push(FieldError::new("service_account", "unknown_service_account", message));
                        basis.caller()
                    }
                },
            };
            basis.standing.require_at(&CREATE, store)?;
            if !problems.is_empty() {
                return Err(Error::invalid(problems));
            }
            let act = standing.act("api_key.created", origin).on(id);
            let rights = bounding.rights(&basis, &wanted.scopes, store);
            let judged = may_hand_out(&standing.principal);
            if let Err(refusal) = judged.and_then(|()| judge_key(&basis.model, basis.author(), rights, true)) {
                return Err(self.refused(act, &refusal).await?);
            }
            let key = ApiKeyRecord {
                id,
                organization: basis.at.organization,
                member: bounding.member,
                store,
                name: name.clone(),
                environment: wanted.environment.clone(),
                scopes: wanted.scopes.iter().map(Pattern::to_string).collect(),
                allowed_ips: wanted.allowed_ips.clone(),
                rate_limit: wanted.rate_limit,
                quota: wanted.quota,
                metadata: wanted.metadata.clone(),
                created_at: act.at,
                expires_at: wanted.expires_in.map(|life| act.at + life),
                last_used_at: None,
                last_used_ip: None,
            };
            let new = NewApiKey { key: key.clone(), secret: hash, max_per_organization: KEYS_MAX };
            let created = self.0.store.create_api_key(basis.at, new, act).await?;
            if let Some((created, revision)) = tries.settle(created).await? {
                return match created {
                    KeyCreation::Done => {
                        let shown = (ApiKey::of(key, bounding.kind), secret);
                        Ok(self.written(basis.at, (shown, revision)))
                    }
                    KeyCreation::TooMany => {
                        Err(Error::new(Code::TooManyApiKeys, format!("an organization has at most {KEYS_MAX}")))
                    }
                };
            }
        }
    }

    /// Gives a key another secret, told here and never again. Those that it has now end when `grace` is over, or earlier
    /// where they were to. The caller becomes the member that bounds it, unless a service account does.
    ///
    /// # Errors
    /// [`Code::NotFound`], also for a key that has ended; [`Code::PermissionDenied`], [`Code::StepUpRequired`],
    /// [`Code::PrivilegeEscalation`] where a scope is beyond the caller's own, or the caller is a key that has bounds
    /// of its own; or an outage.
    pub(crate) async fn rotate_api_key(
        &self,
        standing: &Standing,
        id: &str,
        grace: Duration,
        origin: &Origin,
    ) -> Result<Written<(ApiKey, Secret)>> {
        let mut tries = Tries::new();
        loop {
            let basis = self.basis(standing).await?;
            let (key, kind) = self.key_for(&basis.standing, id, &UPDATE).await?;
            let bounding = match kind {
                MemberKind::User => basis.caller(),
                MemberKind::ServiceAccount => match self.account(standing, key.member).await? {
                    Some(account) => account,
                    // It has been deleted, and the key with it.
                    None => return Err(no_key()),
                },
            };
            let act = standing.act("api_key.rotated", origin).on(key.id);
            let scopes = scopes_of(&key)?;
            let rights = bounding.rights(&basis, &scopes, key.store);
            let judged = may_hand_out(&standing.principal);
            if let Err(refusal) = judged.and_then(|()| judge_key(&basis.model, basis.author(), rights, false)) {
                return Err(self.refused(act, &refusal).await?);
            }
            if key.expires_at.is_some_and(|end| end <= act.at) {
                return Err(Error::new(Code::NotFound, "the key has ended: make another one"));
            }
            let (secret, hash) = new_secret(&key.environment, key.id)?;
            let grace_until = act.at + grace;
            let rotation = KeyRotation { key: key.id, secret: hash, grace_until, member: bounding.member };
            let rotated = self.0.store.rotate_api_key(basis.at, rotation, act).await?;
            if let Some((key, revision)) = tries.settle(rotated).await? {
                return Ok(self.written(basis.at, ((ApiKey::of(key, bounding.kind), secret), revision)));
            }
        }
    }

    /// Deletes a key with every secret that it has.
    ///
    /// # Errors
    /// [`Code::NotFound`], [`Code::PermissionDenied`], [`Code::StepUpRequired`], or an outage.
    pub(crate) async fn delete_api_key(&self, standing: &Standing, id: &str, origin: &Origin) -> Result<Written<()>> {
        let mut tries = Tries::new();
        loop {
            let basis = self.basis(standing).await?;
            let (key, _) = self.key_for(&basis.standing, id, &DELETE).await?;
            let act = standing.act("api_key.deleted", origin).on(key.id);
            let deleted = self.0.store.delete_api_key(basis.at, key.id, act).await?;
            if let Some(done) = tries.settle(deleted).await? {
                return Ok(self.written(basis.at, done));
            }
        }
    }

    /// A key.
    ///
    /// # Errors
    /// [`Code::NotFound`], [`Code::PermissionDenied`], [`Code::StepUpRequired`], or an outage.
    pub(crate) async fn api_key(&self, standing: &Standing, id: &str) -> Result<ApiKey> {
        let (key, kind) = self.key_for(standing, id, &READ).await?;
        Ok(ApiKey::of(key, kind))
    }

    /// A page of keys: of the store that it names, or of all.
    ///
    /// # Errors
    /// [`Code::PermissionDenied`], [`Code::StepUpRequired`], or an outage.
    pub(crate) async fn api_keys(&self, standing: &Standing, page: ApiKeyPage) -> Result<Vec<ApiKey>> {
        standing.require_at(&READ, page.store)?;
        let found = self.0.store.api_keys(standing.organization.id, page).await?;
        Ok(found.into_iter().map(|(key, kind)| ApiKey::of(key, kind)).collect())
    }

    /// The key of that id, where the caller may do this to it.
    ///
    /// # Errors
    /// [`Code::NotFound`], also for a key of another store than the caller's credential is bound to;
    /// [`Code::PermissionDenied`], [`Code::StepUpRequired`], or an outage.
    pub(crate) async fn key_for(
        &self,
        standing: &Standing,
        id: &str,
        needed: &Permission,
    ) -> Result<(ApiKeyRecord, MemberKind)> {
        let found = match id.parse() {
            Ok(id) => self.0.store.api_key(standing.organization.id, id).await?,
            Err(_) => None,
        };
        match found.filter(|(key, _)| standing.bound_to.is_none() || standing.bound_to == key.store) {
            Some(found) => standing.require_at(needed, found.0.store).map(|()| found),
            // Whoever may not do this to keys is told so first, whatever the id.
            None => standing.require_at(needed, standing.bound_to).and(Err(no_key())),
        }
    }

    /// A service account as the member that bounds a key; none if there is no such account.
    async fn account(&self, standing: &Standing, member: MemberId) -> Result<Option<Bounding>> {
        let found = self.0.store.member(standing.organization.id, member).await?;
        let account = found.filter(|found| found.kind == MemberKind::ServiceAccount);
        Ok(account.map(|account| Bounding { member, kind: account.kind, roles: account.roles }))
    }
}

impl Bounding {
    /// What a key that this member bounds is good for.
    fn rights<'a>(&'a self, basis: &Basis, scopes: &'a [Pattern], store: Option<StoreId>) -> KeyRights<'a> {
        KeyRights { scopes, store, holder: &self.roles, is_own: self.member == basis.standing.member() }
    }
}

impl Basis {
    /// The caller as the member that bounds a key.
    fn caller(&self) -> Bounding {
        Bounding { member: self.standing.member(), kind: self.standing.kind(), roles: self.roles.clone() }
    }
}

/// Whether the caller may get secrets of keys at all. What bounds a key beside its scopes does not bound the keys that
/// it makes, and what a token makes outlives it: none of these hands out a secret.
fn may_hand_out(caller: &Principal) -> Result<(), Refusal> {
    let Some(key) = caller.api_key().map(LiveKey::record) else { return Ok(()) };
    let is_limited = key.rate_limit.is_some() || key.quota.is_some();
    let is_bound = is_limited || key.expires_at.is_some() || !key.allowed_ips.is_empty();
    if is_bound || caller.method() != Method::ApiKey { Err(Refusal::BoundCaller) } else { Ok(()) }
}

/// The one answer for a key that does not exist and for one of another organization.
fn no_key() -> Error {
    Error::new(Code::NotFound, "there is no such API key")
}

fn new_secret(environment: &str, id: KeyId) -> Result<(Secret, crate::secret::SecretHash)> {
    let bytes = zeroize::Zeroizing::new(random_bytes::<32>()?);
    let secret = api_key::write(environment, id, &bytes);
    let hash = crate::secret::SecretHash::of(secret.expose().as_bytes());
    Ok((secret, hash))
}

fn store_named(model: &Model, name: Option<&str>, problems: &mut Vec<FieldError>) -> Option<StoreId> {
    let name = name?;
    let found = model.store(name);
    if found.is_none() {
        problems.push(FieldError::new("store", "unknown_store", "is not a store of this organization"));
    }
    found
}

fn scopes_of(key: &ApiKeyRecord) -> Result<Vec<Pattern>> {
    let scopes = key.scopes.iter().map(|scope| scope.parse());
    scopes.collect::<std::result::Result<_, _>>().map_err(|_| StoreError::corrupt("a scope cannot be read").into())
}

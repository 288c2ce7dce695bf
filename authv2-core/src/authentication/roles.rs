//! Roles and declared resource types: writing them, removing them, and what a change of a role would mean.

use std::collections::BTreeMap;

use super::{About, AuthenticationService, Basis, Standing, Tries, Written};
use crate::{
    audit::Origin,
    error::{Code, Error, FieldError, Result},
    permission::{
        AttributeType, Condition, Impact, Model, ModelError, Pattern, Permission, Refusal, ResourceType, Role,
        RoleDefinition, impact, is_owner, judge_role,
    },
    store::{Assignment, Holder, NewRole, ResourceTypeRecord, RoleDeletion},
};

const READ: Permission = crate::permission!("roles:read");
const CREATE: Permission = crate::permission!("roles:create");
const UPDATE: Permission = crate::permission!("roles:update");
const DELETE: Permission = crate::permission!("roles:delete");
const READ_MEMBERS: Permission = crate::permission!("members:read");

/// What an organization may have: every node compiles and keeps it.
const ROLES_MAX: usize = 2_000;
const GRANTS_MAX: usize = 20_000;
/// A decision evaluates those of them that speak of its permission.
const CONDITIONS_MAX: usize = 500;

/// How many problems with conditions are told.
const PROBLEMS_TOLD: usize = 100;

/// Whether a write made something new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Put {
    /// It did.
    New,
    /// It replaced what was there.
    Replaced,
}

impl AuthenticationService {
    /// Goes on only if the caller may write the role of that name: make it, or change it where there is one.
    ///
    /// # Errors
    /// [`Code::PermissionDenied`], [`Code::StepUpRequired`].
    pub(crate) fn require_writing_role(&self, standing: &Standing, name: &str) -> Result<()> {
        let known = standing.access.snapshot().model().role(name).is_some();
        let needed = if known { UPDATE } else { CREATE };
        standing.require(&needed)
    }

    /// Writes a role.
    ///
    /// # Errors
    /// [`Code::PermissionDenied`], [`Code::StepUpRequired`], [`Code::RoleIsBuiltin`], [`Code::RoleCycle`],
    /// [`Code::ValidationFailed`] on `inherits` or on a condition, [`Code::PrivilegeEscalation`],
    /// [`Code::LastOwner`], or an outage.
    pub(crate) async fn put_role(
        &self,
        standing: &Standing,
        definition: &RoleDefinition,
        origin: &Origin,
    ) -> Result<Written<(Role, Put)>> {
        let conditions = parse_conditions(definition)?;
        let mut tries = Tries::new();
        loop {
            let basis = self.basis(standing).await?;
            let before = basis.model.role(&definition.name);
            let needed = if before.is_some() { UPDATE } else { CREATE };
            basis.standing.require(&needed)?;
            let after = with_role(&basis.model, definition, &conditions)?;
            let (put, action) = match before {
                Some(_) => (Put::Replaced, "role.updated"),
                None => (Put::New, "role.created"),
            };
            // It was written a moment ago.
            let role = after.role(&definition.name).ok_or_else(no_role)?;
            let act = standing.act(action, origin).on(role.id);
            let holders = self.holders_of(&basis, &definition.name).await?;
            let judged = judge_role(&basis.model, &after, &definition.name, basis.author(), &holders, &basis.owners);
            if let Err(refusal) = judged {
                return Err(self.refused(act, &refusal).await?);
            }
            let held = [Assignment { role: role.id, store: None }];
            let is_enlarged = !holders.is_empty()
                && before.is_some_and(|before| before.grants != role.grants || before.inherits != role.inherits);
            let makes_owners = is_owner(&after, &held) && !is_owner(&basis.model, &held);
            let written = self.0.store.put_role(basis.at, record(role, &after)?, act).await?;
            if let Some((written, revision)) = tries.settle(written).await? {
                if is_enlarged {
                    let organization = Some(standing.organization.id);
                    let about = About { user: standing.principal.user_id(), organization, ip: origin.ip };
                    self.0.monitor.privilege_changed(about, ("role_id", role.id.to_string()), makes_owners);
                }
                let role = Role { revision: written.revision, ..role.clone() };
                return Ok(self.written(basis.at, ((role, put), revision)));
            }
        }
    }

    /// Removes a role that nobody holds or inherits: nobody's rights change by that.
    ///
    /// # Errors
    /// [`Code::NotFound`], [`Code::PermissionDenied`], [`Code::StepUpRequired`], [`Code::RoleIsBuiltin`],
    /// [`Code::RoleInUse`], or an outage.
    pub(crate) async fn delete_role(&self, standing: &Standing, name: &str, origin: &Origin) -> Result<Written<()>> {
        let mut tries = Tries::new();
        loop {
            let basis = self.basis(standing).await?;
            basis.standing.require(&DELETE)?;
            let role = basis.model.role(name).ok_or_else(no_role)?;
            refuse_builtin(&basis.model, name)?;
            let act = standing.act("role.deleted", origin).on(role.id);
            let deleted = self.0.store.delete_role(basis.at, role.id, act).await?;
            if let Some((deletion, revision)) = tries.settle(deleted).await? {
                return match deletion {
                    RoleDeletion::Done => Ok(self.written(basis.at, ((), revision))),
                    RoleDeletion::InUse => Err(Error::new(Code::RoleInUse, "take it from its members and heirs first")),
                };
            }
        }
    }

    /// What writing a role would give to its holders and take from them. Nothing is written, and the caller need not
    /// be able to.
    ///
    /// # Errors
    /// [`Code::PermissionDenied`], [`Code::StepUpRequired`], [`Code::RoleIsBuiltin`], [`Code::RoleCycle`],
    /// [`Code::ValidationFailed`] on `inherits` or on a condition, or an outage.
    pub(crate) async fn role_impact(&self, standing: &Standing, definition: &RoleDefinition) -> Result<Impact> {
        let conditions = parse_conditions(definition)?;
        let basis = self.basis(standing).await?;
        require_seeing_impact(&basis.standing)?;
        let after = with_role(&basis.model, definition, &conditions)?;
        let holders = self.holders_of(&basis, &definition.name).await?;
        Ok(impact(&basis.model, &after, &holders))
    }

    /// Declares a resource type. One that contradicts a condition there is would leave a grant that can never hold,
    /// and is refused.
    ///
    /// # Errors
    /// [`Code::PermissionDenied`], [`Code::StepUpRequired`], [`Code::ValidationFailed`] on `attributes`, or an outage.
    pub(crate) async fn put_resource_type(
        &self,
        standing: &Standing,
        name: &str,
        declared: &ResourceType,
        origin: &Origin,
    ) -> Result<Written<Put>> {
        let attributes = serde_json::to_string(&declared.attributes).map_err(Error::internal)?;
        let mut tries = Tries::new();
        loop {
            let basis = self.basis(standing).await?;
            basis.standing.require(&UPDATE)?;
            refuse_contradictions(&basis.model, name, declared)?;
            let act = standing.act("resource_type.declared", origin).on(name);
            if changes_a_reading(&basis.model, name, declared) && !basis.author().is_owner(&basis.model) {
                return Err(self.refused(act, &Refusal::NotAnOwner).await?);
            }
            let put = if basis.model.resource_types.contains_key(name) { Put::Replaced } else { Put::New };
            let record = ResourceTypeRecord { name: name.to_owned(), attributes: attributes.clone() };
            let written = self.0.store.put_resource_type(basis.at, record, act).await?;
            if let Some(((), revision)) = tries.settle(written).await? {
                return Ok(self.written(basis.at, (put, revision)));
            }
        }
    }

    /// All who hold a role or one that inherits it; nobody, where it does not exist yet.
    async fn holders_of(&self, basis: &Basis, name: &str) -> Result<Vec<Holder>> {
        match basis.model.role(name) {
            Some(role) => Ok(self.0.store.holders(basis.at.organization, role.id).await?),
            None => Ok(Vec::new()),
        }
    }
}

impl Standing {
    /// The roles of the organization, for a caller that may read them.
    ///
    /// # Errors
    /// [`Code::PermissionDenied`], [`Code::StepUpRequired`].
    pub(crate) fn roles(&self) -> Result<&Model> {
        self.require(&READ)?;
        Ok(self.access.snapshot().model())
    }
}

/// Goes on only if the caller may see what a change of roles means to whom.
///
/// # Errors
/// [`Code::PermissionDenied`], [`Code::StepUpRequired`].
pub(crate) fn require_seeing_impact(standing: &Standing) -> Result<()> {
    standing.require(&READ)?;
    standing.require(&READ_MEMBERS)
}

/// The one answer for a role that does not exist and for one of another organization.
pub(crate) fn no_role() -> Error {
    Error::new(Code::NotFound, "there is no such role")
}

/// A condition, and which grant it stands in.
type PlacedCondition = (usize, Condition);

fn parse_conditions(definition: &RoleDefinition) -> Result<Vec<PlacedCondition>> {
    let (mut conditions, mut problems) = (Vec::new(), Vec::new());
    for (place, grant) in definition.grants.iter().enumerate() {
        match grant.when.as_deref().map(Condition::parse) {
            Some(Ok(condition)) => conditions.push((place, condition)),
            Some(Err(problem)) => problems.push(invalid_condition(place, problem.to_string())),
            None => {}
        }
    }
    refuse_all(problems)?;
    Ok(conditions)
}

/// The model with a role written, if that fits: a role of one's own, whose parents exist and whose conditions agree
/// with what is declared of the resources they are asked about.
fn with_role(model: &Model, definition: &RoleDefinition, conditions: &[PlacedCondition]) -> Result<Model> {
    refuse_builtin(model, &definition.name)?;
    let mut problems: Vec<FieldError> = Vec::new();
    for (place, parent) in definition.inherits.iter().enumerate() {
        if *parent != definition.name && model.role(parent).is_none() {
            let field = format!("inherits[{place}]");
            problems.push(FieldError::new(field, "unknown_role", "is not a role of this organization"));
        }
    }
    for (place, condition) in conditions {
        let grant = definition.grants.get(*place);
        let declared =
            grant.and_then(|grant| resource_of(&grant.permission)).and_then(|of| model.resource_types.get(of));
        if let Some(Err(problem)) = declared.map(|declared| condition.check(declared)) {
            problems.push(invalid_condition(*place, problem.to_string()));
        }
    }
    refuse_all(problems)?;
    if definition.inherits.contains(&definition.name) {
        return Err(cycle());
    }
    let after = model.with_role(definition).map_err(|problem| match problem {
        ModelError::Cycle => cycle(),
        other => Error::internal(other),
    })?;
    refuse_too_much(&after)?;
    Ok(after)
}

/// The resource that a grant's condition is asked about, where it is always the same.
fn resource_of(pattern: &Pattern) -> Option<&str> {
    match pattern {
        Pattern::All => None,
        Pattern::Resource(resource) => Some(resource),
        Pattern::One(permission) => Some(permission.resource()),
    }
}

fn refuse_contradictions(model: &Model, name: &str, declared: &ResourceType) -> Result<()> {
    let mut problems = Vec::new();
    for role in model.roles() {
        for (place, grant) in role.grants.iter().enumerate() {
            let Some(when) = grant.when.as_deref().filter(|_| resource_of(&grant.permission) == Some(name)) else {
                continue;
            };
            // A stored condition that does not parse anymore contradicts nothing: it fails already.
            if let Ok(condition) = Condition::parse(when)
                && let Err(problem) = condition.check(declared)
            {
                let message = format!("contradicts grants[{place}].when of role `{}`: {problem}", role.name);
                problems.push(FieldError::new("attributes", "contradicts_condition", message));
            }
        }
    }
    refuse_all(problems)
}

/// Whether a declaration changes how what is sent is read, as text or as an address, where a condition there is may
/// look at it: it could lift a deny then.
fn changes_a_reading(model: &Model, name: &str, declared: &ResourceType) -> bool {
    let before = model.resource_types.get(name).map(|declared| &declared.attributes);
    let is_ip = |attributes: &BTreeMap<String, AttributeType>, name: &str| {
        attributes.get(name).is_some_and(|kind| *kind == AttributeType::Ip)
    };
    let names = declared.attributes.keys().chain(before.into_iter().flat_map(BTreeMap::keys));
    let changed: Vec<&str> = names
        .map(String::as_str)
        .filter(|name| is_ip(&declared.attributes, name) != before.is_some_and(|before| is_ip(before, name)))
        .collect();
    let conditions = || model.roles().iter().flat_map(|role| &role.grants).filter_map(|grant| grant.when.as_deref());
    changed.iter().any(|name| conditions().any(|when| when.contains(name)))
}

/// Bounds what one organization makes every node compile, keep and evaluate.
fn refuse_too_much(model: &Model) -> Result<()> {
    let grants = || model.roles().iter().flat_map(|role| &role.grants);
    for (what, count, most) in [
        ("roles", model.roles().len(), ROLES_MAX),
        ("grants", grants().count(), GRANTS_MAX),
        ("grants with conditions", grants().filter(|grant| grant.when.is_some()).count(), CONDITIONS_MAX),
    ] {
        if count > most {
            let message = format!("an organization has at most {most} {what}");
            return Err(Error::invalid(vec![FieldError::new("", "too_many", message)]));
        }
    }
    Ok(())
}

fn refuse_builtin(model: &Model, name: &str) -> Result<()> {
    match model.role(name) {
        Some(role) if role.builtin => Err(Error::new(Code::RoleIsBuiltin, "make a role that inherits it instead")),
        _ => Ok(()),
    }
}

fn refuse_all(mut problems: Vec<FieldError>) -> Result<()> {
    problems.truncate(PROBLEMS_TOLD);
    if problems.is_empty() { Ok(()) } else { Err(Error::invalid(problems)) }
}

fn invalid_condition(place: usize, message: String) -> FieldError {
    FieldError::new(format!("grants[{place}].when"), "invalid_condition", message)
}

fn cycle() -> Error {
    Error::new(Code::RoleCycle, "a role it inherits would inherit it")
}

fn record(role: &Role, model: &Model) -> Result<NewRole> {
    Ok(NewRole {
        id: role.id,
        name: role.name.clone(),
        description: role.description.clone(),
        grants: serde_json::to_string(&role.grants).map_err(Error::internal)?,
        inherits: role.inherits.iter().filter_map(|name| model.role(name)).map(|parent| parent.id).collect(),
        builtin: role.builtin,
    })
}

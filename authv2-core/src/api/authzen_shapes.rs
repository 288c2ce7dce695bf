//! What AuthZEN calls send and are answered. Unknown fields are ignored; what is missing or of the wrong type is a 400,
//! as the standard has it.

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::{
    authentication::{Action, Entity, Evaluation, Page},
    error::{Code, Error, Result},
};

/// How many results a page of a search has, where the caller does not say and at most.
const PAGE: u32 = 100;
const PAGE_MAX: u32 = 1000;

/// A subject or a resource.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes a request that is read field by field")]
pub(super) struct EntityRequest {
    /// `user` for subjects; the first half of the permission for resources.
    r#type: String,
    /// For users the id or the external id. Ignored where it is searched for.
    id: Option<String>,
    /// What conditions may look at.
    properties: Option<Map<String, Value>>,
}

/// What is to be done.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes a request that is read field by field")]
pub(super) struct ActionRequest {
    /// The second half of the permission.
    name: String,
    /// What conditions may look at.
    properties: Option<Map<String, Value>>,
}

/// `POST /access/v1/evaluation`, and one of `POST /access/v1/evaluations`.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes a request that is read field by field")]
pub(super) struct EvaluationRequest {
    subject: EntityRequest,
    action: ActionRequest,
    resource: EntityRequest,
    context: Option<Map<String, Value>>,
}

/// `POST /access/v1/evaluations`.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes a request that is read field by field")]
pub(super) struct EvaluationsRequest {
    /// The default of each evaluation, as the next three.
    subject: Option<EntityRequest>,
    action: Option<ActionRequest>,
    resource: Option<EntityRequest>,
    context: Option<Map<String, Value>>,
    /// At most 1000. Without any, the call is a single evaluation.
    evaluations: Option<Vec<Map<String, Value>>>,
    options: Option<OptionsRequest>,
}

/// The options of `POST /access/v1/evaluations`.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes a request that is read field by field")]
pub(super) struct OptionsRequest {
    /// `execute_all` (by default), `deny_on_first_deny` or `permit_on_first_permit`.
    evaluations_semantic: Option<String>,
}

/// `POST /access/v1/search/…`: what is searched for needs no id or name.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes a request that is read field by field")]
pub(super) struct SearchRequest {
    subject: EntityRequest,
    action: Option<ActionRequest>,
    resource: EntityRequest,
    context: Option<Map<String, Value>>,
    page: Option<PageRequest>,
}

/// Which page of a search.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes a request that is read field by field")]
pub(super) struct PageRequest {
    /// The `next_token` of the page before.
    token: Option<String>,
    /// At most 1000; 100 by default.
    limit: Option<u32>,
}

/// A decision.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Verdict {
    pub(super) decision: bool,
    /// `error` where the evaluation could not be read, `step_up` where the sign-in alone is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) context: Option<Value>,
}

/// The decisions, in the order of the evaluations, up to the one that ended it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Verdicts {
    pub(super) evaluations: Vec<Verdict>,
}

/// A subject or a resource that was found.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FoundEntity {
    pub(super) r#type: String,
    pub(super) id: String,
}

/// An action that was found.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FoundAction {
    pub(super) name: String,
}

/// A page of what was found.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Results<T> {
    pub(super) results: Vec<T>,
    pub(super) page: NextPage,
}

/// Where the next page begins.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NextPage {
    /// Empty on the last page. A page may have fewer results than asked for, or none, and not be the last.
    pub(super) next_token: String,
}

/// When a batch ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Semantic {
    ExecuteAll,
    DenyOnFirstDeny,
    PermitOnFirstPermit,
}

impl Semantic {
    pub(super) fn ends_with(self, decision: bool) -> bool {
        match self {
            Self::ExecuteAll => false,
            Self::DenyOnFirstDeny => !decision,
            Self::PermitOnFirstPermit => decision,
        }
    }
}

/// Which part of a question a search looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sought {
    Nothing,
    Subject,
    Action,
    Resource,
}

/// A request's members.
#[derive(Debug)]
pub(super) struct Request(Map<String, Value>);

impl Request {
    pub(super) fn parse(body: &Bytes) -> Result<Self> {
        match serde_json::from_slice(body) {
            Ok(Value::Object(members)) => Ok(Self(members)),
            Ok(_) => Err(malformed("", "must be an object")),
            // The parser's own message could repeat what was sent.
            Err(_) => Err(malformed("", "the body is not valid JSON")),
        }
    }

    /// The question, but for what is sought.
    pub(super) fn question(&self, sought: Sought) -> Result<Evaluation> {
        question(|name| present(&self.0, name), sought)
    }

    /// The questions of a batch, made one by one since each may repeat all that is said for the rest; each may be
    /// unreadable. None where it is a single one.
    pub(super) fn batch(&self) -> Result<impl ExactSizeIterator<Item = Result<Evaluation>>> {
        let items = match present(&self.0, "evaluations") {
            None => &[][..],
            Some(Value::Array(items)) => items,
            Some(_) => return Err(malformed("evaluations", "must be an array")),
        };
        Ok(items.iter().map(|item| self.item(item)))
    }

    fn item(&self, item: &Value) -> Result<Evaluation> {
        let Value::Object(item) = item else { return Err(malformed("", "must be an object")) };
        question(|name| present(item, name).or_else(|| present(&self.0, name)), Sought::Nothing)
    }

    pub(super) fn semantic(&self) -> Result<Semantic> {
        let Some(options) = optional_object(&self.0, "options")? else { return Ok(Semantic::ExecuteAll) };
        match present(options, "evaluations_semantic").map(Value::as_str) {
            None | Some(Some("execute_all")) => Ok(Semantic::ExecuteAll),
            Some(Some("deny_on_first_deny")) => Ok(Semantic::DenyOnFirstDeny),
            Some(Some("permit_on_first_permit")) => Ok(Semantic::PermitOnFirstPermit),
            Some(_) => Err(malformed("options.evaluations_semantic", "is none that is known here")),
        }
    }

    pub(super) fn page(&self) -> Result<Page> {
        let Some(page) = optional_object(&self.0, "page")? else { return Ok(Page { token: None, limit: PAGE }) };
        let token = match present(page, "token") {
            None => None,
            Some(Value::String(token)) => Some(token.clone()).filter(|token| !token.is_empty()),
            Some(_) => return Err(malformed("page.token", "must be a string")),
        };
        let limit = match present(page, "limit") {
            None => PAGE,
            Some(limit) => {
                let limit = limit.as_u64().filter(|limit| *limit > 0);
                let limit = limit.ok_or_else(|| malformed("page.limit", "must be a positive whole number"))?;
                u32::try_from(limit).unwrap_or(PAGE_MAX).min(PAGE_MAX)
            }
        };
        Ok(Page { token, limit })
    }
}

fn question<'a>(part: impl Fn(&'static str) -> Option<&'a Value>, sought: Sought) -> Result<Evaluation> {
    let object = |name: &'static str| match part(name) {
        Some(Value::Object(members)) => Ok(members),
        Some(_) => Err(malformed(name, "must be an object")),
        None => Err(malformed(name, "is missing")),
    };
    let action = match part("action") {
        None if sought == Sought::Action => None,
        _ => Some(object("action")?),
    };
    Ok(Evaluation {
        subject: entity(object("subject")?, "subject", sought == Sought::Subject)?,
        action: Action {
            name: match action {
                Some(action) if sought != Sought::Action => text(action, "action", "name")?,
                _ => String::new(),
            },
            properties: action.map(|action| properties(action, "action")).transpose()?.unwrap_or_default(),
        },
        resource: entity(object("resource")?, "resource", sought == Sought::Resource)?,
        context: match part("context") {
            None => Map::new(),
            Some(Value::Object(context)) => context.clone(),
            Some(_) => return Err(malformed("context", "must be an object")),
        },
    })
}

fn entity(members: &Map<String, Value>, path: &str, is_sought: bool) -> Result<Entity> {
    Ok(Entity {
        kind: text(members, path, "type")?,
        id: if is_sought { String::new() } else { text(members, path, "id")? },
        properties: properties(members, path)?,
    })
}

fn text(members: &Map<String, Value>, path: &str, name: &str) -> Result<String> {
    match present(members, name) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(malformed(&format!("{path}.{name}"), "must be a string")),
        None => Err(malformed(&format!("{path}.{name}"), "is missing")),
    }
}

fn properties(members: &Map<String, Value>, path: &str) -> Result<Map<String, Value>> {
    match present(members, "properties") {
        None => Ok(Map::new()),
        Some(Value::Object(properties)) => Ok(properties.clone()),
        Some(_) => Err(malformed(&format!("{path}.properties"), "must be an object")),
    }
}

fn optional_object<'a>(members: &'a Map<String, Value>, name: &str) -> Result<Option<&'a Map<String, Value>>> {
    match present(members, name) {
        None => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object)),
        Some(_) => Err(malformed(name, "must be an object")),
    }
}

fn present<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    members.get(name).filter(|value| !value.is_null())
}

fn malformed(path: &str, what: &str) -> Error {
    let detail = if path.is_empty() { what.to_owned() } else { format!("{path}: {what}") };
    Error::new(Code::MalformedRequest, detail)
}

#[cfg(test)]
mod tests;

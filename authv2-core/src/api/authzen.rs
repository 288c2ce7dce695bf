//! OpenID AuthZEN Authorization API 1.0: this deployment as a policy decision point.

use http::{StatusCode, header};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::{
    authzen_shapes::{
        EvaluationRequest, EvaluationsRequest, FoundAction, FoundEntity, NextPage, Request, Results, SearchRequest,
        Sought, Verdict, Verdicts,
    },
    call::{Call, Reply},
};
use crate::{
    authentication::{Evaluation, Evaluator, Found},
    error::{Code, Error, Result},
    permission,
    permission::Decision,
};

/// The most evaluations of one call.
const EVALUATIONS_MAX: usize = 1000;

/// May the subject?
///
/// Decided in the caller's organization, at its store where it is bound to one. The caller needs `authz:evaluate`.
#[utoipa::path(post, path = "/access/v1/evaluation", tag = "authzen", request_body = EvaluationRequest, responses(
    (status = 200, body = Verdict),
))]
pub(super) async fn evaluate(call: Call<'_>) -> Result<Reply> {
    let mut evaluator = evaluator(&call)?;
    let question = Request::parse(&call.body)?.question(Sought::Nothing)?;
    Reply::json(StatusCode::OK, &verdict(&mut evaluator, &question).await?)
}

/// May they?
///
/// The caller needs `authz:evaluate`.
#[utoipa::path(post, path = "/access/v1/evaluations", tag = "authzen", request_body = EvaluationsRequest, responses(
    (status = 200, description = "Without `evaluations` a single decision", body = Verdicts),
))]
pub(super) async fn evaluate_many(call: Call<'_>) -> Result<Reply> {
    let mut evaluator = evaluator(&call)?;
    let request = Request::parse(&call.body)?;
    let (questions, semantic) = (request.batch()?, request.semantic()?);
    if questions.len() == 0 {
        let question = request.question(Sought::Nothing)?;
        return Reply::json(StatusCode::OK, &verdict(&mut evaluator, &question).await?);
    }
    if questions.len() > EVALUATIONS_MAX {
        return Err(Error::new(Code::MalformedRequest, format!("evaluations: send at most {EVALUATIONS_MAX}")));
    }
    let mut evaluations = Vec::with_capacity(questions.len());
    for question in questions {
        let verdict = match question {
            Ok(question) => verdict(&mut evaluator, &question).await?,
            Err(error) => Verdict {
                decision: false,
                context: Some(json!({"error": {"status": error.code().status().as_u16(), "message": error.detail()}})),
            },
        };
        let ends = semantic.ends_with(verdict.decision);
        evaluations.push(verdict);
        if ends {
            break;
        }
    }
    Reply::json(StatusCode::OK, &Verdicts { evaluations })
}

/// Who may?
///
/// Users of the caller's organization, by external id where they have one, else by id. The caller needs `authz:search`.
#[utoipa::path(post, path = "/access/v1/search/subject", tag = "authzen", request_body = SearchRequest, responses(
    (status = 200, body = Results<FoundEntity>),
))]
pub(super) async fn search_subject(call: Call<'_>) -> Result<Reply> {
    let (searcher, request) = (searcher(&call)?, Request::parse(&call.body)?);
    let (question, page) = (request.question(Sought::Subject)?, request.page()?);
    let found = searcher.search_subjects(&question, &page).await?;
    entities(&question.subject.kind, found)
}

/// To what may the subject do it?
///
/// Among the resources that the application lists; none where it lists none. The caller needs `authz:search`.
#[utoipa::path(post, path = "/access/v1/search/resource", tag = "authzen", request_body = SearchRequest, responses(
    (status = 200, body = Results<FoundEntity>),
))]
pub(super) async fn search_resource(call: Call<'_>) -> Result<Reply> {
    let (searcher, request) = (searcher(&call)?, Request::parse(&call.body)?);
    let (question, page) = (request.question(Sought::Resource)?, request.page()?);
    let found = searcher.search_resources(&question, &page).await?;
    entities(&question.resource.kind, found)
}

/// What may the subject do?
///
/// Among the actions that the organization's roles name. The caller needs `authz:search`.
#[utoipa::path(post, path = "/access/v1/search/action", tag = "authzen", request_body = SearchRequest, responses(
    (status = 200, body = Results<FoundAction>),
))]
pub(super) async fn search_action(call: Call<'_>) -> Result<Reply> {
    let (searcher, request) = (searcher(&call)?, Request::parse(&call.body)?);
    let question = request.question(Sought::Action)?;
    request.page()?;
    let found = searcher.search_actions(&question).await?;
    let results = found.names.into_iter().map(|name| FoundAction { name }).collect();
    Reply::json(StatusCode::OK, &Results { results, page: next_page(found.next) })
}

/// This policy decision point (AuthZEN metadata)
#[utoipa::path(get, path = "/.well-known/authzen-configuration", tag = "metadata", responses(
    (status = 200, body = Configuration),
))]
pub(super) async fn configuration(call: Call<'_>) -> Result<Reply> {
    let issuer = call.auth.issuer();
    let at = |path: &str| format!("{issuer}/access/v1/{path}");
    let configuration = Configuration {
        policy_decision_point: issuer.to_owned(),
        access_evaluation_endpoint: at("evaluation"),
        access_evaluations_endpoint: at("evaluations"),
        search_subject_endpoint: at("search/subject"),
        search_resource_endpoint: call.auth.lists_resources().then(|| at("search/resource")),
        search_action_endpoint: at("search/action"),
    };
    let cached = http::HeaderValue::from_static("public, max-age=300");
    Ok(Reply::json(StatusCode::OK, &configuration)?.with(header::CACHE_CONTROL, cached))
}

/// AuthZEN 1.0, policy decision point metadata.
#[derive(Serialize, ToSchema)]
pub(super) struct Configuration {
    policy_decision_point: String,
    access_evaluation_endpoint: String,
    access_evaluations_endpoint: String,
    search_subject_endpoint: String,
    /// Absent where the application lists no resources.
    #[serde(skip_serializing_if = "Option::is_none")]
    search_resource_endpoint: Option<String>,
    search_action_endpoint: String,
}

fn evaluator<'a>(call: &Call<'a>) -> Result<Evaluator<'a>> {
    call.auth.evaluator(call.principal()?, &permission!("authz:evaluate"))
}

fn searcher<'a>(call: &Call<'a>) -> Result<Evaluator<'a>> {
    call.auth.evaluator(call.principal()?, &permission!("authz:search"))
}

async fn verdict(evaluator: &mut Evaluator<'_>, question: &Evaluation) -> Result<Verdict> {
    Ok(match evaluator.evaluate(question).await? {
        Decision::Allowed => Verdict { decision: true, context: None },
        Decision::Denied => Verdict { decision: false, context: None },
        Decision::StepUp(step_up) => Verdict { decision: false, context: Some(json!({ "step_up": step_up })) },
    })
}

fn entities(kind: &str, found: Found) -> Result<Reply> {
    let results = found.names.into_iter().map(|id| FoundEntity { r#type: kind.to_owned(), id }).collect();
    Reply::json(StatusCode::OK, &Results { results, page: next_page(found.next) })
}

fn next_page(next: Option<String>) -> NextPage {
    NextPage { next_token: next.unwrap_or_default() }
}

//! Routes that need a permission: one by its name alone, one by what it is asked to do.

use authv2_axum::{Principal, Rejection, Require};
use authv2_core::{Code, Error, error::FieldError, permission};
use axum::{
    Json,
    extract::{Path, rejection::JsonRejection},
};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Number, Value, json};

permission!(pub(crate) ReadOrders = "orders:read");

/// Needs `orders:read`.
pub(crate) async fn show(Require(principal, _): Require<ReadOrders>, Path(id): Path<String>) -> Json<Value> {
    Json(json!({"id": id, "organization": principal.tenant().map(|tenant| tenant.organization)}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Refund {
    amount: Number,
}

/// Needs `orders:refund` for an order of this amount: a role may say `resource.amount <= 500`.
pub(crate) async fn refund(
    Principal(principal): Principal,
    Path(id): Path<String>,
    body: Result<Json<Refund>, JsonRejection>,
) -> Result<Json<Value>, Rejection> {
    let Json(Refund { amount }) = body.map_err(|refused| refusal(&refused))?;
    principal.check(permission!("orders:refund")).resource(json!({"id": id, "amount": amount})).require()?;
    Ok(Json(json!({"id": id, "refunded": amount})))
}

/// What axum says of a body, in the contract's words.
fn refusal(refused: &JsonRejection) -> Error {
    match refused {
        JsonRejection::JsonDataError(_) => {
            let problem = FieldError::new("amount", "invalid_type", "send {\"amount\": a number} and nothing else");
            Error::invalid(vec![problem])
        }
        JsonRejection::MissingJsonContentType(_) => Error::new(Code::UnsupportedMediaType, "send JSON"),
        refused if refused.status() == StatusCode::PAYLOAD_TOO_LARGE => Error::new(Code::BodyTooLarge, "send less"),
        _ => Error::new(Code::MalformedRequest, "the body is not valid JSON"),
    }
}

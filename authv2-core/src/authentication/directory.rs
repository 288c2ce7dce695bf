//! The application's resources, listed for whoever searches among them.

use std::fmt;

use async_trait::async_trait;
use serde_json::{Map, Value};

use crate::{
    id::{OrgId, StoreId},
    store::StoreError,
};

/// Lists the application's resources: what an AuthZEN resource search looks through. Only the application knows them.
#[async_trait]
pub trait ResourceDirectory: Send + Sync + fmt::Debug {
    /// A page of the resources of a type, in an order that stays the same between pages. It must keep to the
    /// organization that it is asked about, and to the store where one is named.
    ///
    /// # Errors
    /// [`StoreError`] where it cannot tell: an outage is not an empty page.
    async fn resources(&self, query: ResourceQuery<'_>) -> Result<ResourcePage, StoreError>;
}

/// Which resources to list.
#[derive(Debug, Clone, Copy)]
pub struct ResourceQuery<'a> {
    /// The organization whose they are.
    pub organization: OrgId,
    /// The store whose they are, where the search is bound to one.
    pub store: Option<StoreId>,
    /// Their type: the first half of permissions.
    pub kind: &'a str,
    /// The [`ResourcePage::next`] of the page before. It has been in the caller's hands: one that makes no sense is
    /// an empty page.
    pub after: Option<&'a str>,
    /// The most to list.
    pub limit: u32,
}

/// Some resources.
#[derive(Debug, Clone, Default)]
pub struct ResourcePage {
    /// At most as many as were asked for.
    pub resources: Vec<Resource>,
    /// Where the next page begins, if there is one; not empty.
    pub next: Option<String>,
}

/// A resource.
#[derive(Debug, Clone)]
pub struct Resource {
    /// Its id: unique among its type.
    pub id: String,
    /// What conditions see of it, beside its `id` and `type`.
    pub properties: Map<String, Value>,
}

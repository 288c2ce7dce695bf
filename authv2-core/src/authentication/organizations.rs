//! Organizations and their stores: founding, changing, removing.

use super::{AuthenticationService, Requirement, Standing, Tries, requirement::RECENT};
use crate::{
    audit::Origin,
    error::{Code, Error, Result},
    organization::{Organization, Store},
    permission,
    permission::{OWNER, Role, builtin_roles},
    principal::Principal,
    store::{Named, NewRole, OrganizationRecord, StoreError},
};

impl AuthenticationService {
    /// Founds an organization; the caller is its owner.
    ///
    /// # Errors
    /// [`Code::PermissionDenied`] for a credential that is bound to a store, [`Code::SlugTaken`],
    /// [`Code::ValidationFailed`] on `slug` and `name`, or an outage.
    pub(crate) async fn found_organization(
        &self,
        principal: &Principal,
        slug: &str,
        name: &str,
        origin: &Origin,
    ) -> Result<Organization> {
        let roles = builtin_roles();
        let [owner_role, ..] = &roles;
        debug_assert_eq!(owner_role.name, OWNER, "the owner comes first");
        let new = roles.iter().map(new_role).collect::<Result<_>>()?;
        let owner = principal.signed_in()?.user().id;
        match self.0.organizations.found(slug, name, new, owner, owner_role.id, origin).await? {
            Named::New(organization) => Ok(Organization::from(&organization)),
            Named::SlugTaken => Err(slug_taken()),
            Named::Missing => Err(Error::new(Code::NotFound, "the account has been removed")),
        }
    }

    /// The organizations that the caller belongs to, by slug; one whose credential is bound to a store sees only the
    /// one that the store is in.
    ///
    /// # Errors
    /// An outage.
    pub(crate) async fn organizations_of(&self, principal: &Principal) -> Result<Vec<Organization>> {
        let home = principal.tenant().filter(|tenant| tenant.store.is_some());
        let visible = |record: &&OrganizationRecord| home.is_none_or(|tenant| tenant.organization == record.id);
        let records = self.0.organizations.of_user(principal.signed_in()?.user().id).await?;
        Ok(records.iter().filter(visible).map(Organization::from).collect())
    }

    /// Changes an organization's name or time zone; what is `None` stays. Whether the caller may was asked before.
    ///
    /// # Errors
    /// [`Code::ValidationFailed`], [`Code::NotFound`] if it has gone meanwhile, or an outage.
    pub(crate) async fn update_organization(
        &self,
        standing: &Standing,
        name: Option<&str>,
        time_zone: Option<&str>,
        origin: &Origin,
    ) -> Result<Organization> {
        let organization = &standing.organization;
        let updated = self.0.organizations.update(organization, name, time_zone, standing.actor(), origin).await?;
        updated.as_ref().map(Organization::from).ok_or_else(|| Error::new(Code::NotFound, "it has been removed"))
    }

    /// Removes an organization with everything in it.
    ///
    /// # Errors
    /// [`Code::PermissionDenied`] but for its owners, [`Code::StepUpRequired`] where the sign-in is not recent, or an
    /// outage.
    pub(crate) async fn delete_organization(&self, standing: &Standing, origin: &Origin) -> Result<()> {
        standing.principal.signed_in()?;
        standing.require_unbound()?;
        let mut tries = Tries::new();
        loop {
            let basis = self.basis(standing).await?;
            if !basis.author().is_owner(&basis.model) {
                return Err(Error::new(Code::PermissionDenied, "for owners only"));
            }
            // An owner under a deny may not.
            basis.standing.require(&permission!("organization:delete"))?;
            Requirement::RecentAuth(RECENT).check(Some(&standing.principal), self.now())?;
            let deleted = self.0.organizations.delete(basis.at, standing.actor(), origin).await?;
            if tries.settle(deleted).await?.is_some() {
                return Ok(());
            }
        }
    }

    /// Opens a store. Whether the caller may was asked before.
    ///
    /// # Errors
    /// [`Code::SlugTaken`], [`Code::ValidationFailed`] on `slug` and `name`, [`Code::NotFound`] if the organization has
    /// gone meanwhile, or an outage.
    pub(crate) async fn open_store(
        &self,
        standing: &Standing,
        slug: &str,
        name: &str,
        origin: &Origin,
    ) -> Result<Store> {
        let organization = standing.organization.id;
        match self.0.organizations.open_store(organization, slug, name, standing.actor(), origin).await? {
            Named::New(store) => Ok(Store::from(&store)),
            Named::SlugTaken => Err(slug_taken()),
            Named::Missing => Err(Error::new(Code::NotFound, "the organization has been removed")),
        }
    }

    /// The stores of an organization, by slug; a credential that is bound to one sees no other.
    ///
    /// # Errors
    /// An outage.
    pub(crate) async fn stores(&self, standing: &Standing) -> Result<Vec<Store>> {
        let book = self.0.store.role_book(standing.organization.id).await?;
        let mut stores = book.map(|book| book.stores).unwrap_or_default();
        stores.retain(|store| standing.bound_to.is_none_or(|bound| bound == store.id));
        stores.sort_by(|a, b| a.slug.cmp(&b.slug));
        Ok(stores.iter().map(Store::from).collect())
    }
}

fn slug_taken() -> Error {
    Error::new(Code::SlugTaken, "choose another one")
}

/// A built-in role as it is written; it inherits from none.
fn new_role(role: &Role) -> Result<NewRole> {
    let grants = serde_json::to_string(&role.grants)
        .map_err(|_| Error::from(StoreError::corrupt("a built-in role cannot be written")))?;
    Ok(NewRole {
        id: role.id,
        name: role.name.clone(),
        description: role.description.clone(),
        grants,
        inherits: Vec::new(),
        builtin: role.builtin,
    })
}

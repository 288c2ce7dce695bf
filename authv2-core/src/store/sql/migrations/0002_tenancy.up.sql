CREATE TABLE organizations (
    org_id {uuid} NOT NULL PRIMARY KEY,
    slug TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    time_zone TEXT NOT NULL,
    revision {bigint} NOT NULL,
    created_at {bigint} NOT NULL
) {strict};

CREATE TABLE stores (
    store_id {uuid} NOT NULL PRIMARY KEY,
    org_id {uuid} NOT NULL REFERENCES organizations (org_id) ON DELETE CASCADE,
    slug TEXT NOT NULL,
    name TEXT NOT NULL,
    created_at {bigint} NOT NULL,
    UNIQUE (org_id, slug),
    -- What rows of the same organization refer to: a row that crosses organizations finds nothing here.
    UNIQUE (org_id, store_id)
) {strict};

CREATE TABLE members (
    org_id {uuid} NOT NULL REFERENCES organizations (org_id) ON DELETE CASCADE,
    member_id {uuid} NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('user', 'service_account')),
    user_id {uuid} REFERENCES users (id) ON DELETE CASCADE,
    service_name TEXT,
    joined_at {bigint} NOT NULL,
    used_at {bigint},
    PRIMARY KEY (org_id, member_id),
    CHECK ((kind = 'user' AND user_id = member_id AND service_name IS NULL)
        OR (kind = 'service_account' AND user_id IS NULL AND service_name IS NOT NULL))
) {strict};
CREATE INDEX members_of_user ON members (user_id);
CREATE INDEX members_by_age ON members (org_id, kind, joined_at, member_id);

CREATE TABLE roles (
    role_id {uuid} NOT NULL PRIMARY KEY,
    org_id {uuid} NOT NULL REFERENCES organizations (org_id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    description TEXT,
    grants TEXT NOT NULL,
    builtin {bool} NOT NULL,
    revision {bigint} NOT NULL,
    UNIQUE (org_id, name),
    UNIQUE (org_id, role_id)
) {strict};

CREATE TABLE role_inherits (
    org_id {uuid} NOT NULL REFERENCES organizations (org_id) ON DELETE CASCADE,
    role_id {uuid} NOT NULL,
    parent_id {uuid} NOT NULL,
    PRIMARY KEY (org_id, role_id, parent_id),
    FOREIGN KEY (org_id, role_id) REFERENCES roles (org_id, role_id) ON DELETE CASCADE,
    FOREIGN KEY (org_id, parent_id) REFERENCES roles (org_id, role_id) ON DELETE CASCADE
) {strict};
CREATE INDEX role_inherits_by_parent ON role_inherits (org_id, parent_id);

CREATE TABLE role_assignments (
    org_id {uuid} NOT NULL REFERENCES organizations (org_id) ON DELETE CASCADE,
    member_id {uuid} NOT NULL,
    role_id {uuid} NOT NULL,
    store_id {uuid},
    FOREIGN KEY (org_id, member_id) REFERENCES members (org_id, member_id) ON DELETE CASCADE,
    FOREIGN KEY (org_id, role_id) REFERENCES roles (org_id, role_id) ON DELETE CASCADE,
    FOREIGN KEY (org_id, store_id) REFERENCES stores (org_id, store_id) ON DELETE CASCADE
) {strict};
-- Two indexes, since a NULL is equal to nothing: a role is held once at the organization and once at each store.
CREATE UNIQUE INDEX role_assignments_at_organization ON role_assignments (org_id, member_id, role_id)
    WHERE store_id IS NULL;
CREATE UNIQUE INDEX role_assignments_at_store ON role_assignments (org_id, member_id, role_id, store_id)
    WHERE store_id IS NOT NULL;
CREATE INDEX role_assignments_of_member ON role_assignments (org_id, member_id);
CREATE INDEX role_assignments_by_role ON role_assignments (org_id, role_id);
CREATE INDEX role_assignments_by_store ON role_assignments (org_id, store_id);

CREATE TABLE resource_types (
    org_id {uuid} NOT NULL REFERENCES organizations (org_id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    attributes TEXT NOT NULL,
    PRIMARY KEY (org_id, name)
) {strict};

CREATE TABLE decision_counts (
    org_id {uuid} NOT NULL REFERENCES organizations (org_id) ON DELETE CASCADE,
    day {bigint} NOT NULL,
    permission TEXT NOT NULL,
    role TEXT NOT NULL,
    granted TEXT NOT NULL,
    outcome TEXT NOT NULL CHECK (outcome IN ('allowed', 'denied', 'step_up')),
    count {bigint} NOT NULL,
    PRIMARY KEY (org_id, day, permission, role, granted, outcome)
) {strict};

ALTER TABLE changes ADD COLUMN org_id {uuid};
ALTER TABLE changes ADD COLUMN member_id {uuid};
ALTER TABLE changes ADD COLUMN revision {bigint};
CREATE INDEX changes_of_organizations ON changes (at) WHERE org_id IS NOT NULL;
ALTER TABLE audit ADD COLUMN org_id {uuid};
CREATE INDEX sessions_of_organization ON sessions (org_id, user_id) WHERE org_id IS NOT NULL;
{row_level_security}

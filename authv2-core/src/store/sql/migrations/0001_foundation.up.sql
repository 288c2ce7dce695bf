CREATE TABLE deployment (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) {strict};

CREATE TABLE users (
    id {uuid} NOT NULL PRIMARY KEY,
    external_id TEXT UNIQUE,
    email TEXT NOT NULL,
    email_key TEXT NOT NULL UNIQUE,
    email_verified {bool} NOT NULL,
    display_name TEXT,
    status TEXT NOT NULL CHECK (status IN ('active', 'disabled', 'locked')),
    password_hash TEXT,
    platform_admin {bool} NOT NULL,
    mfa_enabled {bool} NOT NULL,
    metadata TEXT NOT NULL,
    version {bigint} NOT NULL,
    created_at {bigint} NOT NULL,
    updated_at {bigint} NOT NULL,
    last_login_at {bigint}
) {strict};
CREATE INDEX users_platform_admin ON users (id) WHERE platform_admin;

CREATE TABLE sessions (
    session_id {uuid} NOT NULL PRIMARY KEY,
    user_id {uuid} NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    transport TEXT NOT NULL CHECK (transport IN ('bearer', 'cookie')),
    cookie_hash {bytes} UNIQUE,
    opened_at {bigint} NOT NULL,
    auth_time {bigint} NOT NULL,
    last_seen_at {bigint} NOT NULL,
    expires_at {bigint} NOT NULL,
    idle_expires_at {bigint} NOT NULL,
    ip TEXT,
    user_agent TEXT,
    amr TEXT NOT NULL,
    acr TEXT NOT NULL,
    org_id {uuid},
    store_id {uuid},
    risk TEXT NOT NULL CHECK (risk IN ('low', 'medium', 'high')),
    revoked_at {bigint}
) {strict};
CREATE INDEX sessions_of_user ON sessions (user_id, opened_at);
CREATE INDEX sessions_by_idle_end ON sessions (idle_expires_at);
CREATE INDEX sessions_by_end ON sessions (expires_at);
CREATE INDEX sessions_by_revocation ON sessions (revoked_at) WHERE revoked_at IS NOT NULL;

CREATE TABLE refresh_tokens (
    hash {bytes} NOT NULL PRIMARY KEY,
    session_id {uuid} NOT NULL REFERENCES sessions (session_id) ON DELETE CASCADE,
    issued_at {bigint} NOT NULL,
    consumed_at {bigint},
    salt {bytes},
    successor {bytes}
) {strict};
CREATE INDEX refresh_tokens_of_session ON refresh_tokens (session_id);
-- The database itself refuses a family with two live successors.
CREATE UNIQUE INDEX refresh_tokens_one_live ON refresh_tokens (session_id) WHERE consumed_at IS NULL;

CREATE TABLE known_networks (
    user_id {uuid} NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    network TEXT NOT NULL,
    last_login_at {bigint} NOT NULL,
    PRIMARY KEY (user_id, network)
) {strict};
CREATE INDEX known_networks_by_age ON known_networks (last_login_at);

CREATE TABLE login_throttle (
    bucket {bytes} NOT NULL PRIMARY KEY,
    count {bigint} NOT NULL,
    window_start {bigint} NOT NULL,
    blocked_until {bigint} NOT NULL,
    touched_at {bigint} NOT NULL
) {strict};
CREATE INDEX login_throttle_by_age ON login_throttle (touched_at);

CREATE TABLE signing_keys (
    kid TEXT NOT NULL PRIMARY KEY,
    alg TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'active', 'retiring', 'retired')),
    sealed {bytes} NOT NULL,
    created_at {bigint} NOT NULL,
    activates_at {bigint} NOT NULL,
    retires_at {bigint}
) {strict};

CREATE TABLE changes (
    seq {serial},
    {xid_column}
    at {bigint} NOT NULL,
    kind TEXT NOT NULL,
    user_id {uuid},
    session_id {uuid}
) {strict};
CREATE INDEX changes_by_age ON changes (at);

CREATE TABLE audit (
    seq {serial},
    id {uuid} NOT NULL UNIQUE,
    at {bigint} NOT NULL,
    action TEXT NOT NULL,
    outcome TEXT NOT NULL CHECK (outcome IN ('success', 'denied', 'failure')),
    actor_kind TEXT NOT NULL,
    actor_id TEXT,
    target TEXT,
    ip TEXT,
    request_id TEXT,
    reason TEXT
) {strict};
{append_only_audit}

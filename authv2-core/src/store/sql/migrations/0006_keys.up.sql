-- API keys, each bounded by what a member may do: whoever made it, or a service account. It goes with that member.
CREATE TABLE api_keys (
    key_id {uuid} NOT NULL PRIMARY KEY,
    org_id {uuid} NOT NULL REFERENCES organizations (org_id) ON DELETE CASCADE,
    member_id {uuid} NOT NULL,
    store_id {uuid},
    name TEXT NOT NULL,
    environment TEXT NOT NULL,
    scopes TEXT NOT NULL,
    allowed_ips TEXT NOT NULL,
    rate_limit TEXT,
    quota TEXT,
    metadata TEXT NOT NULL,
    created_at {bigint} NOT NULL,
    expires_at {bigint},
    last_used_at {bigint},
    last_used_ip TEXT,
    UNIQUE (org_id, key_id),
    FOREIGN KEY (org_id, member_id) REFERENCES members (org_id, member_id) ON DELETE CASCADE,
    FOREIGN KEY (org_id, store_id) REFERENCES stores (org_id, store_id) ON DELETE CASCADE
) {strict};
CREATE INDEX api_keys_of_organization ON api_keys (org_id, created_at, key_id);
CREATE INDEX api_keys_of_member ON api_keys (org_id, member_id);
CREATE INDEX api_keys_by_store ON api_keys (org_id, store_id);

-- The SHA-256 of what is presented. The newest has no end of its own, those that it replaced live until theirs.
CREATE TABLE api_key_secrets (
    hash {bytes} NOT NULL PRIMARY KEY,
    org_id {uuid} NOT NULL REFERENCES organizations (org_id) ON DELETE CASCADE,
    key_id {uuid} NOT NULL,
    created_at {bigint} NOT NULL,
    expires_at {bigint},
    FOREIGN KEY (org_id, key_id) REFERENCES api_keys (org_id, key_id) ON DELETE CASCADE
) {strict};
CREATE INDEX api_key_secrets_of_key ON api_key_secrets (org_id, key_id);

-- Which organization a key is of: a request that presents it has yet to learn that.
CREATE TABLE api_key_homes (
    key_id {uuid} NOT NULL PRIMARY KEY REFERENCES api_keys (key_id) ON DELETE CASCADE,
    org_id {uuid} NOT NULL
) {strict};

-- How much of its quota a key has drawn, in the window that it last drew in. Nodes draw blocks and serve from them.
CREATE TABLE key_quotas (
    org_id {uuid} NOT NULL,
    key_id {uuid} NOT NULL,
    period TEXT NOT NULL,
    window_start {bigint} NOT NULL,
    window_end {bigint} NOT NULL,
    drawn {bigint} NOT NULL,
    PRIMARY KEY (org_id, key_id),
    FOREIGN KEY (org_id, key_id) REFERENCES api_keys (org_id, key_id) ON DELETE CASCADE
) {strict};

-- What keys were used for, by hours of the organization's time zone, each with the day that it is of.
CREATE TABLE key_usage_hours (
    org_id {uuid} NOT NULL,
    key_id {uuid} NOT NULL,
    start {bigint} NOT NULL,
    route TEXT NOT NULL,
    day {bigint} NOT NULL,
    allowed {bigint} NOT NULL,
    denied {bigint} NOT NULL,
    rate_limited {bigint} NOT NULL,
    PRIMARY KEY (org_id, key_id, start, route),
    FOREIGN KEY (org_id, key_id) REFERENCES api_keys (org_id, key_id) ON DELETE CASCADE
) {strict};

-- The same, by day: what has become of old hours.
CREATE TABLE key_usage_days (
    org_id {uuid} NOT NULL,
    key_id {uuid} NOT NULL,
    start {bigint} NOT NULL,
    route TEXT NOT NULL,
    allowed {bigint} NOT NULL,
    denied {bigint} NOT NULL,
    rate_limited {bigint} NOT NULL,
    PRIMARY KEY (org_id, key_id, start, route),
    FOREIGN KEY (org_id, key_id) REFERENCES api_keys (org_id, key_id) ON DELETE CASCADE
) {strict};

-- The batches of counts that were added: one that is sent again is not added again.
CREATE TABLE key_usage_batches (
    batch_id {uuid} NOT NULL PRIMARY KEY,
    at {bigint} NOT NULL
) {strict};
CREATE INDEX key_usage_batches_by_age ON key_usage_batches (at);

-- From where keys are used. Read by key alone and purged of all organizations at once, so no policy stands before it.
CREATE TABLE api_key_networks (
    key_id {uuid} NOT NULL REFERENCES api_keys (key_id) ON DELETE CASCADE,
    network TEXT NOT NULL,
    last_used_at {bigint} NOT NULL,
    PRIMARY KEY (key_id, network)
) {strict};
CREATE INDEX api_key_networks_by_time ON api_key_networks (last_used_at);

-- On what users sign in.
CREATE TABLE known_devices (
    user_id {uuid} NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    device TEXT NOT NULL,
    last_login_at {bigint} NOT NULL,
    PRIMARY KEY (user_id, device)
) {strict};
CREATE INDEX known_devices_by_time ON known_devices (last_login_at);

-- What the security monitor noticed. No references: an event outlives what it tells of.
CREATE TABLE security_events (
    seq {serial},
    event_id {uuid} NOT NULL UNIQUE,
    at {bigint} NOT NULL,
    kind TEXT NOT NULL,
    severity TEXT NOT NULL,
    user_id {uuid},
    org_id {uuid},
    ip TEXT,
    detail TEXT NOT NULL
) {strict};
CREATE INDEX security_events_by_time ON security_events (at, seq);

ALTER TABLE changes ADD COLUMN key_id {uuid};
{row_level_security_of_keys}

-- What one node at a time does for all: whoever holds the row does it, until the moment that it names.
CREATE TABLE leases (
    name TEXT NOT NULL PRIMARY KEY,
    holder {uuid} NOT NULL,
    held_until {bigint} NOT NULL
) {strict};

-- What a key's material is known by if it is brought back. `reference` is the name of a key that is held elsewhere; such
-- a row's `sealed` holds its public half. The last two, in seconds: how long tokens may live that it signs, and how long
-- verifiers may keep a set of keys with it. A day is the most that could be set before they were written down.
ALTER TABLE signing_keys ADD COLUMN fingerprint {bytes};
ALTER TABLE signing_keys ADD COLUMN reference TEXT;
ALTER TABLE signing_keys ADD COLUMN imported {bool} NOT NULL DEFAULT FALSE;
ALTER TABLE signing_keys ADD COLUMN revoked_at {bigint};
ALTER TABLE signing_keys ADD COLUMN token_life {bigint} NOT NULL DEFAULT 86400;
ALTER TABLE signing_keys ADD COLUMN jwks_max_age {bigint} NOT NULL DEFAULT 86400;

-- Outlives the key's own row: what was given up is never taken again.
CREATE TABLE refused_key_material (
    fingerprint {bytes} NOT NULL PRIMARY KEY,
    refused_at {bigint} NOT NULL
) {strict};

-- Access tokens that were revoked one by one, kept until they would have expired.
CREATE TABLE revoked_tokens (
    token_id {uuid} NOT NULL PRIMARY KEY,
    expires_at {bigint} NOT NULL
) {strict};
CREATE INDEX revoked_tokens_by_expiry ON revoked_tokens (expires_at);
ALTER TABLE changes ADD COLUMN token_id {uuid};
ALTER TABLE changes ADD COLUMN expires_at {bigint};

-- Proofs of possession (DPoP) that were used, kept until they would be too old anyway.
CREATE TABLE used_proofs (
    proof {bytes} NOT NULL PRIMARY KEY,
    expires_at {bigint} NOT NULL
) {strict};
CREATE INDEX used_proofs_by_expiry ON used_proofs (expires_at);

-- SHA-256 thumbprint (RFC 7638) of the key that the session's tokens are bound to.
ALTER TABLE sessions ADD COLUMN key_thumbprint {bytes};

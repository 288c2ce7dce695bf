-- Mails to send, each written with what it tells of and removed once it is sent. The token of a link is derived from
-- the salt and a key that is not in the database.
CREATE TABLE mails (
    mail_id {uuid} NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    recipient TEXT NOT NULL CHECK (recipient IN ('user', 'owner', 'address')),
    user_id {uuid} REFERENCES users (id) ON DELETE CASCADE,
    address TEXT,
    language TEXT,
    details TEXT NOT NULL,
    salt {bytes} NOT NULL,
    created_at {bigint} NOT NULL,
    expires_at {bigint} NOT NULL,
    attempts {bigint} NOT NULL,
    -- No attempt before this. A node that sends it moves this ahead, again and again until it is done.
    due_at {bigint} NOT NULL,
    claim {uuid},
    CHECK ((recipient = 'user') = (user_id IS NOT NULL)),
    CHECK ((recipient = 'user') = (address IS NULL))
) {strict};
CREATE INDEX mails_by_due ON mails (due_at);
CREATE INDEX mails_by_end ON mails (expires_at);
CREATE INDEX mails_of_user ON mails (user_id);
CREATE INDEX mails_of_address ON mails (address);

-- The SHA-256 of what a mail's link carries. A newer one of the same purpose takes the place of an older one.
CREATE TABLE mail_tokens (
    hash {bytes} NOT NULL PRIMARY KEY,
    user_id {uuid} NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    purpose TEXT NOT NULL CHECK (purpose IN ('verify_email', 'reset_password', 'sign_in')),
    created_at {bigint} NOT NULL,
    expires_at {bigint} NOT NULL,
    UNIQUE (user_id, purpose)
) {strict};
CREATE INDEX mail_tokens_by_end ON mail_tokens (expires_at);

-- Secrets of second factors, sealed. One that was not confirmed yet asks nobody for a code.
CREATE TABLE totp (
    user_id {uuid} NOT NULL PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    sealed {bytes} NOT NULL,
    created_at {bigint} NOT NULL,
    confirmed_at {bigint},
    -- The last time step whose code was used: no code of it or of one before is taken again.
    last_step {bigint} NOT NULL
) {strict};

CREATE TABLE recovery_codes (
    user_id {uuid} NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    hash {bytes} NOT NULL,
    PRIMARY KEY (user_id, hash)
) {strict};

-- Sign-ins that wait for their second factor, by the SHA-256 of the `mfa_token`, and all that they will be opened with.
CREATE TABLE mfa_challenges (
    hash {bytes} NOT NULL PRIMARY KEY,
    user_id {uuid} NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    transport TEXT NOT NULL CHECK (transport IN ('bearer', 'cookie')),
    org_id {uuid},
    store_id {uuid},
    amr TEXT NOT NULL,
    key_thumbprint {bytes},
    -- What was unusual about the first factor.
    signs TEXT NOT NULL,
    -- How many codes were tried with it, each counted before it is looked at.
    tries {bigint} NOT NULL,
    created_at {bigint} NOT NULL,
    expires_at {bigint} NOT NULL
) {strict};
CREATE INDEX mfa_challenges_of_user ON mfa_challenges (user_id);
CREATE INDEX mfa_challenges_by_end ON mfa_challenges (expires_at);

-- Who in an organization needs a second factor: nobody, everybody, or those who hold one of the roles named.
ALTER TABLE organizations ADD COLUMN mfa TEXT NOT NULL DEFAULT 'optional';
ALTER TABLE organizations ADD COLUMN mfa_roles TEXT NOT NULL DEFAULT '[]';

-- Browsers that users signed in with, known again by a signed cookie that names the row.
CREATE TABLE devices (
    device_id {uuid} NOT NULL PRIMARY KEY,
    user_id {uuid} NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    ip TEXT,
    created_at {bigint} NOT NULL,
    last_login_at {bigint} NOT NULL
) {strict};
CREATE INDEX devices_of_user ON devices (user_id, last_login_at);
CREATE INDEX devices_by_age ON devices (last_login_at);

ALTER TABLE sessions ADD COLUMN device_id {uuid};
CREATE INDEX sessions_of_device ON sessions (device_id) WHERE device_id IS NOT NULL;

-- Until when a counter means something, beyond what it blocks: not all count in windows of minutes.
ALTER TABLE login_throttle ADD COLUMN ends_at {bigint} NOT NULL DEFAULT 0;

-- A key that is held elsewhere means nothing where only sealed ones are known.
DELETE FROM signing_keys WHERE reference IS NOT NULL;
-- Where no key is asked for, a bound session's tokens would be good without it.
DELETE FROM refresh_tokens WHERE session_id IN (SELECT session_id FROM sessions WHERE key_thumbprint IS NOT NULL);
UPDATE sessions SET revoked_at = opened_at WHERE revoked_at IS NULL AND key_thumbprint IS NOT NULL;
ALTER TABLE sessions DROP COLUMN key_thumbprint;
DROP TABLE used_proofs;
DELETE FROM changes WHERE kind = 'token_revoked';
ALTER TABLE changes DROP COLUMN expires_at;
ALTER TABLE changes DROP COLUMN token_id;
DROP TABLE revoked_tokens;
DROP TABLE refused_key_material;
ALTER TABLE signing_keys DROP COLUMN jwks_max_age;
ALTER TABLE signing_keys DROP COLUMN token_life;
ALTER TABLE signing_keys DROP COLUMN revoked_at;
ALTER TABLE signing_keys DROP COLUMN imported;
ALTER TABLE signing_keys DROP COLUMN reference;
ALTER TABLE signing_keys DROP COLUMN fingerprint;
DROP TABLE leases;

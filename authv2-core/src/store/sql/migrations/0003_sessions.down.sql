-- What was ended with its generation stays ended where generations mean nothing.
UPDATE sessions SET revoked_at = (SELECT raised_at FROM session_generation)
    WHERE revoked_at IS NULL AND generation < (SELECT floor FROM session_generation);
UPDATE sessions SET revoked_at = (SELECT raised_at FROM session_floors WHERE session_floors.org_id = sessions.org_id)
    WHERE revoked_at IS NULL
      AND generation < (SELECT floor FROM session_floors WHERE session_floors.org_id = sessions.org_id);
DELETE FROM changes WHERE kind IN ('session_changed', 'sessions_revoked');
DROP TABLE session_samples;
ALTER TABLE sessions DROP COLUMN device_changed;
ALTER TABLE sessions DROP COLUMN network_changed;
ALTER TABLE sessions DROP COLUMN device;
ALTER TABLE sessions DROP COLUMN generation;
DROP TABLE session_floors;
DROP TABLE session_generation;

-- One row. Every session bears the counter as it was when the session was opened or taken into an organization; ending
-- all of them raises the floor to a value that none of them has.
CREATE TABLE session_generation (
    id {bigint} NOT NULL PRIMARY KEY CHECK (id = 1),
    counter {bigint} NOT NULL,
    floor {bigint} NOT NULL,
    raised_at {bigint} NOT NULL
) {strict};
INSERT INTO session_generation (id, counter, floor, raised_at) VALUES (1, 0, 0, 0);

-- Not a reference to organizations: sessions that were ended in one stay so when it goes.
CREATE TABLE session_floors (
    org_id {uuid} NOT NULL PRIMARY KEY,
    floor {bigint} NOT NULL,
    raised_at {bigint} NOT NULL
) {strict};

ALTER TABLE sessions ADD COLUMN generation {bigint} NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN device TEXT NOT NULL DEFAULT 'unknown'
    CHECK (device IN ('desktop', 'mobile', 'tablet', 'bot', 'unknown'));
ALTER TABLE sessions ADD COLUMN network_changed {bool} NOT NULL DEFAULT FALSE;
ALTER TABLE sessions ADD COLUMN device_changed {bool} NOT NULL DEFAULT FALSE;

-- The minute is claimed by inserting it, so that one node counts.
CREATE TABLE session_samples (
    minute {bigint} NOT NULL PRIMARY KEY,
    active {bigint}
) {strict};

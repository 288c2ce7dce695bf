{drop_row_level_security}
DROP INDEX sessions_of_organization;
UPDATE sessions SET org_id = NULL, store_id = NULL;
DELETE FROM changes WHERE org_id IS NOT NULL;
ALTER TABLE audit DROP COLUMN org_id;
DROP INDEX changes_of_organizations;
ALTER TABLE changes DROP COLUMN revision;
ALTER TABLE changes DROP COLUMN member_id;
ALTER TABLE changes DROP COLUMN org_id;
DROP TABLE decision_counts;
DROP TABLE resource_types;
DROP TABLE role_assignments;
DROP TABLE role_inherits;
DROP TABLE roles;
DROP TABLE members;
DROP TABLE stores;
DROP TABLE organizations;

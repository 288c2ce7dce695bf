DELETE FROM changes WHERE kind = 'api_key_changed';
ALTER TABLE changes DROP COLUMN key_id;
DROP TABLE key_usage_batches;
DROP TABLE key_usage_days;
DROP TABLE key_usage_hours;
DROP TABLE key_quotas;
DROP TABLE api_key_homes;
DROP TABLE api_key_secrets;
DROP TABLE api_keys;

DELETE FROM changes WHERE kind = 'api_key_changed';
ALTER TABLE changes DROP COLUMN key_id;
DROP TABLE security_events;
DROP TABLE known_devices;
DROP TABLE api_key_networks;
DROP TABLE api_key_homes;
DROP TABLE api_key_secrets;
DROP TABLE api_keys;

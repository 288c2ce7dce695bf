DROP TABLE audit;
{drop_append_only_audit}
DROP TABLE changes;
DROP TABLE signing_keys;
DROP TABLE login_throttle;
DROP TABLE known_networks;
DROP TABLE refresh_tokens;
DROP TABLE sessions;
DROP TABLE users;
DROP TABLE deployment;

//! The settings: loaded as the server loads them, checked, and described.

use authv2_core::config::{Config, schema as json_schema};

use crate::failure::Failure;

/// The settings in force here.
///
/// The base is the production profile. A server that starts from `Config::development()` differs from it in `profile`
/// and `cookies.insecure` alone; the first can be set for this command too, the second means nothing to it.
pub(crate) fn load() -> Result<Config, Failure> {
    let config = Config::from_env_and_file(Config::default()).map_err(Failure::Settings)?;
    for setting in &config.unused {
        eprintln!("{setting}: has no effect in this version");
    }
    Ok(config)
}

/// `config check`.
pub(crate) fn check() -> Result<Vec<String>, Failure> {
    match load() {
        Ok(_) => Ok(vec!["ok".to_owned()]),
        Err(Failure::Settings(problems)) => Err(Failure::Checked(problems)),
        Err(other) => Err(other),
    }
}

/// `config schema`.
pub(crate) fn schema() -> String {
    format!("{:#}", json_schema())
}

//! The workspace's own binaries, beside the test's executable.
//!
//! Cargo tells only a package's own tests where its binaries are, and these belong to other packages.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
};

use crate::error::HarnessError;

/// The binary `name` of the workspace, built first if it is not there. One that is there is taken as it is: `./test`
/// builds them before it runs the tests.
///
/// # Errors
/// When it is not there and cannot be built.
pub fn find(name: &str) -> Result<PathBuf, HarnessError> {
    // One build at a time, and whoever waited for it finds its outcome.
    static BUILDING: Mutex<()> = Mutex::new(());
    let own = env::current_exe().map_err(HarnessError::io("finding the test's own executable"))?;
    // Tests lie in target/<profile>/deps, binaries in target/<profile>.
    let beside = own.parent().unwrap_or(&own);
    let profile = if beside.ends_with("deps") { beside.parent().unwrap_or(beside) } else { beside };
    let binary = profile.join(name);
    let _building = BUILDING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if !binary.is_file() {
        build(profile, name)?;
    }
    if binary.is_file() { Ok(binary) } else { Err(HarnessError::NoBinary(binary)) }
}

/// Builds with the features of the whole workspace: then the dependencies that the tests were built with will do.
fn build(profile: &Path, name: &str) -> Result<(), HarnessError> {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .args(["build", "--quiet", "--workspace", "--all-features", "--bin", name])
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    if profile.ends_with("release") {
        command.arg("--release");
    }
    if let Some(target) = profile.parent() {
        command.env("CARGO_TARGET_DIR", target);
    }
    let built = command.output().map_err(HarnessError::io("running cargo"))?;
    if built.status.success() {
        return Ok(());
    }
    let output = String::from_utf8_lossy(&built.stderr).into_owned();
    Err(HarnessError::Failed { program: format!("cargo build --bin {name}"), output })
}

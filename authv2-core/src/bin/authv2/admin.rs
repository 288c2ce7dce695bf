//! `authv2 admin`: administrators of the whole deployment.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, IsTerminal as _, Read},
    path::Path,
};

use authv2_core::{Config, secret::Secret};
use zeroize::Zeroizing;

use crate::{failure::Failure, store};

/// More than any password takes; what is longer is refused by its length.
const PASSWORD_BYTES_MAX: usize = 8 * 1024;

/// The password: the first line of the file, or of standard input.
pub(crate) fn password(file: Option<&Path>) -> Result<Secret, Failure> {
    let read = match file {
        Some(path) => File::open(path).and_then(first_line),
        None => {
            if io::stdin().is_terminal() {
                eprint!("password (it shows while you type): ");
            }
            first_line(io::stdin())
        }
    };
    read.map_err(Failure::Password)
}

fn first_line(source: impl Read) -> io::Result<Secret> {
    // Of full size from the start: a buffer that grows leaves copies behind.
    let mut line = Zeroizing::new(String::with_capacity(PASSWORD_BYTES_MAX));
    let limit = u64::try_from(PASSWORD_BYTES_MAX).unwrap_or(u64::MAX);
    BufReader::new(source.take(limit)).read_line(&mut line)?;
    let password = line.strip_suffix('\n').unwrap_or(&line);
    Ok(Secret::from(password.strip_suffix('\r').unwrap_or(password)))
}

/// Makes the account; one line with its id.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) async fn create(config: &Config, email: &str, password: &Secret) -> Result<Vec<String>, Failure> {
    use std::sync::Arc;

    use authv2_core::{
        authentication::{StartError, user_service},
        clock::{Clock as _, SystemClock},
        store::Upkeep as _,
        user::{NewAccount, Registered},
    };

    let store = store::open(config).await?;
    store.check_schema().await.map_err(StartError::from)?;
    let clock = SystemClock::new();
    clock.follow(store.now().await?);
    let users = user_service(config, Arc::new(store.clone()), Arc::new(clock))?;
    let made = users.create_admin(NewAccount { email, password, display_name: None }).await;
    store.close().await;
    match made? {
        Registered::New(user) => Ok(vec![format!("made the platform administrator {}", user.id)]),
        Registered::EmailTaken | Registered::AlreadyFounded => Err(Failure::EmailTaken),
    }
}

/// Says that there is nowhere to keep it in this build.
#[cfg(not(any(feature = "sqlite", feature = "postgres")))]
#[allow(clippy::unused_async, reason = "the same signature as in builds with a store")]
pub(crate) async fn create(_: &Config, _: &str, _: &Secret) -> Result<Vec<String>, Failure> {
    Err(store::missing())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_the_first_line_without_its_end() {
        for text in ["violet teapot", "violet teapot\n", "violet teapot\r\n", "violet teapot\nand more\n"] {
            assert_eq!(first_line(text.as_bytes()).unwrap().expose(), "violet teapot", "{text:?}");
        }
        assert_eq!(first_line(&b" spaced \n"[..]).unwrap().expose(), " spaced ", "white space belongs to it");
        assert!(first_line(&b"\xff\n"[..]).is_err());
    }

    #[test]
    fn an_endless_file_is_cut_off() {
        assert_eq!(first_line(io::repeat(b'x')).unwrap().expose().len(), PASSWORD_BYTES_MAX);
    }
}

//! A service whose signing key is held elsewhere, while its holder cannot be reached.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use authv2_core::{
    AuthenticationService, Code, Config,
    audit::Origin,
    authentication::{Credentials, Login},
    clock::{FakeClock, SystemClock},
    jwt::{Algorithm, Jwk, Signer, SignerError, SigningKey},
    secret::Secret,
    store::Transport,
    user::NewAccount,
};

const EMAIL: &str = "ada@example.org";
const PASSWORD: &str = "correct horse battery";

#[derive(Debug)]
struct Kms {
    key: SigningKey,
    is_down: AtomicBool,
}

#[async_trait]
impl Signer for Kms {
    fn reference(&self) -> &str {
        "kms/1"
    }

    fn algorithm(&self) -> Algorithm {
        self.key.algorithm()
    }

    fn public_key(&self) -> Jwk {
        self.key.public_jwk("kms").unwrap()
    }

    async fn sign(&self, input: &[u8]) -> Result<Vec<u8>, SignerError> {
        tokio::task::yield_now().await;
        if self.is_down.load(Ordering::SeqCst) {
            return Err(SignerError::failed(std::io::Error::other("the test says so")));
        }
        self.key.sign(input).map_err(SignerError::failed)
    }
}

async fn sign_in(auth: &AuthenticationService) -> authv2_core::Result<String> {
    let login = Login {
        email: EMAIL.into(),
        password: PASSWORD.into(),
        organization: None,
        store: None,
        transport: Transport::Bearer,
        proof: None,
    };
    refresh_token(auth.login(login, &Origin::default()).await?.credentials)
}

fn refresh_token(credentials: Credentials) -> authv2_core::Result<String> {
    let Credentials::Tokens { refresh_token, .. } = credentials else { panic!("no tokens") };
    Ok(refresh_token.expose().clone())
}

#[tokio::test]
async fn while_nobody_signs_no_refresh_token_is_used_up_and_no_session_opened() {
    let kms = Arc::new(Kms { key: SigningKey::generate(Algorithm::EdDSA).unwrap(), is_down: AtomicBool::new(false) });
    let clock = Arc::new(FakeClock::at(SystemClock::wall()));
    let mut config = Config::development();
    config.store.url = Secret::from("sqlite::memory:");
    (config.password.memory_kib, config.password.iterations) = (8, 1);
    config.session.max_per_user = 2;
    let builder = AuthenticationService::builder(config).clock(Arc::clone(&clock) as _);
    let auth = builder.signer(Arc::clone(&kms) as _).build().await.unwrap();
    let password = Secret::from(PASSWORD);
    let account = NewAccount { email: EMAIL, password: &password, display_name: None };
    auth.register(account, &Origin::default()).await.unwrap();
    let token = sign_in(&auth).await.unwrap();
    kms.is_down.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        // Longer than the grace in which a used token is still good.
        clock.advance(Duration::from_secs(60));
        let refused = auth.refresh(&token, None, &Origin::default()).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable);
        assert_eq!(sign_in(&auth).await.unwrap_err().code(), Code::Unavailable);
    }
    kms.is_down.store(false, Ordering::SeqCst);
    // The breaker in front of it lets somebody try again.
    let begun = std::time::Instant::now();
    let renewed = loop {
        match auth.refresh(&token, None, &Origin::default()).await {
            Ok(signed_in) => break signed_in,
            Err(error) => assert_eq!(error.code(), Code::Unavailable, "the session must go on"),
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "it does not come back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let next = refresh_token(renewed.credentials).unwrap();
    assert!(auth.refresh(&next, None, &Origin::default()).await.is_ok());
}

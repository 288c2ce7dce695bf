//! A signer behind a socket that answers, stalls, fails and lies.

use std::{
    net::SocketAddr,
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Instant,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::{jwt::SigningKey, store::breaker::Circuit};

#[derive(Debug, Clone, Copy)]
enum Manner {
    Signs,
    Stalls,
    HangsUp,
    Lies,
    Babbles,
}

/// A process of its own, as far as anybody can tell: it holds the key and is spoken to over TCP.
#[derive(Debug)]
struct Remote {
    manner: Mutex<Manner>,
    asked: AtomicU32,
    key: SigningKey,
    other: SigningKey,
}

#[derive(Debug)]
struct Client {
    address: SocketAddr,
    public: Jwk,
}

async fn remote(manner: Manner) -> (Arc<Remote>, Held, VerifyingKey) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let make = || SigningKey::generate(Algorithm::ES256).unwrap();
    let remote = Arc::new(Remote { manner: Mutex::new(manner), asked: AtomicU32::new(0), key: make(), other: make() });
    let client = Client { address: listener.local_addr().unwrap(), public: remote.key.public_jwk("").unwrap() };
    let verifying = remote.key.verifying_key().unwrap();
    let serving = Arc::clone(&remote);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(answer(Arc::clone(&serving), stream));
        }
    });
    (remote, Held::new(Arc::new(client)), verifying)
}

async fn answer(remote: Arc<Remote>, mut stream: TcpStream) {
    remote.asked.fetch_add(1, Ordering::SeqCst);
    let mut input = Vec::new();
    stream.read_to_end(&mut input).await.unwrap();
    let manner = *remote.manner.lock().unwrap();
    let signature = match manner {
        Manner::Signs => remote.key.sign(&input).unwrap(),
        Manner::Lies => remote.other.sign(&input).unwrap(),
        Manner::Babbles => vec![0; 10_000],
        Manner::HangsUp => return,
        Manner::Stalls => std::future::pending().await,
    };
    stream.write_all(&signature).await.unwrap();
}

#[derive(Debug, thiserror::Error)]
#[error("no signature came")]
struct Nothing;

#[async_trait]
impl Signer for Client {
    fn reference(&self) -> &str {
        "kms/1"
    }

    fn algorithm(&self) -> Algorithm {
        Algorithm::ES256
    }

    fn public_key(&self) -> Jwk {
        self.public.clone()
    }

    async fn sign(&self, input: &[u8]) -> Result<Vec<u8>, SignerError> {
        let mut stream = TcpStream::connect(self.address).await.map_err(SignerError::failed)?;
        stream.write_all(input).await.map_err(SignerError::failed)?;
        stream.shutdown().await.map_err(SignerError::failed)?;
        let mut signature = Vec::new();
        stream.read_to_end(&mut signature).await.map_err(SignerError::failed)?;
        if signature.is_empty() { Err(SignerError::failed(Nothing)) } else { Ok(signature) }
    }
}

#[tokio::test]
async fn hands_out_what_its_key_has_signed_and_nothing_else() {
    let (remote, held, key) = remote(Manner::Signs).await;
    let signature = held.sign(b"input", &key).await.unwrap();
    assert!(key.verifies(b"input", &signature));
    for (manner, expected) in [(Manner::Lies, "no signature of its key"), (Manner::Babbles, "no signature of its key")]
    {
        *remote.manner.lock().unwrap() = manner;
        let error = held.sign(b"input", &key).await.unwrap_err();
        assert!(error.to_string().ends_with(expected), "{manner:?}: {error}");
    }
    *remote.manner.lock().unwrap() = Manner::HangsUp;
    let error = held.sign(b"input", &key).await.unwrap_err();
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "no signature came");
    *remote.manner.lock().unwrap() = Manner::Signs;
    assert!(held.sign(b"input", &key).await.is_ok());
}

#[tokio::test]
async fn waits_no_longer_than_somebody_who_signs_in_would() {
    let (_remote, held, key) = remote(Manner::Stalls).await;
    let begun = Instant::now();
    assert!(matches!(held.sign(b"input", &key).await, Err(SignerError::Late)));
    assert!(begun.elapsed() >= PATIENCE);
}

#[tokio::test]
async fn leaves_a_signer_alone_that_keeps_failing() {
    let (remote, held, key) = remote(Manner::HangsUp).await;
    let failures = Rules::default().failures;
    for _ in 0..failures {
        assert!(matches!(held.sign(b"input", &key).await, Err(SignerError::Failed(_))));
    }
    assert!(matches!(held.sign(b"input", &key).await, Err(SignerError::Paused)));
    assert_eq!(remote.asked.load(Ordering::SeqCst), failures);
    assert_eq!(held.health().circuit, Circuit::Open);
}

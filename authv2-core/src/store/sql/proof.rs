//! Proofs of possession in SQL: each used once, on whatever node.

use async_trait::async_trait;

use super::{SqlStore, pool::execute, tx::Tx};
use crate::store::{Proof, ProofStore, StoreError};

const USE: &str = "INSERT INTO used_proofs (proof, expires_at) VALUES ($1, $2) ON CONFLICT (proof) DO NOTHING";

#[async_trait]
impl ProofStore for SqlStore {
    async fn use_proof(&self, proof: Proof) -> Result<bool, StoreError> {
        self.write(move |tx| Box::pin(async move { tx.use_proof(&proof).await })).await
    }
}

impl Tx {
    /// Uses a proof up. `false` if it was used before.
    pub(super) async fn use_proof(&mut self, proof: &Proof) -> Result<bool, StoreError> {
        let used = execute!(self, sqlx::query(USE).bind(proof.id.as_bytes().as_slice()).bind(proof.expires_at))?;
        Ok(used == 1)
    }
}

//! The embedded store, in memory and in a file, under the conformance suite.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use futures_util::FutureExt as _;

use super::{
    Backend, Fixture,
    act::{act, at, new_user},
};
use crate::{
    changes::Feed,
    id::RequestUuid,
    store::{
        Created,
        sql::{SqlOptions, SqlStore},
    },
};

async fn fixture(url: String) -> Fixture {
    let feed = Feed::new();
    let store = SqlStore::open(&SqlOptions::new(url), feed.clone()).await.unwrap();
    store.migrate().await.unwrap();
    Fixture { store: std::sync::Arc::new(store), feed }
}

struct Memory;

#[async_trait]
impl Backend for Memory {
    async fn fresh(&self) -> Fixture {
        fixture("sqlite::memory:".to_owned()).await
    }
}

/// Files in a directory of their own, removed when the test ends.
struct Files(PathBuf);

impl Files {
    fn new() -> Self {
        let directory = std::env::temp_dir().join(format!("authv2-{}", RequestUuid::new()));
        std::fs::create_dir(&directory).unwrap();
        Self(directory)
    }

    fn directory(&self) -> &Path {
        &self.0
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // A directory left behind is no failure of the store.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[async_trait]
impl Backend for Files {
    async fn fresh(&self) -> Fixture {
        let file = self.directory().join(format!("{}.db", RequestUuid::new()));
        fixture(format!("sqlite://{}", file.display())).await
    }
}

#[tokio::test]
async fn finishes_every_write_in_its_queue_before_it_closes() {
    let store = Memory.fresh().await.store;
    let mut waiting = Vec::new();
    for index in 0..300 {
        let mut write = store.create_user(new_user(&index.to_string()), act("user.created", at(0)));
        assert!((&mut write).now_or_never().is_none(), "it waits in the queue");
        waiting.push(write);
    }
    store.close().await;
    let answers = futures_util::future::join_all(waiting).await;
    let failed: Vec<_> = answers.iter().filter(|answer| !matches!(answer, Ok(Created::New(_)))).collect();
    assert!(failed.is_empty(), "{} of 300 writes were lost: {:?}", failed.len(), failed.first());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn in_memory_it_conforms() {
    super::all(&Memory).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn in_a_file_it_conforms() {
    super::all(&Files::new()).await;
}

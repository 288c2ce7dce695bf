//! The threads that hash passwords: bounded, apart from the async executor, and quick to say that they are full.

use std::{
    collections::VecDeque,
    io,
    num::NonZeroUsize,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::{
    Password,
    hasher::{HashError, PasswordHasher, Verification, WorkMemory},
};
use crate::{
    secret::{NoRandomness, random_token},
    store::Redacted,
};

/// Why the pool gave no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// The queue is full: this request is shed, at once and before any work.
    #[error("too many passwords are waiting to be hashed")]
    Full {
        /// When the queue as it is will have been worked off, by the time that hashes took lately.
        retry_after: Duration,
    },
    /// The work itself failed.
    #[error(transparent)]
    Failed(#[from] HashError),
    /// The pool was closed.
    #[error("the password hasher is shut down")]
    Closed,
}

/// Why a pool could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Not even one hash could be made.
    #[error("the first password hash failed")]
    Hash(#[from] HashError),
    /// The operating system gave no thread.
    #[error("no thread for password hashing")]
    Thread(#[source] io::Error),
}

impl From<NoRandomness> for StartError {
    fn from(error: NoRandomness) -> Self {
        Self::Hash(error.into())
    }
}

/// Hashes passwords on threads of its own, each with its memory kept (Argon2's `memory_kib`, for as long as the pool lives).
///
/// A clone is another handle to the same threads; they end with the last one. Jobs are taken in their order; one whose
/// caller has gone is skipped.
#[derive(Debug, Clone)]
pub struct HashPool(Arc<Handle>);

impl HashPool {
    /// Starts `threads` threads and lets `queue` jobs wait for them.
    ///
    /// As many threads as cores keep the executor waiting when all hash; fewer leave it room. `queue` times the time of a
    /// hash, divided by `threads`, is how long a caller waits at most. A queue of zero sheds whenever all threads are busy.
    ///
    /// Makes one hash, in the calling thread: the dummy for [`verify_dummy`](Self::verify_dummy), and the first estimate of time.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(hasher: PasswordHasher, threads: NonZeroUsize, queue: usize) -> Result<Self, StartError> {
        let unknown = Password::for_verification(random_token("")?.expose()).ok_or(HashError::Defect)?;
        let begin = Instant::now();
        let dummy = hasher.hash(&unknown, &mut WorkMemory::default())?;
        let state = State { waiting: VecDeque::new(), busy: 0, closed: false, mean: begin.elapsed() };
        let shared = Arc::new(Shared { hasher, dummy, threads, queue, state: Mutex::new(state), wake: Condvar::new() });
        // The handle exists before the threads: if one of them cannot be had, its drop ends those before it.
        let pool = Self(Arc::new(Handle(Arc::clone(&shared))));
        for number in 0..threads.get() {
            let shared = Arc::clone(&shared);
            let thread = thread::Builder::new().name(format!("password-{number}"));
            thread.spawn(move || shared.work()).map_err(StartError::Thread)?;
        }
        Ok(pool)
    }

    /// Hashes a password into a PHC string.
    ///
    /// # Errors
    /// [`PoolError`].
    pub async fn hash(&self, password: Password) -> Result<Redacted, PoolError> {
        self.run(move |hasher, memory, _| hasher.hash(&password, memory)).await
    }

    /// Compares a password with a stored hash.
    ///
    /// # Errors
    /// [`PoolError`]; a hash that cannot be judged is `Failed`, never "does not match".
    pub async fn verify(&self, hash: Redacted, password: Password) -> Result<Verification, PoolError> {
        self.run(move |hasher, memory, _| hasher.verify(&hash, &password, memory)).await
    }

    /// Takes the time of a verification, for accounts that do not exist or have no password: the answer must not come
    /// sooner for them (ASVS 6.3.8).
    ///
    /// # Errors
    /// [`PoolError`], in the same situations as for [`verify`](Self::verify).
    pub async fn verify_dummy(&self, password: Password) -> Result<(), PoolError> {
        self.run(move |hasher, memory, dummy| hasher.verify(dummy, &password, memory)).await.map(|_| ())
    }

    /// How many jobs wait.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.0.0.state().waiting.len()
    }

    /// How many threads are at work.
    #[must_use]
    pub fn busy(&self) -> usize {
        self.0.0.state().busy
    }

    /// Takes no more jobs; those that wait are still done, then the threads end. Every clone is closed.
    pub fn close(&self) {
        self.0.0.close();
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&PasswordHasher, &mut WorkMemory, &Redacted) -> Result<T, HashError> + Send + 'static,
    ) -> Result<T, PoolError> {
        let (reply, answer) = oneshot::channel();
        self.0.0.enqueue(Box::new(Task { work, reply }))?;
        // The reply is dropped unsent only if the work panicked.
        Ok(answer.await.map_err(|_| HashError::Defect)??)
    }
}

/// Closes the pool when the last clone goes. The threads hold [`Shared`], not this.
#[derive(Debug)]
struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.close();
    }
}

struct Shared {
    hasher: PasswordHasher,
    dummy: Redacted,
    threads: NonZeroUsize,
    queue: usize,
    state: Mutex<State>,
    wake: Condvar,
}

struct State {
    waiting: VecDeque<Box<dyn Job>>,
    busy: usize,
    closed: bool,
    /// Moving average of the time of a job.
    mean: Duration,
}

impl Shared {
    /// No code that can panic runs under the lock, so a poisoned one still holds a good state.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enqueue(&self, job: Box<dyn Job>) -> Result<(), PoolError> {
        let mut state = self.state();
        if state.closed {
            return Err(PoolError::Closed);
        }
        if self.is_full(&state) {
            state.waiting.retain(|waiting| !waiting.is_abandoned());
        }
        if self.is_full(&state) {
            return Err(PoolError::Full { retry_after: self.time_to_drain(&state) });
        }
        state.waiting.push_back(job);
        drop(state);
        self.wake.notify_one();
        Ok(())
    }

    /// An idle thread counts as room, so that a queue of zero still lets work through.
    fn is_full(&self, state: &State) -> bool {
        let idle = self.threads.get().saturating_sub(state.busy);
        state.waiting.len() >= self.queue.saturating_add(idle)
    }

    fn time_to_drain(&self, state: &State) -> Duration {
        let jobs = state.waiting.len().saturating_add(state.busy).max(1);
        let rounds = u32::try_from(jobs.div_ceil(self.threads.get())).unwrap_or(u32::MAX);
        state.mean.saturating_mul(rounds)
    }

    fn close(&self) {
        self.state().closed = true;
        self.wake.notify_all();
    }

    /// A thread's life.
    fn work(&self) {
        let mut memory = WorkMemory::default();
        while let Some(job) = self.next() {
            let begin = Instant::now();
            // A panic would take the thread with it, and after a few the whole pool.
            if catch_unwind(AssertUnwindSafe(|| job.run(&self.hasher, &mut memory, &self.dummy))).is_err() {
                memory = WorkMemory::default();
                tracing::error!("a password hashing job panicked");
            }
            self.done(begin.elapsed());
        }
    }

    /// Waits for a job that somebody still wants; `None` once the pool is closed and worked off.
    fn next(&self) -> Option<Box<dyn Job>> {
        let mut state = self.state();
        loop {
            match state.waiting.pop_front() {
                Some(job) if job.is_abandoned() => {}
                Some(job) => {
                    state.busy = state.busy.saturating_add(1);
                    return Some(job);
                }
                None if state.closed => return None,
                None => state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    fn done(&self, took: Duration) {
        let mut state = self.state();
        state.busy = state.busy.saturating_sub(1);
        state.mean = state.mean.saturating_mul(7).saturating_add(took) / 8;
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.state();
        f.debug_struct("HashPool")
            .field("threads", &self.threads)
            .field("queue", &self.queue)
            .field("waiting", &state.waiting.len())
            .field("busy", &state.busy)
            .finish_non_exhaustive()
    }
}

/// Something to do with a password, and somebody to tell.
trait Job: Send {
    fn is_abandoned(&self) -> bool;
    fn run(self: Box<Self>, hasher: &PasswordHasher, memory: &mut WorkMemory, dummy: &Redacted);
}

struct Task<T, F> {
    work: F,
    reply: oneshot::Sender<Result<T, HashError>>,
}

impl<T, F> Job for Task<T, F>
where
    T: Send,
    F: FnOnce(&PasswordHasher, &mut WorkMemory, &Redacted) -> Result<T, HashError> + Send,
{
    fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    fn run(self: Box<Self>, hasher: &PasswordHasher, memory: &mut WorkMemory, dummy: &Redacted) {
        let outcome = (self.work)(hasher, memory, dummy);
        // The caller may have gone meanwhile; then nobody wants to know.
        let _ = self.reply.send(outcome);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use futures_util::FutureExt as _;

    use super::*;
    use crate::user::password::hasher::Argon2Params;

    fn pool(threads: usize, queue: usize) -> HashPool {
        let params = Argon2Params { memory_kib: 32, iterations: 1, parallelism: 1 };
        let hasher = PasswordHasher::new(params).unwrap();
        HashPool::start(hasher, NonZeroUsize::new(threads).unwrap(), queue).unwrap()
    }

    fn password() -> Password {
        Password::for_verification("violet teapot").unwrap()
    }

    /// Occupies a thread until the sender is dropped; returns once the thread is at it.
    fn occupy(pool: &HashPool) -> (mpsc::Sender<()>, tokio::task::JoinHandle<Result<(), PoolError>>) {
        let (release, released) = mpsc::channel::<()>();
        let (started, start) = mpsc::channel();
        let pool = pool.clone();
        let job = tokio::spawn(async move {
            pool.run(move |_, _, _| {
                started.send(()).unwrap();
                let _ = released.recv();
                Ok(())
            })
            .await
        });
        start.recv().unwrap();
        (release, job)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn hashes_and_verifies() {
        let pool = pool(2, 4);
        let hash = pool.hash(password()).await.unwrap();
        assert!(pool.verify(hash.clone(), password()).await.unwrap().matches);
        let other = Password::for_verification("violet teapoT").unwrap();
        assert!(!pool.verify(hash, other).await.unwrap().matches);
        assert_eq!(pool.verify_dummy(password()).await, Ok(()));
        let broken = pool.verify(Redacted("x".to_owned()), password()).await;
        assert_eq!(broken, Err(PoolError::Failed(HashError::Malformed)));
        assert_eq!(pool.depth(), 0);
    }

    #[test]
    fn the_dummy_costs_what_a_real_hash_costs() {
        let pool = pool(1, 1);
        assert!(pool.0.0.dummy.0.starts_with("$argon2id$v=19$m=32,t=1,p=1$"));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn sheds_at_once_when_full_and_recovers() {
        let pool = pool(1, 1);
        let (release, occupant) = occupy(&pool);
        assert_eq!(pool.busy(), 1);
        let waiting = tokio::spawn({
            let pool = pool.clone();
            async move { pool.hash(password()).await }
        });
        while pool.depth() == 0 {
            tokio::task::yield_now().await;
        }
        let Err(PoolError::Full { retry_after }) = pool.hash(password()).await else { panic!("not shed") };
        assert!(retry_after > Duration::ZERO);
        drop(release);
        assert_eq!(occupant.await.unwrap(), Ok(()));
        assert!(waiting.await.unwrap().is_ok());
        assert!(pool.hash(password()).await.is_ok());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_job_whose_caller_has_gone_is_skipped_and_makes_room() {
        let pool = pool(1, 1);
        let (release, occupant) = occupy(&pool);
        let (ran, runs) = mpsc::channel();
        let mut gone = Box::pin(pool.run(move |_, _, _| {
            ran.send(()).unwrap();
            Ok(())
        }));
        assert!(gone.as_mut().now_or_never().is_none());
        assert_eq!(pool.depth(), 1);
        drop(gone);
        let next = tokio::spawn({
            let pool = pool.clone();
            async move { pool.hash(password()).await }
        });
        // The abandoned job left its place to the next one, else this would have been shed.
        drop(release);
        assert!(next.await.unwrap().is_ok());
        assert_eq!(occupant.await.unwrap(), Ok(()));
        assert!(runs.try_recv().is_err(), "it must not run");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_panic_costs_one_answer_and_no_thread() {
        let pool = pool(1, 1);
        let outcome: Result<(), _> = pool.run(|_, _, _| panic!("a defect")).await;
        assert_eq!(outcome, Err(PoolError::Failed(HashError::Defect)));
        assert!(pool.hash(password()).await.is_ok());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn closing_finishes_what_waits_and_refuses_the_rest() {
        let pool = pool(1, 2);
        let (release, occupant) = occupy(&pool);
        let mut waiting = Box::pin(pool.hash(password()));
        assert!(waiting.as_mut().now_or_never().is_none());
        pool.close();
        assert_eq!(pool.hash(password()).await, Err(PoolError::Closed));
        drop(release);
        assert!(waiting.await.is_ok());
        assert_eq!(occupant.await.unwrap(), Ok(()));
    }

    #[test]
    fn the_threads_end_with_the_last_clone() {
        let pool = pool(2, 1);
        let shared = Arc::downgrade(&pool.0.0);
        drop(pool.clone());
        assert!(!shared.upgrade().unwrap().state().closed);
        drop(pool);
        let deadline = Instant::now() + Duration::from_secs(10);
        while shared.upgrade().is_some() {
            assert!(Instant::now() < deadline, "the threads hold the pool");
            thread::yield_now();
        }
    }
}

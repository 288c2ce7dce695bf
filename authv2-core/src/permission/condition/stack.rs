//! Room on the stack for Cedar, which recurses over expressions: a server's worker thread has 2 MiB in all.

/// What one level of nesting takes at most, unoptimised.
const LEVEL: usize = 64 * 1024;
/// What a shallow expression takes, and Cedar wants to see left.
const RESERVE: usize = 256 * 1024;

/// Calls `work` with room for so many levels, on a stack of its own where the thread's has too little left. What people
/// write fits into the thread's.
pub(super) fn with_room<R>(levels: usize, work: impl FnOnce() -> R) -> R {
    let room = levels * LEVEL + RESERVE;
    stacker::maybe_grow(room, room, work)
}

//! What tests of applications and of storage backends need: the conformance suite that every store passes, and a store
//! whose calls are counted.

pub mod conformance;
pub mod counting;

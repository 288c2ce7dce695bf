//! What tests of applications and of storage backends need: the conformance suite that every store passes.

pub mod conformance;

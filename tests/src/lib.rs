//! What crosses crates: contract, conformance, chaos, security and load tests, and the conformance shim.

pub mod shim;

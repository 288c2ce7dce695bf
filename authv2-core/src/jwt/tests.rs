//! Malicious and ordinary tokens against the whole of verification.

//! Free loopback ports for programs that cannot pick one themselves.

use std::{
    io,
    net::{Ipv4Addr, TcpListener},
};

/// A port on 127.0.0.1 that was free a moment ago.
///
/// Somebody else may take it before the program binds it, so callers try again with another one when it fails.
///
/// # Errors
/// The system's, when no port is to be had.
pub fn free() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

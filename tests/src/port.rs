//! Free loopback ports for programs that cannot pick one themselves.

use std::{
    fs, io,
    net::{Ipv4Addr, TcpListener},
};

use uuid::Uuid;

/// Below this, ports belong to other services more often than not.
const LOWEST: u16 = 15_000;

/// A port on 127.0.0.1 that was free a moment ago.
///
/// The system gives it to no outgoing connection: a server that a test kills finds it free again, and a client that
/// looks for that server meanwhile is not connected to itself. Another server may take it before the program binds it, so
/// callers try again with another one when it fails.
///
/// # Errors
/// The system's, when no port is to be had.
pub fn free() -> io::Result<u16> {
    let highest = lowest_outgoing().unwrap_or(32_768);
    for _ in 0..100 {
        let (_, random) = Uuid::now_v7().as_u64_pair();
        let span = u64::from(highest.saturating_sub(LOWEST)).max(1);
        let port = LOWEST.saturating_add(u16::try_from(random % span).unwrap_or(0));
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// The lowest port that outgoing connections get.
fn lowest_outgoing() -> Option<u16> {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    range.split_whitespace().next()?.parse().ok()
}

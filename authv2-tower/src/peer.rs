//! Where a server leaves the address of the connection's other end.

use std::net::SocketAddr;

use authv2_core::authentication::Peer;
use http::Extensions;

/// Finds the peer's address in a request's extensions. Frameworks each have a type of their own for it.
pub type PeerSource = fn(&Extensions) -> Option<SocketAddr>;

/// Puts the peer's address where the core looks for it.
pub(crate) fn place(extensions: &mut Extensions, source: Option<PeerSource>) {
    if let Some(address) = source.and_then(|source| source(extensions)) {
        extensions.insert(Peer(address));
    }
}

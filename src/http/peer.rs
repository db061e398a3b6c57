//! Where a request comes from, by what this server itself can tell.

use std::net::{IpAddr, Ipv4Addr};

use actix_web::HttpRequest;

/// The address of whoever sent the request.
pub(super) fn address(request: &HttpRequest) -> IpAddr {
    request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip())
}

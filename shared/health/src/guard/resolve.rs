//! Resolves a target to the addresses that may be connected to: resolved once, every address checked.

use std::io;
use std::net::{IpAddr, SocketAddr};

use futures::future::BoxFuture;

use crate::guard::target::{Target, TargetHost};
use crate::guard::{Policy, Refusal, check_addresses};

/// DNS as a port: the responses are controlled by an attacker, so tests need to set them.
pub trait Resolver: Send + Sync + std::fmt::Debug {
    /// Returns the addresses of `name`. An empty result is an error that the caller reports.
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>>;
}

/// The system's resolver (`getaddrinfo` on a blocking thread).
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

impl Resolver for SystemResolver {
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect())
        })
    }
}

/// Why a target has no address to connect to.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    #[error("dns: {0} does not resolve")]
    NoAnswer(String),
    #[error("refused: the URL {0}")]
    Refused(Refusal),
}

/// Returns the addresses that may be connected to, IPv4 first (a function outside a VPC has no IPv6 route).
/// All of them passed the guard. Connect to one of these and do not resolve the name again.
pub async fn checked_addresses(
    target: &Target,
    resolver: &dyn Resolver,
    policy: &Policy,
) -> Result<Vec<SocketAddr>, ResolveError> {
    let mut addresses = match target.host() {
        TargetHost::Address(address) => vec![*address],
        TargetHost::Name(name) => {
            resolver.resolve(name).await.map_err(|_| ResolveError::NoAnswer(name.clone()))?
        }
    };
    if addresses.is_empty() {
        return Err(ResolveError::NoAnswer(target.host_header()));
    }
    check_addresses(&addresses, policy).map_err(ResolveError::Refused)?;
    addresses.sort_by_key(|address| (address.is_ipv6(), *address));
    addresses.dedup();
    Ok(addresses.into_iter().map(|address| SocketAddr::new(address, target.port())).collect())
}

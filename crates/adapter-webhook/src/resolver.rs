//! Names looked up, and every address that may not be connected to dropped.
//!
//! reqwest connects to the addresses that its resolver gives and to no others, so what is checked here is what is
//! connected to, however a name resolved before. A host that is an IP address never comes here: `target` checks it.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use thiserror::Error;

use crate::networks::{Networks, Scheme};

/// Looks names up.
#[async_trait]
pub trait Resolver: fmt::Debug + Send + Sync {
    /// The addresses of a name, in the order in which they are tried.
    async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// Looks names up as the operating system does: `/etc/hosts`, then DNS.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

#[async_trait]
impl Resolver for SystemResolver {
    async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect())
    }
}

/// A name that leads nowhere that may be connected to.
#[derive(Debug, Error)]
pub(crate) enum NoAddress {
    /// The look-up failed.
    #[error("the name of the host could not be looked up: {0}")]
    Unknown(io::Error),
    /// The look-up found nothing.
    #[error("the name of the host has no address")]
    None,
    /// It leads to private addresses only.
    #[error("the name of the host leads to a private address")]
    Private,
    /// It leads to public addresses, where only https goes.
    #[error("the name of the host leads to a public address, and http is sent into allowed networks only")]
    NotEncrypted,
}

/// The resolver of a client for one scheme.
#[derive(Debug, Clone)]
pub(crate) struct CheckedResolver {
    pub(crate) resolver: Arc<dyn Resolver>,
    pub(crate) networks: Arc<Networks>,
    pub(crate) scheme: Scheme,
}

impl CheckedResolver {
    async fn admitted(self, name: Name) -> Result<Vec<IpAddr>, NoAddress> {
        let found = self.resolver.addresses(name.as_str()).await.map_err(NoAddress::Unknown)?;
        // What is mapped into IPv6 is connected to as what it was judged as.
        let found: Vec<_> = found.iter().map(IpAddr::to_canonical).collect();
        let admitted: Vec<_> =
            found.iter().copied().filter(|address| self.networks.admit(self.scheme, *address)).collect();
        if !admitted.is_empty() {
            return Ok(admitted);
        }
        Err(match found.first() {
            None => NoAddress::None,
            Some(_) if found.iter().any(|address| self.networks.admit(Scheme::Https, *address)) => {
                NoAddress::NotEncrypted
            }
            Some(_) => NoAddress::Private,
        })
    }
}

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let this = self.clone();
        Box::pin(async move {
            let addresses = this.admitted(name).await?;
            // Port 0: reqwest puts that of the URL in its place.
            Ok(Box::new(addresses.into_iter().map(|address| SocketAddr::new(address, 0))) as Addrs)
        })
    }
}

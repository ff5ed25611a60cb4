//! The HTTP client that traces are sent by.

use std::sync::Arc;
use std::time::Duration;
use std::{env, thread};

use anyhow::{Context, anyhow};
use opentelemetry_otlp::{
    OTEL_EXPORTER_OTLP_TIMEOUT, OTEL_EXPORTER_OTLP_TIMEOUT_DEFAULT, OTEL_EXPORTER_OTLP_TRACES_TIMEOUT,
};
use reqwest::blocking::Client;
use rustls::{ClientConfig, RootCertStore};

/// A client that trusts no certificate: the collector is spoken to without TLS. The exporter would make one that looks
/// for the machine's certificates, and panics where there are none or no crypto provider was installed before.
pub(super) fn client() -> anyhow::Result<Client> {
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()
        .context("TLS cannot be set up")?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let builder = Client::builder().timeout(timeout()).tls_backend_preconfigured(tls);
    // On a thread of its own: a blocking client may not be made on one of the runtime.
    let made = thread::spawn(move || builder.build()).join();
    made.map_err(|_| anyhow!("a panic"))?.context("an HTTP client cannot be made")
}

/// How long the collector may take to answer, as the exporter's own client reads it from the environment.
fn timeout() -> Duration {
    let millis = |name| env::var(name).ok()?.parse().ok();
    let millis = millis(OTEL_EXPORTER_OTLP_TRACES_TIMEOUT).or_else(|| millis(OTEL_EXPORTER_OTLP_TIMEOUT));
    millis.map_or(OTEL_EXPORTER_OTLP_TIMEOUT_DEFAULT, Duration::from_millis)
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn a_client_is_made_within_the_runtime_and_without_a_crypto_provider() {
        let client = super::client().unwrap();
        // Its end waits for its own thread, which the runtime's own may not do.
        tokio::task::spawn_blocking(move || drop(client)).await.unwrap();
    }
}

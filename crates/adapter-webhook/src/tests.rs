//! The client against receivers on loopback. Nothing here connects to any other address.

mod connecting;
mod receiver;
mod sending;
mod tls;

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use domain::ports::WebhookMessage;
use domain::{FactId, Timestamp, WebhookSecret, WebhookUrl};
use rustls::RootCertStore;

use crate::{Resolver, WebhookClient};

const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// The patience of tests whose receiver answers: the program's own.
const LONG: Duration = super::client::PATIENCE;

/// Answers each look-up with the next of its answers, and with the last one from then on.
#[derive(Debug, Default)]
struct Scripted(Mutex<VecDeque<Vec<IpAddr>>>);

impl Scripted {
    fn with(answers: &[&[&str]]) -> Arc<Self> {
        let ips = |answer: &&[&str]| answer.iter().map(|ip| ip.parse().unwrap()).collect();
        Arc::new(Self(Mutex::new(answers.iter().map(ips).collect())))
    }
}

#[async_trait]
impl Resolver for Scripted {
    async fn addresses(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        let mut answers = self.0.lock().unwrap();
        let answer = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
        answer.ok_or_else(|| io::Error::other("no such name"))
    }
}

fn client(allowed: &[&str], resolver: Arc<Scripted>) -> WebhookClient {
    patient(LONG, allowed, resolver)
}

fn patient(patience: Duration, allowed: &[&str], resolver: Arc<Scripted>) -> WebhookClient {
    let allowed = allowed.iter().map(|network| network.parse().unwrap()).collect();
    WebhookClient::trusting(RootCertStore::empty(), allowed, resolver, patience).unwrap()
}

/// A client that may connect to all of loopback.
fn local() -> WebhookClient {
    client(&["127.0.0.0/8"], Scripted::with(&[]))
}

fn message(url: &str) -> WebhookMessage {
    WebhookMessage {
        url: WebhookUrl::parse(url).unwrap(),
        id: FactId::new("0197a5b0-9f0e-7cc0-8a52-8c6e2a0f7d11".to_owned()),
        at: now(),
        secrets: vec![WebhookSecret::new(SECRET.to_owned())],
        body: r#"{"specversion":"1.0","type":"event.created"}"#.into(),
    }
}

/// `standardwebhooks` refuses what was not signed just now.
#[expect(clippy::disallowed_methods, reason = "the library that verifies has no clock but the system's")]
fn now() -> Timestamp {
    Timestamp::new(chrono::Utc::now())
}

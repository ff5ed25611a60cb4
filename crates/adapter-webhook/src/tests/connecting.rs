//! Which addresses are connected to.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use domain::ports::{WebhookAccepted, WebhookSender};
use tokio::net::{TcpListener, TcpStream};

use super::receiver::{Connection, Receiver, read, write};
use super::{OK, Scripted, client, local, message};
use crate::{Resolver, SystemResolver, WebhookClient};

/// A listener that must see no connection.
struct Untouched(TcpListener);

impl Untouched {
    async fn at(address: SocketAddr) -> Self {
        Self(TcpListener::bind(address).await.unwrap())
    }

    /// Connections are accepted in their order: if the first is our own, there was none before it.
    async fn verify(self) {
        let own = TcpStream::connect(self.0.local_addr().unwrap()).await.unwrap();
        let (_, first) = self.0.accept().await.unwrap();
        assert_eq!(first, own.local_addr().unwrap(), "a connection was made before");
    }
}

/// A receiver at 127.0.0.2 that closes each connection after its answer, and a listener on the same port of 127.0.0.1.
async fn neighbours() -> (Receiver, Untouched) {
    let receiver = Receiver::serving("127.0.0.2:0", |mut connection: Connection, requests| async move {
        if let Some(request) = read(&mut connection).await {
            let _ = requests.send(request);
            write(&mut connection, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
        }
    })
    .await;
    let untouched = Untouched::at(SocketAddr::from(([127, 0, 0, 1], receiver.address.port()))).await;
    (receiver, untouched)
}

#[tokio::test]
async fn a_name_that_leads_elsewhere_the_second_time_is_refused() {
    let (receiver, untouched) = neighbours().await;
    let client = client(&["127.0.0.2/32"], Scripted::with(&[&["127.0.0.2"], &["127.0.0.1"]]));
    let message = message(&format!("http://rebinding.test:{}", receiver.address.port()));
    assert_eq!(client.send(&message).await, Ok(WebhookAccepted { status: 200 }));
    let failed = client.send(&message).await.unwrap_err();
    assert_eq!((failed.status, failed.reason.as_str()), (None, "the name of the host leads to a private address"));
    assert_eq!(receiver.connections().await, 1);
    untouched.verify().await;
}

#[tokio::test]
async fn a_kept_connection_goes_where_it_went_before() {
    let receiver = Receiver::serving("127.0.0.2:0", |mut connection: Connection, _| async move {
        while read(&mut connection).await.is_some() {
            write(&mut connection, OK.as_bytes()).await;
        }
    })
    .await;
    let untouched = Untouched::at(SocketAddr::from(([127, 0, 0, 1], receiver.address.port()))).await;
    let client = client(&["127.0.0.2/32"], Scripted::with(&[&["127.0.0.2"], &["127.0.0.1"]]));
    let message = message(&format!("http://rebinding.test:{}", receiver.address.port()));
    for _ in 0..2 {
        assert_eq!(client.send(&message).await, Ok(WebhookAccepted { status: 200 }));
    }
    assert_eq!(receiver.connections().await, 1);
    untouched.verify().await;
}

#[tokio::test]
async fn addresses_that_are_not_admitted_are_dropped_from_a_name() {
    let (mut receiver, untouched) = neighbours().await;
    let answers: &[&str] = &["::1", "127.0.0.1", "::ffff:127.0.0.2", "10.0.0.1"];
    let client = client(&["127.0.0.2/32"], Scripted::with(&[answers]));
    let port = receiver.address.port();
    assert!(client.send(&message(&format!("http://receiver.test:{port}"))).await.is_ok());
    assert!(receiver.requests.recv().await.is_some());
    untouched.verify().await;
}

#[tokio::test]
async fn a_name_without_an_admitted_address_is_a_failure_that_says_so() {
    const PRIVATE: &str = "the name of the host leads to a private address";
    for (url, answers, reason) in [
        ("https://receiver.test", Some(&["127.0.0.1", "::1"][..]), PRIVATE),
        ("https://receiver.test", Some(&["::ffff:127.0.0.1"]), PRIVATE),
        ("https://receiver.test", Some(&["64:ff9b::10.0.0.1", "2002:a00:1::"]), PRIVATE),
        ("https://receiver.test", Some(&["169.254.169.254"]), PRIVATE),
        ("http://receiver.test", Some(&["127.0.0.1"]), PRIVATE),
        (
            "http://receiver.test",
            Some(&["8.8.8.8"]),
            "the name of the host leads to a public address, and http is sent into allowed networks only",
        ),
        ("https://receiver.test", Some(&[]), "the name of the host has no address"),
        ("https://receiver.test", None, "the name of the host could not be looked up: no such name"),
    ] {
        let resolver = answers.map_or_else(|| Scripted::with(&[]), |answers| Scripted::with(&[answers]));
        let failed = client(&["127.0.0.2/32"], resolver).send(&message(url)).await.unwrap_err();
        assert_eq!((failed.status, failed.reason.as_str()), (None, reason), "{url} {answers:?}");
    }
}

/// reqwest asks no resolver for these.
#[tokio::test]
async fn a_host_that_is_a_private_address_is_refused_at_every_send() {
    let (receiver, untouched) = neighbours().await;
    let port = receiver.address.port();
    let client = client(&["127.0.0.2/32"], Scripted::with(&[&["127.0.0.2"]]));
    for scheme in ["http", "https"] {
        for host in ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.1", "[::ffff:127.0.0.1]", "localhost"] {
            let message = message(&format!("{scheme}://{host}:{port}"));
            let failed = client.send(&message).await.unwrap_err();
            assert_eq!(failed.reason, "the address must not lead to a private address", "{scheme} {host}");
            assert!(client.admits(&message.url).is_err());
        }
    }
    for host in ["127.0.0.2", "127.0.2", "2130706434", "[::ffff:127.0.0.2]"] {
        let message = message(&format!("http://{host}:{port}"));
        assert_eq!(client.admits(&message.url), Ok(()), "{host}");
        assert_eq!(client.send(&message).await, Ok(WebhookAccepted { status: 200 }), "{host}");
    }
    untouched.verify().await;
}

#[tokio::test]
async fn a_port_where_nothing_listens_is_a_failure_that_says_so() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let failed = local().send(&message(&format!("http://{free}/?token=1"))).await.unwrap_err();
    assert_eq!(failed.reason, "the connection was refused");
}

#[tokio::test]
async fn the_system_looks_up_names_and_public_roots_are_built_in() {
    let addresses = SystemResolver.addresses("localhost").await.unwrap();
    assert!(!addresses.is_empty() && addresses.iter().all(IpAddr::is_loopback), "{addresses:?}");
    let mut receiver = Receiver::answering(OK).await;
    let allowed = vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
    let client = WebhookClient::new(allowed, Arc::new(SystemResolver)).unwrap();
    let port = receiver.address.port();
    assert!(client.send(&message(&format!("http://localhost:{port}"))).await.is_ok());
    assert_eq!(receiver.requests.recv().await.unwrap().headers["host"], format!("localhost:{port}"));
}

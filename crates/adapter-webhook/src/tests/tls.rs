//! Certificates.

use std::sync::Arc;

use domain::ports::{SendFailed, WebhookAccepted, WebhookSender};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, ServerConfig};
use tokio::io::BufStream;
use tokio_rustls::TlsAcceptor;

use super::receiver::{Connection, Receiver, read, write};
use super::{LONG, OK, Scripted, client, message};
use crate::WebhookClient;

/// A self-signed certificate for `receiver.test`, and a receiver at 127.0.0.1 that shows it.
async fn receiver(change: impl FnOnce(&mut CertificateParams)) -> (Receiver, CertificateDer<'static>) {
    let key = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::new(["receiver.test".to_owned()]).unwrap();
    change(&mut parameters);
    let certificate = parameters.self_signed(&key).unwrap().der().clone();
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let receiver = Receiver::serving("127.0.0.1:0", move |connection: Connection, requests| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(stream) = acceptor.accept(connection).await else { return };
            let mut stream = BufStream::new(stream);
            while let Some(request) = read(&mut stream).await {
                let _ = requests.send(request);
                write(&mut stream, OK.as_bytes()).await;
            }
        }
    })
    .await;
    (receiver, certificate)
}

/// Sends to a name that leads to the receiver, trusting its certificate if one is given.
async fn sent(
    name: &str,
    receiver: &Receiver,
    trusted: Option<CertificateDer<'static>>,
) -> Result<WebhookAccepted, SendFailed> {
    let mut roots = RootCertStore::empty();
    if let Some(certificate) = trusted {
        roots.add(certificate).unwrap();
    }
    let allowed = vec!["127.0.0.0/8".parse().unwrap()];
    let client = WebhookClient::trusting(roots, allowed, Scripted::with(&[&["127.0.0.1"]]), LONG).unwrap();
    client.send(&message(&format!("https://{name}:{}", receiver.address.port()))).await
}

#[tokio::test]
async fn a_trusted_certificate_for_the_name_is_accepted() {
    let (mut receiver, certificate) = receiver(|_| ()).await;
    assert_eq!(sent("receiver.test", &receiver, Some(certificate)).await, Ok(WebhookAccepted { status: 200 }));
    assert!(receiver.requests.recv().await.is_some());
}

#[tokio::test]
async fn a_wrong_certificate_is_refused_with_its_fault() {
    let (valid, certificate) = receiver(|_| ()).await;
    let (expired, expired_certificate) = receiver(|parameters| parameters.not_after = date_time_ymd(2020, 1, 1)).await;
    let (early, early_certificate) = receiver(|parameters| parameters.not_before = date_time_ymd(4000, 1, 1)).await;
    for (name, mut receiver, trusted, reason) in [
        ("receiver.test", valid, None, "the certificate is signed by no authority that is trusted"),
        ("receiver.test", expired, Some(expired_certificate), "the certificate has expired"),
        ("receiver.test", early, Some(early_certificate), "the certificate is not valid yet"),
    ] {
        let failed = sent(name, &receiver, trusted).await.unwrap_err();
        assert_eq!(failed, SendFailed { status: None, reason: reason.to_owned(), retry_after: None });
        receiver.requests.try_recv().unwrap_err();
    }
    let (valid, certificate) = (receiver(|_| ()).await.0, certificate);
    let failed = sent("receiver.test", &valid, Some(certificate)).await.unwrap_err();
    assert_eq!(failed.reason, "the certificate is not valid: BadSignature");
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let (receiver, certificate) = receiver(|_| ()).await;
    let failed = sent("another.test", &receiver, Some(certificate)).await.unwrap_err();
    assert_eq!(failed.reason, "the certificate is for another name");
}

#[tokio::test]
async fn a_receiver_that_speaks_no_tls_is_a_failure_that_says_so() {
    let receiver = Receiver::serving("127.0.0.1:0", |mut connection: Connection, _| async move {
        write(&mut connection, b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    })
    .await;
    let client = client(&["127.0.0.0/8"], Scripted::with(&[]));
    let failed = client.send(&message(&format!("https://{}", receiver.address))).await.unwrap_err();
    assert!(failed.reason.starts_with("TLS failed: "), "{failed}");
}

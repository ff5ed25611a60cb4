//! What is sent, and what becomes of each answer.

use std::time::Duration;

use domain::WebhookSecret;
use domain::ports::{SendFailed, WebhookAccepted, WebhookSender};
use standardwebhooks::Webhook;
use tokio::sync::mpsc;

use super::receiver::{Connection, Receiver, write};
use super::{OK, SECRET, Scripted, local, message, patient};
use crate::new_secret;

#[tokio::test]
async fn a_message_is_posted_with_a_signature_for_each_secret() {
    let mut receiver = Receiver::answering(OK).await;
    let mut message = message(&format!("http://{}/hooks?token=1", receiver.address));
    message.secrets = vec![WebhookSecret::new(SECRET.to_owned()), new_secret().unwrap()];
    assert_eq!(local().send(&message).await, Ok(WebhookAccepted { status: 200 }));

    let request = receiver.requests.recv().await.unwrap();
    assert_eq!(request.line, "POST /hooks?token=1 HTTP/1.1");
    assert_eq!(request.body, message.body.as_bytes());
    let header = |name: &str| request.headers[name].to_str().unwrap();
    assert_eq!(header("content-type"), "application/cloudevents+json");
    assert_eq!(header("user-agent"), concat!("boxoffice/", env!("CARGO_PKG_VERSION")));
    assert_eq!(header("webhook-id"), message.id.as_str());
    assert_eq!(header("webhook-timestamp"), message.at.unix_secs().to_string());
    for secret in &message.secrets {
        let verifier = Webhook::new(secret.expose()).unwrap();
        verifier.verify(&request.body, &request.headers).unwrap();
    }
    let stranger = Webhook::new(new_secret().unwrap().expose()).unwrap();
    stranger.verify(&request.body, &request.headers).unwrap_err();
}

#[tokio::test]
async fn every_2xx_is_accepted() {
    for (answer, status) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200),
        ("HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 202),
        ("HTTP/1.1 204 No Content\r\n\r\n", 204),
        ("HTTP/1.0 299 Fine\r\n\r\n", 299),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200),
    ] {
        let receiver = Receiver::after_a_request(move |mut connection: Connection| async move {
            write(&mut connection, answer.as_bytes()).await;
        })
        .await;
        let accepted = local().send(&message(&format!("http://{}", receiver.address))).await;
        assert_eq!(accepted, Ok(WebhookAccepted { status }), "{answer}");
    }
}

#[tokio::test]
async fn every_other_status_is_a_failure_with_its_retry_after() {
    for (answer, status, reason, retry_after) in [
        ("410 Gone\r\n", 410, "the receiver answered 410 Gone", None),
        ("429 Too Many Requests\r\nRetry-After: 30\r\n", 429, "the receiver answered 429 Too Many Requests", Some(30)),
        ("503 Busy\r\nRetry-After: 999999\r\n", 503, "the receiver answered 503 Service Unavailable", Some(86_400)),
        (
            "503 Busy\r\nRetry-After: Fri, 31 Dec 9999 23:59:59 GMT\r\n",
            503,
            "the receiver answered 503 Service Unavailable",
            Some(86_400),
        ),
        ("500 whsec_oops\r\n", 500, "the receiver answered 500 Internal Server Error", None),
        ("304 Not Modified\r\n", 304, "the receiver answered 304 Not Modified, and redirects are not followed", None),
    ] {
        let receiver = Receiver::answering(format!("HTTP/1.1 {answer}Content-Length: 0\r\n\r\n")).await;
        let failed = local().send(&message(&format!("http://{}", receiver.address))).await.unwrap_err();
        let retry_after = retry_after.map(Duration::from_secs);
        assert_eq!(failed, SendFailed { status: Some(status), reason: reason.to_owned(), retry_after });
    }
}

#[tokio::test]
async fn a_redirect_is_a_failure_and_is_not_followed() {
    let elsewhere = Receiver::answering(OK).await;
    for status in ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let answer =
            format!("HTTP/1.1 {status}\r\nLocation: http://{}/\r\nContent-Length: 0\r\n\r\n", elsewhere.address);
        let receiver = Receiver::answering(answer).await;
        let failed = local().send(&message(&format!("http://{}", receiver.address))).await.unwrap_err();
        assert_eq!(failed.reason, format!("the receiver answered {status}, and redirects are not followed"));
    }
    assert_eq!(elsewhere.connections().await, 0);
}

#[tokio::test]
async fn a_failed_exchange_has_a_reason_without_the_address() {
    let reset = Receiver::after_a_request(|connection: Connection| async move {
        connection.get_ref().set_zero_linger().unwrap();
    })
    .await;
    let closed = Receiver::after_a_request(|_| async {}).await;
    let half = Receiver::after_a_request(|mut connection: Connection| async move {
        write(&mut connection, b"HTTP/1.1 200 OK\r\nContent-").await;
    })
    .await;
    let rubbish = Receiver::answering("220 mail.example.org ESMTP\r\n").await;
    for (receiver, reason) in [
        (&reset, "the connection was reset"),
        (&closed, "the exchange failed: connection closed before message completed"),
        (&half, "the exchange failed: connection closed before message completed"),
        (&rubbish, "the exchange failed: invalid HTTP version parsed"),
    ] {
        let failed = local().send(&message(&format!("http://{}/?token=1", receiver.address))).await.unwrap_err();
        assert_eq!(failed, SendFailed { status: None, reason: reason.to_owned(), retry_after: None });
    }
}

#[tokio::test]
async fn a_receiver_that_stalls_is_given_up_when_the_time_is_over() {
    const PATIENCE: Duration = Duration::from_millis(300);
    let silent = Receiver::after_a_request(|connection: Connection| async move {
        std::future::pending::<()>().await;
        drop(connection);
    })
    .await;
    let dripping = Receiver::after_a_request(|mut connection: Connection| async move {
        write(&mut connection, b"HTTP/1.1 200 OK\r\n").await;
        while write(&mut connection, b"X-More: x\r\n").await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    for receiver in [&silent, &dripping] {
        let client = patient(PATIENCE, &["127.0.0.0/8"], Scripted::with(&[]));
        let failed = client.send(&message(&format!("http://{}", receiver.address))).await.unwrap_err();
        assert_eq!((failed.status, failed.reason.as_str()), (None, "there was no answer within 300ms"));
    }
}

#[tokio::test]
async fn an_endless_body_is_not_read_and_its_connection_is_closed() {
    let (gone, mut was_gone) = mpsc::unbounded_channel();
    let receiver = Receiver::serving("127.0.0.1:0", move |mut connection, _| {
        let gone = gone.clone();
        async move {
            super::receiver::read(&mut connection).await.unwrap();
            write(&mut connection, b"HTTP/1.1 200 OK\r\n\r\n").await;
            while write(&mut connection, &[b'x'; 1024]).await {}
            let _ = gone.send(());
        }
    })
    .await;
    let accepted = local().send(&message(&format!("http://{}", receiver.address))).await;
    assert_eq!(accepted, Ok(WebhookAccepted { status: 200 }));
    was_gone.recv().await.unwrap();
}

#[tokio::test]
async fn a_body_that_never_ends_delays_a_known_status_by_a_second() {
    let (gone, mut was_gone) = mpsc::unbounded_channel();
    let receiver = Receiver::serving("127.0.0.1:0", move |mut connection, _| {
        let gone = gone.clone();
        async move {
            super::receiver::read(&mut connection).await.unwrap();
            write(&mut connection, b"HTTP/1.1 503 Busy\r\nContent-Length: 1000\r\n\r\n").await;
            while write(&mut connection, b"x").await {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let _ = gone.send(());
        }
    })
    .await;
    let failed = local().send(&message(&format!("http://{}", receiver.address))).await.unwrap_err();
    assert_eq!(failed.status, Some(503));
    was_gone.recv().await.unwrap();
}

#[tokio::test]
async fn a_connection_is_used_again_unless_its_answer_was_too_long() {
    let body = |bytes: usize| format!("HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n{}", "x".repeat(bytes));
    for (bytes, connections) in [(0, 1), (4 * 1024, 1), (1024 * 1024, 3)] {
        let receiver = Receiver::answering(body(bytes)).await;
        let client = local();
        for _ in 0..3 {
            client.send(&message(&format!("http://{}", receiver.address))).await.unwrap();
        }
        assert_eq!(receiver.connections().await, connections, "{bytes}");
    }
}

#[tokio::test]
async fn nothing_is_sent_unsigned() {
    let receiver = Receiver::answering(OK).await;
    let mut message = message(&format!("http://{}", receiver.address));
    message.secrets = vec![WebhookSecret::new("whsec_?".to_owned())];
    let failed = local().send(&message).await.unwrap_err();
    assert_eq!(failed.reason, "the message was not sent because a secret of the webhook is not Base64");
    assert_eq!(receiver.connections().await, 0);
}

//! The headers of a message.

use domain::ports::WebhookMessage;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use standardwebhooks::{HEADER_WEBHOOK_ID, HEADER_WEBHOOK_SIGNATURE, HEADER_WEBHOOK_TIMESTAMP, Webhook};
use thiserror::Error;

/// The body is a `CloudEvents` object.
const CLOUD_EVENT: HeaderValue = HeaderValue::from_static("application/cloudevents+json");

/// A message that cannot be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum Unsigned {
    /// There is nothing to sign it with.
    #[error("the message was not sent because the webhook has no secret")]
    NoSecret,
    /// A secret is not Base64.
    #[error("the message was not sent because a secret of the webhook is not Base64")]
    InvalidSecret,
    /// The name of the fact cannot be written into a header.
    #[error("the message was not sent because its id cannot be written into a header")]
    InvalidId,
}

/// The type of the body, and id, timestamp and signatures: one for each secret, separated by spaces.
pub(crate) fn headers(message: &WebhookMessage) -> Result<HeaderMap, Unsigned> {
    let (id, at) = (message.id.as_str(), message.at.unix_secs());
    let mut signatures = String::new();
    for secret in &message.secrets {
        let key = Webhook::new(secret.expose()).map_err(|_| Unsigned::InvalidSecret)?;
        let signature = key.sign(id, at, message.body.as_bytes()).map_err(|_| Unsigned::InvalidSecret)?;
        if !signatures.is_empty() {
            signatures.push(' ');
        }
        signatures.push_str(&signature);
    }
    if signatures.is_empty() {
        return Err(Unsigned::NoSecret);
    }
    let value = |text: &str| HeaderValue::from_str(text).map_err(|_| Unsigned::InvalidId);
    Ok(HeaderMap::from_iter([
        (CONTENT_TYPE, CLOUD_EVENT),
        (HeaderName::from_static(HEADER_WEBHOOK_ID), value(id)?),
        (HeaderName::from_static(HEADER_WEBHOOK_TIMESTAMP), HeaderValue::from(at)),
        (HeaderName::from_static(HEADER_WEBHOOK_SIGNATURE), value(&signatures)?),
    ]))
}

#[cfg(test)]
mod tests {
    use domain::{FactId, Timestamp, WebhookSecret, WebhookUrl};

    use super::*;

    fn message(secrets: &[&str]) -> WebhookMessage {
        WebhookMessage {
            url: WebhookUrl::stored("https://example.org"),
            id: FactId::new("msg_27UH4WbU6Z5A5EzD8u03UvzRbpk".to_owned()),
            at: Timestamp::parse("2022-04-07T21:52:33Z").unwrap(),
            secrets: secrets.iter().map(|&secret| WebhookSecret::new(secret.to_owned())).collect(),
            body: r#"{"email":"test@example.com","username":"test_user"}"#.into(),
        }
    }

    /// The secret, message and signature are those of the tests of `standardwebhooks`, for 1649367553.
    #[test]
    fn each_secret_gives_a_signature_of_id_timestamp_and_body() {
        const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
        const SIGNATURE: &str = "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=";
        let mut message = message(&[SECRET]);
        message.at = Timestamp::EPOCH.plus_secs(1_649_367_553);
        assert_eq!(headers(&message).unwrap()["webhook-signature"], SIGNATURE);
        message.secrets.push(WebhookSecret::new("whsec_AAAA".to_owned()));
        let two = headers(&message).unwrap();
        let (first, second) = two["webhook-signature"].to_str().unwrap().split_once(' ').unwrap();
        assert_eq!(first, SIGNATURE);
        assert!(second.starts_with("v1,"), "{second}");
        assert_eq!(two["webhook-id"], "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk");
        assert_eq!(two["webhook-timestamp"], "1649367553");
        assert_eq!(two["content-type"], "application/cloudevents+json");
    }

    #[test]
    fn nothing_is_sent_without_a_valid_signature() {
        assert_eq!(headers(&message(&[])), Err(Unsigned::NoSecret));
        assert_eq!(headers(&message(&["whsec_AAAA", "whsec_?"])), Err(Unsigned::InvalidSecret));
        let mut message = message(&["whsec_AAAA"]);
        message.id = FactId::new("a\r\nb".to_owned());
        assert_eq!(headers(&message), Err(Unsigned::InvalidId));
    }
}

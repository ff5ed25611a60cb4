//! How a fact becomes a message.

use domain::Fact;
use domain::ports::PublishFailed;
use lapin::BasicProperties;
use lapin::types::ShortString;

use crate::failure;

/// A `CloudEvents` object in JSON, as its structured mode has it.
const CONTENT_TYPE: &str = "application/cloudevents+json";

/// Written to disk by every durable queue before it is confirmed.
const PERSISTENT: u8 = 2;

/// The properties of a fact's message.
pub(crate) fn properties(fact: &Fact) -> Result<BasicProperties, PublishFailed> {
    let id = ShortString::try_new(fact.id.as_str());
    let id = id.map_err(|_| failure::line("a fact's name is longer than AMQP allows"))?;
    Ok(BasicProperties::default()
        .with_message_id(id)
        .with_type(fact.kind.as_str().into())
        .with_content_type(CONTENT_TYPE.into())
        .with_delivery_mode(PERSISTENT)
        .with_timestamp(u64::try_from(fact.at.unix_secs()).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use domain::{FactId, FactType, Timestamp};

    use super::*;

    #[test]
    fn a_name_that_is_too_long_is_a_failure() {
        let fact = |length| Fact {
            id: FactId::new("x".repeat(length)),
            kind: FactType::EventCreated,
            at: Timestamp::EPOCH,
            event: None,
            body: "{}".into(),
        };
        assert!(properties(&fact(255)).is_ok());
        assert!(properties(&fact(256)).is_err());
    }
}

//! Facts published to `RabbitMQ`, over AMQP 0-9-1.
//!
//! | module | what it holds |
//! |---|---|
//! | `publisher` | [`RabbitPublisher`], the port `Publisher` over lapin: one connection, one channel, confirms |
//! | `connection` | a connection that ends when it is dropped, whatever state it is in |
//! | `message` | how a fact becomes a message |
//! | `url` | [`AmqpUrl`], where the broker is and who connects |
//! | `exchange` | [`Exchange`], the name of the exchange that is published to |
//! | `failure` | what is said of facts that were not confirmed |
//!
//! This room must not decide what is published or when it is tried again, and declares no queue: what becomes of a
//! message is its consumers' business. The password goes into no error, and lapin never holds it in a URL.
//!
//! Why lapin, and what a confirm promises: `docs/adr/0013-facts-go-to-rabbitmq-by-lapin.md`.

mod connection;
mod exchange;
mod failure;
mod message;
mod publisher;
mod url;

pub use exchange::Exchange;
pub use publisher::RabbitPublisher;
pub use url::AmqpUrl;

/// Why a setting cannot be what it is, as a phrase that begins with "must".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub &'static str);

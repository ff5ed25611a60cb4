//! Webhooks: facts posted to receivers over HTTP, signed as Standard Webhooks has it.
//!
//! | module | what it holds |
//! |---|---|
//! | `client` | [`WebhookClient`], the port `WebhookSender` over reqwest |
//! | `target` | a receiver's address, read as a browser reads it, and the rules for its scheme, host and port |
//! | `networks` | which IP addresses a connection may be made to |
//! | `resolver` | names looked up, and every address that may not be connected to dropped |
//! | `signed` | the headers of a message |
//! | `failure` | what is said of a message that was not taken |
//! | `retry_after` | how long a receiver asks to be left alone |
//! | `secret` | new signing secrets |
//!
//! A receiver's address comes from a user of the API, so this room keeps it out of the operator's own networks: the
//! address that is connected to is checked at every connection. This room must not decide what is sent, to whom, or when
//! it is tried again. No secret goes into a reason or a log line, and neither does a URL, whose query may hold a token.
//!
//! Why reqwest, and where the root certificates come from: `docs/adr/0012-webhooks-are-posted-by-reqwest.md`.

mod client;
mod failure;
mod networks;
mod resolver;
mod retry_after;
mod secret;
mod signed;
mod target;
#[cfg(test)]
mod tests;

pub use client::WebhookClient;
pub use resolver::{Resolver, SystemResolver};
pub use secret::new_secret;

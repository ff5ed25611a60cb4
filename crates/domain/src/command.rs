//! How a write is asked for, and what it answers.
//!
//! Every write verb of a port takes a [`Command`] and returns what was [`Committed`]. The command
//! says who asks, for what, and optionally under which idempotency key; the answer says whether
//! the effect is this call's or an earlier one's. So an adapter can keep keys inside the effect's
//! own transaction, and serve one command or a hundred in it, without its callers knowing.

use thiserror::Error;

use crate::{Invalid, UserId};

/// A write, as its author asks for it: a user, or for what the program itself may ask, an `Author`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command<T, A = UserId> {
    /// Who asks.
    pub by: A,
    /// The key under which it happens once, if its author sent one.
    pub once: Option<Once>,
    /// What is asked.
    pub what: T,
}

/// The outcome of a write that is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed<T> {
    /// What was committed.
    pub outcome: T,
    /// The outcome is that of an earlier call with the same key; this call did nothing.
    pub replayed: bool,
}

/// An idempotency key with the fingerprint of the request it came with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Once {
    /// The key; it belongs to the command's author.
    pub key: IdempotencyKey,
    /// The request it stands for.
    pub fingerprint: Fingerprint,
}

/// A client's name for one write: 1–255 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// The greatest number of characters.
    pub const MAX_CHARS: usize = 255;

    /// Reads a key.
    pub fn parse(raw: &str) -> Result<Self, Invalid> {
        let visible = (1..=Self::MAX_CHARS).contains(&raw.len()) && raw.bytes().all(|byte| byte.is_ascii_graphic());
        if visible {
            Ok(Self(raw.to_owned()))
        } else {
            Err(Invalid::Malformed { expected: "1 to 255 visible ASCII characters" })
        }
    }

    /// The key.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// SHA-256 over a request's method, path and body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of these bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The fingerprint's bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Why a command under a key was not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum KeyConflict {
    /// The key stands for another request already.
    #[error("the idempotency key was used for a different request")]
    Reused,
    /// Another call with the key has not ended yet.
    #[error("a request with this idempotency key is still being carried out")]
    InProgress,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_visible_ascii() {
        assert!(IdempotencyKey::parse("8e03978e-40d5-43dd-bc93-6894a57f9324").is_ok());
        assert!(IdempotencyKey::parse(&"k".repeat(255)).is_ok());
        for raw in ["", "a b", "é", "a\n", &"k".repeat(256)] {
            assert!(IdempotencyKey::parse(raw).is_err(), "{raw:?}");
        }
    }
}

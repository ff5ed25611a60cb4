//! Passwords and tokens: bcrypt, HS256, SHA-256.
//!
//! | module | port | how |
//! |---|---|---|
//! | [`passwords`] | `Passwords` | bcrypt, on a bounded number of threads of its own |
//! | [`tokens`] | `Tokens` | JSON web tokens signed with HS256; random refresh tokens kept as SHA-256 |
//!
//! This room holds no storage, no protocol, and no rule about who may do what. Secrets come in and
//! never go out: nothing here logs, prints or returns one.

mod hs256;
pub mod passwords;
pub mod tokens;

pub use passwords::{Bcrypt, PasswordLoad};
pub use tokens::{Hs256Tokens, SecretTooShort};

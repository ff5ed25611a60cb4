//! Log-in sessions: one family of refresh tokens, each used once.

use std::fmt;

/// A refresh token as its holder has it. It is stored nowhere else.
#[derive(Clone, PartialEq, Eq)]
pub struct RefreshSecret(String);

impl RefreshSecret {
    /// A freshly minted secret.
    pub fn new(secret: String) -> Self {
        Self(secret)
    }

    /// The secret in clear, for the answer to its holder alone.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for RefreshSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RefreshSecret(…)")
    }
}

/// A refresh token as it is kept: its SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RefreshDigest([u8; 32]);

impl RefreshDigest {
    /// The digest of these bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The digest's bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for RefreshDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RefreshDigest(…)")
    }
}

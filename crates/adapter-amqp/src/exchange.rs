//! The name of the exchange that is published to.

use crate::Invalid;

/// The longest name, in characters.
const MAX_NAME: usize = 127;

/// The name of an exchange: 1 to 127 letters, digits, `-`, `_`, `.` and `:`, and none of those that `RabbitMQ` keeps for
/// itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange(String);

impl Exchange {
    /// Reads a name.
    pub fn parse(raw: &str) -> Result<Self, Invalid> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
        if raw.is_empty() || raw.len() > MAX_NAME || !raw.bytes().all(plain) {
            return Err(Invalid("must be 1 to 127 letters, digits, '-', '_', '.' or ':'"));
        }
        if raw.starts_with("amq.") {
            return Err(Invalid("must not begin with amq., which RabbitMQ keeps for its own exchanges"));
        }
        Ok(Self(raw.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_of_plain_characters() {
        for name in ["boxoffice", "a", "Box_office-2.facts:v1", "amq", "amqp.facts", &"x".repeat(127)] {
            assert_eq!(Exchange::parse(name).unwrap().as_str(), name);
        }
        for name in ["", " ", "box office", "büro", "a/b", "a\n", "#", "*", &"x".repeat(128)] {
            assert!(Exchange::parse(name).unwrap_err().0.starts_with("must be 1 to 127 "), "{name:?}");
        }
    }

    #[test]
    fn the_names_of_rabbitmq_are_refused() {
        for name in ["amq.topic", "amq."] {
            assert!(Exchange::parse(name).unwrap_err().0.starts_with("must not begin with amq."), "{name:?}");
        }
    }
}

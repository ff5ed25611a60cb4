//! What is written down of each committed change, and told: facts.

use std::fmt;
use std::sync::Arc;

use crate::{EventId, Invalid, Timestamp};

/// Declares the types of facts with their names, so that a new one is one line.
macro_rules! fact_types {
    ($($(#[$doc:meta])* $name:ident = $text:literal),+ $(,)?) => {
        /// What kind of change a fact tells.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum FactType { $($(#[$doc])* $name),+ }

        impl FactType {
            /// Every type.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// Its name, such as `registration.confirmed`.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),+ }
            }

            /// The type of this name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($text => Some(Self::$name),)+
                    _ => None,
                }
            }
        }
    };
}

fact_types! {
    /// An event was added to the programme.
    EventCreated = "event.created",
    /// An event's details or size became others.
    EventUpdated = "event.updated",
    /// An event left the programme.
    EventDeleted = "event.deleted",
    /// A registration became confirmed.
    RegistrationConfirmed = "registration.confirmed",
    /// A confirmed registration became cancelled.
    RegistrationCancelled = "registration.cancelled",
    /// An account was made.
    UserCreated = "user.created",
    /// An account's name, address or role became another one.
    UserUpdated = "user.updated",
}

impl fmt::Display for FactType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which types are wanted: one, all that begin alike, or all.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FactPattern(String);

impl FactPattern {
    /// All types.
    pub const EVERY: &str = "*";

    /// Reads `registration.confirmed`, `registration.*` or `*`. A pattern that no type matches is refused.
    pub fn parse(raw: &str) -> Result<Self, Invalid> {
        let pattern = Self(raw.to_owned());
        let is_pattern = raw == Self::EVERY || raw.ends_with(".*") || FactType::from_name(raw).is_some();
        if is_pattern && pattern.types().next().is_some() {
            Ok(pattern)
        } else {
            Err(Invalid::Malformed {
                expected: "the name of a type such as registration.confirmed, registration.*, or *",
            })
        }
    }

    /// A pattern as it was stored, which may be of a release that knows other types.
    pub fn stored(pattern: &str) -> Self {
        Self(pattern.to_owned())
    }

    /// The pattern.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a type is one of those wanted.
    pub fn matches(&self, kind: FactType) -> bool {
        match self.0.strip_suffix('*') {
            Some(prefix) => kind.as_str().starts_with(prefix),
            None => kind.as_str() == self.0,
        }
    }

    /// The types that are wanted.
    pub fn types(&self) -> impl Iterator<Item = FactType> {
        FactType::ALL.iter().copied().filter(|kind| self.matches(*kind))
    }
}

/// A fact's name, the same wherever it is told.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FactId(String);

impl FactId {
    /// A name that was given out.
    pub fn new(id: String) -> Self {
        Self(id)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One committed change, as it is told to readers, receivers and the broker: the same bytes to each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// Its name.
    pub id: FactId,
    /// What kind of change it was.
    pub kind: FactType,
    /// When it was made.
    pub at: Timestamp,
    /// Which event it concerns, if one.
    pub event: Option<EventId>,
    /// The `CloudEvents` object, in JSON.
    pub body: Arc<str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_name_a_prefix_or_a_star() {
        let types = |raw| FactPattern::parse(raw).expect("a pattern").types().count();
        assert_eq!(types("*"), FactType::ALL.len());
        assert_eq!(types("event.*"), 3);
        assert_eq!(types("registration.confirmed"), 1);
        for raw in ["", "event", "event.", "event*", "event.c*", "e.*", ".*", "**", "Event.created", "event.created "] {
            assert!(FactPattern::parse(raw).is_err(), "{raw:?}");
        }
    }

    #[test]
    fn every_type_is_found_by_its_name() {
        for kind in FactType::ALL {
            assert_eq!(FactType::from_name(kind.as_str()), Some(*kind));
        }
        assert_eq!(FactType::from_name("event.sold"), None);
    }
}

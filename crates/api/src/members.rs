//! The members of a JSON object as they came. JSON's grammar lets a name come twice; no answer of ours could say which of
//! the two was meant.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// The members of an object.
pub(crate) struct Members {
    /// What each name stands for the first time.
    pub(crate) by_name: BTreeMap<String, Box<RawValue>>,
    /// The names that come more than once.
    pub(crate) repeated: BTreeSet<String>,
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Collect)
    }
}

struct Collect;

impl<'de> Visitor<'de> for Collect {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
        let mut members = Members { by_name: BTreeMap::new(), repeated: BTreeSet::new() };
        while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
            match members.by_name.entry(name) {
                Entry::Vacant(first) => {
                    first.insert(value);
                }
                Entry::Occupied(first) => {
                    members.repeated.insert(first.key().clone());
                }
            }
        }
        Ok(members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_comes_twice_is_known_however_it_is_written() {
        let members: Members = serde_json::from_str(r#"{"a":1,"b":{"a":2},"\u0061":3}"#).unwrap();
        assert_eq!(members.repeated.iter().collect::<Vec<_>>(), ["a"]);
        assert_eq!(members.by_name["a"].get(), "1");
        assert!(serde_json::from_str::<Members>("[]").is_err());
    }
}

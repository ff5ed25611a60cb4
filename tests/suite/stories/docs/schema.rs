//! The part of JSON Schema that the document uses: what a schema forbids, and examples made of it.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::document::resolved;

/// Everything about `value` that its schema forbids: the part of JSON Schema that the document uses.
fn violations(document: &Value, schema: &Value, value: &Value, place: &str, found: &mut Vec<String>) {
    let schema = resolved(document, schema);
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_u64() || number.is_i64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let mut check = |right: bool, rule: &str| {
        if !right {
            found.push(format!("{place}: {rule}: {value}"));
        }
    };
    match &schema["type"] {
        Value::String(one) => check(one == kind, one),
        Value::Array(some) => check(some.iter().any(|one| one == kind), "one of the types"),
        _ => {}
    }
    if let Some(values) = schema["enum"].as_array() {
        check(values.contains(value), "one of the values");
    }
    if let Some(number) = value.as_f64() {
        check(schema["minimum"].as_f64().is_none_or(|minimum| number >= minimum), "not too small");
        check(schema["maximum"].as_f64().is_none_or(|maximum| number <= maximum), "not too large");
    }
    if let Some(text) = value.as_str() {
        let length = text.chars().count() as u64;
        check(schema["minLength"].as_u64().is_none_or(|minimum| length >= minimum), "not too short");
        check(schema["maxLength"].as_u64().is_none_or(|maximum| length <= maximum), "not too long");
        if schema["format"] == "date-time" {
            check(domain::Timestamp::parse(text).is_ok(), "an instant");
        }
    }
    if let Some(items) = value.as_array() {
        check(schema["maxItems"].as_u64().is_none_or(|maximum| items.len() as u64 <= maximum), "not too many");
        if schema["items"].is_object() {
            for (index, item) in items.iter().enumerate() {
                violations(document, &schema["items"], item, &format!("{place}/{index}"), found);
            }
        }
    }
    if let Some(members) = value.as_object() {
        for name in schema["required"].as_array().into_iter().flatten() {
            let there = members.contains_key(name.as_str().unwrap());
            if !there {
                found.push(format!("{place}: {name} is missing"));
            }
        }
        for (name, member) in members {
            if let Some(property) = schema["properties"].get(name) {
                violations(document, property, member, &format!("{place}/{name}"), found);
            }
        }
    }
    for part in schema["allOf"].as_array().into_iter().flatten() {
        violations(document, part, value, place, found);
    }
    for choice in ["oneOf", "anyOf"] {
        let Some(choices) = schema[choice].as_array() else { continue };
        let fits = choices.iter().any(|one| {
            let mut wrong = Vec::new();
            violations(document, one, value, place, &mut wrong);
            wrong.is_empty()
        });
        if !fits {
            found.push(format!("{place}: none of the choices: {value}"));
        }
    }
}

#[track_caller]
pub fn assert_fits(document: &Value, schema: &Value, value: &Value, what: &str) {
    let mut found = Vec::new();
    violations(document, schema, value, "", &mut found);
    assert!(found.is_empty(), "{what}: {found:#?}");
}

/// The names that a schema gives to the members of an object.
pub fn documented_members(document: &Value, schema: &Value, names: &mut BTreeSet<String>) {
    let schema = resolved(document, schema);
    names.extend(schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name.clone()));
    for part in ["allOf", "oneOf"].iter().flat_map(|kind| schema[kind].as_array().into_iter().flatten()) {
        documented_members(document, part, names);
    }
}

/// The example of a schema, or one made of the examples of its members.
pub fn example(document: &Value, schema: &Value) -> Value {
    let schema = resolved(document, schema);
    if let Some(example) = schema["examples"].get(0).or_else(|| schema.get("example")) {
        return example.clone();
    }
    match schema["properties"].as_object() {
        Some(members) => {
            members.iter().map(|(name, member)| (name.clone(), example(document, member))).collect::<Map<_, _>>().into()
        }
        None => schema["enum"].get(0).cloned().unwrap_or(Value::Null),
    }
}

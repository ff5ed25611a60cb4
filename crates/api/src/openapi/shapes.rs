//! What is sent, for those who make clients of the document: names, bounds and formats.

use serde_json::{Value, json};
use utoipa::PartialSchema;

use crate::problem::Code;
use crate::routes::SortParameter;
use crate::wire;

/// The longest text that an answer can be.
const LONGEST: u64 = 16_777_216;
/// The greatest number that every JSON reader keeps exact.
const GREATEST: u64 = domain::id::MAX_ID;

/// Adds the shapes that no route names: errors, and what goes over streams and stands in queries.
pub(super) fn add(schemas: &mut Value) {
    schemas["ProblemCode"] = json!({
        "type": "string",
        "description": "Every code that an error can have. A code is stable; there may be more of them one day.",
        "enum": Code::ALL.iter().map(|code| code.as_str()).collect::<Vec<_>>(),
    });
    schemas["Problem"] = problem();
    schemas["ValidationProblem"] = validation_problem();
    schemas["FieldError"] = field_error();
    schemas["SeatState"] = json!(wire::SeatState::schema());
    schemas["SeatDeletion"] = json!(wire::DeletedSeats::schema());
    schemas["EventSort"] = json!(SortParameter::schema());
    for schema in schemas.as_object_mut().into_iter().flat_map(serde_json::Map::values_mut) {
        let names = schema["enum"].as_array().map(|values| values.iter().filter_map(Value::as_str).map(constant));
        if let Some(names) = names.map(Iterator::collect::<Vec<_>>) {
            schema["x-enum-varnames"] = json!(names);
        }
    }
}

/// What the constant of a value is called in a client's program: generators make `VALUE_1` of what is no name.
fn constant(value: &str) -> String {
    match value.strip_prefix('-') {
        Some(ascending) => format!("{}_DESC", constant(ascending)),
        None => value.to_uppercase(),
    }
}

fn problem() -> Value {
    let text = |example: &str| json!({ "type": "string", "maxLength": 1000, "examples": [example] });
    json!({
        "type": "object",
        "description": "An error (RFC 9457).",
        "required": ["type", "title", "status", "detail", "code", "request_id"],
        "properties": {
            "type": { "type": "string", "format": "uri-reference", "maxLength": 100, "description": "A page about the error." },
            "title": text("Sold out"),
            "status": { "type": "integer", "minimum": 400, "maximum": 599, "description": "The status of the answer." },
            "detail": text("No seat is free at present."),
            "code": { "$ref": "#/components/schemas/ProblemCode" },
            "request_id": { "type": "string", "maxLength": 128 },
            "trace_id": {
                "type": "string",
                "minLength": 32,
                "maxLength": 32,
                "pattern": "^[0-9a-f]{32}$",
                "description": "The trace, while requests are traced.",
            },
            "dependencies": {
                "type": "object",
                "description": "With a failed readiness check: the state of each dependency.",
                "additionalProperties": true,
            },
        },
    })
}

fn validation_problem() -> Value {
    json!({
        "description": "An error that names every wrong part of the request.",
        "allOf": [
            { "$ref": "#/components/schemas/Problem" },
            {
                "type": "object",
                "required": ["code", "errors"],
                "properties": {
                    "code": { "type": "string", "enum": [Code::ValidationFailed.as_str()] },
                    "errors": {
                        "type": "array",
                        "minItems": 1,
                        "maxItems": 100,
                        "items": { "$ref": "#/components/schemas/FieldError" },
                    },
                },
            },
        ],
    })
}

fn field_error() -> Value {
    json!({
        "type": "object",
        "description": "One wrong part of a request.",
        "required": ["field", "code", "message"],
        "properties": {
            "field": { "type": "string", "maxLength": 200, "description": "The path in the body, or the parameter's name." },
            "code": { "type": "string", "maxLength": 100, "description": "The broken rule." },
            "message": { "type": "string", "maxLength": 1000, "description": "The rule in words." },
        },
    })
}

/// Gives every integer its bounds and the format that holds them, and every text a bound.
pub(super) fn bound(within: &mut Value) {
    match within {
        Value::Object(members) => {
            if members.get("type").is_some_and(|kind| kind == "integer") {
                members.entry("minimum").or_insert(json!(0));
                let greatest = members.entry("maximum").or_insert(json!(GREATEST));
                let fits = greatest.as_u64().is_some_and(|greatest| i32::try_from(greatest).is_ok());
                members.insert("format".to_owned(), json!(if fits { "int32" } else { "int64" }));
            }
            if members.get("type").is_some_and(|kind| kind == "string") && !members.contains_key("enum") {
                members.entry("maxLength").or_insert(json!(LONGEST));
            }
            members.iter_mut().filter(|(name, _)| !name.starts_with("example")).for_each(|(_, member)| bound(member));
        }
        Value::Array(items) => items.iter_mut().for_each(bound),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_the_format_that_holds_its_bounds() {
        let mut schema = json!({ "seats": { "type": "integer", "maximum": 2_147_483_647 },
                                 "secs": { "type": "integer", "format": "int32", "maximum": 2_147_483_648_u64 },
                                 "total": { "type": "integer", "minimum": 1 } });
        bound(&mut schema);
        assert_eq!((&schema["seats"]["format"], &schema["secs"]["format"]), (&json!("int32"), &json!("int64")));
        assert_eq!((&schema["total"]["minimum"], &schema["total"]["maximum"]), (&json!(1), &json!(GREATEST)));
    }

    #[test]
    fn a_value_that_is_no_name_has_a_constant_that_is_one() {
        assert_eq!([constant("-available_seats"), constant("date")], ["AVAILABLE_SEATS_DESC", "DATE"]);
    }
}

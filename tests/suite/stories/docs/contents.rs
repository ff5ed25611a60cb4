//! What the document has to contain, compared with itself and with what was last agreed on.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::document::{CALLS, document, operations, resolved};
use super::schema::assert_fits;

/// Every value under this name, anywhere.
fn all_named<'a>(name: &str, within: &'a Value, found: &mut Vec<&'a Value>) {
    match within {
        Value::Object(members) => {
            for (key, value) in members {
                if key == name {
                    found.push(value);
                }
                all_named(name, value, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| all_named(name, item, found)),
        _ => {}
    }
}

#[test]
fn the_document_is_what_was_last_agreed_on() {
    insta::assert_snapshot!("openapi", api::openapi_json());
}

#[test]
fn the_document_has_every_call_and_names_each_once() {
    let document = document();
    let operations = operations(&document);
    for (method, path, success) in CALLS {
        let operation = operations.iter().find(|operation| (operation.method, operation.path) == (method, path));
        let operation = operation.unwrap_or_else(|| panic!("{method} {path} is not documented"));
        assert!(operation.responses().contains_key(success), "{method} {path}: {success}");
    }
    let mut ids = BTreeSet::new();
    let tags: BTreeSet<_> = document["tags"].as_array().unwrap().iter().map(|tag| tag["name"].to_string()).collect();
    for operation in &operations {
        let name = operation.name();
        let id = operation.body["operationId"].as_str().unwrap_or_else(|| panic!("{name} has no id"));
        assert!(ids.insert(id), "{name}: {id} is taken already");
        for text in ["summary", "description"] {
            assert!(operation.body[text].as_str().is_some_and(|text| !text.is_empty()), "{name} has no {text}");
        }
        for tag in operation.body["tags"].as_array().unwrap() {
            assert!(tags.contains(&tag.to_string()), "{name}: {tag}");
        }
        let placeholders = operation.path.matches('{').count();
        assert_eq!(operation.parameters("path").len(), placeholders, "{name}");
        assert!(operation.parameters("path").iter().all(|parameter| parameter["required"] == true), "{name}");
        for response in operation.responses().values() {
            let response = resolved(&document, response);
            assert!(response["description"].as_str().is_some_and(|text| !text.is_empty()), "{name}");
        }
        assert!(!operation.body.to_string().contains("x-problems"), "{name}");
    }
}

#[test]
fn the_document_points_nowhere_else_than_into_itself() {
    let document = document();
    let mut references = Vec::new();
    all_named("$ref", &document, &mut references);
    assert!(references.len() > 50, "{}", references.len());
    for reference in references {
        resolved(&document, &json!({ "$ref": reference }));
    }
    // And every component is referred to.
    let text = document.to_string();
    for (kind, components) in document["components"].as_object().unwrap() {
        for name in components.as_object().unwrap().keys().filter(|_| kind != "securitySchemes") {
            assert!(text.contains(&format!("\"#/components/{kind}/{name}\"")), "{kind}/{name} is not used");
        }
    }
}

#[test]
fn every_example_fits_its_schema() {
    let document = document();
    let codes = &document["components"]["schemas"]["ProblemCode"]["enum"];
    let mut shown = BTreeSet::new();
    for operation in operations(&document) {
        for (status, response) in operation.responses().iter().filter(|(status, _)| *status != "default") {
            let response = resolved(&document, response);
            for (kind, media) in response["content"].as_object().into_iter().flatten() {
                let name = format!("{} {status} {kind}", operation.name());
                let is_problem = kind == "application/problem+json";
                assert_eq!(is_problem, status.parse::<u16>().unwrap() >= 400, "{name}");
                let examples = media["examples"].as_object();
                assert!(!is_problem || examples.is_some_and(|examples| !examples.is_empty()), "{name}: no example");
                for (code, example) in examples.into_iter().flatten() {
                    let problem = &example["value"];
                    assert_fits(&document, &media["schema"], problem, &name);
                    if !is_problem {
                        continue;
                    }
                    assert_eq!(problem["status"].to_string(), *status, "{name}");
                    assert_eq!(problem["code"], *code, "{name}");
                    assert_eq!(problem["type"], format!("/problems/{code}"), "{name}");
                    assert!(codes.as_array().unwrap().contains(&problem["code"]), "{name}: {code}");
                    assert_eq!(problem["errors"].is_array(), code == "validation_failed", "{name}");
                    shown.insert(code.clone());
                }
            }
        }
        for place in ["path", "query", "header"] {
            for parameter in operation.parameters(place) {
                let name = format!("{} {}", operation.name(), parameter["name"]);
                let value = parameter.get("example").or_else(|| parameter["schema"]["examples"].get(0));
                assert!(value.is_some() || parameter["required"] != true, "{name} has no example");
                if let Some(value) = value {
                    assert_fits(&document, &parameter["schema"], value, &name);
                }
            }
        }
    }
    // Each code belongs to a call, except `method_not_allowed`, the answer to no call of the document.
    for code in codes.as_array().unwrap() {
        let code = code.as_str().unwrap();
        let of_no_call = code == "method_not_allowed";
        assert!(shown.contains(code) || of_no_call, "{code} belongs to no call");
    }
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        for (member, property) in schema["properties"].as_object().into_iter().flatten() {
            let property = resolved(&document, property);
            for value in property["examples"].as_array().into_iter().flatten().chain(property.get("example")) {
                assert_fits(&document, property, value, &format!("{name}.{member}"));
            }
        }
    }
}

/// The codes that a problem of this schema can have.
fn codes_of<'a>(document: &'a Value, schema: &'a Value, codes: &mut BTreeSet<&'a str>) {
    let schema = resolved(document, schema);
    let own = schema["properties"]["code"]["enum"].as_array().into_iter().flatten();
    codes.extend(own.filter_map(Value::as_str));
    for part in ["allOf", "oneOf"].iter().flat_map(|kind| schema[kind].as_array().into_iter().flatten()) {
        codes_of(document, part, codes);
    }
}

#[test]
fn an_error_of_the_document_has_its_own_codes_and_no_other() {
    let document = document();
    for operation in operations(&document) {
        for (status, response) in operation.responses().iter().filter(|(status, _)| *status != "default") {
            let problem = &response["content"]["application/problem+json"];
            let shown: BTreeSet<_> =
                problem["examples"].as_object().into_iter().flatten().map(|(code, _)| &**code).collect();
            let mut codes = BTreeSet::new();
            codes_of(&document, &problem["schema"], &mut codes);
            assert_eq!(codes, shown, "{} {status}", operation.name());
        }
    }
}

#[test]
fn every_number_and_text_of_the_document_has_bounds() {
    fn unbounded(within: &Value, place: &str, found: &mut Vec<String>) {
        let is = |kind: &str| {
            within["type"] == kind || within["type"].as_array().is_some_and(|all| all.contains(&json!(kind)))
        };
        let lacks = |names: &[&str]| within.is_object() && names.iter().any(|name| within.get(name).is_none());
        let closed = within.get("enum").is_some();
        if is("integer") && lacks(&["minimum", "maximum", "format"])
            || is("integer") && within["format"] == "int32" && within["maximum"].as_i64() > Some(i32::MAX.into())
            || is("string") && !closed && lacks(&["maxLength"])
            || is("array") && lacks(&["maxItems"])
        {
            found.push(place.to_owned());
        }
        match within {
            Value::Object(members) => members
                .iter()
                .filter(|(name, _)| !name.starts_with("example"))
                .for_each(|(name, member)| unbounded(member, &format!("{place}/{name}"), found)),
            Value::Array(items) => {
                items.iter().enumerate().for_each(|(index, item)| unbounded(item, &format!("{place}/{index}"), found));
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    unbounded(&document(), "", &mut found);
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn every_choice_of_the_document_has_names_that_programs_can_use() {
    for (name, schema) in document()["components"]["schemas"].as_object().unwrap() {
        let Some(values) = schema["enum"].as_array() else { continue };
        let names: BTreeSet<_> = schema["x-enum-varnames"].as_array().unwrap().iter().map(Value::to_string).collect();
        assert_eq!(names.len(), values.len(), "{name}");
        assert!(names.iter().all(|name| !name.contains(['-', ' '])), "{name}: {names:?}");
    }
}

//! The OpenAPI document and the pages around it: the server has to answer as they say.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use serde_json::{Map, Value, json};

use crate::harness::server::{Answer, Instance, PASSWORD, Person, Site, Stack};

const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

/// The calls that clients rely on, and their statuses of success.
const CALLS: [(&str, &str, &str); 35] = [
    ("post", "/api/auth/register", "201"),
    ("post", "/api/auth/login", "200"),
    ("post", "/api/auth/refresh", "200"),
    ("post", "/api/auth/logout", "204"),
    ("get", "/api/events", "200"),
    ("get", "/api/events/{id}", "200"),
    ("post", "/api/events", "201"),
    ("put", "/api/events/{id}", "200"),
    ("delete", "/api/events/{id}", "200"),
    ("post", "/api/events/{id}/register", "201"),
    ("delete", "/api/events/{id}/register", "200"),
    ("get", "/api/events/{id}/registrations", "200"),
    ("get", "/api/events/{id}/seats/stream", "200"),
    ("get", "/api/live", "101"),
    ("get", "/api/users/me/registrations", "200"),
    ("get", "/api/users/me", "200"),
    ("put", "/api/users/me", "200"),
    ("get", "/api", "200"),
    ("get", "/api/openapi.json", "200"),
    ("get", "/health/live", "200"),
    ("get", "/health/ready", "200"),
    ("get", "/metrics", "200"),
    ("get", "/api/history", "200"),
    ("get", "/api/events/{id}/history", "200"),
    ("get", "/api/users/me/history", "200"),
    ("post", "/api/webhooks", "201"),
    ("get", "/api/webhooks", "200"),
    ("get", "/api/webhooks/{id}", "200"),
    ("put", "/api/webhooks/{id}", "200"),
    ("delete", "/api/webhooks/{id}", "204"),
    ("post", "/api/webhooks/{id}/rotate-secret", "200"),
    ("post", "/api/webhooks/{id}/test", "202"),
    ("get", "/api/webhooks/{id}/deliveries", "200"),
    ("post", "/api/webhooks/{id}/deliveries/{delivery}/retry", "202"),
    ("post", "/api/webhooks/{id}/replay", "202"),
];

fn document() -> Value {
    serde_json::from_str(&api::openapi_json()).unwrap()
}

/// One operation of the document.
struct Operation<'a> {
    method: &'a str,
    path: &'a str,
    body: &'a Value,
}

impl Operation<'_> {
    /// Its parameters of a kind: `path`, `query`, `header`.
    fn parameters(&self, place: &str) -> Vec<&Value> {
        let all = self.body["parameters"].as_array().into_iter().flatten();
        all.filter(|parameter| parameter["in"] == place).collect()
    }

    fn responses(&self) -> &Map<String, Value> {
        self.body["responses"].as_object().unwrap()
    }

    fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

fn operations(document: &Value) -> Vec<Operation<'_>> {
    let paths = document["paths"].as_object().unwrap().iter();
    paths
        .flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().iter().filter(|(name, _)| METHODS.contains(&name.as_str()));
            methods.map(move |(method, body)| Operation { method, path, body })
        })
        .collect()
}

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

/// The schema that a `$ref` points to.
fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        None => schema,
        Some(reference) => {
            let pointer = reference.strip_prefix('#').unwrap_or_else(|| panic!("{reference} is elsewhere"));
            let target = document.pointer(pointer).unwrap_or_else(|| panic!("{reference} points nowhere"));
            resolved(document, target)
        }
    }
}

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
fn assert_fits(document: &Value, schema: &Value, value: &Value, what: &str) {
    let mut found = Vec::new();
    violations(document, schema, value, "", &mut found);
    assert!(found.is_empty(), "{what}: {found:#?}");
}

/// The names that a schema gives to the members of an object.
fn documented_members(document: &Value, schema: &Value, names: &mut BTreeSet<String>) {
    let schema = resolved(document, schema);
    names.extend(schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name.clone()));
    for part in ["allOf", "oneOf"].iter().flat_map(|kind| schema[kind].as_array().into_iter().flatten()) {
        documented_members(document, part, names);
    }
}

/// The example of a schema, or one made of the examples of its members.
fn example(document: &Value, schema: &Value) -> Value {
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

/// A webhook that nothing is sent to.
async fn new_webhook(api: &Instance, admin: &Person) -> u64 {
    let webhook = json!({ "url": "https://example.com/hook", "types": ["user.updated"] });
    api.post("/api/webhooks", &webhook).by(admin).send().await.expect(201).json()["id"].as_u64().unwrap()
}

/// Calls an operation with its own examples, and with known ids.
async fn call(api: &Instance, document: &Value, operation: &Operation<'_>, known: &Known<'_>) -> Answer {
    let mut path = operation.path.to_owned();
    for parameter in operation.parameters("path") {
        let name = parameter["name"].as_str().unwrap();
        let value = match name {
            "id" => known.event.to_string(),
            _ => match &parameter["example"] {
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                other => panic!("{name} has no example: {other}"),
            },
        };
        path = path.replace(&format!("{{{name}}}"), &value);
    }
    let mut request = api.request(Method::from_bytes(operation.method.to_uppercase().as_bytes()).unwrap(), &path);
    if let Some(person) = known.person {
        request = request.by(person);
    }
    for parameter in operation.parameters("header").iter().filter(|parameter| parameter["required"] == true) {
        request = request.header(parameter["name"].as_str().unwrap(), parameter["example"].as_str().unwrap());
    }
    let content = &operation.body["requestBody"]["content"]["application/json"];
    if known.with_body && content.is_object() {
        let mut body = example(document, &content["schema"]);
        assert_fits(document, &content["schema"], &body, &operation.name());
        for (name, value) in known.fields {
            if body.get(name).is_some() {
                body[name] = value.clone();
            }
        }
        request = request.json(&body);
    }
    Answer::begun(request.response().await).await
}

/// The user, event and fields of a call.
struct Known<'a> {
    person: Option<&'a Person>,
    event: u64,
    /// Fields whose value depends on existing rows.
    fields: &'a [(&'a str, Value)],
    with_body: bool,
}

/// Compares the answer with the response in the document.
fn assert_documented(document: &Value, operation: &Operation<'_>, answer: &Answer) {
    let (name, status) = (operation.name(), answer.status.to_string());
    let response = operation.responses().get(&status).unwrap_or_else(|| panic!("{name}: {status} is not documented"));
    let response = resolved(document, response);
    for (header, described) in response["headers"].as_object().into_iter().flatten() {
        let described = resolved(document, described);
        if described["required"] == true {
            assert!(answer.headers.contains_key(header.as_str()), "{name}: {status} has no {header}");
        }
        if described["schema"]["type"] == "integer" && answer.headers.contains_key(header.as_str()) {
            let value: u64 = answer.header(header).parse().unwrap_or_else(|_| panic!("{name}: {header} is no number"));
            assert_fits(document, &described["schema"], &json!(value), &format!("{name}: {header}"));
        }
    }
    let Some(content) = response["content"].as_object() else {
        assert_eq!(answer.body, b"", "{name}: {status} has a body that is not documented");
        return;
    };
    let kind = answer.header("content-type").split(';').next().unwrap();
    let media = content.get(kind).unwrap_or_else(|| panic!("{name}: {status}: {kind} is not documented"));
    if kind.ends_with("json") {
        let body = answer.json();
        assert_fits(document, &media["schema"], &body, &format!("{name}: {status}"));
        if let Some(members) = body.as_object()
            && operation.path != "/api/openapi.json"
        {
            let mut documented = BTreeSet::new();
            documented_members(document, &media["schema"], &mut documented);
            for member in members.keys() {
                assert!(documented.contains(member), "{name}: {status}: {member} is not documented");
            }
        }
    }
}

#[test]
fn the_document_is_what_was_last_agreed_on() {
    insta::assert_snapshot!("openapi", api::openapi_json());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_and_the_command_line_show_the_same_document() {
    let site = Site::new(Stack::Embedded).await;
    let api = site.start().await;
    let served = api.get("/api/openapi.json").send().await.expect(200);
    assert_eq!(served.header("content-type"), "application/json");
    assert_eq!(served.text(), api::openapi_json(), "`boxoffice openapi` prints it");
    let version = document()["openapi"].as_str().unwrap().to_owned();
    assert!(version.starts_with("3.1."), "{version}");
    api.stop().await;
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

#[tokio::test(flavor = "multi_thread")]
async fn a_304_has_the_headers_that_the_document_gives_it() {
    let site = Site::new(Stack::Embedded).await;
    let api = site.start().await;
    let document = document();
    let admin = api.admin().await;
    let event = api.event(&admin, 5).await;
    assert_eq!(new_webhook(&api, &admin).await, event);
    let mut seen = 0;
    for operation in &operations(&document) {
        let known = Known { person: Some(&admin), event, fields: &[], with_body: false };
        let is_read = operation.method == "get" && operation.responses().contains_key("200");
        if !is_read || operation.path.ends_with("/stream") {
            continue;
        }
        let tagged = call(&api, &document, operation, &known).await.headers.contains_key("etag");
        assert_eq!(operation.responses().contains_key("304"), tagged, "{}", operation.name());
        if !tagged {
            continue;
        }
        let path = operation.path.replace("{id}", &event.to_string()).replace("{code}", "sold_out");
        let unchanged = api.get(&path).by(&admin).header("If-None-Match", "*").send().await.expect(304);
        let described = operation.responses()["304"]["headers"].as_object().unwrap();
        for name in ["etag", "link", "x-total-count", "cache-control", "vary"] {
            let documented = described.keys().any(|known| known.eq_ignore_ascii_case(name));
            assert!(documented || !unchanged.headers.contains_key(name), "{}: {name}", operation.name());
        }
        assert_documented(&document, operation, &unchanged);
        assert!(operation.parameters("header").iter().any(|parameter| parameter["name"] == "If-None-Match"), "{path}");
        seen += 1;
    }
    assert!(seen >= 7, "{seen}");
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_of_the_document_can_be_made_and_answers_as_it_says() {
    // With a limit, because the document promises its headers.
    let site = Site::new(Stack::Embedded).await.with("RATE_LIMIT_PER_MINUTE", "10000");
    let api = site.start().await;
    let document = document();
    let admin = api.admin().await;
    let ada = api.new_user().await;
    // Its first delivery is the one that the document has as an example.
    let webhook = new_webhook(&api, &admin).await;
    api.post(&format!("/api/webhooks/{webhook}/test"), &json!({})).by(&admin).send().await.expect(202);

    let mut successes = BTreeMap::new();
    for operation in &operations(&document) {
        let event = match operation.path {
            "/api/webhooks/{id}" if operation.method == "delete" => new_webhook(&api, &admin).await,
            path if path.starts_with("/api/webhooks/{id}") => webhook,
            _ => api.event(&admin, 5).await,
        };
        let session = api.post("/api/auth/login", &json!({ "email": ada.email, "password": PASSWORD }));
        let session = session.send().await.expect(200).json();
        // A registration to cancel; a booking needs an event without one.
        if operation.method == "delete" && operation.path.ends_with("/register") {
            api.book(event, &admin).await.expect(201);
        }
        let fields = match operation.path {
            "/api/auth/login" => vec![("email", json!(ada.email)), ("password", json!(PASSWORD))],
            _ => vec![("refresh_token", session["refresh_token"].clone()), ("date", json!("2031-05-01T19:30:00Z"))],
        };
        let known = Known { person: Some(&admin), event, fields: &fields, with_body: true };
        let answer = call(&api, &document, operation, &known).await;
        assert!(
            answer.status < 300,
            "{}: its own examples give {}: {}",
            operation.name(),
            answer.status,
            answer.text()
        );
        assert_documented(&document, operation, &answer);
        successes.insert(operation.name(), answer.status);

        // Without a token, by another user, without fields, and for an event that does not exist.
        for known in [
            Known { person: None, event, fields: &fields, with_body: true },
            Known { person: Some(&ada), event: 4_000_000, fields: &fields, with_body: true },
            Known { person: Some(&admin), event: 4_000_000, fields: &fields, with_body: true },
            Known { person: Some(&admin), event, fields: &[], with_body: false },
        ] {
            let answer = call(&api, &document, operation, &known).await;
            assert_ne!(answer.status, 405, "{}", operation.name());
            assert_documented(&document, operation, &answer);
        }
    }
    for (method, path, success) in CALLS {
        assert_eq!(successes[&format!("{method} {path}")].to_string(), success, "{method} {path}");
    }
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_the_calls_that_the_document_protects_need_a_token() {
    let site = Site::new(Stack::Embedded).await;
    let api = site.start().await;
    let document = document();
    let admin = api.admin().await;
    let ada = api.new_user().await;
    for operation in &operations(&document) {
        let event = api.event(&admin, 5).await;
        let ways = operation.body["security"].as_array().unwrap();
        let open = ways.is_empty() || ways.iter().any(|way| way.as_object().unwrap().is_empty());
        let admins = operation.body["x-required-role"] == "admin";
        let known = Known { person: None, event, fields: &[], with_body: false };
        let status = call(&api, &document, operation, &known).await.status;
        assert_eq!(status != 401, open, "{}: without a token: {status}", operation.name());
        let known = Known { person: Some(&ada), event, fields: &[], with_body: false };
        let status = call(&api, &document, operation, &known).await.status;
        assert_eq!(status == 403, admins, "{}: with an ordinary token: {status}", operation.name());
        for (status, protected) in [("401", !open), ("403", admins)] {
            let documented = operation.responses().contains_key(status);
            assert!(documented || !protected, "{}: {status} is not documented", operation.name());
        }
    }
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_page_loads_all_it_needs_from_the_server_itself() {
    let site = Site::new(Stack::Embedded).await;
    let api = site.start().await;
    let page = api.get("/api").send().await.expect(200);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    let html = page.text();

    let attributes = html.split("src=\"").skip(1).chain(html.split("href=\"").skip(1));
    let files: Vec<_> = attributes.map(|rest| rest.split('"').next().unwrap()).collect();
    assert!(
        files.iter().any(|file| file.contains(".js")) && files.iter().any(|file| file.contains(".css")),
        "{files:?}"
    );
    let mut scripts = String::new();
    for file in &files {
        assert!(file.starts_with('/') && !file.starts_with("//"), "{file} is elsewhere");
        let answer = api.get(file).send().await.expect(200);
        let kind = match file.rsplit('.').next().unwrap() {
            "js" => "text/javascript; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "png" => "image/png",
            other => panic!("{other}"),
        };
        // With `nosniff`, a browser refuses a file with a wrong type.
        assert_eq!(answer.header("content-type"), kind, "{file}");
        assert!(!answer.body.is_empty(), "{file}");
        if file.ends_with("initializer.js") {
            scripts.push_str(&answer.text());
        }
    }
    assert!(scripts.contains("/api/openapi.json"), "the page does not know the document");
    // The policy of the page forbids inline scripts, and files of other servers.
    assert!(page.header("content-security-policy").contains("script-src 'self';"));
    for script in html.split("<script").skip(1) {
        let (tag, rest) = script.split_once('>').unwrap();
        assert!(tag.contains("src=") && rest.trim_start().starts_with("</script>"), "a script within the page: {tag}");
    }
    assert!(!html.contains("http://") && !html.contains("https://") && !html.contains(" onload="));
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_code_has_a_page_about_it() {
    let site = Site::new(Stack::Embedded).await;
    let api = site.start().await;
    let document = document();
    for code in document["components"]["schemas"]["ProblemCode"]["enum"].as_array().unwrap() {
        let code = code.as_str().unwrap();
        let page = api.get(&format!("/problems/{code}")).send().await.expect(200);
        assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
        assert!(page.text().contains(&format!("<code>{code}</code>")), "{code}: {}", page.text());
    }
    for unknown in ["", "nothing", "SOLD_OUT", "sold_out/", "%3Cscript%3E"] {
        let answer = api.get(&format!("/problems/{unknown}")).send().await.expect_problem(404, "not_found");
        assert!(!answer.text().contains("<script>"));
    }
    api.stop().await;
}

//! Every call of the document, made with its own examples: the server answers as it says.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use serde_json::{Value, json};

use super::document::{CALLS, Operation, document, operations, resolved};
use super::schema::{assert_fits, documented_members, example};
use crate::harness::server::{Answer, Instance, PASSWORD, Person, Site, Stack};

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

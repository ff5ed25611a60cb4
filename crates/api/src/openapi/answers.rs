//! What operations answer: each error under its own codes, each answer with its headers.

use serde_json::{Map, Value, json};

use crate::problem::{Code, PROBLEM_JSON, Problem};
use crate::violation::FieldError;

/// Headers that many answers have.
pub(super) fn headers() -> Value {
    let whole = |description: &str, minimum: u64, required: bool| {
        json!({
            "description": description,
            "required": required,
            "schema": { "type": "integer", "minimum": minimum, "maximum": u32::MAX },
            "example": minimum.max(1),
        })
    };
    let text = |description: &str, required: bool, example: &str| {
        json!({
            "description": description,
            "required": required,
            "schema": { "type": "string", "maxLength": 4096 },
            "example": example,
        })
    };
    json!({
        "X-Request-Id": text("The request's id: the client's own, if it sent a printable one of at most 128 bytes.", true, REQUEST_ID),
        "Cache-Control": text("Whether the answer may be stored: `no-cache` if it has to be asked for again each time, `no-store` if not at all.", true, "no-cache"),
        "Vary": text("The headers of the request that the answer depends on.", false, "Authorization, Accept-Encoding"),
        "Access-Control-Allow-Origin": text("The origin of the page that asks, if the API allows it to read the answer.", false, "https://tickets.example.com"),
        "RateLimit-Limit": whole("How many requests fit into the client's bucket. Absent where the limit is off.", 1, false),
        "RateLimit-Remaining": whole("How many more requests it holds at present.", 0, false),
        "RateLimit-Reset": whole("In how many seconds it is full again.", 0, false),
        "Retry-After": whole("After how many seconds to try again.", 1, true),
        "WWW-Authenticate": text("How to authenticate.", true, "Bearer"),
        "Idempotent-Replayed": {
            "description": "The answer is that of an earlier request with the same key; this one did nothing.",
            "schema": { "type": "string", "enum": ["true"] },
            "example": "true",
        },
    })
}

const REQUEST_ID: &str = "018f6b0a-5c1e-7a44-9a55-0f3e5a1b2c3d";

/// The answers of an operation that can end with these problems.
pub(super) fn complete(path: &str, method: &str, operation: &mut Map<String, Value>, problems: &[Code]) {
    let counted = path == "/api" || path.starts_with("/api/");
    let keyed = has_parameter(operation, "Idempotency-Key");
    let documentation = operation["tags"] == json!(["documentation"]);
    let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut) else { return };
    if documentation {
        responses["200"]["headers"]["ETag"] = json!({
            "description": "Changes with every visible change of the answer.",
            "required": true,
            "schema": { "type": "string" },
        });
    }
    let tagged = responses.get("200").filter(|response| method == "get" && response["headers"]["ETag"].is_object());
    let current = tagged.map(
        |response| json!({ "description": "The client's copy is current.", "headers": response["headers"].clone() }),
    );
    let conditional = current.is_some();
    if let Some(current) = current {
        responses.insert("304".to_owned(), current);
    }
    for (status, codes) in by_status(problems) {
        responses.insert(status.to_string(), problem_response(&codes));
    }
    if !responses.keys().any(|status| status.starts_with('2')) {
        // What is no HTTP any more has no success that a client of HTTP can see: all that it can see are errors.
        responses.insert("default".to_owned(), any_problem());
    }
    for (status, response) in responses.iter_mut() {
        let mut names = vec!["X-Request-Id", "Cache-Control", "Vary", "Access-Control-Allow-Origin"];
        if counted {
            names.extend(["RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"]);
        }
        match status.as_str() {
            "401" => names.push("WWW-Authenticate"),
            "429" | "503" => names.push("Retry-After"),
            "200" | "201" if keyed => names.push("Idempotent-Replayed"),
            _ => {}
        }
        describe_headers(response, &names);
    }
    if conditional && !has_parameter(operation, "If-None-Match") {
        let parameters = operation.entry("parameters").or_insert_with(|| json!([]));
        if let Some(parameters) = parameters.as_array_mut() {
            parameters.push(json!({
                "name": "If-None-Match",
                "in": "header",
                "required": false,
                "description": "Tags of the copies the client has: if one is current, the answer is 304.",
                "schema": { "type": "string", "maxLength": 65_536 },
            }));
        }
    }
}

/// The errors of an operation: its own, and those that come with what it takes and who may call it.
pub(super) fn problems(path: &str, operation: &Map<String, Value>) -> Vec<Code> {
    let own: Vec<_> = operation.get("x-problems").and_then(Value::as_array).into_iter().flatten().collect();
    let mut codes: Vec<_> = Code::ALL.iter().copied().filter(|code| own.contains(&&json!(code.as_str()))).collect();
    let security = operation["security"].to_string();
    let stored = operation["tags"].as_array().is_some_and(|tags| {
        ["auth", "events", "registrations", "users", "live", "history", "webhooks"]
            .iter()
            .any(|tag| tags.contains(&json!(tag)))
    });
    let (body, keyed) = (operation.contains_key("requestBody"), has_parameter(operation, "Idempotency-Key"));
    codes.extend([Code::MalformedRequest, Code::InternalError]);
    if security.contains("access_token") && operation["operationId"] != "signUp" {
        codes.push(Code::Unauthenticated);
    }
    if security.contains("admin") {
        codes.push(Code::Forbidden);
    }
    if path.contains("{id}") {
        codes.push(Code::NotFound);
    }
    if body {
        codes.push(Code::ValidationFailed);
    }
    if body || keyed {
        codes.extend([Code::PayloadTooLarge, Code::UnsupportedMediaType]);
    }
    if operation
        .get("parameters")
        .and_then(Value::as_array)
        .is_some_and(|all| all.iter().any(|one| one["in"] == "query"))
    {
        codes.push(Code::ValidationFailed);
    }
    if keyed {
        codes.extend([
            Code::ValidationFailed,
            Code::IdempotencyKeyReused,
            Code::IdempotencyInProgress,
            Code::OutcomeUnknown,
        ]);
    }
    if path.starts_with("/api") {
        codes.push(Code::RateLimited);
    }
    if stored {
        codes.push(Code::Unavailable);
    }
    if operation["tags"] == json!(["auth"]) {
        codes.push(Code::OutcomeUnknown);
    }
    codes.sort_unstable();
    codes.dedup();
    codes
}

fn has_parameter(operation: &Map<String, Value>, name: &str) -> bool {
    let parameters = operation.get("parameters").and_then(Value::as_array);
    parameters.is_some_and(|all| all.iter().any(|one| one["name"] == name))
}

fn by_status(codes: &[Code]) -> Vec<(u16, Vec<Code>)> {
    let mut statuses: Vec<(u16, Vec<Code>)> = Vec::new();
    for code in codes {
        let status = code.status().as_u16();
        match statuses.iter_mut().find(|(known, _)| *known == status) {
            Some((_, codes)) => codes.push(*code),
            None => statuses.push((status, vec![*code])),
        }
    }
    statuses
}

fn problem_response(codes: &[Code]) -> Value {
    let description: Vec<_> = codes.iter().map(|code| format!("`{}`: {}", code.as_str(), code.about())).collect();
    let examples: Map<_, _> = codes
        .iter()
        .map(|code| {
            let problem = match code {
                Code::ValidationFailed => Problem::validation(vec![FieldError {
                    field: "limit".to_owned(),
                    code: "out_of_range".to_owned(),
                    message: "must be a whole number from 1 to 100".to_owned(),
                }]),
                code => Problem::new(*code),
            };
            let body: Value = serde_json::from_slice(&problem.body(REQUEST_ID, None)).unwrap_or_default();
            (code.as_str().to_owned(), json!({ "value": body }))
        })
        .collect();
    let mut response = json!({
        "description": description.join("\n\n"),
        "content": { PROBLEM_JSON: { "schema": problem_schema(codes), "examples": examples } },
    });
    if codes.contains(&Code::IdempotencyInProgress) {
        response["headers"]["Retry-After"] = json!({
            "description": "With `idempotency_in_progress`: after how many seconds to try again.",
            "schema": { "type": "integer", "minimum": 1, "maximum": u32::MAX },
            "example": 1,
        });
    }
    response
}

fn any_problem() -> Value {
    let schema = json!({ "$ref": "#/components/schemas/Problem" });
    json!({
        "description": "The protocol was not changed: an error like all others.",
        "content": { PROBLEM_JSON: { "schema": schema } },
    })
}

/// A problem of one of these codes and of no other, so that a client can tell them apart without exceptions.
fn problem_schema(codes: &[Code]) -> Value {
    let validation = json!({ "$ref": "#/components/schemas/ValidationProblem" });
    let others: Vec<_> =
        codes.iter().filter(|code| **code != Code::ValidationFailed).map(|code| code.as_str()).collect();
    let narrowed = json!({
        "allOf": [
            { "$ref": "#/components/schemas/Problem" },
            { "type": "object", "required": ["code"], "properties": { "code": { "type": "string", "enum": others } } },
        ],
    });
    match (others.len() == codes.len(), others.is_empty()) {
        (true, _) => narrowed,
        (false, true) => validation,
        (false, false) => json!({ "oneOf": [validation, narrowed] }),
    }
}

fn describe_headers(response: &mut Value, names: &[&str]) {
    let described = response.as_object_mut().map(|response| response.entry("headers").or_insert_with(|| json!({})));
    let Some(Value::Object(described)) = described else { return };
    for header in described.values_mut().filter(|header| header["schema"]["type"] == "string") {
        header["schema"]["maxLength"] = json!(4096);
    }
    for name in names {
        described.insert((*name).to_owned(), json!({ "$ref": format!("#/components/headers/{name}") }));
    }
}

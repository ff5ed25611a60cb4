//! The OpenAPI document.
//!
//! The routes say what is theirs: parameters, bodies, success, and under `x-problems` the errors
//! that only they have. What follows for every operation alike is added here: the errors that come
//! with its parameters, body and access rule, and the headers of every answer.

use actix_web::HttpRequest;
use actix_web::http::header::HeaderValue;
use actix_web::web::Data;
use serde_json::{Map, Value, json};
use utoipa::PartialSchema;
use utoipa::openapi::OpenApi;

use crate::problem::{Code, PROBLEM_JSON, Problem};
use crate::routes;
use crate::wire;

const METHODS: [&str; 5] = ["get", "post", "put", "delete", "patch"];

/// The document, as text.
pub fn openapi_json() -> String {
    serde_json::to_string_pretty(&complete(&routes::document())).unwrap_or_default()
}

/// Which addresses there are, and what can be done there.
pub(crate) struct Operations(Vec<Resource>);

struct Resource {
    template: String,
    allow: HeaderValue,
}

impl Resource {
    /// Whether a path is this address with something in each of its parameters.
    fn matches(&self, path: &str) -> bool {
        let (mut wanted, mut given) = (self.template.split('/'), path.split('/'));
        loop {
            match (wanted.next(), given.next()) {
                (None, None) => return true,
                (Some(wanted), Some(given)) if wanted == given => {}
                (Some(wanted), Some(given)) if wanted.starts_with('{') && !given.is_empty() => {}
                _ => return false,
            }
        }
    }
}

impl Operations {
    /// The operations of a document.
    pub(crate) fn of(document: &OpenApi) -> Self {
        let document = serde_json::to_value(document).unwrap_or_default();
        let paths = document["paths"].as_object().cloned().unwrap_or_default();
        let resources = paths.iter().map(|(template, item)| {
            let mut allow: Vec<_> = METHODS
                .iter()
                .filter(|method| item.get(**method).is_some())
                .map(|method| method.to_uppercase())
                .collect();
            if allow.iter().any(|method| method == "GET") {
                allow.push("HEAD".to_owned());
            }
            Resource {
                template: template.clone(),
                allow: HeaderValue::try_from(allow.join(", ")).unwrap_or_else(|_| HeaderValue::from_static("")),
            }
        });
        Self(resources.collect())
    }

    /// The template of an address, if there is one.
    fn template(&self, path: &str) -> Option<&str> {
        self.find(path).map(|resource| resource.template.as_str())
    }

    /// The template of the address that a request came to, if there is one.
    pub(crate) fn route(request: &HttpRequest) -> Option<&str> {
        request.app_data::<Data<Self>>()?.template(request.match_info().as_str())
    }

    /// What can be done at an address, for an `Allow` header.
    pub(crate) fn methods(&self, path: &str) -> Option<&HeaderValue> {
        self.find(path).map(|resource| &resource.allow)
    }

    fn find(&self, path: &str) -> Option<&Resource> {
        // Fixed addresses before those with a parameter.
        let fixed = self.0.iter().find(|resource| resource.template == path);
        fixed.or_else(|| self.0.iter().find(|resource| resource.matches(path)))
    }
}

fn complete(document: &OpenApi) -> Value {
    let mut document = serde_json::to_value(document).unwrap_or_default();
    document["openapi"] = json!("3.1.0");
    document["info"] = info();
    document["servers"] = json!([{ "url": "/", "description": "This server." }]);
    document["tags"] = tags();
    let components = &mut document["components"];
    components["securitySchemes"] = json!({
        "access_token": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "The `token` of a sign-up, log-in or refresh. What asks for `admin` looks the role up \
                            when it is called.",
        }
    });
    components["headers"] = headers();
    components["schemas"]["Problem"] = problem_schema(false);
    components["schemas"]["ValidationProblem"] = problem_schema(true);
    components["schemas"]["SeatState"] = json!(wire::SeatState::schema());
    components["schemas"]["DeletedSeats"] = json!(wire::DeletedSeats::schema());
    // The data of each event within the text: OpenAPI 3.1 has no word of its own for that.
    let stream = &mut document["paths"]["/api/events/{id}/seats/stream"]["get"]["responses"]["200"];
    let reference = |name: &str| json!({ "$ref": format!("#/components/schemas/{name}") });
    stream["content"]["text/event-stream"]["schema"]["contentSchema"] =
        json!({ "anyOf": [reference("SeatState"), reference("DeletedSeats")] });
    if let Some(paths) = document["paths"].as_object_mut() {
        for (path, item) in paths {
            for method in METHODS {
                if let Some(operation) = item.get_mut(method).and_then(Value::as_object_mut) {
                    complete_operation(path, operation);
                }
            }
        }
    }
    document
}

fn info() -> Value {
    json!({
        "title": "boxoffice",
        "version": env!("CARGO_PKG_VERSION"),
        "summary": "Browse events, book a seat, cancel it.",
        "description": include_str!("openapi.md"),
        "license": { "name": "GPL-3.0-or-later", "identifier": "GPL-3.0-or-later" },
    })
}

fn tags() -> Value {
    json!([
        { "name": "auth", "description": "Signing up, logging in, staying logged in." },
        { "name": "events", "description": "The programme: browsed by anyone, run by admins." },
        { "name": "registrations", "description": "Seats: booked, given back and listed." },
        { "name": "users", "description": "One's own account." },
        { "name": "live", "description": "Seats as they move." },
        { "name": "operation", "description": "For operators and their machines." },
        { "name": "documentation", "description": "This document and the pages around it." },
    ])
}

/// Headers that many answers have.
fn headers() -> Value {
    let whole = |description: &str, minimum: u64, required: bool| {
        json!({
            "description": description,
            "required": required,
            "schema": { "type": "integer", "minimum": minimum, "maximum": 4_294_967_295_u64 },
            "example": minimum.max(1),
        })
    };
    let text = |description: &str, example: &str| {
        json!({
            "description": description,
            "required": true,
            "schema": { "type": "string", "maxLength": 4096 },
            "example": example,
        })
    };
    json!({
        "X-Request-Id": text("The request's id: the client's own, if it sent a printable one of at most 128 bytes.", "018f6b0a-5c1e-7a44-9a55-0f3e5a1b2c3d"),
        "RateLimit-Limit": whole("How many requests fit into the client's bucket. Absent where the limit is off.", 1, false),
        "RateLimit-Remaining": whole("How many more requests it holds at present.", 0, false),
        "RateLimit-Reset": whole("In how many seconds it is full again.", 0, false),
        "Retry-After": whole("After how many seconds to try again.", 1, true),
        "WWW-Authenticate": text("How to authenticate.", "Bearer"),
        "Idempotent-Replayed": {
            "description": "The answer is that of an earlier request with the same key; this one did nothing.",
            "schema": { "type": "string", "enum": ["true"] },
            "example": "true",
        },
    })
}

fn problem_schema(validation: bool) -> Value {
    let text = |example: &str| json!({ "type": "string", "maxLength": 1000, "examples": [example] });
    let mut schema = json!({
        "type": "object",
        "description": "An error (RFC 9457).",
        "required": ["type", "title", "status", "detail", "code", "request_id"],
        "properties": {
            "type": { "type": "string", "format": "uri-reference", "maxLength": 100, "description": "A page about the error." },
            "title": text("Sold out"),
            "status": { "type": "integer", "minimum": 400, "maximum": 599, "description": "The status of the answer." },
            "detail": text("No seat is free at present."),
            "code": { "type": "string", "enum": Code::ALL.iter().map(|code| code.as_str()).collect::<Vec<_>>() },
            "request_id": { "type": "string", "maxLength": 128 },
            "trace_id": { "type": "string", "pattern": "^[0-9a-f]{32}$", "description": "The trace, while requests are traced." },
            "dependencies": {
                "type": "object",
                "description": "With a failed readiness check: the state of each dependency.",
                "additionalProperties": true,
            },
        },
    });
    if validation {
        schema["description"] = json!("An error that names every wrong part of the request.");
        schema["properties"]["errors"] = json!({
            "type": "array",
            "maxItems": 100,
            "items": {
                "type": "object",
                "required": ["field", "code", "message"],
                "properties": {
                    "field": { "type": "string", "maxLength": 200, "description": "The path in the body, or the parameter's name." },
                    "code": { "type": "string", "maxLength": 100, "description": "The broken rule." },
                    "message": { "type": "string", "maxLength": 1000, "description": "The rule in words." },
                },
            },
        });
    }
    schema
}

fn complete_operation(path: &str, operation: &mut Map<String, Value>) {
    operation.entry("security").or_insert_with(|| json!([]));
    let problems = problems(path, operation);
    operation.remove("x-problems");
    let counted = path == "/api" || path.starts_with("/api/");
    let keyed = has_parameter(operation, "Idempotency-Key");
    let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut) else { return };
    for (status, codes) in by_status(&problems) {
        responses.insert(status.to_string(), problem_response(&codes));
    }
    for (status, response) in responses.iter_mut() {
        let mut names = vec!["X-Request-Id"];
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
        bound_texts(response);
    }
}

/// The errors of an operation: its own, and those that come with what it takes and who may call it.
fn problems(path: &str, operation: &Map<String, Value>) -> Vec<Code> {
    let own: Vec<_> = operation.get("x-problems").and_then(Value::as_array).into_iter().flatten().collect();
    let mut codes: Vec<_> = Code::ALL.iter().copied().filter(|code| own.contains(&&json!(code.as_str()))).collect();
    let security = operation["security"].to_string();
    let stored = operation["tags"].as_array().is_some_and(|tags| {
        ["auth", "events", "registrations", "users", "live"].iter().any(|tag| tags.contains(&json!(tag)))
    });
    codes.push(Code::MalformedRequest);
    if security.contains("access_token") && operation["operationId"] != "signUp" {
        codes.push(Code::Unauthenticated);
    }
    if security.contains("admin") {
        codes.push(Code::Forbidden);
    }
    if path.contains("{id}") {
        codes.push(Code::NotFound);
    }
    if operation.contains_key("requestBody") {
        codes.extend([Code::UnsupportedMediaType, Code::ValidationFailed]);
    }
    if operation.contains_key("requestBody") || has_parameter(operation, "Idempotency-Key") {
        codes.push(Code::PayloadTooLarge);
    }
    if operation
        .get("parameters")
        .and_then(Value::as_array)
        .is_some_and(|all| all.iter().any(|one| one["in"] == "query"))
    {
        codes.push(Code::ValidationFailed);
    }
    if has_parameter(operation, "Idempotency-Key") {
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
    let schema = if codes.contains(&Code::ValidationFailed) { "ValidationProblem" } else { "Problem" };
    let examples: Map<_, _> = codes
        .iter()
        .map(|code| {
            let problem = match code {
                Code::ValidationFailed => Problem::validation(vec![crate::problem::FieldError {
                    field: "limit".to_owned(),
                    code: "out_of_range".to_owned(),
                    message: "must be a whole number from 1 to 100".to_owned(),
                }]),
                code => Problem::new(*code),
            };
            let body: Value =
                serde_json::from_slice(&problem.body("018f6b0a-5c1e-7a44-9a55-0f3e5a1b2c3d", None)).unwrap_or_default();
            (code.as_str().to_owned(), json!({ "value": body }))
        })
        .collect();
    json!({
        "description": description.join("\n\n"),
        "content": { PROBLEM_JSON: { "schema": { "$ref": format!("#/components/schemas/{schema}") }, "examples": examples } },
    })
}

fn describe_headers(response: &mut Value, names: &[&str]) {
    let described = response.as_object_mut().map(|response| response.entry("headers").or_insert_with(|| json!({})));
    let Some(Value::Object(described)) = described else { return };
    for header in described.values_mut() {
        header["schema"]["maxLength"] = match header["schema"]["type"].as_str() {
            Some("string") => json!(4096),
            _ => continue,
        };
    }
    for name in names {
        described.insert((*name).to_owned(), json!({ "$ref": format!("#/components/headers/{name}") }));
    }
}

/// Binary and text bodies are bounded too.
fn bound_texts(response: &mut Value) {
    let content = response.get_mut("content").and_then(Value::as_object_mut);
    for media in content.into_iter().flatten() {
        if media.1["schema"]["type"] == "string" {
            media.1["schema"]["maxLength"] = json!(16_777_216);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_has_an_id_of_its_own() {
        let document = complete(&routes::document());
        let mut ids: Vec<_> = document["paths"]
            .as_object()
            .unwrap()
            .values()
            .flat_map(|item| METHODS.iter().filter_map(|method| item.get(*method)))
            .map(|operation| operation["operationId"].as_str().unwrap().to_owned())
            .collect();
        let all = ids.len();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), all);
        assert!(all >= 20, "{all} operations");
    }

    #[test]
    fn an_address_knows_its_methods() {
        let operations = Operations::of(&routes::document());
        assert_eq!(operations.methods("/api/events/7").unwrap(), "GET, PUT, DELETE, HEAD");
        assert_eq!(operations.template("/api/users/me"), Some("/api/users/me"));
        assert!(operations.methods("/api/nothing").is_none());
        assert!(operations.methods("/api/events/7/").is_none());
    }
}

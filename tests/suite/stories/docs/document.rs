//! The OpenAPI document, read: its operations and references.

use serde_json::{Map, Value};

const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

/// The calls that clients rely on, and their statuses of success.
pub const CALLS: [(&str, &str, &str); 35] = [
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

pub fn document() -> Value {
    serde_json::from_str(&api::openapi_json()).unwrap()
}

/// One operation of the document.
pub struct Operation<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub body: &'a Value,
}

impl Operation<'_> {
    /// Its parameters of a kind: `path`, `query`, `header`.
    pub fn parameters(&self, place: &str) -> Vec<&Value> {
        let all = self.body["parameters"].as_array().into_iter().flatten();
        all.filter(|parameter| parameter["in"] == place).collect()
    }

    pub fn responses(&self) -> &Map<String, Value> {
        self.body["responses"].as_object().unwrap()
    }

    pub fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

pub fn operations(document: &Value) -> Vec<Operation<'_>> {
    let paths = document["paths"].as_object().unwrap().iter();
    paths
        .flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().iter().filter(|(name, _)| METHODS.contains(&name.as_str()));
            methods.map(move |(method, body)| Operation { method, path, body })
        })
        .collect()
}

/// The schema that a `$ref` points to.
pub fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        None => schema,
        Some(reference) => {
            let pointer = reference.strip_prefix('#').unwrap_or_else(|| panic!("{reference} is elsewhere"));
            let target = document.pointer(pointer).unwrap_or_else(|| panic!("{reference} points nowhere"));
            resolved(document, target)
        }
    }
}

//! The OpenAPI document.
//!
//! The routes say what is theirs: parameters, bodies, success, and under `x-problems` the errors
//! that only they have. What follows for every operation alike is added here: the errors that come
//! with its parameters, body and access rule, and the headers of every answer ([`answers`]); names, bounds and formats
//! of what is sent ([`shapes`]).

use actix_web::HttpRequest;
use actix_web::http::header::HeaderValue;
use actix_web::web::Data;
use serde_json::{Map, Value, json};
use utoipa::openapi::OpenApi;

use crate::routes;

mod answers;
mod shapes;

const METHODS: [&str; 5] = ["get", "post", "put", "delete", "patch"];

/// The tag of what only pages load: it is not in the document, because no client calls it.
pub(crate) const PAGE_FILES: &str = "page files";

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
        let path = if path == routes::SLASHED_API_PAGE { "/api" } else { path };
        // Fixed addresses before those with a parameter.
        let fixed = self.0.iter().find(|resource| resource.template == path);
        fixed.or_else(|| self.0.iter().find(|resource| resource.matches(path)))
    }
}

fn complete(document: &OpenApi) -> Value {
    let mut document = serde_json::to_value(document).unwrap_or_default();
    document["openapi"] = json!("3.1.0");
    document["info"] = info();
    document["servers"] = json!([{
        "url": "/",
        "description": "The server that this document comes from, be it local, staging or production.",
        "x-internal": false,
    }]);
    document["tags"] = tags();
    let components = &mut document["components"];
    components["securitySchemes"] = json!({
        "access_token": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "The `token` of a sign-up, log-in or refresh. It is checked as RFC8725 asks: one algorithm \
                            (HS256), the issuer and the times are verified. Operations with `x-required-role` look \
                            the role up when they are called.",
        }
    });
    components["headers"] = answers::headers();
    shapes::add(&mut components["schemas"]);
    // The data of each event within the text: OpenAPI 3.1 has no word of its own for that.
    let stream = &mut document["paths"]["/api/events/{id}/seats/stream"]["get"]["responses"]["200"];
    let reference = |name: &str| json!({ "$ref": format!("#/components/schemas/{name}") });
    stream["content"]["text/event-stream"]["schema"]["contentSchema"] =
        json!({ "anyOf": [reference("SeatState"), reference("SeatDeletion")] });
    if let Some(paths) = document["paths"].as_object_mut() {
        paths.retain(|_, item| item["get"]["tags"] != json!([PAGE_FILES]));
        for (path, item) in paths {
            for method in METHODS {
                if let Some(operation) = item.get_mut(method).and_then(Value::as_object_mut) {
                    complete_operation(path, method, operation);
                }
            }
        }
    }
    shapes::bound(&mut document);
    document
}

fn info() -> Value {
    json!({
        "title": "boxoffice",
        "version": env!("CARGO_PKG_VERSION"),
        "summary": "Browse events, book a seat, cancel it.",
        "description": include_str!("openapi.md"),
        "contact": { "name": "The maintainers of boxoffice" },
        "license": { "name": "GPL-3.0-or-later", "identifier": "GPL-3.0-or-later" },
    })
}

fn tags() -> Value {
    json!([
        { "name": "auth", "description": "Signing up, logging in, staying logged in." },
        { "name": "documentation", "description": "This document and the pages around it." },
        { "name": "events", "description": "The programme: read without an account, run by admins." },
        { "name": "live", "description": "Seats as they move." },
        { "name": "operations", "description": "For operators and their machines: health and metrics." },
        { "name": "registrations", "description": "Seats: booked, given back and listed." },
        { "name": "webhooks", "description": "Who is told of what happens, and how that went." },
        { "name": "history", "description": "What happened: every committed change, as a fact." },
        { "name": "users", "description": "One's own account." },
    ])
}

fn complete_operation(path: &str, method: &str, operation: &mut Map<String, Value>) {
    operation.entry("security").or_insert_with(|| json!([]));
    let problems = answers::problems(path, operation);
    operation.remove("x-problems");
    if operation["security"].to_string().contains("admin") {
        // OpenAPI takes roles here, but the tools that read it only know the scopes of OAuth.
        operation["security"] = json!([{ "access_token": [] }]);
        operation.insert("x-required-role".to_owned(), json!("admin"));
        let description = operation["description"].as_str().unwrap_or_default();
        operation.insert("description".to_owned(), json!(format!("{description}\n\nTakes the token of an admin.")));
    }
    answers::complete(path, method, operation, &problems);
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
    fn files_of_pages_are_routes_but_not_in_the_document() {
        let routes = routes::document();
        let (document, operations) = (complete(&routes), Operations::of(&routes));
        for (path, template) in [("/page/app.js", "/page/{file}"), ("/swagger-ui/index.css", "/swagger-ui/{file}")] {
            assert_eq!(operations.template(path), Some(template));
            assert!(document["paths"].get(template).is_none(), "{template}");
        }
        assert!(!document.to_string().contains(PAGE_FILES));
    }

    #[test]
    fn an_address_knows_its_methods() {
        let operations = Operations::of(&routes::document());
        assert_eq!(operations.methods("/api/events/7").unwrap(), "GET, PUT, DELETE, HEAD");
        assert_eq!(operations.template("/api/users/me"), Some("/api/users/me"));
        assert_eq!(operations.methods("/api/"), operations.methods("/api"));
        assert!(operations.methods("/api/nothing").is_none());
        assert!(operations.methods("/api/events/7/").is_none());
    }
}

//! Which pages of other origins may call the API.

use actix_cors::Cors;
use actix_web::http::Method;

/// The headers of answers that a page of another origin may read.
const EXPOSED: [&str; 10] = [
    "ETag",
    "Link",
    "Location",
    "X-Total-Count",
    "X-Request-Id",
    "RateLimit-Limit",
    "RateLimit-Remaining",
    "RateLimit-Reset",
    "Retry-After",
    "Idempotent-Replayed",
];

/// Which origins' pages may call the API: the listed ones, and perhaps any on this machine.
#[derive(Debug, Clone)]
pub(crate) struct Origins {
    allowed: Vec<String>,
    allow_localhost: bool,
}

impl Origins {
    pub(crate) fn new(allowed: Vec<String>, allow_localhost: bool) -> Self {
        Self { allowed, allow_localhost }
    }

    /// Whether pages of this origin may.
    pub(crate) fn allow(&self, origin: &str) -> bool {
        self.allowed.iter().any(|one| one == origin) || (self.allow_localhost && is_localhost(origin))
    }
}

/// Lets in pages of these origins.
///
/// A request from elsewhere is answered without the headers that would let its page read the answer.
pub(crate) fn cors(origins: &Origins) -> Cors {
    let origins = origins.clone();
    Cors::default()
        .allowed_origin_fn(move |origin, _| origins.allow(origin.to_str().unwrap_or_default()))
        .allowed_methods([Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE])
        .allow_any_header()
        .expose_headers(EXPOSED)
        .block_on_origin_mismatch(false)
        .max_age(3600)
}

fn is_localhost(origin: &str) -> bool {
    let host = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    let Some(host) = host else { return false };
    let (name, port) = match host.strip_prefix("[::1]") {
        Some(port) => ("[::1]", port),
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let local = name == "localhost" || name.ends_with(".localhost") || name == "127.0.0.1" || name == "[::1]";
    let port_ok = port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    local && port_ok
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_localhost() {
        for origin in ["http://localhost", "http://localhost:5173", "https://127.0.0.1:8443", "http://[::1]:3000"] {
            assert!(is_localhost(origin), "{origin}");
        }
        for origin in
            ["http://localhost.evil.com", "http://evil.com", "null", "http://localhost:x", "http://evillocalhost"]
        {
            assert!(!is_localhost(origin), "{origin}");
        }
    }
}

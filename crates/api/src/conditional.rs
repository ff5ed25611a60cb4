//! Entity tags and the conditions made with them (RFC 9110, 8.8.3 and 13.1).
//!
//! An event's tag is its version. The same version compressed is another sequence of bytes, so it
//! has another tag: the suffix [`GZIP_SUFFIX`] is added where the coding is chosen.

use actix_web::HttpRequest;
use actix_web::http::header::{HeaderName, IF_MATCH, IF_NONE_MATCH};
use domain::{Precondition, Version};
use sha2::{Digest, Sha256};

/// What tells the tag of a compressed body from that of the body itself.
pub(crate) const GZIP_SUFFIX: &str = "-gzip";

/// The tag of an event at this version.
pub(crate) fn version_tag(version: Version) -> String {
    format!("\"{}\"", version.get())
}

/// The tag of a body that has no version: the first half of its SHA-256.
pub(crate) fn body_tag(body: &[u8]) -> String {
    let hash = Sha256::digest(body);
    let half = hash.iter().take(16).fold(0, |number: u128, byte| (number << 8) | u128::from(*byte));
    format!("\"{half:032x}\"")
}

/// The tag of the same body, compressed.
pub(crate) fn compressed_tag(tag: &str) -> String {
    format!("{}{GZIP_SUFFIX}\"", tag.strip_suffix('"').unwrap_or(tag))
}

/// Which versions a change is meant for, from `If-Match`. A tag of any coding counts; a weak one
/// never matches.
pub(crate) fn precondition(request: &HttpRequest) -> Precondition {
    match tags(request, &IF_MATCH) {
        None => Precondition::Any,
        Some(tags) if tags == ["*"] => Precondition::Any,
        Some(tags) => Precondition::OneOf(tags.into_iter().filter_map(version_of).collect()),
    }
}

/// Whether the client has the body of this tag already, from `If-None-Match` (weak comparison).
pub(crate) fn client_has(request: &HttpRequest, tag: &str) -> bool {
    let held = tags(request, &IF_NONE_MATCH).unwrap_or_default();
    held.iter().any(|held| *held == "*" || held.strip_prefix("W/").unwrap_or(held) == tag)
}

/// The members of a list of tags. Our tags hold no comma, so neither does one that can match.
fn tags<'a>(request: &'a HttpRequest, name: &HeaderName) -> Option<Vec<&'a str>> {
    let mut headers = request.headers().get_all(name).peekable();
    headers.peek()?;
    Some(
        headers.filter_map(|header| header.to_str().ok()).flat_map(|header| header.split(',')).map(str::trim).collect(),
    )
}

fn version_of(tag: &str) -> Option<Version> {
    let opaque = tag.strip_prefix('"')?.strip_suffix('"')?;
    let digits = opaque.strip_suffix(GZIP_SUFFIX).unwrap_or(opaque);
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok().map(Version::new))?
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn with(name: HeaderName, value: &str) -> HttpRequest {
        TestRequest::default().insert_header((name, value)).to_http_request()
    }

    #[test]
    fn a_tag_of_any_coding_names_its_version() {
        let seven = Precondition::OneOf(vec![Version::new(7)]);
        assert_eq!(precondition(&with(IF_MATCH, "\"7\"")), seven);
        assert_eq!(precondition(&with(IF_MATCH, "\"7-gzip\"")), seven);
        assert_eq!(precondition(&with(IF_MATCH, "*")), Precondition::Any);
        assert_eq!(
            precondition(&with(IF_MATCH, "\"7\", \"8\"")),
            Precondition::OneOf(vec![Version::new(7), Version::new(8)])
        );
    }

    #[test]
    fn a_tag_that_is_not_strong_or_not_ours_matches_nothing() {
        for tag in ["W/\"7\"", "7", "\"x\"", "\"\"", "", "\"+7\"", "\"99999999999999999999\""] {
            assert_eq!(precondition(&with(IF_MATCH, tag)), Precondition::OneOf(vec![]), "{tag:?}");
        }
    }

    #[test]
    fn a_copy_is_current_only_in_the_same_coding() {
        assert!(client_has(&with(IF_NONE_MATCH, "\"6\", W/\"7\""), "\"7\""));
        assert!(client_has(&with(IF_NONE_MATCH, "*"), "\"7\""));
        assert!(!client_has(&with(IF_NONE_MATCH, "\"7-gzip\""), "\"7\""));
        assert_eq!(compressed_tag("\"7\""), "\"7-gzip\"");
    }
}

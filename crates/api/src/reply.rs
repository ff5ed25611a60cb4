//! The shapes of success.

use std::sync::Arc;

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderValue, LINK, LOCATION, VARY};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use domain::{Committed, PageRequest, Version};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;

use crate::conditional::{body_tag, version_tag};
use crate::problem::Problem;
use crate::rendered::{Rendered, render};

/// A handler's result.
pub(crate) type Reply = Result<HttpResponse, Problem>;

/// Everything in a query's value but what RFC 3986 calls unreserved.
const QUERY_VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What any client may read and keep, if it asks again each time.
pub(crate) fn public(rendered: Arc<Rendered>) -> HttpResponse {
    let plain = rendered.plain();
    let mut response = HttpResponse::with_body(StatusCode::OK, BoxBody::new(plain.body.clone()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(VARY, HeaderValue::from_static("Authorization"));
    for (name, value) in [(ETAG, &plain.tag), (LINK, &rendered.link)] {
        if let Some(value) = value {
            headers.insert(name, value.clone());
        }
    }
    if rendered.is_long() {
        response.extensions_mut().insert(rendered);
    }
    response
}

/// What belongs to one user or token.
pub(crate) fn private<T: Serialize>(status: StatusCode, body: &T) -> HttpResponse {
    private_builder(status).body(render(body))
}

/// A list that belongs to one user or token.
pub(crate) fn private_list<T: Serialize>(rows: &[T], total: u64, link: &str) -> HttpResponse {
    let bytes = render(&rows);
    private_builder(StatusCode::OK)
        .insert_header(("X-Total-Count", total.to_string()))
        .insert_header(("Link", link))
        .insert_header((ETAG, body_tag(&bytes)))
        .body(bytes)
}

/// What a write committed, rendered from the outcome and from nothing else.
pub(crate) fn committed<T, W: Serialize>(
    status: StatusCode,
    done: &Committed<T>,
    shape: impl FnOnce(&T) -> W,
) -> HttpResponse {
    let mut builder = private_builder(status);
    if done.replayed {
        builder.insert_header(("Idempotent-Replayed", "true"));
    }
    builder.body(render(&shape(&done.outcome)))
}

/// The same, for something new that has an address.
pub(crate) fn created<T, W: Serialize>(
    done: &Committed<T>,
    location: &str,
    shape: impl FnOnce(&T) -> W,
) -> HttpResponse {
    let mut response = committed(StatusCode::CREATED, done, shape);
    if let Ok(location) = location.try_into() {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

/// Names the state of an event that a write has led to, by the tag that a read of it has.
pub(crate) fn tagged(mut response: HttpResponse, version: Version) -> HttpResponse {
    if let Ok(tag) = version_tag(version).try_into() {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

/// The state of the program, true at this instant only.
pub(crate) fn operational<T: Serialize>(body: &T) -> HttpResponse {
    json(StatusCode::OK).insert_header((CACHE_CONTROL, "no-store")).body(render(body))
}

/// Done, and nothing to say.
pub(crate) fn no_content() -> HttpResponse {
    HttpResponse::NoContent().insert_header((CACHE_CONTROL, "private, no-store")).finish()
}

/// The parameters of lists that say which rows there are, and in which order. Links leave out all others, of
/// which a client may send any number.
const FILTERS: [&str; 6] = ["search", "date_from", "date_to", "available_only", "sort", "status"];

/// The addresses of the neighbouring pages (RFC 8288), with the filters kept.
pub(crate) fn page_links(request: &HttpRequest, page: PageRequest, total: u64) -> String {
    let last = page.last(total);
    let number = u64::from(page.number);
    let previous = number.saturating_sub(1).min(last);
    let relations = [
        ("first", Some(1)),
        ("prev", (previous >= 1).then_some(previous)),
        ("next", (number < last).then_some(number + 1)),
        ("last", Some(last)),
    ];
    let kept: Vec<_> = form_urlencoded::parse(request.query_string().as_bytes())
        .filter(|(name, _)| FILTERS.contains(&name.as_ref()))
        .map(|(name, value)| format!("&{}={}", encode(&name), encode(&value)))
        .collect();
    let (path, kept, size) = (request.path(), kept.concat(), page.size);
    relations
        .into_iter()
        .filter_map(|(relation, number)| {
            number.map(|number| format!("<{path}?page={number}&limit={size}{kept}>; rel=\"{relation}\""))
        })
        .collect::<Vec<_>>()
        .join(", ")
}

fn private_builder(status: StatusCode) -> HttpResponseBuilder {
    let mut builder = json(status);
    builder.insert_header((CACHE_CONTROL, "private, no-store")).insert_header((VARY, "Authorization"));
    builder
}

fn json(status: StatusCode) -> HttpResponseBuilder {
    let mut builder = HttpResponse::build(status);
    builder.content_type("application/json");
    builder
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, QUERY_VALUE).to_string()
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn links(uri: &str, number: u32, total: u64) -> String {
        page_links(&TestRequest::with_uri(uri).to_http_request(), PageRequest { number, size: 10 }, total)
    }

    #[test]
    fn links_keep_the_filters_and_nothing_else() {
        let links = links("/api/events?search=a%26b&page=2&limit=10&x=y&%73earching=1", 2, 35);
        assert!(links.contains("</api/events?page=3&limit=10&search=a%26b>; rel=\"next\""), "{links}");
        assert!(links.contains("page=1&limit=10&search=a%26b>; rel=\"prev\""), "{links}");
        assert!(links.contains("page=4&limit=10&search=a%26b>; rel=\"last\""), "{links}");
    }

    #[test]
    fn the_ends_have_no_neighbour_beyond() {
        assert!(!links("/x", 1, 5).contains("prev") && !links("/x", 1, 5).contains("next"));
        // Past the end, the previous page is the last one that has rows.
        assert!(links("/x", 9, 15).contains("page=2&limit=10>; rel=\"prev\""));
    }
}

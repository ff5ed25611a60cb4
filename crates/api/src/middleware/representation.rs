//! Which form of an answer is sent: compressed or not, and not at all to who has it already.
//!
//! A handler renders the whole body and names its tag; here the coding is chosen, the tag becomes
//! that coding's, and only then it is compared with the client's copy.

use std::sync::Arc;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{
    AcceptEncoding, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, Encoding, Header, HeaderValue, VARY,
};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpRequest};

use crate::conditional::client_has;
use crate::rendered::{Form, Rendered};

/// Chooses the form of an answer to a read.
pub(crate) async fn representation(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let read = request.method() == Method::GET;
    let response = next.call(request).await?.map_into_boxed_body();
    if !read || response.status() != StatusCode::OK || response.headers().contains_key(CONTENT_ENCODING) {
        return Ok(response);
    }
    let (request, response) = response.into_parts();
    let (mut response, body) = response.into_parts();
    let body = match body.try_into_bytes() {
        Ok(bytes) => bytes,
        Err(stream) => return Ok(ServiceResponse::new(request, response.set_body(stream))),
    };
    let kept = response.extensions_mut().remove::<Arc<Rendered>>();
    let headers = response.headers_mut();
    let rendered = kept.unwrap_or_else(|| Arc::new(Rendered::new(body, headers.get(ETAG).cloned())));
    let compressible = rendered.is_long() && is_text(headers.get(CONTENT_TYPE));
    if compressible {
        // One line, because the CORS middleware keeps only the first.
        let others = headers.get(VARY).and_then(|names| names.to_str().ok()).map(|names| format!("{names}, "));
        headers.insert(VARY, HeaderValue::try_from(others.unwrap_or_default() + "Accept-Encoding")?);
    }
    let compressed = compressible && accepts_gzip(&request);
    let Form { body, tag } = if compressed { rendered.gzip()? } else { rendered.plain() }.clone();
    if let Some(tag) = tag {
        let current = client_has(&request, tag.to_str().unwrap_or_default());
        headers.insert(ETAG, tag);
        if current {
            headers.remove(CONTENT_TYPE);
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return Ok(ServiceResponse::new(request, response.set_body(BoxBody::new(()))));
        }
    }
    if compressed {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        headers.remove(CONTENT_LENGTH);
    }
    Ok(ServiceResponse::new(request, response.set_body(BoxBody::new(body))))
}

fn accepts_gzip(request: &HttpRequest) -> bool {
    let supported = [Encoding::gzip(), Encoding::identity()];
    AcceptEncoding::parse(request)
        .ok()
        .and_then(|accepted| accepted.negotiate(supported.iter()))
        .is_some_and(|chosen| chosen == Encoding::gzip())
}

fn is_text(kind: Option<&HeaderValue>) -> bool {
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    ["application/json", "text/html", "text/css", "text/javascript", "text/plain"]
        .iter()
        .any(|text| kind.starts_with(text))
}

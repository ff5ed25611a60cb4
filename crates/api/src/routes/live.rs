//! Seats that move by themselves.

use actix_http::ws::{HandshakeError, handshake};
use actix_web::http::header::{CACHE_CONTROL, HOST, HeaderValue, ORIGIN, SEC_WEBSOCKET_VERSION, UPGRADE, VARY};
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse, get, http};
use domain::Version;
use utoipa::IntoParams;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::addresses::{EventIdParameter, EventPath};
use crate::caller::{Caller, Visitor};
use crate::live::{Conversation, EventStream, Kind, Streams, body};
use crate::middleware::cors::Origins;
use crate::middleware::envelope::is_head;
use crate::problem::{Code, Problem};
use crate::reply::Reply;
use crate::services::Services;

pub(crate) fn configure(config: &mut ServiceConfig) {
    config.service(watch_seats).service(talk);
}

/// Watch an event's seats
///
/// Server-Sent Events: first the present state, then the newest state after every change, ten times
/// a second at most. An event `seats` has the version as its id and a `SeatState` as its data; the
/// version only grows. When the event is deleted, an event `deleted` with `event_id` and `version`
/// is the last. A comment every 15 seconds keeps the line open.
///
/// A slow client is not sent what has become old meanwhile. Browsers reconnect by themselves, except
/// after an error before the stream: to watch many events, or to see such errors, use the WebSocket.
#[utoipa::path(
    tag = "live",
    operation_id = "streamEventSeats",
    security((), ("access_token" = [])),
    params(EventIdParameter, LastEventIdHeader),
    responses((status = 200, description = "The stream.", content_type = "text/event-stream", body = String, examples(
        ("seats" = (summary = "The present state, and every newer one", value = json!("event: seats\nid: 34\ndata: {\"event_id\":12,\"available_seats\":87,\"total_seats\":120,\"registration_count\":33,\"version\":34}\n\n"))),
        ("deleted" = (summary = "The last event of a stream", value = json!("event: deleted\ndata: {\"event_id\":12,\"version\":35}\n\n"))),
        ("comment" = (summary = "Nothing happened for 15 seconds", value = json!(":\n\n"))),
    ))),
    extensions(("x-events" = json!({
        "seats": { "$ref": "#/components/schemas/SeatState" },
        "deleted": { "$ref": "#/components/schemas/SeatDeletion" },
    }))),
)]
#[get("/api/events/{id}/seats/stream")]
async fn watch_seats(
    _visitor: Caller<Visitor>,
    event: EventPath,
    request: HttpRequest,
    services: Data<Services>,
    streams: Data<Streams>,
) -> Reply {
    let event = event.id()?;
    let place = streams.take_place(Kind::EventStream)?;
    let watch = services.live.watch(event).await?.ok_or(Code::NotFound)?;
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((CACHE_CONTROL, "no-store, no-transform"))
        .insert_header((VARY, "Authorization"))
        .insert_header(("X-Accel-Buffering", "no"))
        .body(body(EventStream::new(watch, place, last_event_id(&request)))))
}

/// Watch the seats of many events
///
/// A WebSocket. What is said over it is described under "Live seats" at the top of this document.
/// A page of another origin needs to be allowed to call the API.
#[utoipa::path(
    tag = "live",
    operation_id = "openSeatsWebSocket",
    security((), ("access_token" = [])),
    params(HandshakeHeaders),
    responses((status = 101, description = "From here on both sides speak WebSocket (RFC 6455).")),
    extensions(("x-problems" = json!(["forbidden", "upgrade_required"]))),
)]
#[get("/api/live")]
async fn talk(
    _visitor: Caller<Visitor>,
    request: HttpRequest,
    payload: Payload,
    services: Data<Services>,
    streams: Data<Streams>,
    origins: Data<Origins>,
) -> Reply {
    if !comes_from_here(&request, &origins) {
        return Err(Problem::detailed(Code::Forbidden, "Pages of this origin may not call the API."));
    }
    // HTTP/1.0 ignores `Upgrade` (RFC 9110, 7.8).
    if is_head(&request) || request.version() < http::Version::HTTP_11 {
        return Ok(upgrade_required());
    }
    let mut response = match handshake(request.head()) {
        Ok(response) => response,
        Err(HandshakeError::BadWebsocketKey) => {
            return Err(Problem::detailed(Code::MalformedRequest, "`Sec-WebSocket-Key` has to be 16 bytes in Base64."));
        }
        Err(_) => return Ok(upgrade_required()),
    };
    let place = streams.take_place(Kind::WebSocket)?;
    let conversation = Conversation::new(services.live.clone(), place, payload.into_inner());
    let response = response.message_body(body(conversation)).map_err(|_| Code::InternalError)?;
    Ok(response.into())
}

/// Whether the client is no page, or one that may call the API. A browser lets any page open a
/// WebSocket, and leaves it to the server to look where it comes from.
fn comes_from_here(request: &HttpRequest, origins: &Origins) -> bool {
    let mut given = request.headers().get_all(ORIGIN);
    let Some(origin) = given.next() else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    given.next().is_none() && (origins.allow(origin) || host.is_some_and(|host| is_origin_of(origin, host)))
}

/// Whether a page of this origin came from this host, whichever of the two names the usual port.
fn is_origin_of(origin: &str, host: &str) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let usual = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return false,
    };
    let plain = |authority: &str| authority.strip_suffix(usual).unwrap_or(authority).to_ascii_lowercase();
    !authority.is_empty() && plain(authority) == plain(host)
}

fn upgrade_required() -> HttpResponse {
    let mut response = Problem::new(Code::UpgradeRequired).to_response();
    for (name, value) in [(UPGRADE, "websocket"), (SEC_WEBSOCKET_VERSION, "13")] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// The version a client saw last. What is no version was never seen.
fn last_event_id(request: &HttpRequest) -> Option<Version> {
    let id = request.headers().get("Last-Event-ID")?.to_str().ok()?;
    id.bytes().all(|byte| byte.is_ascii_digit()).then(|| id.parse().ok().map(Version::new))?
}

/// Where a stream goes on, for the document.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes a header that `last_event_id` reads")]
struct LastEventIdHeader {
    /// The id of the last event the client has seen; browsers send it when they reconnect. If it is the
    /// present version, it is not sent again.
    #[param(rename = "Last-Event-ID", nullable = false, max_length = 128, example = "34")]
    last_event_id: Option<String>,
}

/// What makes a request a WebSocket's, for the document.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes headers that `handshake` reads")]
struct HandshakeHeaders {
    /// Set by every WebSocket client, as the other three are.
    #[param(rename = "Connection", max_length = 100, example = "Upgrade")]
    connection: String,
    /// The protocol that the connection changes to.
    #[param(rename = "Upgrade", max_length = 100, example = "websocket")]
    upgrade: String,
    /// The version of RFC 6455.
    #[param(rename = "Sec-WebSocket-Version", max_length = 2, example = "13")]
    version: String,
    /// 16 random bytes in Base64.
    #[param(rename = "Sec-WebSocket-Key", min_length = 24, max_length = 24, example = "dGhlIHNhbXBsZSBub25jZQ==")]
    key: String,
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn a_page_may_come_from_the_same_host_or_an_origin_that_is_allowed() {
        let origins = Origins::new(vec!["https://tickets.example.com".to_owned()], false);
        let comes = |origin: &str, host: &str| {
            let request = TestRequest::default().insert_header((ORIGIN, origin)).insert_header((HOST, host));
            comes_from_here(&request.to_http_request(), &origins)
        };
        assert!(comes_from_here(&TestRequest::default().to_http_request(), &origins), "a program has no origin");
        for (origin, host) in [
            ("https://tickets.example.com", "api.example.com"),
            ("http://api.example.com", "api.example.com"),
            ("https://api.example.com", "API.example.com:443"),
            ("http://api.example.com:80", "api.example.com"),
            ("http://localhost:3000", "localhost:3000"),
            ("http://[::1]:3000", "[::1]:3000"),
        ] {
            assert!(comes(origin, host), "{origin} {host}");
        }
        for (origin, host) in [
            ("http://tickets.example.com", "api.example.com"),
            ("https://evil.example.com", "api.example.com"),
            ("http://api.example.com.evil.com", "api.example.com"),
            ("http://api.example.com:8080", "api.example.com"),
            ("http://localhost:5173", "localhost:3000"),
            ("null", "null"),
            ("", ""),
            ("file://", ""),
            ("http://", ""),
            ("http://é", "api.example.com"),
        ] {
            assert!(!comes(origin, host), "{origin} {host}");
        }
        let pages = Origins::new(Vec::new(), true);
        let request = TestRequest::default().insert_header((ORIGIN, "http://localhost:5173"));
        assert!(comes_from_here(&request.insert_header((HOST, "localhost:3000")).to_http_request(), &pages));
    }

    #[test]
    fn the_last_event_id_is_a_version_or_nothing() {
        let id =
            |id: &str| last_event_id(&TestRequest::default().insert_header(("Last-Event-ID", id)).to_http_request());
        assert_eq!(id("34"), Some(Version::new(34)));
        for none in ["", "x", "-1", "+1", "3.5", "99999999999999999999999", "3 4"] {
            assert_eq!(id(none), None, "{none}");
        }
    }
}

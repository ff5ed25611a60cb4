//! The body of a request, and the idempotency key that may come with it.

use std::future::Future;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use actix_web::web::{Bytes, BytesMut, Data};
use actix_web::{FromRequest, HttpMessage, HttpRequest, mime};
use domain::{Fingerprint, IdempotencyKey, Once, Timestamp};
use futures_util::StreamExt;
use garde::Validate;
use serde::de::DeserializeOwned;
use serde::de::value::MapDeserializer;
use sha2::{Digest, Sha256};

use crate::deadlines::HttpDeadlines;
use crate::field;
use crate::members::Members;
use crate::middleware::deadline::Deadline;
use crate::problem::{Code, Problem};
use crate::violation::Violation;

/// The largest body there is a use for.
pub(crate) const MAX_BYTES: usize = 64 * 1024;

/// A request's body, read whole.
///
/// Reading it never fails the extraction: who may not ask at all is told that first. What was wrong
/// with the body comes out when it is used.
pub(crate) struct RequestBody {
    request: HttpRequest,
    bytes: Result<Bytes, Problem>,
}

impl RequestBody {
    /// The body as JSON, every field checked, `context` being what the checks need to know.
    pub(crate) fn json<T>(&self, context: &T::Context) -> Result<T, Problem>
    where
        T: DeserializeOwned + Validate,
    {
        let bytes = self.bytes()?;
        require_json(&self.request)?;
        // A sequence would be read as the fields in order, which is not promised.
        let begins_object = bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
        // The parser does not look into what it skips: the whole of it has to be UTF-8 (RFC 8259, 8.1).
        let text = std::str::from_utf8(bytes)
            .map_err(|_| Problem::detailed(Code::MalformedRequest, "The body is not UTF-8."))?;
        let value: T = match serde_json::from_str(text) {
            Ok(value) if begins_object => value,
            Ok(_) => return Err(not_an_object()),
            Err(error) if error.is_data() && is_json(text) => {
                return Err(if begins_object { repeated::<T>(text, context) } else { not_an_object() });
            }
            Err(error) => {
                return Err(Problem::detailed(Code::MalformedRequest, format!("The body is not JSON: {error}.")));
            }
        };
        value.validate_with(context).map_err(|report| field::report(&report))?;
        Ok(value)
    }

    /// The body as JSON with the idempotency key, all that is wrong with either named together.
    pub(crate) fn command<T>(&self, context: &T::Context) -> Result<(T, Option<Once>), Problem>
    where
        T: DeserializeOwned + Validate,
    {
        match (self.json(context), self.once()) {
            (Ok(value), Ok(once)) => Ok((value, once)),
            (Err(problem), Ok(_)) | (Ok(_), Err(problem)) => Err(problem),
            (Err(body), Err(key)) => Err(body.and(key)),
        }
    }

    /// The same, for a body whose checks ask the time; with the instant at which they hold.
    ///
    /// A request under a key may repeat what was done in time: then whether it still is in time is
    /// for the store to say, who knows what was done.
    pub(crate) fn timely_command<T>(&self, now: Timestamp) -> Result<(T, Option<Once>, Timestamp), Problem>
    where
        T: DeserializeOwned + Validate<Context = Timestamp>,
    {
        let at = |now| self.command(&now).map(|(value, once)| (value, once, now));
        at(now).or_else(|late| at(Timestamp::EPOCH).ok().filter(|(_, once, _)| once.is_some()).ok_or(late))
    }

    /// The idempotency key of the request, with the request's fingerprint. A request that did not
    /// arrive whole is none, even if nothing in its body is needed.
    pub(crate) fn once(&self) -> Result<Option<Once>, Problem> {
        self.bytes()?;
        let mut keys = self.request.headers().get_all("Idempotency-Key");
        let Some(header) = keys.next() else { return Ok(None) };
        let refused = |violation: Violation| Problem::validation(vec![violation.of("Idempotency-Key")]);
        if keys.next().is_some() {
            return Err(refused(Violation::new("repeated", "must be sent once")));
        }
        let raw = header.to_str().unwrap_or_default();
        let bare = raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"')).unwrap_or(raw);
        let key = IdempotencyKey::parse(bare).map_err(|invalid| refused(invalid.into()))?;
        Ok(Some(Once { key, fingerprint: self.fingerprint()? }))
    }

    fn bytes(&self) -> Result<&Bytes, Problem> {
        self.bytes.as_ref().map_err(Clone::clone)
    }

    fn fingerprint(&self) -> Result<Fingerprint, Problem> {
        let mut hash = Sha256::new();
        for part in [self.request.method().as_str().as_bytes(), self.request.path().as_bytes()] {
            hash.update(part);
            hash.update([0]);
        }
        hash.update(self.bytes()?);
        Ok(Fingerprint::new(hash.finalize().into()))
    }
}

impl FromRequest for RequestBody {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        let payload = payload.take();
        Box::pin(async move {
            let deadlines = request.app_data::<Data<HttpDeadlines>>().ok_or(Code::InternalError)?;
            // What a client takes to send it is not the server's time.
            Deadline::watch(&request);
            Deadline::postpone(&request, deadlines.body + deadlines.request);
            let bytes = match tokio::time::timeout(deadlines.body, read(&request, payload)).await {
                Ok(bytes) => bytes,
                Err(_) => Err(Problem::detailed(Code::MalformedRequest, "The body did not arrive in time.")),
            };
            Deadline::postpone(&request, deadlines.request);
            Ok(Self { request, bytes })
        })
    }
}

async fn read(request: &HttpRequest, mut payload: Payload) -> Result<Bytes, Problem> {
    if request.headers().contains_key(CONTENT_ENCODING) {
        let detail = "The body must be sent as it is: without `Content-Encoding`, whatever the coding.";
        return Err(Problem::detailed(Code::UnsupportedMediaType, detail));
    }
    let announced = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: u64| length > MAX_BYTES as u64) {
        return Err(Code::PayloadTooLarge.into());
    }
    let mut bytes = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| Problem::detailed(Code::MalformedRequest, "The body's framing is broken."))?;
        if bytes.len() + chunk.len() > MAX_BYTES {
            return Err(Code::PayloadTooLarge.into());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}

/// `application/json`, or a type built on it, in UTF-8.
fn require_json(request: &HttpRequest) -> Result<(), Problem> {
    let once = request.headers().get_all(CONTENT_TYPE).count() == 1;
    let utf8 = |mime: &mime::Mime| mime.params().all(|(name, value)| name != mime::CHARSET || value == mime::UTF_8);
    match request.mime_type() {
        Ok(Some(mime))
            if once
                && mime.type_() == "application"
                && (mime.subtype() == "json" || mime.suffix().is_some_and(|suffix| suffix == "json"))
                && utf8(&mime) =>
        {
            Ok(())
        }
        _ => Err(Code::UnsupportedMediaType.into()),
    }
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

fn not_an_object() -> Problem {
    Problem::validation(vec![Violation::new("wrong_type", "the body must be an object").of("")])
}

/// What is wrong with an object of which a field comes twice: that, and whatever is wrong with the others.
fn repeated<T>(text: &str, context: &T::Context) -> Problem
where
    T: DeserializeOwned + Validate,
{
    let Ok(members) = serde_json::from_str::<Members>(text) else { return Code::MalformedRequest.into() };
    let twice = members.repeated.iter().filter(|name| is_field::<T>(name));
    let twice = twice.map(|name| Violation::new("repeated", "must be given once").of(name)).collect();
    let once = serde_json::to_string(&members.by_name).and_then(|once| serde_json::from_str::<T>(&once));
    match once.map(|value| value.validate_with(context)) {
        Ok(Err(report)) => Problem::validation(twice).and(field::report(&report)),
        Ok(Ok(())) | Err(_) => Problem::validation(twice),
    }
}

/// Whether a body has a field of this name. What it does not know, it ignores however often it comes.
fn is_field<T: DeserializeOwned>(name: &str) -> bool {
    let twice = [(name, ()), (name, ())];
    T::deserialize(MapDeserializer::<_, serde_json::Error>::new(twice.into_iter())).is_err()
}

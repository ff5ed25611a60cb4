//! A WebSocket: the seats of as many events as its client asks for.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use actix_http::ws::CloseCode;
use actix_web::dev::Payload;
use actix_web::web::Bytes;
use application::{LiveSeats, SeatState, Watch};
use domain::ports::StoreError;
use domain::{EventId, SeatChange};
use futures_util::future::{AbortHandle, Abortable, BoxFuture, FutureExt, join_all};
use futures_util::stream::{FuturesUnordered, StreamExt};
use serde_json::{Value, json};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until, timeout};

use super::frames::{Incoming, Said, close, ping, pong, text};
use super::{HEARTBEAT, Place, Stream, data, event};
use crate::members::Members;
use crate::problem::{Code, Problem};

/// Events that one client may watch.
const MOST_EVENTS: usize = 100;

/// How long a client may say nothing at all, pongs included.
const SILENCE: Duration = Duration::from_secs(45);

/// How long a client has to hang up after the end. Closed before it has read everything, a
/// connection may swallow the reason.
const FAREWELL: Duration = Duration::from_secs(1);

/// A client's messages are read twenty a second, once it has sent a hundred at once.
const MESSAGE_COSTS: Duration = Duration::from_millis(50);
const MESSAGES_AT_ONCE: u32 = 100;

/// The error there is only here.
const TOO_MANY_SUBSCRIPTIONS: &str = "too_many_subscriptions";

type NextState = Abortable<BoxFuture<'static, (Watch, Arc<SeatState>)>>;

/// What is said over one WebSocket.
pub(crate) struct Conversation {
    seats: Arc<LiveSeats>,
    place: Place,
    incoming: Incoming,
    /// The next state of each event that is watched.
    states: FuturesUnordered<NextState>,
    watched: HashMap<EventId, AbortHandle>,
    /// What one message of the client is answered, and nothing else.
    answers: VecDeque<Bytes>,
    heartbeat: Interval,
    heard_at: Instant,
    /// When all the client's messages so far would have come at the pace they are read at.
    paid_until: Instant,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Talking,
    /// The end was said, and the client may hang up.
    Farewell,
    Over,
}

/// What a client wants.
#[derive(Debug, PartialEq, Eq)]
enum Wish {
    Subscribe(Vec<EventId>),
    Unsubscribe(Vec<EventId>),
}

/// What a client said that cannot be used.
#[derive(Debug, PartialEq, Eq)]
struct Refusal {
    code: &'static str,
    detail: String,
}

impl Refusal {
    fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code: code.as_str(), detail: detail.into() }
    }
}

impl Conversation {
    /// A conversation with a client whose messages come from `payload`.
    pub(crate) fn new(seats: Arc<LiveSeats>, place: Place, payload: Payload) -> Self {
        let now = Instant::now();
        let mut heartbeat = interval_at(now + HEARTBEAT, HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            seats,
            place,
            incoming: Incoming::new(payload),
            states: FuturesUnordered::new(),
            watched: HashMap::new(),
            answers: VecDeque::new(),
            heartbeat,
            heard_at: now,
            paid_until: now,
            stage: Stage::Talking,
        }
    }

    /// Waits for the one thing that happens next.
    async fn talk(&mut self) {
        let reads_from = self.paid_until.checked_sub(MESSAGE_COSTS * MESSAGES_AT_ONCE);
        let said = async {
            if let Some(at) = reads_from
                && at > Instant::now()
            {
                sleep_until(at).await;
            }
            self.incoming.next().await
        };
        tokio::select! {
            biased;
            () = self.place.ending() => self.end(CloseCode::Away, "the server is stopping"),
            said = said => {
                self.heard_at = Instant::now();
                self.hear(said).await;
            }
            Some(next) = self.states.next() => if let Ok((watch, state)) = next {
                self.tell(watch, &state);
            },
            _ = self.heartbeat.tick() => {
                if self.heard_at.elapsed() >= SILENCE {
                    self.end(CloseCode::Policy, "nothing was heard for 45 seconds");
                } else {
                    self.answers.push_back(ping());
                }
            }
        }
    }

    async fn hear(&mut self, said: Said) {
        match said {
            Said::Text(message) => {
                self.pay();
                match wish(&message) {
                    Ok(Wish::Subscribe(events)) => self.subscribe(events).await,
                    Ok(Wish::Unsubscribe(events)) => self.unsubscribe(&events),
                    Err(refusal) => self.refuse(&refusal),
                }
            }
            Said::Binary => {
                self.pay();
                self.refuse(&Refusal::new(Code::MalformedRequest, "A message has to be text."));
            }
            Said::Ping(contents) => self.answers.push_back(pong(&contents)),
            Said::Pong => {}
            Said::Close => {
                self.answers.push_back(close(CloseCode::Normal, ""));
                self.stage = Stage::Over;
            }
            Said::Nonsense(code, reason) => {
                self.refuse(&Refusal::new(Code::MalformedRequest, format!("Not understood: {reason}.")));
                self.end(code, reason);
            }
            Said::Gone => self.stage = Stage::Over,
        }
    }

    /// Watches events; all of them or, if there are too many, none.
    async fn subscribe(&mut self, mut events: Vec<EventId>) {
        events.sort_unstable();
        events.dedup();
        let more = events.iter().filter(|event| !self.watched.contains_key(event)).count();
        if self.watched.len() + more > MOST_EVENTS {
            let detail = format!("A connection watches at most {MOST_EVENTS} events. Nothing was subscribed.");
            self.refuse(&Refusal { code: TOO_MANY_SUBSCRIPTIONS, detail });
            return;
        }
        let watches = tokio::select! {
            () = self.place.ending() => return,
            watches = join_all(events.iter().map(|event| self.seats.watch(*event))) => watches,
        };
        for (event, watch) in events.into_iter().zip(watches) {
            match watch {
                Ok(Some(watch)) => self.watch(watch),
                Ok(None) => self.refuse(&Refusal::new(Code::NotFound, format!("There is no event {event}."))),
                Err(error) => self.refuse(&not_watched(event, error)),
            }
        }
    }

    fn unsubscribe(&mut self, events: &[EventId]) {
        for event in events {
            if let Some(watching) = self.watched.remove(event) {
                watching.abort();
            }
        }
    }

    /// Watches an event, once, however often it is asked for.
    fn watch(&mut self, watch: Watch) {
        let event = watch.event();
        let (next, watching) = next_state(watch);
        self.states.push(next);
        if let Some(before) = self.watched.insert(event, watching) {
            before.abort();
        }
    }

    fn tell(&mut self, watch: Watch, state: &SeatState) {
        let event_id = watch.event();
        self.place.count_sent();
        match state.change() {
            SeatChange::Moved(_) => {
                self.answers.push_back(text(data(&event(state))));
                self.watch(watch);
            }
            SeatChange::Deleted { .. } => {
                self.answers.push_back(message(&json!({ "deleted": event_id.get() })));
                self.watched.remove(&event_id);
            }
        }
    }

    fn refuse(&mut self, refusal: &Refusal) {
        self.answers.push_back(message(&json!({ "error": { "code": refusal.code, "detail": refusal.detail } })));
    }

    fn end(&mut self, code: CloseCode, reason: &str) {
        self.answers.push_back(close(code, reason));
        self.stage = Stage::Farewell;
    }

    fn pay(&mut self) {
        self.paid_until = self.paid_until.max(Instant::now()) + MESSAGE_COSTS;
    }
}

impl Stream for Conversation {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(answer) = self.answers.pop_front() {
                return Some(answer);
            }
            match self.stage {
                Stage::Talking => self.talk().await,
                Stage::Farewell => {
                    let _ = timeout(FAREWELL, self.incoming.hang_up()).await;
                    self.stage = Stage::Over;
                }
                Stage::Over => return None,
            }
        }
    }
}

fn next_state(mut watch: Watch) -> (NextState, AbortHandle) {
    let (handle, registration) = AbortHandle::new_pair();
    let next = async move {
        let state = watch.next().await;
        (watch, state)
    };
    (Abortable::new(next.boxed(), registration), handle)
}

fn not_watched(event: EventId, error: StoreError) -> Refusal {
    let code = Problem::from(error).code;
    Refusal::new(code, format!("Event {event} cannot be watched at present. Subscribe to it again later."))
}

fn message(value: &Value) -> Bytes {
    text(value.to_string().as_bytes())
}

/// What a message asks for.
fn wish(message: &[u8]) -> Result<Wish, Refusal> {
    let invalid = |detail: &str| Refusal::new(Code::ValidationFailed, detail);
    let value: Value = serde_json::from_slice(message)
        .map_err(|_| Refusal::new(Code::MalformedRequest, "A message has to be a JSON object."))?;
    let object = value.as_object().ok_or_else(|| invalid("A message has to be a JSON object."))?;
    let members: Members =
        serde_json::from_slice(message).map_err(|_| invalid("A message has to be a JSON object."))?;
    if ["subscribe", "unsubscribe"].iter().any(|name| members.repeated.contains(*name)) {
        return Err(invalid("A message has `subscribe` or `unsubscribe` once."));
    }
    match (object.get("subscribe"), object.get("unsubscribe")) {
        (Some(ids), None) => event_ids(ids).map(Wish::Subscribe),
        (None, Some(ids)) => event_ids(ids).map(Wish::Unsubscribe),
        (None, None) => Err(invalid("A message has to have `subscribe` or `unsubscribe`, with a list of event ids.")),
        (Some(_), Some(_)) => Err(invalid("A message has `subscribe` or `unsubscribe`, not both.")),
    }
}

fn event_ids(ids: &Value) -> Result<Vec<EventId>, Refusal> {
    let invalid = || Refusal::new(Code::ValidationFailed, "Event ids are whole numbers from 1 to 2^53 - 1, in a list.");
    let ids = ids.as_array().ok_or_else(invalid)?;
    ids.iter().map(|id| id.as_u64().and_then(EventId::new).ok_or_else(invalid)).collect()
}

#[cfg(test)]
mod tests {
    use domain::sample::event_id;

    use super::*;

    fn code(message: &str) -> &'static str {
        wish(message.as_bytes()).unwrap_err().code
    }

    #[test]
    fn a_client_subscribes_or_unsubscribes() {
        let ids = |ids: &[u64]| ids.iter().map(|id| event_id(*id)).collect::<Vec<_>>();
        assert_eq!(wish(br#"{"subscribe":[1,2]}"#), Ok(Wish::Subscribe(ids(&[1, 2]))));
        assert_eq!(
            wish(br#" {"unsubscribe":[9007199254740991],"x":1} "#),
            Ok(Wish::Unsubscribe(ids(&[(1 << 53) - 1])))
        );
        assert_eq!(wish(br#"{"subscribe":[]}"#), Ok(Wish::Subscribe(Vec::new())));
    }

    #[test]
    fn anything_else_is_refused_in_words() {
        for message in ["", "{", "subscribe 1", "{\"subscribe\":[1]}x", &"[".repeat(10_000)] {
            assert_eq!(code(message), "malformed_request", "{message:.40}");
        }
        for message in [
            "1",
            "null",
            "[1]",
            "{}",
            r#"{"Subscribe":[1]}"#,
            r#"{"subscribe":1}"#,
            r#"{"subscribe":null}"#,
            r#"{"subscribe":["1"]}"#,
            r#"{"subscribe":[0]}"#,
            r#"{"subscribe":[-1]}"#,
            r#"{"subscribe":[1.5]}"#,
            r#"{"subscribe":[9007199254740992]}"#,
            r#"{"subscribe":[1,null]}"#,
            r#"{"subscribe":[1],"unsubscribe":[2]}"#,
            r#"{"subscribe":[1],"subscribe":[2]}"#,
            r#"{"unsubscribe":[1],"x":1,"x":2,"\u0075nsubscribe":[1]}"#,
        ] {
            assert_eq!(code(message), "validation_failed", "{message}");
        }
    }
}

//! Streams that stay open: how many there may be, when they end, and what goes over them.
//!
//! | module | what it holds |
//! |---|---|
//! | `event_stream` | the body of a stream of Server-Sent Events |
//! | `conversation` | the body of a WebSocket, and what its client may say |
//! | `frames` | reading and writing WebSocket frames |
//!
//! A stream is the body of an answer and nothing else: it is asked for its next bytes when the
//! connection has room for them, and then takes the newest state there is. So a slow client makes no
//! queue, and one who is gone leaves nothing behind, for all that belongs to a stream is dropped with
//! its connection.

mod conversation;
mod event_stream;
mod frames;

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use actix_web::body::{BodyStream, BoxBody, MessageBody};
use actix_web::web::Bytes;
use application::SeatState;
use domain::SeatChange;
use futures_util::stream::unfold;
use metrics::{Counter, Gauge, counter, gauge};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::draining::{Draining, Ending};
use crate::problem::{Code, Problem};
use crate::rendered::render;
use crate::wire;

pub(crate) use conversation::Conversation;
pub(crate) use event_stream::EventStream;

/// How often a quiet stream says that it is still there.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Which protocol a stream speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    EventStream,
    WebSocket,
}

/// The streams of an instance.
pub(crate) struct Streams {
    places: Arc<Semaphore>,
    departures: Arc<Departures>,
    draining: Draining,
}

/// How often a watcher leaves.
#[derive(Debug, Default)]
struct Departures(Mutex<Option<Pace>>);

#[derive(Debug, Clone, Copy)]
struct Pace {
    last: Instant,
    /// Between one and the next, the latest counting as much as all before it.
    between: Option<Duration>,
}

impl Departures {
    fn note(&self, now: Instant) {
        let mut pace = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let latest = pace.map(|pace| now.saturating_duration_since(pace.last));
        let before = pace.and_then(|pace| pace.between);
        let between = latest.map(|latest| before.map_or(latest, |before| (before + latest) / 2));
        *pace = Some(Pace { last: now, between });
    }

    /// When a connection is expected to end; if none ever ends, when the heartbeat has noticed the clients
    /// that are gone.
    fn next(&self, now: Instant) -> Duration {
        let pace = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let between = pace.and_then(|pace| Some(pace.between?.max(now.saturating_duration_since(pace.last))));
        between.unwrap_or(HEARTBEAT)
    }
}

impl Streams {
    /// Room for so many, until the program stops.
    pub(crate) fn new(most: u32, draining: Draining) -> Self {
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self { places: Arc::new(Semaphore::new(most)), departures: Arc::default(), draining }
    }

    /// A place for one more.
    pub(crate) fn take_place(&self, kind: Kind) -> Result<Place, Problem> {
        let taken = Arc::clone(&self.places).try_acquire_owned().map_err(|_| {
            Problem::detailed(
                Code::Unavailable,
                "As many live streams are open as the server may have. Try again later.",
            )
            .retry_after(self.departures.next(Instant::now()))
        })?;
        let kind = match kind {
            Kind::EventStream => "sse",
            Kind::WebSocket => "websocket",
        };
        let open = gauge!("live_connections", "kind" => kind);
        open.increment(1);
        let sent = counter!("live_messages_sent_total", "kind" => kind);
        Ok(Place {
            _taken: taken,
            departures: Arc::clone(&self.departures),
            open,
            sent,
            ending: self.draining.ending(),
        })
    }
}

/// The place of one stream, free again when it is dropped.
pub(crate) struct Place {
    _taken: OwnedSemaphorePermit,
    departures: Arc<Departures>,
    open: Gauge,
    sent: Counter,
    ending: Ending,
}

impl Place {
    /// Waits until streams have to end.
    async fn ending(&mut self) {
        self.ending.wait().await;
    }

    /// Counts a state that is sent.
    fn count_sent(&self) {
        self.sent.increment(1);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.decrement(1);
        self.departures.note(Instant::now());
    }
}

/// Something that has bytes to send, until it has said everything.
pub(crate) trait Stream: 'static {
    /// What is sent next; `None` at the end. Dropping the future ends the stream.
    fn next(&mut self) -> impl Future<Output = Option<Bytes>>;
}

/// An answer's body that is asked for more whenever there is room.
pub(crate) fn body(stream: impl Stream) -> BoxBody {
    BodyStream::new(unfold(stream, |mut stream| async move {
        let bytes = stream.next().await?;
        Some((Ok::<_, Infallible>(bytes), stream))
    }))
    .boxed()
}

const DATA: &[u8] = b"data: ";
const END: &[u8] = b"\n\n";

/// A state as a Server-Sent Event, made once for all who watch.
fn event(state: &SeatState) -> Arc<[u8]> {
    state.rendered(|change| match change {
        SeatChange::Moved(seats) => {
            let head = format!("event: seats\nid: {}\n", seats.version.get());
            [head.as_bytes(), DATA, &render(&wire::SeatState::from(seats)), END].concat()
        }
        SeatChange::Deleted { .. } => {
            [b"event: deleted\n", DATA, &render(&wire::DeletedSeats::from(change)), END].concat()
        }
    })
}

/// The data of a Server-Sent Event.
fn data(event: &[u8]) -> &[u8] {
    let start = event.windows(DATA.len()).position(|part| part == DATA).map_or(0, |at| at + DATA.len());
    &event[start..event.len().saturating_sub(END.len()).max(start)]
}

#[cfg(test)]
mod tests {
    use actix_web::dev::Payload;
    use actix_web::error::PayloadError;
    use application::LiveSeats;
    use domain::ports::{MockEvents, MockSeatChanges, MockVersions};
    use domain::sample::{self, event_id};
    use domain::{Event, Version};
    use futures_util::{StreamExt, stream};
    use tokio::time::{Instant, sleep};

    use super::*;

    const COMMENT: &[u8] = b":\n\n";
    const PING: &[u8] = &[0x89, 0];

    /// Where nothing happens.
    fn seats() -> Arc<LiveSeats> {
        let mut events = MockEvents::new();
        events.expect_find().returning(|_| {
            let seats = sample::seats(120, 87);
            Ok(Some(Arc::new(Event { seats, version: Version::new(34), ..sample::event(12) })))
        });
        Arc::new(LiveSeats::new(Arc::new(MockSeatChanges::new()), Arc::new(events), Arc::new(MockVersions::new())))
    }

    /// A client who sends this and then waits.
    fn says(bytes: impl futures_util::Stream<Item = Bytes> + 'static) -> Payload {
        Payload::Stream { payload: bytes.map(Ok::<_, PayloadError>).chain(stream::pending()).boxed_local() }
    }

    /// What is said until the end, with the second it is said in.
    async fn said(stream: &mut impl Stream, times: usize) -> Vec<(u64, Vec<u8>)> {
        let begun = Instant::now();
        let mut said = Vec::new();
        while said.len() < times
            && let Some(bytes) = stream.next().await
        {
            said.push((begun.elapsed().as_secs(), bytes.to_vec()));
        }
        said
    }

    #[tokio::test(start_paused = true)]
    async fn a_quiet_stream_says_every_fifteen_seconds_that_it_is_there() {
        let streams = Streams::new(1, Draining::default());
        let watch = seats().watch(event_id(12)).await.unwrap().unwrap();
        let mut stream = EventStream::new(watch, streams.take_place(Kind::EventStream).unwrap(), None);
        let state = b"event: seats\nid: 34\ndata: {\"event_id\":12,\"available_seats\":87,\"total_seats\":120,\
                      \"registration_count\":33,\"version\":34}\n\n";
        let comment = |second| (second, COMMENT.to_vec());
        assert_eq!(said(&mut stream, 4).await, [(0, state.to_vec()), comment(15), comment(30), comment(45)]);
        streams.draining.end_streams();
        assert_eq!(stream.next().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_client_is_pinged_and_then_disconnected() {
        let streams = Streams::new(1, Draining::default());
        let place = streams.take_place(Kind::WebSocket).unwrap();
        let mut silent = Conversation::new(seats(), place, says(stream::empty()));
        let said = said(&mut silent, 9).await;
        let (ends_at, end) = said.last().unwrap();
        assert_eq!(said[..2], [(15, PING.to_vec()), (30, PING.to_vec())]);
        assert_eq!((*ends_at, &end[2..4], said.len()), (45, &1008_u16.to_be_bytes()[..], 3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pong_is_a_sign_of_life() {
        let streams = Streams::new(1, Draining::default());
        let pong = stream::once(async {
            sleep(Duration::from_secs(40)).await;
            Bytes::from_static(&[0x8a, 0x80, 0, 0, 0, 0])
        });
        let place = streams.take_place(Kind::WebSocket).unwrap();
        let mut lively = Conversation::new(seats(), place, says(pong));
        assert_eq!(said(&mut lively, 9).await.last().unwrap().0, 90, "the first look after 85 seconds");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_s_messages_are_read_at_a_pace_once_there_are_many() {
        let streams = Streams::new(1, Draining::default());
        let message = [&[0x81_u8, 0x82, 0, 0, 0, 0][..], b"{}"].concat();
        let flood = stream::iter((0..200).map(move |_| Bytes::from(message.clone())));
        let place = streams.take_place(Kind::WebSocket).unwrap();
        let mut flooded = Conversation::new(seats(), place, says(flood));
        let said = said(&mut flooded, 200).await;
        assert_eq!((said[99].0, said[199].0), (0, 4), "a hundred at once, and then twenty a second");
    }

    #[test]
    fn a_place_is_expected_when_the_next_one_leaves_at_the_present_pace() {
        let (departures, begun) = (Departures::default(), std::time::Instant::now());
        let at = |secs| begun + Duration::from_secs(secs);
        assert_eq!(departures.next(begun), HEARTBEAT, "no connection ever ended");
        departures.note(begun);
        assert_eq!(departures.next(at(1)), HEARTBEAT);
        departures.note(at(2));
        assert_eq!(departures.next(at(2)), Duration::from_secs(2));
        departures.note(at(6));
        assert_eq!(departures.next(at(6)), Duration::from_secs(3));
        assert_eq!(departures.next(at(20)), Duration::from_secs(14), "it has become quiet");
    }

    #[test]
    fn there_are_so_many_places_and_each_is_free_again() {
        let streams = Streams::new(2, Draining::default());
        let (first, _second) = (streams.take_place(Kind::WebSocket).unwrap(), streams.take_place(Kind::EventStream));
        assert_eq!(streams.take_place(Kind::EventStream).err().map(|problem| problem.code), Some(Code::Unavailable));
        drop(first);
        assert!(streams.take_place(Kind::EventStream).is_ok());
    }

    #[test]
    fn the_data_of_an_event_is_what_stands_between_its_name_and_its_end() {
        assert_eq!(data(b"event: seats\nid: 7\ndata: {\"version\":7}\n\n"), b"{\"version\":7}");
        assert_eq!(data(b"data: \n\n"), b"");
        assert_eq!(data(b""), b"");
    }
}

//! Server-Sent Events: the seats of one event.

use actix_web::web::Bytes;
use application::Watch;
use domain::{SeatChange, Version};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::{HEARTBEAT, Place, Stream, event};

/// A comment: it keeps the line open, and finds out whether there still is one.
const COMMENT: &[u8] = b":\n\n";

/// The states of one event, each when it is the newest.
pub(crate) struct EventStream {
    watch: Watch,
    place: Place,
    heartbeat: Interval,
    /// The event is gone; there is nothing more to say.
    over: bool,
}

impl EventStream {
    /// Sends what is watched, but not the version that was seen last, if that is the present one.
    pub(crate) fn new(mut watch: Watch, place: Place, seen: Option<Version>) -> Self {
        if let Some(seen) = seen {
            watch.resume(seen);
        }
        let mut heartbeat = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { watch, place, heartbeat, over: false }
    }
}

impl Stream for EventStream {
    async fn next(&mut self) -> Option<Bytes> {
        if self.over {
            return None;
        }
        tokio::select! {
            biased;
            () = self.place.ending() => None,
            state = self.watch.next() => {
                self.over = matches!(state.change(), SeatChange::Deleted { .. });
                self.place.count_sent();
                Some(Bytes::from_owner(event(&state)))
            }
            _ = self.heartbeat.tick() => Some(Bytes::from_static(COMMENT)),
        }
    }
}

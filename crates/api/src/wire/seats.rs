//! The seats of an event as they move, as those who watch see them.

use domain::{SeatChange, SeatSnapshot};
use serde::Serialize;
use utoipa::ToSchema;

/// The seats of an event at one version of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SeatState {
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991_i64, example = 12)]
    event_id: u64,
    #[schema(minimum = 0, maximum = 1_000_000, example = 87)]
    available_seats: u32,
    #[schema(minimum = 1, maximum = 1_000_000, example = 120)]
    total_seats: u32,
    #[schema(minimum = 0, maximum = 1_000_000, example = 33)]
    registration_count: u32,
    /// Only grows; the greater one is the newer state.
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991_i64, example = 34)]
    version: u64,
}

impl From<&SeatSnapshot> for SeatState {
    fn from(seats: &SeatSnapshot) -> Self {
        Self {
            event_id: seats.event.get(),
            available_seats: seats.seats.available(),
            total_seats: seats.seats.total(),
            registration_count: seats.seats.registered(),
            version: seats.version.get(),
        }
    }
}

/// That an event was deleted.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SeatDeletion)]
pub(crate) struct DeletedSeats {
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991_i64, example = 12)]
    event_id: u64,
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991_i64, example = 35)]
    version: u64,
}

impl From<&SeatChange> for DeletedSeats {
    fn from(change: &SeatChange) -> Self {
        Self { event_id: change.event().get(), version: change.version().get() }
    }
}

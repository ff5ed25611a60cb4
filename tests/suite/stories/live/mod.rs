//! Live seats (Server-Sent Events and WebSocket): on one instance and on several, with and without faults.
//!
//! | module | what it holds |
//! |---|---|
//! | `streams` | Server-Sent Events |
//! | `sockets` | WebSocket |
//! | `load` | limits, stops, and watchers that hang up or stop reading |
//! | `instances` | seats that another instance sold, with Redis and without |

mod instances;
mod load;
mod sockets;
mod streams;

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::server::{Instance, Person, Site};

/// Within this time of a commit, all watchers get the new state. It is longer than the promise, for a
/// machine that runs other tests at the same time.
const TOLD_WITHIN: Duration = Duration::from_millis(2_500);

fn seats(event: u64, total: u64, available: u64, version: u64) -> Value {
    json!({
        "event_id": event,
        "available_seats": available,
        "total_seats": total,
        "registration_count": total - available,
        "version": version,
    })
}

/// An instance with an event of so many seats, its admin, and people.
async fn house(site: &Site, total: u32, people: usize) -> (Instance, Person, u64, Vec<Person>) {
    let api = site.start().await;
    let admin = api.admin().await;
    let event = api.event(&admin, total).await;
    let people = api.people(people).await;
    (api, admin, event, people)
}

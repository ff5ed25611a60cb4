//! The programme, as admins run it: events put on it, changed and taken off.
//!
//! | module | what it holds |
//! |---|---|
//! | `fields` | the fields of an event, new or changed, and their limits |
//! | `changes` | changes of an event, and its deletion |
//! | `tags` | changes that are meant for one version |
//! | `keys` | changes with an idempotency key |

mod changes;
mod fields;
mod keys;
mod tags;

use crate::harness::server::{Answer, Instance};

/// Sends a request twice, and returns the first answer: the second answer has to be a replay of it.
pub(super) async fn once(send: impl AsyncFn() -> Answer) -> Answer {
    let first = send().await;
    assert!((200..300).contains(&first.status), "{}", first.text());
    assert_eq!(first.header("idempotent-replayed"), "");
    assert_replayed(&send().await, &first);
    first
}

/// Fails unless the answer is a replay of the first one, byte by byte.
#[track_caller]
pub(super) fn assert_replayed(answer: &Answer, first: &Answer) {
    assert_eq!((answer.status, answer.text()), (first.status, first.text()));
    assert_eq!(answer.header("idempotent-replayed"), "true");
    assert_eq!(answer.header("content-type"), first.header("content-type"));
}

/// The present entity tag of an event, uncompressed.
async fn tag_of(api: &Instance, event: u64) -> String {
    api.get(&format!("/api/events/{event}")).send().await.expect(200).header("etag").to_owned()
}

/// The wrong fields, each with its code.
fn told(answer: &Answer) -> Vec<String> {
    answer.wrong_fields().into_iter().map(|(field, code)| format!("{field} {code}")).collect()
}

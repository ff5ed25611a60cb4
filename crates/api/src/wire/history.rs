//! The history as clients see it.

use domain::Fact;
use domain::ports::HistoryPage;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::cursor::Cursor;

/// One page of the history.
#[derive(Serialize, ToSchema)]
pub(crate) struct HistoryList {
    /// Facts, oldest first.
    #[schema(value_type = Vec<FactObject>, max_items = 1000)]
    data: Vec<Box<RawValue>>,
    /// Where to go on: `after` of the next request. Always there; at the end of the history it is where new facts will
    /// come after.
    #[schema(example = "h2a")]
    next: String,
}

impl HistoryList {
    pub(crate) fn new(page: &HistoryPage) -> Self {
        let raw = |fact: &Fact| RawValue::from_string(fact.body.to_string()).ok();
        Self { data: page.facts.iter().filter_map(raw).collect(), next: Cursor(page.next).to_string() }
    }
}

/// One committed change, as a `CloudEvents` 1.0 object: the same to readers, webhooks and the broker.
#[derive(ToSchema)]
#[schema(as = Fact)]
#[expect(dead_code, reason = "describes what is stored as JSON")]
pub(crate) struct FactObject {
    /// The version of `CloudEvents`.
    #[schema(example = "1.0")]
    specversion: String,
    /// The fact's name: a repetition has the same one.
    #[schema(example = "0193a5c0-7d10-7b7a-a5f4-2a6c1a1f0c11-0")]
    id: String,
    /// The database that it happened in.
    #[schema(example = "boxoffice/6f1c2a5be0f94dbb9d1d0a4a37a6a1f2")]
    source: String,
    /// What kind of change it was. Later releases add types.
    #[schema(example = "registration.confirmed")]
    r#type: String,
    /// When it was made.
    #[schema(format = DateTime, example = "2030-01-15T12:00:00.123456Z")]
    time: String,
    /// What it is about: `events/12`, or `users/7` for an account.
    #[schema(example = "events/12")]
    subject: String,
    /// The event's version after the change, as a decimal number. It never falls for an event. Absent for accounts.
    #[schema(nullable = false, example = "34")]
    sequence: Option<String>,
    /// The media type of `data`.
    #[schema(example = "application/json")]
    datacontenttype: String,
    /// The thing as it was at the commit.
    data: FactData,
}

/// What a fact is about, as it was at the commit.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what is stored as JSON")]
pub(crate) struct FactData {
    /// The event, whose description is cut after 4,000 characters (`description_truncated` then is `true`).
    #[schema(nullable = false, value_type = Option<crate::wire::Event>)]
    event: Option<()>,
    /// The registration.
    #[schema(nullable = false, value_type = Option<crate::wire::Registration>)]
    registration: Option<()>,
    /// The user it is about.
    #[schema(nullable = false)]
    user: Option<FactUser>,
    /// Why a registration was cancelled: `holder`, `event_deleted` or `account_erased`.
    #[schema(nullable = false, example = "holder")]
    cause: Option<String>,
    /// The user who did it, or null for the program itself.
    #[schema(required = true, minimum = 1, maximum = 9_007_199_254_740_991_u64, example = 7)]
    by: Option<u64>,
}

/// A user, by number: readers look up the rest.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what is stored as JSON")]
pub(crate) struct FactUser {
    /// The user's id.
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991_u64, example = 7)]
    id: u64,
}

//! Refusals that need no lock.
//!
//! Most of those who want a seat of a sold-out event get none, and to learn that they need not queue
//! at its row. One read, which began after all of them came, shows each command its event and the registrations that it
//! needs. A command that its rule refuses on what it is shown is refused; any other goes on to the lock.

use std::collections::HashSet;
use std::sync::Arc;

use domain::ports::StoreError;
use domain::{Author, Event, EventId, Registration, SeatBook, Timeline, Timestamp, UserId};
use sea_orm::prelude::DateTimeUtc;
use sea_orm::{ConnectionTrait, FromQueryResult, QueryResult, Statement};

use super::command::DeskCommand;
use super::store::column;
use crate::Sql;
use crate::access::bulk_rows::BulkRows;
use crate::access::error::failed;
use crate::access::operation::Reading;
use crate::access::timeline::COLUMN as TIMELINE;
use crate::tables::rows::{On, Row, columns, event, prefixed_columns, registration, stored};

/// What the columns of a registration begin with, beside those of its event.
const HELD: &str = "held_";

/// The places of the commands that are refused already, which [remember](DeskCommand) why. A command under a key may
/// have been carried out before, so it is not checked; nor is one of an author whose account is gone.
pub(super) async fn refused(sql: &Sql, commands: &[Arc<dyn DeskCommand>]) -> Result<HashSet<usize>, StoreError> {
    let candidates: Vec<_> =
        commands.iter().enumerate().filter_map(|(place, command)| candidate(place, command)).collect();
    if candidates.is_empty() {
        return Ok(HashSet::new());
    }
    let now = sql.0.clock.now();
    let seen = sql.read("check_sold_out", move |reading| look(reading, candidates)).await?;
    let mut refused = HashSet::new();
    for Seen { place, user, event, registration, account_since } in seen {
        let Some(command) = commands.get(place) else { continue };
        let Author::User(author) = command.author() else { continue };
        if !account_since.is_some_and(|since| author.signed_up.admits(since)) {
            continue;
        }
        let mut book = event.map(SeatBook::open);
        if let Some(book) = &mut book {
            book.load(user, registration);
        }
        if command.is_refused(book, now) {
            refused.insert(place);
        }
    }
    Ok(refused)
}

/// A command that takes seats for its author, by its place among the others.
#[derive(Clone, Copy)]
struct Candidate {
    place: i64,
    user: UserId,
    event: EventId,
}

fn candidate(place: usize, command: &Arc<dyn DeskCommand>) -> Option<Candidate> {
    if !command.takes_seats() || command.once().is_some() {
        return None;
    }
    let user = command.author().user()?;
    let is_for_author = command.needs().registrations == [user];
    is_for_author.then_some(Candidate { place: i64::try_from(place).ok()?, user, event: command.event() })
}

/// What one command is shown.
struct Seen {
    place: usize,
    user: UserId,
    event: Option<Event>,
    registration: Option<Registration>,
    /// When the author's account was made, if there is one.
    account_since: Option<Timestamp>,
}

async fn look(
    Reading { sql: store, db, engine }: Reading,
    candidates: Vec<Candidate>,
) -> Result<Vec<Seen>, StoreError> {
    let given = BulkRows::new(engine)
        .numbers("place", candidates.iter().map(|candidate| candidate.place))
        .numbers("user_id", candidates.iter().map(|candidate| stored(candidate.user.get())))
        .numbers("event_id", candidates.iter().map(|candidate| stored(candidate.event.get())));
    let sql = format!(
        "SELECT {}, {}, {} AS {TIMELINE}, given.place AS place, given.user_id AS author, \
         (SELECT created_at FROM users WHERE users.id = given.user_id) AS account_since \
         FROM {} JOIN events ON events.id = given.event_id LEFT JOIN registrations \
         ON registrations.user_id = given.user_id AND registrations.event_id + 0 = given.event_id",
        columns::<event::Entity>("events"),
        prefixed_columns::<registration::Entity>("registrations", HELD),
        engine.timeline(),
        given.table()
    );
    let statement = Statement::from_sql_and_values(engine.backend(), sql, given.values());
    let rows = db.query_all_raw(statement).await.map_err(failed)?;
    rows.iter().map(|row| seen(row, store.timeline_of(row)?)).collect()
}

fn seen(row: &QueryResult, timeline: Timeline) -> Result<Seen, StoreError> {
    let place = usize::try_from(column::<i64>(row, "place")?).map_err(StoreError::fault)?;
    let author: i64 = column(row, "author")?;
    let user = Row { table: "users", id: author }.user_id("id", author)?;
    let account_since = column::<Option<DateTimeUtc>>(row, "account_since")?.map(Timestamp::stored);
    let held = registration::Model::from_query_result_optional(row, HELD).map_err(failed)?;
    let registration = held.map(|row| On { row, timeline }.try_into()).transpose()?;
    let row = event::Model::from_query_result(row, "").map_err(failed)?;
    let event = if row.deleted_at.is_none() { Some(On { row, timeline }.try_into()?) } else { None };
    Ok(Seen { place, user, event, registration, account_since })
}

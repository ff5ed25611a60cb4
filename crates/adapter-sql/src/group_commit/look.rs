//! Refusals that need no lock.
//!
//! Most of those who want a seat of a sold-out event get none, and to learn that they need not queue
//! at its row. One read, which began after all of them came, shows each their registration and the
//! event; whoever the rule refuses on what it shows is refused. Whoever it does not goes on to the
//! lock.

use domain::ports::StoreError;
use domain::{Event, RegistrationStatus};
use sea_orm::{ConnectionTrait, FromQueryResult, QueryResult, Statement};

use super::bound::Given;
use super::{Ask, Verb, Verdict};
use crate::Sql;
use crate::entity::{columns, event, stored};
use crate::error::failed;
use crate::work::Reading;

/// What is to be told to each of those who ask, where it is clear already. A command under a key may
/// have been carried out before, so it is not looked at; nor is one of somebody whose account is gone.
pub(super) async fn refusals(sql: &Sql, asks: &[Ask]) -> Result<Vec<Option<Verdict>>, StoreError> {
    let candidates: Vec<_> = asks
        .iter()
        .enumerate()
        .filter(|(_, ask)| ask.verb == Verb::Book && ask.once.is_none())
        .filter_map(|(place, ask)| {
            Some(Candidate {
                place: i64::try_from(place).ok()?,
                user: stored(ask.by.get()),
                event: stored(ask.event.get()),
            })
        })
        .collect();
    let mut refusals = vec![None; asks.len()];
    if candidates.is_empty() {
        return Ok(refusals);
    }
    let now = sql.0.clock.now();
    let seen = sql.read("look_at_events", move |reading| look(reading, candidates)).await?;
    for (place, event, held) in seen {
        let Some(refusal) = refusals.get_mut(place) else { continue };
        *refusal = match event {
            None => Some(Verdict::NoEvent),
            Some(mut event) => event.book(held, now).err().map(Verdict::NotBooked),
        };
    }
    Ok(refusals)
}

/// Somebody who wants a seat, by their place among those who ask.
#[derive(Clone, Copy)]
struct Candidate {
    place: i64,
    user: i64,
    event: i64,
}

type Seen = (usize, Option<Event>, Option<RegistrationStatus>);

async fn look(Reading { db, engine }: Reading, candidates: Vec<Candidate>) -> Result<Vec<Seen>, StoreError> {
    let given = Given::new(engine)
        .numbers("place", candidates.iter().map(|candidate| candidate.place))
        .numbers("user_id", candidates.iter().map(|candidate| candidate.user))
        .numbers("event_id", candidates.iter().map(|candidate| candidate.event));
    let sql = format!(
        "SELECT {}, given.place AS place, (SELECT status FROM registrations \
         WHERE registrations.user_id = given.user_id AND registrations.event_id + 0 = given.event_id) AS held \
         FROM {} JOIN events ON events.id = given.event_id \
         WHERE (SELECT true FROM users WHERE users.id = given.user_id)",
        columns::<event::Entity>("events"),
        given.table()
    );
    let statement = Statement::from_sql_and_values(engine.backend(), sql, given.values());
    let rows = db.query_all_raw(statement).await.map_err(failed)?;
    rows.iter().map(seen).collect()
}

fn seen(row: &QueryResult) -> Result<Seen, StoreError> {
    let place: i64 = row.try_get("", "place").map_err(failed)?;
    let held: Option<String> = row.try_get("", "held").map_err(failed)?;
    let event = event::Model::from_query_result(row, "").map_err(failed)?;
    let event = if event.deleted_at.is_none() { Some(Event::try_from(event)?) } else { None };
    let place = usize::try_from(place).map_err(StoreError::fault)?;
    Ok((place, event, held.as_deref().and_then(RegistrationStatus::from_name)))
}

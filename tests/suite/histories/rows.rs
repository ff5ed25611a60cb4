//! The stored rows after a round, read with SQL.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use domain::{Event, EventId, Registration, RegistrationId, RegistrationStatus, Seats, Timestamp, UserId, Version};
use sea_orm::prelude::DateTimeUtc;
use sea_orm::{ConnectionTrait, DatabaseConnection, QueryResult, Statement, TryGetable};

/// The rows after a round.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    pub events: BTreeMap<EventId, EventRow>,
    pub registrations: BTreeMap<(EventId, UserId), Registration>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRow {
    seats: Seats,
    version: Version,
    updated_at: Timestamp,
    deleted_at: Option<Timestamp>,
}

impl EventRow {
    pub fn of(event: &Event) -> Self {
        Self { seats: event.seats, version: event.version, updated_at: event.updated_at, deleted_at: event.deleted_at }
    }
}

impl Rows {
    /// Reads the rows of these events with SQL.
    pub async fn read(past: &DatabaseConnection, events: RangeInclusive<u64>) -> Self {
        let (first, last) = (events.start(), events.end());
        let sql = format!(
            "SELECT id, CAST(total_seats AS bigint) AS total, CAST(available_seats AS bigint) AS available, version, \
             updated_at, deleted_at FROM events WHERE id BETWEEN {first} AND {last}"
        );
        let mut rows = Self::default();
        for row in query(past, &sql).await {
            let count = |name| u32::try_from(number(&row, name)).unwrap();
            let seats = Seats::stored(count("total"), count("available")).unwrap();
            let found = EventRow {
                seats,
                version: Version::new(number(&row, "version")),
                updated_at: Timestamp::new(column::<DateTimeUtc>(&row, "updated_at")),
                deleted_at: column::<Option<DateTimeUtc>>(&row, "deleted_at").map(Timestamp::new),
            };
            rows.events.insert(EventId::new(number(&row, "id")).unwrap(), found);
        }
        let sql = format!(
            "SELECT id, user_id, event_id, status, registration_date, created_at, version FROM registrations \
             WHERE event_id BETWEEN {first} AND {last}"
        );
        for row in query(past, &sql).await {
            let found = Registration {
                id: RegistrationId::new(number(&row, "id")).unwrap(),
                user_id: UserId::new(number(&row, "user_id")).unwrap(),
                event_id: EventId::new(number(&row, "event_id")).unwrap(),
                status: RegistrationStatus::from_name(&column::<String>(&row, "status")).unwrap(),
                registered_at: Timestamp::new(column::<DateTimeUtc>(&row, "registration_date")),
                created_at: Timestamp::new(column::<DateTimeUtc>(&row, "created_at")),
                version: Version::new(number(&row, "version")),
            };
            let twice = rows.registrations.insert((found.event_id, found.user_id), found);
            assert!(twice.is_none(), "a user has two registrations of one event: {twice:?}");
        }
        rows
    }

    pub fn registration(&self, place: (EventId, UserId)) -> Option<RegistrationId> {
        self.registrations.get(&place).map(|registration| registration.id)
    }

    /// Fails if some event has another number of holders than of seats that are taken.
    pub fn assert_seats_are_held(&self) {
        for (id, event) in &self.events {
            let confirmed =
                of_event(&self.registrations, *id).filter(|row| row.status == RegistrationStatus::Confirmed).count();
            assert_eq!(
                confirmed,
                event.seats.registered() as usize,
                "holders and taken seats of event {id}: {event:?}"
            );
        }
    }
}

/// One event's registrations, by user.
pub fn of_event(
    registrations: &BTreeMap<(EventId, UserId), Registration>,
    event: EventId,
) -> impl Iterator<Item = &Registration> {
    let least = UserId::new(1).unwrap();
    registrations.range((event, least)..).take_while(move |((of, _), _)| *of == event).map(|(_, row)| row)
}

pub async fn query(past: &DatabaseConnection, sql: &str) -> Vec<QueryResult> {
    past.query_all_raw(Statement::from_string(past.get_database_backend(), sql)).await.unwrap()
}

fn column<T: TryGetable>(row: &QueryResult, name: &str) -> T {
    row.try_get("", name).unwrap()
}

pub fn number(row: &QueryResult, name: &str) -> u64 {
    u64::try_from(column::<i64>(row, name)).unwrap()
}

//! The programme, the table that lists are read from, follows each change of the events, by the program or by SQL.

use std::sync::Arc;

use domain::event::StartsAt;
use domain::ports::Inconsistency;
use domain::sample::{at, page};
use domain::{EventFilter, EventId, EventOrder, EventPatch, PageRequest, Timestamp, TitleSearch};

use crate::harness::all_at_once;
use crate::harness::dice::Dice;
use crate::harness::store::Store;

on_both_databases!(
    the_programme_follows_every_change_of_the_program,
    the_programme_follows_changes_by_sql,
    the_programme_follows_changes_at_once,
    every_total_is_that_of_the_rows,
    a_cached_total_is_not_answered_after_a_change,
    a_page_from_the_far_end_is_the_same_page,
    counts_that_were_tampered_with_are_named,
);

async fn the_programme_follows_every_change_of_the_program(store: Arc<Store>) {
    let (event, other) = (store.event(1).await, store.event(1).await);
    assert_eq!(totals(&store).await, (2, 2));
    let user = store.user().await.id;
    store.book(user, event.id).await.unwrap();
    assert_eq!(totals(&store).await, (2, 1));
    store.cancel(user, event.id).await.unwrap();
    assert_eq!(totals(&store).await, (2, 2));
    store.book(user, event.id).await.unwrap();
    let later = event.starts_at.plus_secs(40 * 86_400);
    store.update(event.id, EventPatch { starts_at: Some(later), ..EventPatch::default() }).await.unwrap();
    store.assert_consistent().await;
    let on = |day: Timestamp| EventFilter { from: Some(day), to: Some(day), ..EventFilter::default() };
    assert_eq!(ids(&store, &on(event.starts_at)).await, [other.id]);
    assert_eq!(ids(&store, &on(later)).await, [event.id]);
    store.delete(event.id).await;
    assert_eq!(totals(&store).await, (1, 1));
    store.delete(other.id).await;
    assert_eq!(totals(&store).await, (0, 0));
    store.assert_consistent().await;
}

async fn the_programme_follows_changes_by_sql(store: Arc<Store>) {
    let first = store.event(2).await.id;
    for (statement, expected) in [
        (
            "INSERT INTO events (title, description, date, venue, total_seats, available_seats) VALUES \
             ('Bach', NULL, '2031-01-01T23:00:00-02:00', 'Opera', 5, 5), \
             ('Satie', NULL, '2031-01-01T12:00:00+00:00', 'Opera', 5, 0)"
                .to_owned(),
            (3, 2),
        ),
        ("UPDATE events SET date = '2031-03-01T12:00:00+00:00' WHERE title = 'Bach'".to_owned(), (3, 2)),
        ("UPDATE events SET title = 'Ravel', available_seats = 0 WHERE title = 'Bach'".to_owned(), (3, 1)),
        ("UPDATE events SET deleted_at = '2030-01-01T00:00:00+00:00' WHERE title = 'Satie'".to_owned(), (2, 1)),
        ("UPDATE events SET date = '2032-03-01T12:00:00+00:00', available_seats = 1".to_owned(), (2, 2)),
        ("UPDATE events SET deleted_at = NULL".to_owned(), (3, 3)),
        (format!("UPDATE events SET id = id + 100 WHERE id <> {first}"), (3, 3)),
        ("DELETE FROM events WHERE title = 'Ravel'".to_owned(), (2, 2)),
        ("UPDATE events SET description = 'Piano'".to_owned(), (2, 2)),
        ("DELETE FROM events".to_owned(), (0, 0)),
    ] {
        store.run_sql(&statement).await.unwrap();
        assert_eq!(totals(&store).await, expected, "{statement}");
        let found = store.audit.inconsistencies().await.unwrap();
        assert!(!found.iter().any(of_the_programme), "{statement}: {found:?}");
    }
}

async fn the_programme_follows_changes_at_once(store: Arc<Store>) {
    let events = all_at_once((0..4).map(|_| {
        let store = Arc::clone(&store);
        async move { store.event(1).await.id }
    }))
    .await;
    let users = store.users(4).await;
    all_at_once((0..32).map(|number| {
        let (store, event, user) = (Arc::clone(&store), events[number % 4], users[number % 3]);
        async move {
            // The first command at a row succeeds; the counts do not depend on which it was.
            match number % 5 {
                0 => drop(store.cancel(user, event).await),
                1 => drop(store.event(1).await),
                _ => drop(store.book(user, event).await),
            }
        }
    }))
    .await;
    store.delete(events[0]).await;
    store.assert_consistent().await;
}

async fn every_total_is_that_of_the_rows(store: Arc<Store>) {
    let mut dice = Dice::new();
    let instants = [
        "2030-02-28T23:59:59.999999Z",
        "2030-03-01T00:00:00Z",
        "2030-03-01T12:00:00.5Z",
        "2030-03-31T00:00:00Z",
        "2030-12-31T23:59:59Z",
        "2033-01-01T00:00:00Z",
        "2999-06-01T06:00:00Z",
    ]
    .map(at);
    for number in 0..40 {
        let mut draft = store.draft(if number % 3 == 0 { "Jazz" } else { "Opera" }, 1);
        draft.starts_at = StartsAt::new(instants[dice.below(instants.len())], store.now()).unwrap();
        let event = store.add_event(draft).await.id;
        if number % 4 == 0 {
            store.book(store.user().await.id, event).await.unwrap();
        }
    }
    let bounds: Vec<_> = std::iter::once(None).chain(instants.map(Some)).collect();
    for from in &bounds {
        for to in &bounds {
            for (available_only, search) in [(false, None), (true, None), (false, Some("jazz")), (true, Some("opera"))]
            {
                let search = search.and_then(|raw| TitleSearch::parse(raw).unwrap());
                let filter = EventFilter { search, from: *from, to: *to, available_only, order: EventOrder::default() };
                // Compares the total with the number of rows.
                store.listed(&filter).await;
            }
        }
    }
}

async fn a_cached_total_is_not_answered_after_a_change(store: Arc<Store>) {
    let filter = EventFilter { search: TitleSearch::parse("concert").unwrap(), ..EventFilter::default() };
    let mut events = Vec::new();
    for number in 0..5 {
        assert_eq!(ids(&store, &filter).await, events);
        assert_eq!(store.events.list(&filter, page(2, 100)).await.unwrap().total, number);
        events.push(store.event(1).await.id);
    }
    store.run_sql(&format!("DELETE FROM events WHERE id = {}", events[0])).await.unwrap();
    assert_eq!(ids(&store, &filter).await, events[1..]);
    let title = Some(domain::EventTitle::parse("Ballet").unwrap());
    store.update(events[1], EventPatch { title, ..EventPatch::default() }).await.unwrap();
    assert_eq!(ids(&store, &filter).await, events[2..]);
}

async fn a_page_from_the_far_end_is_the_same_page(store: Arc<Store>) {
    for (date, rows) in [("2032-01-01", 2_500), ("2031-01-01", 2_500), ("2033-01-01", 2_000)] {
        let insert = format!(
            "INSERT INTO events (title, date, venue, total_seats, available_seats) \
             WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < {rows} - 1) \
             SELECT 'Event ' || n % 7, '{date}T00:00:00+00:00', 'Opera', 10, n % 5 FROM numbers"
        );
        store.run_sql(&insert).await.unwrap();
    }
    for order in ["date", "-date", "title", "-title", "available_seats", "-available_seats"] {
        let filter = EventFilter { order: EventOrder::parse(order).unwrap(), ..EventFilter::default() };
        let mut all = Vec::new();
        for number in 1..=70 {
            let page = store.events.list(&filter, PageRequest { number, size: 100 }).await.unwrap();
            assert_eq!((page.total, page.rows.len()), (7_000, 100), "{order}, page {number}");
            all.extend(page.rows.iter().cloned());
        }
        let sorted = all.windows(2).all(|pair| {
            let by = match filter.order.by {
                domain::EventSort::Date => pair[0].starts_at.cmp(&pair[1].starts_at),
                domain::EventSort::Title => pair[0].title.folded().cmp(&pair[1].title.folded()),
                domain::EventSort::AvailableSeats => pair[0].seats.available().cmp(&pair[1].seats.available()),
            };
            let by = if filter.order.descending { by.reverse() } else { by };
            by.then(pair[0].id.cmp(&pair[1].id)).is_lt()
        });
        assert!(sorted, "{order}");
    }
}

async fn counts_that_were_tampered_with_are_named(store: Arc<Store>) {
    store.event(1).await;
    store.run_sql("UPDATE programme_counts SET standing = standing + 1 WHERE scale = 5").await.unwrap();
    let found = store.audit.inconsistencies().await.unwrap();
    assert!(matches!(&found[..], [Inconsistency::Count(wrong)] if wrong.days == 32 && wrong.excess == 1), "{found:?}");
    for statement in ["DELETE FROM programme_counts", "INSERT INTO programme_counts SELECT * FROM programme_counted"] {
        store.run_sql(statement).await.unwrap();
    }
    store.assert_consistent().await;
}

fn of_the_programme(found: &Inconsistency) -> bool {
    !matches!(found, Inconsistency::Seats(_))
}

/// How many events stand, and how many of them have seats.
async fn totals(store: &Store) -> (u64, u64) {
    let open = EventFilter { available_only: true, ..EventFilter::default() };
    (store.listed(&EventFilter::default()).await.len() as u64, store.listed(&open).await.len() as u64)
}

async fn ids(store: &Store, filter: &EventFilter) -> Vec<EventId> {
    store.listed(filter).await.iter().map(|event| event.id).collect()
}

//! Failures that clients do not notice, because the program retries.

use std::time::Duration;

use sea_orm::ConnectionTrait;

use super::postgres::END_ALL;
use crate::harness::server::Site;
use crate::harness::store::connect_past;
use crate::harness::until;

/// The `deadlock_timeout` of the booking: a session that waits for a lock looks for a deadlock after this time, once.
/// By then the operator has closed the circle, and the lock timeout of a booking has not passed.
const LOOKS_AFTER: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn a_booking_that_postgres_ends_to_break_a_deadlock_is_made_all_the_same() {
    let site = Site::migrated().await;
    let url = site.database_url();
    let name = url.rsplit_once('/').unwrap().1;
    site.run_sql(&format!("ALTER DATABASE {name} SET deadlock_timeout = {}", LOOKS_AFTER.as_millis())).await;
    let api = site.start().await;
    let admin = api.admin().await;
    let event = api.event(&admin, 5).await;
    let person = api.new_user().await;
    let operator = connect_past(&url).await;
    let watch = connect_past(&url).await;

    // The booking holds the event's row lock and waits for the user's; the operator holds and waits the other way
    // round. Only the booking looks for a deadlock in time, so Postgres ends the booking.
    operator.execute_unprepared("SET lock_timeout = '30s'; SET deadlock_timeout = '30s'").await.unwrap();
    operator.execute_unprepared("BEGIN").await.unwrap();
    operator.execute_unprepared(&format!("SELECT id FROM users WHERE id = {} FOR UPDATE", person.id)).await.unwrap();
    let booking = api.book(event, &person);
    let circle = async {
        let waits = "SELECT 1 / (SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND application_name = 'boxoffice' AND wait_event_type = 'Lock')";
        until("the booking to wait for the user", async || watch.execute_unprepared(waits).await.is_ok()).await;
        operator.execute_unprepared(&format!("UPDATE events SET venue = 'Foyer' WHERE id = {event}")).await.unwrap();
        operator.execute_unprepared("COMMIT").await.unwrap();
    };
    let (booked, ()) = tokio::join!(booking, circle);
    booked.expect(201);
    let detail = api.detail(event).await;
    assert_eq!((&detail["registration_count"], &detail["venue"]), (&1.into(), &"Foyer".into()));
    let metrics = api.get("/metrics").send().await.text();
    assert!(
        metrics.contains(r#"database_retries_total{operation="seat_commands",reason="yielded"}"#),
        "there was no retry"
    );
    operator.close().await.unwrap();
    watch.close().await.unwrap();
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_ended_between_two_requests_are_not_noticed() {
    let site = Site::migrated().await;
    let api = site.start().await;
    let admin = api.admin().await;
    let event = api.event(&admin, 50).await;
    let detail = format!("/api/events/{event}");
    let operator = connect_past(&site.database_url()).await;
    for person in api.people(20).await {
        // These reads use all connections, so the pool tests none of them before the next use.
        let reads = (0..8).map(|page| format!("/api/events?page={}", page + 1));
        for answer in futures_util::future::join_all(reads.map(|path| api.get(&path).send())).await {
            answer.expect(200);
        }
        api.book(event, &person).await.expect(201);
        operator.execute_unprepared(END_ALL).await.unwrap();
        let (read, cancelled) = tokio::join!(api.get(&detail).send(), api.cancel(event, &person));
        read.expect(200);
        cancelled.expect(200);
    }
    operator.close().await.unwrap();
    api.stop().await;
}

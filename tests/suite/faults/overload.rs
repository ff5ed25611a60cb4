//! More requests than the program can serve: short requests are answered all the same.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use sea_orm::ConnectionTrait;

use super::ledger::ANSWERED_WITHIN;
use crate::harness::server::Site;
use crate::harness::store::connect_past;
use crate::harness::until;

/// The longest time of a short request on a busy machine. One that waits for a lock or a connection takes four seconds
/// or more.
const SHORT: Duration = Duration::from_secs(3);

/// A lock blocks the lists, of which there are several times as many as connections.
#[tokio::test(flavor = "multi_thread")]
async fn lists_that_take_long_leave_details_bookings_and_readiness_alone() {
    let site = Site::migrated().await.with("DATABASE_POOL_SIZE", "10");
    let api = site.start().await;
    let admin = api.admin().await;
    let event = api.event(&admin, 50).await;
    let other = api.event(&admin, 50).await;
    api.detail(event).await;
    let operator = connect_past(&site.database_url()).await;
    operator.execute_unprepared("BEGIN; LOCK TABLE registrations").await.unwrap();
    let watch = connect_past(&site.database_url()).await;
    let lists = join_all((1..=40).map(|page| {
        let path = format!("/api/events/{event}/registrations?page={page}");
        api.get(&path).by(&admin).send()
    }));
    let short = async {
        // Half of the pool reads, and lists leave two of its connections to others.
        let waits = "SELECT 1 / (count(*) / 3) FROM pg_stat_activity
            WHERE datname = current_database() AND application_name = 'boxoffice' AND wait_event_type = 'Lock'";
        until("lists to have all connections they can get", async || watch.execute_unprepared(waits).await.is_ok())
            .await;
        for path in [&format!("/api/events/{event}"), "/health/ready", "/health/live", "/metrics"] {
            let asked = Instant::now();
            api.get(path).send().await.expect(200);
            assert!(asked.elapsed() < SHORT, "{path} took {:?}", asked.elapsed());
        }
        let asked = Instant::now();
        api.put(&format!("/api/events/{other}"), &serde_json::json!({ "venue": "Foyer" }))
            .by(&admin)
            .send()
            .await
            .expect(200);
        assert!(asked.elapsed() < SHORT, "a write took {:?}", asked.elapsed());
    };
    let asked = Instant::now();
    let (lists, ()) = tokio::join!(lists, short);
    for answer in lists {
        let refused = answer.expect_problem(503, "unavailable");
        assert!((1..=30).contains(&refused.header("retry-after").parse::<u64>().unwrap()));
    }
    assert!(asked.elapsed() < ANSWERED_WITHIN, "it took {:?}", asked.elapsed());
    operator.execute_unprepared("COMMIT").await.unwrap();
    operator.close().await.unwrap();
    watch.close().await.unwrap();
    api.get(&format!("/api/events/{event}/registrations")).by(&admin).send().await.expect(200);
    api.stop().await;
}

/// More readiness checks than connections, while all connections are taken.
#[tokio::test(flavor = "multi_thread")]
async fn readiness_is_answered_in_time_while_every_connection_is_taken() {
    let site = Site::migrated().await.with("DATABASE_POOL_SIZE", "2");
    let api = site.start().await;
    let admin = api.admin().await;
    let event = api.event(&admin, 50).await;
    let detail = format!("/api/events/{event}");
    let stop = tokio::sync::watch::Sender::new(false);
    let readers = (0..64).map(|_| async {
        while !*stop.borrow() {
            api.get(&detail).send().await.expect(200);
        }
    });
    let operators = async {
        for _ in 0..10 {
            let asked = Instant::now();
            for answer in join_all((0..20).map(|_| api.get("/health/ready").send())).await {
                answer.expect(200);
            }
            assert!(asked.elapsed() < SHORT, "it took {:?}", asked.elapsed());
        }
        stop.send_replace(true);
    };
    tokio::join!(join_all(readers), operators);
    api.stop().await;
}

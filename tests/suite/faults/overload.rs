//! More than can be done: whoever asks for little gets it all the same.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use sea_orm::ConnectionTrait;
use tokio::time::sleep;

use super::ledger::ANSWERED_WITHIN;
use crate::harness::server::Site;
use crate::harness::store::connect_past;

/// How long what is short may take while what is long takes all it may.
const SHORT: Duration = Duration::from_secs(1);

/// Lists that nobody can answer, as many as there are connections several times over.
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
    let lists = join_all((1..=40).map(|page| {
        let path = format!("/api/events/{event}/registrations?page={page}");
        api.get(&path).by(&admin).send()
    }));
    let short = async {
        // Until they have all they can get.
        sleep(Duration::from_millis(300)).await;
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
    api.get(&format!("/api/events/{event}/registrations")).by(&admin).send().await.expect(200);
    api.stop().await;
}

/// More who ask whether the database is well than there are connections, while all are taken.
#[tokio::test(flavor = "multi_thread")]
async fn readiness_is_told_in_time_while_every_connection_is_taken_and_somebody_is_answered() {
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

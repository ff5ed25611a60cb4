//! The answers and their times, for each state of Postgres and Redis. `docs/trouble.md` has the table.

use std::fmt::Write;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;
use tokio::sync::Barrier;

use crate::harness::proxy::{Proxy, Toxic};
use crate::harness::server::{Answer, PASSWORD, Person, Request, Site};

/// How much later than usual everything arrives over a slow line, in either direction.
const SLOW: Duration = Duration::from_millis(20);

/// How long any answer may take.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);

/// How long a readiness check may take.
const CHECKED_WITHIN: Duration = Duration::from_secs(2);

/// The requests to an instance in each state.
const REQUESTS: [&str; 7] = ["read", "list", "book", "admin write", "log in", "ready", "live"];

const POSTGRES: [(&str, Toxic); 4] =
    [("up", Toxic::None), ("slow", Toxic::Latency(SLOW)), ("frozen", Toxic::BlackHole), ("down", Toxic::Reset)];

const REDIS: [(&str, Toxic); 4] =
    [("up", Toxic::None), ("slow", Toxic::Latency(SLOW)), ("frozen", Toxic::BlackHole), ("down", Toxic::Reset)];

/// The status of an answer, and the worst time of several.
type Cell = (u16, Duration);

#[tokio::test(flavor = "multi_thread")]
async fn every_state_of_postgres_and_redis_has_the_answers_that_are_promised() {
    let together = &Barrier::new(POSTGRES.len() * REDIS.len());
    let states = POSTGRES.iter().flat_map(|postgres| REDIS.iter().map(move |redis| (postgres, redis)));
    let rows = states.map(|((postgres, database), (redis, cache))| async move {
        let cells = measure(*database, *cache, together).await;
        for (request, (status, took)) in REQUESTS.iter().zip(&cells) {
            let here = format!("{request} with Postgres {postgres} and Redis {redis}: {status} after {took:?}");
            let works = ["up", "slow"].contains(postgres) || *request == "live";
            assert_eq!(
                *status,
                if !works {
                    503
                } else if *request == "book" {
                    201
                } else {
                    200
                },
                "{here}"
            );
            assert!(*took < if *request == "ready" { CHECKED_WITHIN } else { ANSWERED_WITHIN }, "{here}");
        }
        row(postgres, redis, &cells)
    });
    let rows = join_all(rows.collect::<Vec<_>>()).await;
    let head = format!("| Postgres | Redis | {} |\n|---|---|{}\n", REQUESTS.join(" | "), "---|".repeat(REQUESTS.len()));
    eprintln!("{head}{}", rows.concat());
}

/// Sends all requests to an instance at once, three times, with its lines in these states.
async fn measure(database: Toxic, cache: Toxic, together: &Barrier) -> Vec<Cell> {
    let site = Site::migrated().await;
    let (to_postgres, database_url) = Proxy::on_the_way_to(&site.database_url()).await;
    let (to_redis, redis_url) = Proxy::on_the_way_to(&site.redis.as_ref().unwrap().url()).await;
    let site = site.with("DATABASE_URL", &database_url).with("REDIS_URL", &redis_url).with("DATABASE_POOL_SIZE", "6");
    let api = site.start().await;
    let admin = api.admin().await;
    let event = api.event(&admin, 1_000).await;
    let people = api.people(3).await;
    api.detail(event).await;
    // Measure only when all instances have started.
    together.wait().await;
    to_postgres.set(database);
    to_redis.set(cache);

    let detail = format!("/api/events/{event}");
    let requests = |person: &Person| -> [Request; 7] {
        [
            api.get(&detail),
            api.get("/api/events"),
            api.request(reqwest::Method::POST, &format!("{detail}/register")).by(person),
            api.put(&detail, &json!({ "venue": person.email })).by(&admin),
            api.post("/api/auth/login", &json!({ "email": person.email, "password": PASSWORD })),
            api.get("/health/ready"),
            api.get("/health/live"),
        ]
    };
    let rounds = people.iter().map(|person| join_all(requests(person).map(timed)));
    let rounds = join_all(rounds).await;
    to_postgres.mend();
    to_redis.mend();
    api.stop().await;
    (0..REQUESTS.len())
        .map(|request| {
            let answers: Vec<_> = rounds.iter().map(|round| &round[request]).collect();
            let told: Vec<_> = answers.iter().map(|(answer, took)| (answer.status, took, answer.text())).collect();
            assert!(told.iter().all(|(status, ..)| *status == told[0].0), "{database:?}, {cache:?}: {told:?}");
            (answers[0].0.status, answers.iter().map(|(_, took)| *took).max().unwrap())
        })
        .collect()
}

async fn timed(request: Request) -> (Answer, Duration) {
    let asked = Instant::now();
    (request.send().await, asked.elapsed())
}

fn row(postgres: &str, redis: &str, cells: &[Cell]) -> String {
    let mut row = format!("| {postgres} | {redis} |");
    for (status, took) in cells {
        write!(row, " {status}, {:.2} s |", took.as_secs_f64()).unwrap();
    }
    row.push('\n');
    row
}

//! Which server the program writes to, while servers, their names and their sessions change.

use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::time::sleep;

use super::postgres::END_ALL;
use crate::harness::postgres::{PostgresDatabase, PostgresServer, ask, execute};
use crate::harness::proxy::Proxy;
use crate::harness::server::{Instance, PASSWORD, Person, Site};

/// How long after a promotion, or after the end of a fault, all requests succeed at the latest.
const HEALS_WITHIN: Duration = Duration::from_secs(10);

/// How soon readiness reports a database that takes no writes, without any traffic.
const NOTICED_WITHIN: Duration = Duration::from_secs(5);

/// How long a readiness check may take.
const CHECKED_WITHIN: Duration = Duration::from_secs(2);

/// How many people book at once.
const CROWD: usize = 60;

/// Polls until the condition holds, and fails if it takes longer.
async fn within(time: Duration, what: &str, mut so: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !so().await {
        assert!(begun.elapsed() < time, "not within {time:?}: {what}");
        sleep(Duration::from_millis(50)).await;
    }
}

async fn ready(api: &Instance) -> u16 {
    let asked = Instant::now();
    let status = api.get("/health/ready").send().await.status;
    assert!(asked.elapsed() < CHECKED_WITHIN, "readiness took {:?}", asked.elapsed());
    status
}

/// Waits until the instance is ready and books for this user.
async fn heals(api: &Instance, event: u64, person: &Person) {
    let begun = Instant::now();
    within(HEALS_WITHIN, "a booking", async || api.book(event, person).await.status == 201).await;
    within(HEALS_WITHIN.saturating_sub(begun.elapsed()), "readiness", async || ready(api).await == 200).await;
}

/// The URL of several servers.
fn of_all<'a>(addresses: impl IntoIterator<Item = &'a str>) -> String {
    format!("postgres://postgres:s3cret@{}/postgres", addresses.into_iter().collect::<Vec<_>>().join(","))
}

/// The error that stops a start, as in the log.
async fn refusal(site: &Site) -> String {
    let Err(error) = site.try_start().await else { panic!("it starts") };
    let line = format!("{error:#}");
    assert!(line.starts_with("DATABASE_URL: ") && !line.contains('\n') && !line.contains("s3cret"), "{line}");
    line
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_was_read_only_for_a_while_is_written_to_again() {
    let mut site = Site::breakable().await;
    let api = site.start().await;
    let admin = api.admin().await;
    let event = api.event(&admin, 10).await;
    let people = api.people(2).await;
    let url = site.database_url();

    let read_only = "ALTER DATABASE postgres SET default_transaction_read_only = on";
    execute(&url, &[read_only, END_ALL]).await;
    within(NOTICED_WITHIN, "readiness tells", async || ready(&api).await == 503).await;
    api.book(event, &people[0]).await.expect_problem(503, "unavailable");
    // Its reads are up to date.
    assert_eq!(api.detail(event).await["available_seats"], 10);

    let reset = "ALTER DATABASE postgres RESET default_transaction_read_only";
    execute(&url, &["SET default_transaction_read_only = off", reset]).await;
    heals(&api, event, &people[0]).await;
    api.log_in(&admin.email, PASSWORD).await.expect(200);

    // The sessions stay, but cannot write any more.
    site.postgres().set("default_transaction_read_only", "on").await;
    within(NOTICED_WITHIN, "readiness tells", async || ready(&api).await == 503).await;
    api.book(event, &people[1]).await.expect_problem(503, "unavailable");
    site.postgres().set("default_transaction_read_only", "off").await;
    heals(&api, event, &people[1]).await;
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_that_writes_is_found_through_two_failovers() {
    let mut site = Site::breakable().await;
    let second = site.postgres().standby().await;
    // One host accepts connections and never answers; at port 1 no server listens.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = silent.local_addr().unwrap().to_string();
    let first = site.postgres().address();
    let (to_third, third_url) = Proxy::on_the_way_to(&second.url()).await;
    let third = third_url.rsplit_once('@').unwrap().1.split_once('/').unwrap().0.to_owned();
    let url = of_all([silent.as_str(), "127.0.0.1:1", &third, &first, &second.address()]);
    let mut site = site.with("DATABASE_URL", &url);

    let api = site.start().await;
    let admin = api.admin().await;
    let event = api.event(&admin, 100).await;
    let people = api.people(3).await;
    api.book(event, &people[0]).await.expect(201);
    second.has_caught_up_with(site.postgres()).await;

    site.postgres().stop_immediately();
    second.promote().await;
    heals(&api, event, &people[1]).await;
    assert_eq!(api.detail(event).await["available_seats"], 98);

    // The old primary starts again and takes writes as well.
    site.postgres().start_again().await;
    let mut second = second;
    let third = second.standby().await;
    to_third.lead_to(&third.address());
    assert_eq!(api.detail(event).await["available_seats"], 98);
    second.stop_immediately();
    third.promote().await;
    heals(&api, event, &people[2]).await;
    assert_eq!(api.detail(event).await["available_seats"], 97);
    let booked = "SELECT CAST(COUNT(*) AS text) FROM registrations";
    assert_eq!(ask(&site.postgres().url(), booked).await, "1", "the old primary was written to");

    // An instance that starts now has seen neither failover.
    let again = site.start().await;
    assert_eq!(again.detail(event).await["available_seats"], 97);
    again.stop().await;
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_finds_the_host_that_writes() {
    let mut site = Site::breakable().await;
    let standby = site.postgres().standby().await;
    let url = of_all([standby.address().as_str(), &site.postgres().address()]);
    let site = site.with("DATABASE_URL", &url);
    let admin = ["create-admin", "--email", "grace@example.com", "--password", "a password of hers"];
    for command in [&["migrate", "up"][..], &["seed"], &admin, &["check"]] {
        let ended = site.run_command(command).await;
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success(), "{command:?}: {said}");
        assert!(!said.contains("s3cret"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_leads_elsewhere_is_followed_to_the_server_that_writes() {
    let mut site = Site::breakable().await;
    let standby = site.postgres().standby().await;
    let (name, url) = Proxy::on_the_way_to(&site.database_url()).await;
    let mut site = site.with("DATABASE_URL", &url);
    let api = site.start().await;
    let admin = api.admin().await;
    let event = api.event(&admin, 10).await;
    let people = api.people(3).await;
    api.book(event, &people[0]).await.expect(201);
    standby.has_caught_up_with(site.postgres()).await;

    // The sessions stay at the old primary, which still runs.
    standby.cut_off().await;
    name.lead_to(&standby.address());
    within(NOTICED_WITHIN, "readiness tells of a standby", async || ready(&api).await == 503).await;
    api.get(&format!("/api/events/{event}")).send().await.expect_problem(503, "unavailable");
    standby.promote().await;
    heals(&api, event, &people[1]).await;
    assert_eq!(api.detail(event).await["available_seats"], 8);

    // The name leads back, and every session ends: only the old primary is reachable, which the program refuses.
    name.lead_to(&site.postgres().address());
    execute(&standby.url(), &[END_ALL]).await;
    within(NOTICED_WITHIN, "readiness tells of an old primary", async || ready(&api).await == 503).await;
    api.get(&format!("/api/events/{event}")).send().await.expect_problem(503, "unavailable");
    api.book(event, &people[2]).await.expect_problem(503, "unavailable");
    let booked = "SELECT CAST(COUNT(*) AS text) FROM registrations";
    assert_eq!(ask(&site.postgres().url(), booked).await, "1", "the old primary was written to");

    name.lead_to(&standby.address());
    heals(&api, event, &people[2]).await;
    assert_eq!(api.detail(event).await["available_seats"], 7);
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_primary_that_thaws_is_neither_read_nor_written_to() {
    let mut site = Site::breakable().await;
    let standby = site.postgres().standby().await;
    let url = of_all([site.postgres().address().as_str(), &standby.address()]);
    let mut site = site.with("DATABASE_URL", &url);
    let api = site.start().await;
    let admin = api.admin().await;
    let event = api.event(&admin, 10).await;
    let people = api.people(3).await;
    api.book(event, &people[0]).await.expect(201);
    standby.has_caught_up_with(site.postgres()).await;

    site.postgres().freeze();
    standby.promote().await;
    heals(&api, event, &people[1]).await;
    site.postgres().thaw();
    for _ in 0..20 {
        assert_eq!(api.detail(event).await["available_seats"], 8);
    }
    api.book(event, &people[2]).await.expect(201);
    let booked = "SELECT CAST(COUNT(*) AS text) FROM registrations";
    assert_eq!(ask(&standby.url(), booked).await, "3");
    assert_eq!(ask(&site.postgres().url(), booked).await, "1", "the old primary was written to");
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_grants_few_connections_is_worked_with() {
    let mut site = Site::breakable().await;
    let owner = site.postgres().url();
    execute(
        &owner,
        &[
            "CREATE ROLE few LOGIN CONNECTION LIMIT 4",
            "ALTER DATABASE postgres OWNER TO few",
            "ALTER SCHEMA public OWNER TO few",
        ],
    )
    .await;
    let url = owner.replace("postgres@", "few@");
    let site = site.with("DATABASE_URL", &url).with("DATABASE_POOL_SIZE", "10").with("ADMIN_PORT", "0");
    let api = site.start().await;
    let admin = api.admin().await;
    let event = api.event(&admin, 1000).await;
    let people = api.people(CROWD).await;
    let asked = people.iter().flat_map(|person| {
        let (api, person) = (&api, person);
        let detail = format!("/api/users/me/registrations?limit={}", 1 + person.id % 100);
        [
            Box::pin(async move { api.book(event, person).await.status })
                as std::pin::Pin<Box<dyn Future<Output = u16> + '_>>,
            Box::pin(async move { api.get(&detail).by(person).send().await.status }),
        ]
    });
    let told = futures_util::future::join_all(asked).await;
    assert!(told.iter().all(|status| matches!(status, 200 | 201)), "{told:?}");

    // The program uses more connections as soon as the server grants them.
    execute(&owner, &["ALTER ROLE few CONNECTION LIMIT 40"]).await;
    let operators = api.for_operators();
    within(Duration::from_secs(30), "all connections are made use of", async || {
        let state = operators.get("/health/ready").send().await.json();
        state["load"]["pools"].as_array().unwrap().iter().map(|pool| pool["max"].as_u64().unwrap()).sum::<u64>() == 10
    })
    .await;
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_cannot_be_written_to_stop_the_start_in_a_line() {
    let mut site = Site::breakable().await;
    let standby = site.postgres().standby().await;
    let site = site.with("DATABASE_URL", &of_all([standby.address().as_str(), "127.0.0.1:1"]));
    let line = refusal(&site).await;
    assert!(line.contains(&format!("{}: the server is a standby", standby.address())), "{line}");
    assert!(line.contains("127.0.0.1:1: connection refused"), "{line}");

    let (begun, patience) = (Instant::now(), Duration::from_secs(5));
    let site = site.with("DATABASE_URL", &of_all(["127.0.0.1:1"])).with("DATABASE_ACQUIRE_TIMEOUT", "5s");
    let line = refusal(&site).await;
    assert!(line.ends_with("127.0.0.1:1: connection refused"), "{line}");
    assert!(begun.elapsed() < patience, "the start waited for a server that is not there: {:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_list_of_hosts_stops_the_start_in_a_line() {
    let mut site = Site::migrated().await;
    for hosts in ["a:x,b:1", "a:1,,b:1", "a:1,b:70000"] {
        site = site.with("DATABASE_URL", &of_all([hosts]));
        refusal(&site).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_not_utf8_stops_the_start_in_a_line() {
    for encoding in ["SQL_ASCII", "LATIN1"] {
        let database = PostgresDatabase::encoded_in(encoding).await;
        let site = Site::migrated().await.with("DATABASE_URL", &database.url());
        let line = refusal(&site).await;
        assert!(line.contains(encoding) && line.contains("ENCODING 'UTF8'"), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_shares_sessions_stops_the_start_in_a_line() {
    let server = PostgresServer::start().await;
    let ignored = "pool_mode = transaction\nignore_startup_parameters = options, extra_float_digits";
    for (settings, said) in [("pool_mode = transaction", "PgBouncer"), (ignored, "ignore_startup_parameters")] {
        let pooler = server.pooler(settings).await;
        let line = refusal(&Site::migrated().await.with("DATABASE_URL", &pooler.url())).await;
        assert!(line.contains(said) && line.contains("name Postgres itself"), "{line}");
    }
    // The session's timeouts happen to be the wanted ones.
    execute(&server.url(), &["ALTER DATABASE postgres SET lock_timeout = '4s'"]).await;
    let pooler = server.pooler(ignored).await;
    let line = refusal(&Site::migrated().await.with("DATABASE_URL", &pooler.url())).await;
    assert!(line.contains("pool_mode = session"), "{line}");
}

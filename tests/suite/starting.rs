//! How instances start, alone and together, what stops a start, and how they end.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use adapter_sql::{Sql, SqlOptions};
use futures_util::future::join_all;
use serde_json::json;
use tokio::task::spawn_blocking;

use crate::first_hour::assert_no_chatter;
use crate::harness::server::{Instance, PASSWORD, Person, Site, Stack};
use crate::harness::{all_at_once, until};
use crate::stories::on_both_stacks;

#[tokio::test(flavor = "multi_thread")]
async fn instances_that_start_together_on_an_empty_postgres_database_all_serve() {
    start_together(Site::new(Stack::Full).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_that_start_together_on_no_sqlite_file_all_serve() {
    start_together(Site::new(Stack::Embedded).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_postgres_database_that_may_not_be_migrated_stops_the_start() {
    refuse_a_database_that_is_behind(Site::new(Stack::Full).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_sqlite_file_that_may_not_be_migrated_stops_the_start() {
    refuse_a_database_that_is_behind(Site::new(Stack::Embedded).await).await;
}

on_both_stacks!(
    an_admin_whose_address_is_an_ordinary_account_stops_the_start,
    an_existing_admin_is_not_changed,
    a_stop_waits_for_the_log_ins_in_flight,
    a_stop_waits_for_the_rest_of_a_request,
);

async fn an_admin_whose_address_is_an_ordinary_account_stops_the_start(site: Site) {
    let api = site.start().await;
    let ada = api.new_user().await;
    api.stop().await;

    let site = site.with("ADMIN_EMAIL", &ada.email.to_uppercase());
    let line = refusal(&site).await;
    assert!(line.contains("ADMIN_EMAIL") && line.contains(&ada.email), "{line}");

    // The account did not become an admin.
    let site = site.with("ADMIN_EMAIL", "").with("ADMIN_PASSWORD", "");
    let api = site.start().await;
    let me = api.get("/api/users/me").by(&ada).send().await.expect(200).json();
    assert_eq!(me["role"], "user");
    api.post("/api/events", &json!({})).by(&ada).send().await.expect_problem(403, "forbidden");
    api.stop().await;
}

async fn an_existing_admin_is_not_changed(site: Site) {
    let first = site.start().await;
    let admin = first.admin().await;
    let changed = json!({ "name": "Grace" });
    first.put("/api/users/me", &changed).by(&admin).send().await.expect(200);
    first.stop().await;

    let site = site.with("ADMIN_PASSWORD", "another password");
    let again = site.start().await;
    let same = again.admin().await;
    assert_eq!(same.id, admin.id);
    let other = json!({ "email": admin.email, "password": "another password" });
    again.post("/api/auth/login", &other).send().await.expect_problem(401, "invalid_credentials");
    let me = again.get("/api/users/me").by(&admin).send().await.expect(200).json();
    assert_eq!((&me["name"], &me["role"]), (&json!("Grace"), &json!("admin")));
    again.stop().await;
}

async fn a_stop_waits_for_the_log_ins_in_flight(site: Site) {
    // Each takes a core about a quarter of a second.
    let site = site.with("BCRYPT_COST", "12");
    let api = site.start().await;
    let admin = api.admin().await;
    let body = json!({ "email": admin.email, "password": PASSWORD }).to_string();
    let log_ins = join_all((0..5).map(|_| InFlight::begin(&api, "POST /api/auth/login", None, &body))).await;
    let answers = log_ins.into_iter().map(InFlight::finish).collect::<Vec<_>>();
    let (answers, ()) = tokio::join!(join_all(answers), api.stop());
    for answer in answers {
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("refresh_token"), "{answer}");
    }
}

async fn a_stop_waits_for_the_rest_of_a_request(site: Site) {
    let site = site.with("ADMIN_PORT", "0");
    let api = site.start().await;
    let operators = api.for_operators();
    let admin = api.admin().await;
    let event = api.event(&admin, 3).await;
    let booking = InFlight::begin(&api, &format!("POST /api/events/{event}/register"), Some(&admin), "{}").await;
    let address = api.base().trim_start_matches("http://").to_owned();
    let stop = tokio::spawn(api.stop());
    until("no new connection is accepted", async || TcpStream::connect(&address).is_err()).await;
    assert!(!stop.is_finished());
    // The port for operators still answers.
    operators.get("/health/live").send().await.expect(200);
    assert_eq!(operators.get("/health/ready").send().await.expect(503).json()["stopping"], true);
    let answer = booking.finish().await;
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    stop.await.unwrap();
    assert!(TcpStream::connect(operators.base().trim_start_matches("http://")).is_err());

    let again = site.start().await;
    assert_eq!(again.detail(event).await["registration_count"], 1);
    again.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_made_in_development_is_kept_beside_the_database_and_shared() {
    let site = Arc::new(Site::new(Stack::Embedded).await.with("JWT_SECRET", ""));
    let [a, b] = Box::pin(start_both(&site)).await;
    let ada = a.new_user().await;
    b.get("/api/users/me").by(&ada).send().await.expect(200);
    let file = PathBuf::from(format!("{}.jwt-secret", site.database_url().trim_start_matches("sqlite://")));
    let kept = fs::read_to_string(&file).unwrap();
    assert!(kept.trim_end().len() >= 32);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o077, 0, "others can read it");
    a.stop().await;
    b.stop().await;

    let later = site.start().await;
    later.get("/api/users/me").by(&ada).send().await.expect(200);
    assert_eq!(fs::read_to_string(&file).unwrap(), kept);
    later.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_made_up_outside_of_development_with_sqlite() {
    let postgres = Site::migrated().await.with("JWT_SECRET", "");
    let production = Site::new(Stack::Embedded)
        .await
        .with("JWT_SECRET", "")
        .with("BOXOFFICE_ENV", "production")
        .with("BCRYPT_COST", "10");
    for site in [postgres, production] {
        let line = refusal(&site).await;
        assert!(line.starts_with("JWT_SECRET: "), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_only_looks_makes_no_sqlite_file() {
    let site = Site::new(Stack::Embedded).await;
    for command in [&["check"][..], &["migrate", "status"], &["migrate", "down"]] {
        let done = site.run_command(command).await;
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(1), "{said}");
        assert!(said.contains("DATABASE_URL: there is no database at "), "{said}");
        assert_eq!(fs::read_dir(site.folder()).unwrap().count(), 0, "{command:?}");
    }
    for (command, said) in
        [(&["migrate"][..], "applied"), (&["migrate", "status"][..], "applied"), (&["check"][..], "consistent")]
    {
        let done = site.run_command(command).await;
        assert!(done.status.success() && String::from_utf8_lossy(&done.stdout).contains(said), "{done:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_on_postgres_hides_no_line_among_notices() {
    let site = Site::new(Stack::Full).await;
    for first in [true, false] {
        let program = site.start_process().await;
        assert_no_chatter(&program.log());
        assert_eq!(program.log().contains("changes made"), first, "{}", program.log());
    }
}

/// Four instances at once: all serve, as one service.
async fn start_together(site: Site) {
    let site = Arc::new(site);
    let starts = (0..4).map(|_| {
        let site = site.clone();
        async move { site.start().await }
    });
    let instances = all_at_once(starts).await;
    let admin = instances[0].admin().await;
    let event = instances[0].event(&admin, 10).await;
    for instance in &instances {
        assert_eq!(instance.admin().await.id, admin.id);
        let ada = instance.new_user().await;
        instance.book(event, &ada).await.expect(201);
    }
    for instance in instances {
        assert_eq!(instance.detail(event).await["registration_count"], 4);
        instance.stop().await;
    }
}

async fn start_both(site: &Arc<Site>) -> [Instance; 2] {
    let starts = [site.clone(), site.clone()].map(|site| async move { site.start().await });
    let Ok(both) = Box::pin(all_at_once(starts)).await.try_into() else { panic!("two starts are two instances") };
    both
}

/// With `DATABASE_MIGRATE=false` an instance serves only a database that has all migrations.
async fn refuse_a_database_that_is_behind(site: Site) {
    let site = site.with("DATABASE_MIGRATE", "false");
    let line = refusal(&site).await;
    assert!(line.contains("behind") && line.contains("boxoffice migrate"), "{line}");

    let site = site.with("DATABASE_MIGRATE", "true");
    site.start().await.stop().await;
    let site = site.with("DATABASE_MIGRATE", "false");
    site.start().await.stop().await;

    let options = SqlOptions::new(site.database_url(), 1);
    let sql = Sql::connect(&options, site.clock.clone()).await.unwrap();
    sql.migrate_down().await.unwrap();
    let status = sql.migration_status().await.unwrap();
    sql.close().await;
    let line = refusal(&site).await;
    for (name, applied) in status {
        assert_eq!(line.contains(&name), !applied, "{line}");
    }
}

/// The error that stops the start, which is one line.
async fn refusal(site: &Site) -> String {
    let Err(error) = site.try_start().await else { panic!("it started") };
    let line = format!("{error:#}");
    assert!(!line.contains('\n'), "{line}");
    line
}

/// A request whose head the server has taken, and whose body it waits for.
struct InFlight {
    stream: TcpStream,
    body: String,
}

impl InFlight {
    async fn begin(api: &Instance, line: &str, by: Option<&Person>, body: &str) -> Self {
        const GO_ON: &str = "HTTP/1.1 100 Continue\r\n\r\n";
        let address = api.base().trim_start_matches("http://").to_owned();
        let token = by.map_or(String::new(), |person| format!("Authorization: Bearer {}\r\n", person.token));
        let head = format!(
            "{line} HTTP/1.1\r\nHost: {address}\r\n{token}Content-Type: application/json\r\nContent-Length: {}\r\n\
             Connection: close\r\nExpect: 100-continue\r\n\r\n",
            body.len()
        );
        let body = body.to_owned();
        let begun = spawn_blocking(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            stream.write_all(head.as_bytes()).unwrap();
            let mut told = [0; GO_ON.len()];
            stream.read_exact(&mut told).unwrap();
            assert_eq!(String::from_utf8_lossy(&told), GO_ON);
            Self { stream, body }
        });
        begun.await.unwrap()
    }

    /// Sends the body, and reads what the server answers.
    async fn finish(mut self) -> String {
        let answered = spawn_blocking(move || {
            self.stream.write_all(self.body.as_bytes()).unwrap();
            let mut answer = String::new();
            self.stream.read_to_string(&mut answer).unwrap();
            answer
        });
        answered.await.unwrap()
    }
}

//! Instances and their crowd, from the first fault to the check of the ledger.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use adapter_sql::{Sql, SqlOptions};
use domain::ports::{History, HistoryFilter, Position};
use domain::{Fact, FactType};
use sea_orm::{ConnectionTrait, Statement};
use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::crowd::{Crowd, ask, new_key};
use super::ledger::{Entry, Finding, Loss, Outcome, SeatFact, Tables, Wish, check};
use crate::harness::clock::MovableClock;
use crate::harness::dice::Dice;
use crate::harness::proxy::Proxy;
use crate::harness::server::{Instance, Person, Site};
use crate::harness::store::connect_past;

/// How long after a fault all requests succeed again, at the latest.
pub const HEALS_WITHIN: Duration = Duration::from_secs(10);

/// Longer than any run.
const A_DAY: Duration = Duration::from_hours(24);

/// How many users there are for [waves](Service::wave).
const STRANGERS: usize = 33;

/// How many rounds of requests have to go well one after the other.
const GOOD_ROUNDS: u32 = 5;

/// Cancels all registrations, so that the next crowd finds every seat free, and forgets what was told of them.
const GIVE_ALL_BACK: &str = "BEGIN;
    UPDATE registrations SET status = 'cancelled', version = version + 1 WHERE status = 'confirmed';
    UPDATE events SET available_seats = total_seats, version = version + 1;
    DELETE FROM facts;
    DELETE FROM history;
    COMMIT";

/// Two instances and a crowd that uses both.
pub struct Service {
    pub site: Site,
    pub instances: Vec<Arc<Instance>>,
    pub admin: Person,
    /// One with seats for all users, and one with fewer.
    pub events: Vec<u64>,
    pub dice: Dice,
    crowd: Option<Crowd>,
    /// Users outside the crowd; each sends one request at a time.
    strangers: Vec<Person>,
    own: Vec<Entry>,
    /// From when until when instances were killed.
    cuts: Vec<(Instant, Instant)>,
    losses: Vec<Loss>,
}

impl Service {
    /// Two instances on a site.
    pub async fn on(site: Site) -> Self {
        let instances = vec![Arc::new(site.start().await), Arc::new(site.start().await)];
        Self::of(site, instances).await
    }

    /// Two instances whose line to Postgres can be made bad.
    pub async fn behind_a_bad_line(site: Site) -> (Self, Proxy) {
        let (proxy, url) = Proxy::on_the_way_to(&site.database_url()).await;
        let site = site.with("DATABASE_URL", &url);
        (Self::on(site).await, proxy)
    }

    /// These instances of a site.
    pub async fn of(site: Site, instances: Vec<Arc<Instance>>) -> Self {
        let mut dice = Dice::new();
        let admin = instances[0].admin().await;
        let mut events = Vec::new();
        for seats in [1_000, 5] {
            // After the tests' clock and the system's.
            let event = json!({ "total_seats": seats, "date": "2090-01-01T00:00:00Z" });
            events.push(instances[0].create(&admin, event).await["id"].as_u64().unwrap());
        }
        let strangers = instances[0].people(STRANGERS).await;
        let crowd = Crowd::gather(&instances, &events, &admin, &mut dice).await;
        let (own, cuts, losses) = (Vec::new(), Vec::new(), Vec::new());
        Self { site, instances, admin, events, dice, crowd: Some(crowd), strangers, own, cuts, losses }
    }

    /// From now on requests may have no answer: a server is killed.
    pub fn may_be_cut(&mut self) {
        self.cuts.push((Instant::now(), Instant::now() + A_DAY));
    }

    /// From now on every request has an answer again.
    pub fn is_whole_again(&mut self) {
        if let Some((_, until)) = self.cuts.last_mut() {
            *until = Instant::now();
        }
    }

    /// The commits since the standby was cut off are lost with the primary, which has ended just now.
    pub fn loses(&mut self, since: Instant, cut: Instant) {
        self.losses.push(Loss { since, cut, until: Instant::now() });
    }

    /// Keeps the present fault for this time.
    pub async fn lasts(&self, time: Duration) {
        sleep(time).await;
    }

    /// Waits without a fault until every client has sent requests.
    pub async fn calm(&self) {
        self.lasts(Duration::from_millis(400)).await;
    }

    /// Waits until every instance serves all kinds of requests again. It measures until the first good round,
    /// not the time that a busy machine takes for all rounds.
    pub async fn heals(&mut self, mended: Instant) {
        let mut good_since = None;
        let mut good = 0;
        while good < GOOD_ROUNDS {
            let asked = Instant::now();
            let round = self.round().await;
            if round.iter().all(went_well) {
                good += 1;
                good_since.get_or_insert(asked);
            } else {
                assert!(mended.elapsed() < HEALS_WITHIN, "not healed after {:?}: {round:#?}", mended.elapsed());
                (good, good_since) = (0, None);
            }
        }
        let healed = good_since.expect("a good round") - mended;
        assert!(healed < HEALS_WITHIN, "not healed before {healed:?}");
        eprintln!("healed after {healed:?}");
    }

    /// Sends a wave, and waits for the answers.
    pub async fn wave(&mut self) -> Vec<Entry> {
        let wave = self.send_wave();
        self.answers(wave).await
    }

    /// Sends every kind of request to every instance at once.
    pub fn send_wave(&mut self) -> Vec<JoinHandle<Entry>> {
        let (first, last) = (self.events[0], self.events[1]);
        let mut asked = Vec::new();
        for instance in &self.instances {
            for wish in [
                Wish::Book { event: first, key: new_key() },
                Wish::Cancel { event: last, key: new_key() },
                Wish::Look { event: first },
                Wish::Mine,
                Wish::Other("list"),
                Wish::Other("edit"),
                Wish::Other("live"),
                Wish::Other("ready"),
                Wish::Other("log in"),
            ] {
                // A user whose write may have no outcome sends no other request.
                let writes = matches!(wish, Wish::Book { .. } | Wish::Cancel { .. });
                let person = match &wish {
                    _ if writes => self.strangers.pop().expect("a stranger who was not sent yet"),
                    Wish::Other("edit") => self.admin.clone(),
                    _ => self.strangers[0].clone(),
                };
                let (instance, events) = (Arc::clone(instance), self.events.clone());
                asked.push(tokio::spawn(async move { ask(&instance, &person, &events, &wish).await }));
            }
        }
        asked
    }

    /// Waits for the answers to a wave.
    pub async fn answers(&mut self, wave: Vec<JoinHandle<Entry>>) -> Vec<Entry> {
        let mut entries = Vec::new();
        for asked in wave {
            entries.push(asked.await.unwrap());
        }
        self.own.extend(entries.iter().cloned());
        entries
    }

    /// One request of each kind to each instance.
    async fn round(&mut self) -> Vec<Entry> {
        let mut entries = Vec::new();
        let stranger = &self.strangers[0];
        for instance in self.instances.clone() {
            for (person, wish) in [
                (stranger, Wish::Book { event: self.events[0], key: new_key() }),
                (stranger, Wish::Look { event: self.events[0] }),
                (stranger, Wish::Cancel { event: self.events[0], key: new_key() }),
                (stranger, Wish::Mine),
                (&self.admin, Wish::Other("edit")),
                (&self.admin, Wish::Other("ready")),
                (stranger, Wish::Other("log in")),
            ] {
                entries.push(ask(&instance, person, &self.events, &wish).await);
            }
        }
        self.own.extend(entries.iter().cloned());
        entries
    }

    /// All requests since an instant, with their answers.
    pub fn since(&self, begun: Instant) -> Vec<Entry> {
        let mut entries = self.crowd.as_ref().expect("a crowd").so_far();
        entries.extend(self.own.iter().cloned());
        entries.retain(|entry| entry.asked >= begun);
        entries
    }

    /// Waits until a client gets such an answer; fails after 10 s with a summary of the requests.
    pub async fn meets(&self, awaited: &str, begun: Instant, met: impl Fn(&Entry) -> bool) {
        while !self.since(begun).iter().any(&met) {
            assert!(begun.elapsed() < Duration::from_secs(10), "in vain: {awaited}\n{}", summary(&self.since(begun)));
            self.lasts(Duration::from_millis(10)).await;
        }
    }

    /// Checks the ledger until now, and returns what cannot be true. A new crowd replaces this one, and the
    /// ledger begins anew, so that a run can last for ever.
    pub async fn look_back(&mut self) -> Vec<Finding> {
        let mut entries = self.crowd.take().expect("a crowd").finish().await;
        entries.append(&mut self.own);
        let findings = check(&entries, &tables(&self.site.database_url()).await, &self.cuts, &self.losses);
        self.losses.clear();
        eprintln!("{}", summary(&entries));
        self.site.run_sql(GIVE_ALL_BACK).await;
        self.crowd = Some(Crowd::gather(&self.instances, &self.events, &self.admin, &mut self.dice).await);
        findings
    }

    /// Stops the crowd, and fails if the check of the ledger finds an answer that cannot be true.
    pub async fn reckon(self) -> Vec<Entry> {
        let (entries, findings) = self.findings().await;
        assert!(findings.is_empty(), "{findings:#?}");
        entries
    }

    /// Stops the crowd and the instances, and returns the ledger and the findings of its check.
    pub async fn findings(mut self) -> (Vec<Entry>, Vec<Finding>) {
        let mut entries = self.crowd.take().expect("a crowd").finish().await;
        entries.append(&mut self.own);
        for instance in self.instances {
            if let Some(instance) = Arc::into_inner(instance) {
                instance.stop().await;
            }
        }
        let tables = tables(&self.site.database_url()).await;
        let findings = check(&entries, &tables, &self.cuts, &self.losses);
        eprintln!("{}", summary(&entries));
        (entries, findings)
    }
}

/// Whether a request was served; a refusal by the rules counts as served.
pub fn went_well(entry: &Entry) -> bool {
    !matches!(entry.outcome, Outcome::Unavailable(_) | Outcome::Unknown | Outcome::Broken(_) | Outcome::Odd(..))
}

/// The rows of the tables.
pub async fn tables(url: &str) -> Tables {
    let database = connect_past(url).await;
    let rows = async |sql: &str| {
        let statement = Statement::from_string(database.get_database_backend(), sql);
        database.query_all_raw(statement).await.unwrap()
    };
    let number = |row: &sea_orm::QueryResult, name: &str| row.try_get::<i64>("", name).unwrap().unsigned_abs();
    let mut tables = Tables::default();
    let events = "SELECT CAST(id AS BIGINT) AS id, CAST(total_seats AS BIGINT) AS total, CAST(available_seats AS BIGINT) AS available FROM events";
    for row in rows(events).await {
        tables.events.insert(number(&row, "id"), (number(&row, "total"), number(&row, "available")));
    }
    let confirmed =
        "SELECT CAST(id AS BIGINT) AS id, CAST(user_id AS BIGINT) AS user_id, CAST(event_id AS BIGINT) AS event_id
                     FROM registrations WHERE status = 'confirmed'";
    for row in rows(confirmed).await {
        tables.confirmed.push((number(&row, "id"), number(&row, "user_id"), number(&row, "event_id")));
    }
    database.close().await.unwrap();
    tables.facts = facts(url).await;
    tables
}

/// What the history tells of registrations, read as another instance reads it: what nobody projected yet, it projects.
async fn facts(url: &str) -> Vec<SeatFact> {
    let sql = Sql::connect(&SqlOptions::new(url.to_owned(), 4), Arc::new(MovableClock::new())).await.unwrap();
    let types = vec![FactType::RegistrationConfirmed, FactType::RegistrationCancelled];
    let filter = HistoryFilter { types, ..HistoryFilter::default() };
    let (mut facts, mut after) = (Vec::new(), Position::START);
    loop {
        let page = History::page(&sql, &filter, after, 1_000).await.unwrap();
        if page.facts.is_empty() {
            break;
        }
        facts.extend(page.facts.iter().map(seat_fact));
        after = page.next;
    }
    sql.close().await;
    facts
}

fn seat_fact(fact: &Fact) -> SeatFact {
    let body: serde_json::Value = serde_json::from_str(&fact.body).unwrap();
    SeatFact {
        id: fact.id.as_str().to_owned(),
        user: body["data"]["registration"]["user_id"].as_u64().unwrap(),
        event: fact.event.unwrap().get(),
        confirmed: fact.kind == FactType::RegistrationConfirmed,
        sequence: body["sequence"].as_str().unwrap().parse().unwrap(),
    }
}

/// How many requests there were of each kind, how they went, and the worst time.
pub fn summary(entries: &[Entry]) -> String {
    let mut kinds = BTreeMap::<(&str, &str), (u32, Duration)>::new();
    for entry in entries {
        let wish = match entry.wish {
            Wish::Book { .. } => "book",
            Wish::Cancel { .. } => "cancel",
            Wish::Look { .. } => "look",
            Wish::Mine => "mine",
            Wish::Other(name) => name,
        };
        let outcome = match entry.outcome {
            Outcome::Refused(_) => "refused",
            Outcome::Unavailable(_) => "unavailable",
            Outcome::Unknown => "unknown",
            Outcome::Broken(_) => "broken",
            Outcome::Odd(..) => "odd",
            _ => "done",
        };
        let (count, worst) = kinds.entry((wish, outcome)).or_default();
        *count += 1;
        *worst = (*worst).max(entry.ended - entry.asked);
    }
    let lines = kinds.iter().map(|((wish, outcome), (count, worst))| {
        format!("{wish:>7} {outcome:<11} {count:>6}, at most {:>6.0} ms", worst.as_secs_f64() * 1e3)
    });
    lines.collect::<Vec<_>>().join("\n")
}

//! Instances and their crowd, from the first fault to the reckoning.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sea_orm::{ConnectionTrait, Statement};
use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::crowd::{Crowd, ask, new_key};
use super::ledger::{Entry, Finding, Outcome, Tables, Wish, check};
use crate::harness::dice::Dice;
use crate::harness::proxy::Proxy;
use crate::harness::server::{Instance, Person, Site};
use crate::harness::store::connect_past;

/// How long after a fault all is as before, at the latest.
pub const HEALS_WITHIN: Duration = Duration::from_secs(10);

/// Longer than any run.
const A_DAY: Duration = Duration::from_hours(24);

/// How many people can be sent in [waves](Service::wave).
const STRANGERS: usize = 33;

/// How many rounds of requests have to go well one after the other.
const GOOD_ROUNDS: u32 = 5;

/// Whoever the next crowd is, it finds every seat free.
const GIVE_ALL_BACK: &str = "BEGIN;
    UPDATE registrations SET status = 'cancelled', version = version + 1 WHERE status = 'confirmed';
    UPDATE events SET available_seats = total_seats, version = version + 1;
    COMMIT";

/// Two instances and a crowd that uses both.
pub struct Service {
    pub site: Site,
    pub instances: Vec<Arc<Instance>>,
    pub admin: Person,
    /// One whose seats last, and one whose seats do not.
    pub events: Vec<u64>,
    pub dice: Dice,
    crowd: Option<Crowd>,
    /// People who are not of the crowd; each asks for one thing at a time.
    strangers: Vec<Person>,
    own: Vec<Entry>,
    /// From when until when instances were killed.
    cuts: Vec<(Instant, Instant)>,
}

impl Service {
    /// Two instances on a site.
    pub async fn on(site: Site) -> Self {
        let instances = vec![Arc::new(site.start().await), Arc::new(site.start().await)];
        Self::of(site, instances).await
    }

    /// Two instances whose way to Postgres can be made bad.
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
        Self { site, instances, admin, events, dice, crowd: Some(crowd), strangers, own: Vec::new(), cuts: Vec::new() }
    }

    /// From now on requests may go unanswered: a server is killed.
    pub fn may_be_cut(&mut self) {
        self.cuts.push((Instant::now(), Instant::now() + A_DAY));
    }

    /// From now on everybody is answered again.
    pub fn is_whole_again(&mut self) {
        if let Some((_, until)) = self.cuts.last_mut() {
            *until = Instant::now();
        }
    }

    /// Lets the present state of things last.
    pub async fn lasts(&self, time: Duration) {
        sleep(time).await;
    }

    /// Lets things be as they should for long enough to be seen by everybody.
    pub async fn calm(&self) {
        self.lasts(Duration::from_millis(400)).await;
    }

    /// Waits until every instance serves all kinds of requests again; not long after the fault.
    pub async fn heals(&mut self, mended: Instant) {
        let mut good = 0;
        let mut last = Vec::new();
        while good < GOOD_ROUNDS {
            assert!(mended.elapsed() < HEALS_WITHIN, "not healed after {:?}: {last:#?}", mended.elapsed());
            last = self.round().await;
            good = if last.iter().all(went_well) { good + 1 } else { 0 };
        }
        eprintln!("healed after {:?}", mended.elapsed());
    }

    /// Asks everything, and waits for the answers.
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
                // Whose booking may be left open asks for nothing else.
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

    /// What came of a wave.
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

    /// What has been asked and answered since an instant.
    pub fn since(&self, begun: Instant) -> Vec<Entry> {
        let mut entries = self.crowd.as_ref().expect("a crowd").so_far();
        entries.extend(self.own.iter().cloned());
        entries.retain(|entry| entry.asked >= begun);
        entries
    }

    /// Waits for something to be answered to somebody; fails after 10 s with how requests went.
    pub async fn meets(&self, awaited: &str, begun: Instant, met: impl Fn(&Entry) -> bool) {
        while !self.since(begun).iter().any(&met) {
            assert!(begun.elapsed() < Duration::from_secs(10), "in vain: {awaited}\n{}", summary(&self.since(begun)));
            self.lasts(Duration::from_millis(10)).await;
        }
    }

    /// What is not true of anything that was said until now. The crowd is replaced by another one of
    /// the same kind, and the ledger begins anew, for a run that has no end.
    pub async fn look_back(&mut self) -> Vec<Finding> {
        let mut entries = self.crowd.take().expect("a crowd").go_home().await;
        entries.append(&mut self.own);
        let findings = check(&entries, &tables(&self.site.database_url()).await, &self.cuts);
        eprintln!("{}", summary(&entries));
        self.site.run_sql(GIVE_ALL_BACK).await;
        self.crowd = Some(Crowd::gather(&self.instances, &self.events, &self.admin, &mut self.dice).await);
        findings
    }

    /// Sends everybody home and fails if anything they were told is not true.
    pub async fn reckon(self) -> Vec<Entry> {
        let (entries, findings) = self.findings().await;
        assert!(findings.is_empty(), "{findings:#?}");
        entries
    }

    /// Sends everybody home, stops the instances, and answers what was said, and what of it is not true.
    pub async fn findings(mut self) -> (Vec<Entry>, Vec<Finding>) {
        let mut entries = self.crowd.take().expect("a crowd").go_home().await;
        entries.append(&mut self.own);
        for instance in self.instances {
            if let Some(instance) = Arc::into_inner(instance) {
                instance.stop().await;
            }
        }
        let tables = tables(&self.site.database_url()).await;
        let findings = check(&entries, &tables, &self.cuts);
        eprintln!("{}", summary(&entries));
        (entries, findings)
    }
}

/// Whether a request was served, be it with a refusal that the rules demand.
pub fn went_well(entry: &Entry) -> bool {
    !matches!(entry.outcome, Outcome::Unavailable(_) | Outcome::Unknown | Outcome::Broken(_) | Outcome::Odd(..))
}

/// What stands in the tables.
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
    tables
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

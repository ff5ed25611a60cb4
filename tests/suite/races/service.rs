//! Two instances of one service, requests at the same instant, and the sum of their answers.

use std::collections::{BTreeMap, BTreeSet};

use adapter_sql::{Sql, SqlOptions};
use domain::ports::Audit;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::all_at_once;
use crate::harness::server::{Answer, Instance, Person, Request, Site};

/// Two instances of one service, and its admin.
pub struct Service<'a> {
    site: &'a Site,
    pub instances: [Instance; 2],
    pub admin: Person,
}

impl<'a> Service<'a> {
    pub async fn start(site: &'a Site) -> Self {
        let instances = [site.start().await, site.start().await];
        let admin = instances[0].admin().await;
        Self { site, instances, admin }
    }

    pub fn a(&self) -> &Instance {
        &self.instances[0]
    }

    /// The two in turn.
    pub fn instance(&self, turn: usize) -> &Instance {
        &self.instances[turn % 2]
    }

    pub async fn people(&self, number: usize) -> Vec<Person> {
        self.a().people(number).await
    }

    pub async fn event(&self, seats: u32) -> u64 {
        self.a().event(&self.admin, seats).await
    }

    pub fn booking(&self, turn: usize, event: u64, person: &Person) -> Request {
        self.instance(turn).request(Method::POST, &format!("/api/events/{event}/register")).by(person)
    }

    pub fn cancellation(&self, turn: usize, event: u64, person: &Person) -> Request {
        self.instance(turn).delete(&format!("/api/events/{event}/register")).by(person)
    }

    pub async fn resize(&self, turn: usize, event: u64, seats: usize) -> Answer {
        let request = self.instance(turn).put(&format!("/api/events/{event}"), &json!({ "total_seats": seats }));
        request.by(&self.admin).send().await
    }

    /// An event's registrations from an instance, all on one page.
    pub async fn registrations(&self, instance: &Instance, event: u64, filter: &str) -> Vec<Value> {
        let path = format!("/api/events/{event}/registrations?limit=1000{filter}");
        let answer = instance.get(&path).by(&self.admin).send().await.expect(200);
        let rows: Vec<Value> = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(answer.header("x-total-count"), rows.len().to_string());
        rows
    }

    /// The users that hold a seat.
    pub async fn holders(&self, event: u64) -> BTreeSet<u64> {
        let rows = self.registrations(self.a(), event, "&status=confirmed").await;
        let holders: BTreeSet<_> = rows.iter().map(|row| row["user_id"].as_u64().unwrap()).collect();
        assert_eq!(holders.len(), rows.len(), "a user holds two seats: {rows:?}");
        holders
    }

    /// How many hold a seat. Fails unless the detail, the list, the registrations and the database
    /// say the same, on both instances.
    pub async fn confirmed(&self, event: u64) -> usize {
        let holders = self.holders(event).await.len();
        for instance in &self.instances {
            let mut detail = instance.detail(event).await;
            assert_detail_adds_up(&detail);
            let count = detail.as_object_mut().unwrap().remove("registration_count").unwrap();
            assert_eq!(count, holders);
            let list = instance.get("/api/events?limit=100").send().await.expect(200).json();
            let listed: Vec<_> = list["data"].as_array().unwrap().iter().filter(|row| row["id"] == event).collect();
            assert_eq!(listed, [&detail]);
            assert_eq!(self.registrations(instance, event, "&status=confirmed").await.len(), holders);
        }
        self.assert_audited().await;
        holders
    }

    /// Fails if `boxoffice check` would find an inconsistency.
    pub async fn assert_audited(&self) {
        let options = SqlOptions::new(self.site.database_url(), 1);
        let sql = Sql::connect(&options, self.site.clock.clone()).await.unwrap();
        assert_eq!(sql.inconsistencies().await.unwrap(), []);
        sql.close().await;
    }

    pub async fn stop(self) {
        for instance in self.instances {
            instance.stop().await;
        }
    }
}

/// Sends all requests at the same instant.
pub async fn at_once(requests: impl IntoIterator<Item = Request>) -> Vec<Answer> {
    all_at_once(requests.into_iter().map(Request::send)).await
}

/// The status of an answer, and the code if it is a problem.
pub fn outcome(answer: &Answer) -> String {
    if answer.status < 400 {
        return answer.status.to_string();
    }
    let code = answer.json()["code"].as_str().unwrap().to_owned();
    answer.clone().expect_problem(answer.status, &code);
    format!("{} {code}", answer.status)
}

/// How often each outcome came.
pub fn tally(answers: &[Answer]) -> BTreeMap<String, usize> {
    let mut counted = BTreeMap::new();
    for answer in answers {
        *counted.entry(outcome(answer)).or_default() += 1;
    }
    counted
}

pub fn counts(expected: &[(&str, usize)]) -> BTreeMap<String, usize> {
    expected.iter().map(|&(outcome, count)| (outcome.to_owned(), count)).collect()
}

/// Total and free seats of an event; fails if one is negative.
pub fn seats(event: &Value) -> (usize, usize) {
    let number = |name: &str| usize::try_from(event[name].as_u64().unwrap_or_else(|| panic!("{event}"))).unwrap();
    (number("total_seats"), number("available_seats"))
}

#[track_caller]
pub fn assert_detail_adds_up(detail: &Value) {
    let (total, available) = seats(detail);
    assert_eq!(json!(total - available), detail["registration_count"], "{detail}");
}

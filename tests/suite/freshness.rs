//! Every read after an acknowledged write shows that write, on each instance and with any fault of
//! Redis.
//!
//! A [`World`] keeps the acknowledged writes, and computes from them the answer of each read.

use std::cmp::Ordering as Order;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant as Moment};

use domain::ports::Clock;
use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use redis::{AsyncCommands, InfoDict};
use serde_json::{Value, json};

use crate::harness::clock::MovableClock;
use crate::harness::dice::Dice;
use crate::harness::redis::RedisServer;
use crate::harness::server::{Answer, Instance, PASSWORD, Person, Request, Site};
use crate::harness::until;
use crate::stories::on_both_stacks;

on_both_stacks!(
    the_next_read_of_another_instance_shows_every_kind_of_write,
    hundreds_of_writes_on_two_instances_are_each_seen_by_the_next_reads,
    a_reader_who_goes_from_instance_to_instance_never_goes_back_in_time,
);

async fn the_next_read_of_another_instance_shows_every_kind_of_write(site: Site) {
    let mut world = World::open(&site, &site).await;
    let [jazz, opera, duo] = world.events();
    let [ada, bob, eve] = world.people();
    let writes = [
        Write::Create(json!({ "title": "Zebra jazz", "total_seats": 2 })),
        Write::Update(jazz, json!({ "title": "An evening of jazz" })),
        Write::Update(jazz, json!({ "description": "Late.\n\tAnd loud." })),
        Write::Update(jazz, json!({ "description": null })),
        Write::Update(jazz, json!({ "venue": "Cellar" })),
        Write::Update(jazz, json!({ "date": "2031-12-24T20:00:00Z" })),
        Write::Update(jazz, json!({ "total_seats": 7 })),
        Write::Update(jazz, json!({})),
        Write::Book(jazz, ada),
        Write::Book(opera, ada),
        Write::Cancel(jazz, ada),
        Write::Book(jazz, ada),
        // The event sells out and has a seat again: it leaves and enters the list of available events.
        Write::Book(duo, ada),
        Write::Book(duo, bob),
        Write::Book(duo, eve),
        Write::Cancel(duo, ada),
        Write::Book(duo, eve),
        Write::Update(duo, json!({ "total_seats": 1 })),
        Write::Update(duo, json!({ "total_seats": 3 })),
        Write::Update(duo, json!({ "total_seats": 2 })),
        Write::Change(ada, json!({ "name": "Countess Ada" })),
        Write::Change(ada, json!({ "email": "countess@example.com" })),
        Write::Update(
            opera,
            json!({ "title": "Aida", "venue": "Arena", "total_seats": 9, "date": "2032-01-01T00:00:00Z" }),
        ),
        Write::Delete(duo),
        Write::Book(duo, ada),
        Write::Delete(opera),
    ];
    for write in writes {
        for _ in 0..2 {
            world.assert_seen_by(B).await;
        }
        world.write(A, write).await;
        world.assert_seen_by(B).await;
        world.assert_seen_by(A).await;
    }
    world.close().await;
}

async fn hundreds_of_writes_on_two_instances_are_each_seen_by_the_next_reads(site: Site) {
    let mut world = World::open(&site, &site).await;
    for _ in 0..200 {
        world.happen().await;
    }
    world.assert_seen_by(A).await;
    world.assert_seen_by(B).await;
    world.close().await;
}

async fn a_reader_who_goes_from_instance_to_instance_never_goes_back_in_time(site: Site) {
    sell_before_watchers(&site, async |_| {}).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_killed_is_not_missed() {
    let mut site = Site::migrated().await;
    let mut redis = site.redis.take().unwrap();
    let mut world = World::open(&site, &site).await;
    for step in 0..40 {
        if step == 10 {
            redis.kill();
        }
        world.happen().await;
    }
    world.replace_reader(&site).await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_hangs_is_not_waited_for() {
    let mut site = Site::migrated().await;
    let redis = site.redis.take().unwrap();
    let mut world = World::open(&site, &site).await;
    for step in 0..60 {
        match step {
            10 | 40 => redis.pause(),
            30 | 50 => redis.resume(),
            _ => {}
        }
        world.happen().await;
        if step == 45 {
            world.replace_reader(&site).await;
        }
    }
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_flushed_again_and_again_does_no_harm() {
    let mut site = Site::migrated().await;
    let redis = site.redis.take().unwrap();
    let mut world = World::open(&site, &site).await;
    for step in 0..40 {
        if step % 3 == 0 {
            redis.flush().await;
        }
        world.happen().await;
        if step % 20 == 19 {
            world.replace_reader(&site).await;
        }
    }
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_restarts_again_and_again_does_no_harm() {
    let mut site = Site::migrated().await;
    let mut redis = site.redis.take().unwrap();
    let mut world = World::open(&site, &site).await;
    for step in 0..48 {
        if step % 12 == 11 {
            redis.restart().await;
        }
        world.happen().await;
        if step % 20 == 19 {
            world.replace_reader(&site).await;
        }
    }
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rubbish_in_redis_is_never_answered() {
    let mut site = Site::migrated().await;
    let redis = site.redis.take().unwrap();
    let mut world = World::open(&site, &site).await;
    for step in 0..40 {
        world.happen().await;
        if step % 10 == 9 {
            redis.fill_with_rubbish(&["events:detail:1", "events:detail:2", "user:registrations:2"]).await;
            let before = hits(&redis).await;
            world.replace_reader(&site).await;
            assert!(hits(&redis).await > before, "no read met the rubbish");
        }
    }
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_under_another_key_or_of_another_time_is_never_answered() {
    let mut site = Site::migrated().await;
    let redis = site.redis.take().unwrap();
    let mut world = World::open(&site, &site).await;
    let (mut dice, mut past) = (Dice::new(), HashMap::new());
    for step in 0..40 {
        world.happen().await;
        if step % 6 == 5 {
            put_wrong_bodies(&redis, &mut dice, &mut past).await;
            let before = hits(&redis).await;
            world.replace_reader(&site).await;
            assert!(hits(&redis).await > before, "no read met a wrong body");
        }
    }
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_another_database_in_the_same_redis_are_never_answered() {
    let here = Site::migrated().await;
    let there = Site::migrated().await.with("REDIS_URL", &here.redis.as_ref().unwrap().url());
    let (mut one, mut other) = (World::open(&here, &here).await, World::open(&there, &there).await);
    for step in 0..30 {
        one.happen().await;
        other.happen().await;
        if step % 10 == 9 {
            one.replace_reader(&here).await;
            other.replace_reader(&there).await;
        }
    }
    one.close().await;
    other.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_only_one_instance_reaches_makes_no_difference() {
    let cut_off = Site::migrated().await;
    let url = cut_off.redis.as_ref().unwrap().url();
    // No server listens on port 1.
    let cut_off = cut_off.with("REDIS_URL", "redis://127.0.0.1:1");
    let b = cut_off.start().await;
    let connected = cut_off.with("REDIS_URL", &url);
    let mut world = World::of(&connected, connected.start().await, b).await;
    for _ in 0..40 {
        world.happen().await;
    }
    let redis = connected.redis.as_ref().unwrap();
    until("one of them uses it", async || !redis.keys().await.is_empty()).await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn watchers_never_go_back_in_time_while_redis_comes_and_goes() {
    let mut site = Site::migrated().await;
    let mut redis = site.redis.take().unwrap();
    sell_before_watchers(&site, async |sold| match sold % 20 {
        3 => redis.pause(),
        8 => redis.resume(),
        10 => redis.fill_with_rubbish(&[]).await,
        13 => redis.kill(),
        17 => redis.restart().await,
        _ => {}
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_in_redis_have_known_names_and_lifetimes_and_no_secret() {
    let mut site = Site::migrated().await;
    let redis = site.redis.take().unwrap();
    let mut world = World::open(&site, &site).await;
    for _ in 0..30 {
        world.happen().await;
    }
    world.assert_seen_by(A).await;
    let kinds = ["events:list:", "events:detail:", "user:registrations:"];
    until("bodies of every kind are there", async || {
        let keys = redis.keys().await;
        kinds.iter().all(|kind| keys.iter().any(|key| key.starts_with(kind)))
    })
    .await;

    let mut connection = redis.connect().await;
    let admin = world.admin.clone();
    let people = world.people.values().map(|(person, _)| person).chain([&admin]);
    let mut secrets: Vec<&str> = people.flat_map(|person| [&*person.token, &*person.refresh_token]).collect();
    secrets.extend([PASSWORD, "$2a$", "$2b$", "$2y$", "password"]);
    for key in redis.keys().await {
        let parts: Vec<&str> = key.splitn(5, ':').collect();
        let (known, minutes) = match parts[..] {
            ["events", "list", page, limit, filters] => {
                (is_number(page) && is_number(limit) && filters.starts_with("sort="), 5)
            }
            ["events", "detail", id] => (is_number(id), 10),
            ["user", "registrations", id] => (is_number(id), 15),
            _ => (false, 0),
        };
        assert!(known, "{key}");
        let lifetime_ms: i64 = connection.pttl(&key).await.unwrap();
        assert!(0 < lifetime_ms && lifetime_ms <= minutes * 60_000, "{key} stays for {lifetime_ms} ms");
        let body: Vec<u8> = connection.get(&key).await.unwrap();
        for secret in &secrets {
            let found = body.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(!found, "{key} holds {secret}");
        }
    }
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_one_instance_read_is_a_hit_in_redis_for_another() {
    let mut site = Site::migrated().await;
    let redis = site.redis.take().unwrap();
    let mut world = World::open(&site, &site).await;
    world.assert_seen_by(A).await;
    until("a body is there", async || redis.keys().await.iter().any(|key| key.starts_with("events:detail:"))).await;
    let before = hits(&redis).await;
    world.replace_reader(&site).await;
    assert!(hits(&redis).await > before);
    world.close().await;
}

/// Which of two instances.
type Which = usize;
const A: Which = 0;
const B: Which = 1;

/// A write of a user or an admin.
#[derive(Debug, Clone)]
enum Write {
    Create(Value),
    Update(u64, Value),
    Delete(u64),
    /// Event and user.
    Book(u64, u64),
    Cancel(u64, u64),
    /// A change of a user's profile.
    Change(u64, Value),
}

/// A read of a user or an admin.
#[derive(Debug, Clone, Copy)]
enum View {
    Detail(u64),
    List(usize),
    /// A user's registrations, of one status or all.
    Mine(u64, &'static str),
    Attendees(u64, &'static str),
    Me(u64),
}

/// A list of events: its query, its filter and its order.
struct Listing {
    query: &'static str,
    holds: fn(&Value) -> bool,
    order: fn(&Value, &Value) -> Order,
    page: usize,
    limit: usize,
}

const ALL: usize = 100;
const LISTINGS: [Listing; 10] = [
    Listing { query: "", holds: |_| true, order: by_date, page: 1, limit: 10 },
    Listing { query: "limit=100", holds: |_| true, order: by_date, page: 1, limit: ALL },
    Listing { query: "limit=100&available_only=true", holds: is_available, order: by_date, page: 1, limit: ALL },
    Listing { query: "limit=100&sort=available_seats", holds: |_| true, order: by_seats, page: 1, limit: ALL },
    Listing {
        query: "limit=100&sort=-available_seats&available_only=true",
        holds: is_available,
        order: |a, b| by_seats(b, a),
        page: 1,
        limit: ALL,
    },
    Listing { query: "limit=100&sort=title", holds: |_| true, order: by_title, page: 1, limit: ALL },
    Listing { query: "limit=2&page=2&sort=-title", holds: |_| true, order: |a, b| by_title(b, a), page: 2, limit: 2 },
    Listing { query: "search=JAZZ&limit=50", holds: is_jazz, order: by_date, page: 1, limit: 50 },
    Listing {
        query: "limit=100&date_from=2031-06-01&date_to=2031-12-24&sort=-date",
        holds: |event| {
            let date = event["date"].as_str().unwrap();
            ("2031-06-01T00:00:00Z".."2031-12-25T00:00:00Z").contains(&date)
        },
        order: |a, b| by_date(b, a),
        page: 1,
        limit: ALL,
    },
    Listing {
        query: "limit=3&search=jazz&available_only=true&sort=available_seats",
        holds: |event| is_jazz(event) && is_available(event),
        order: by_seats,
        page: 1,
        limit: 3,
    },
];

fn is_available(event: &Value) -> bool {
    event["available_seats"] != 0
}

fn is_jazz(event: &Value) -> bool {
    event["title"].as_str().unwrap().to_lowercase().contains("jazz")
}

fn by_date(a: &Value, b: &Value) -> Order {
    a["date"].as_str().cmp(&b["date"].as_str())
}

fn by_seats(a: &Value, b: &Value) -> Order {
    a["available_seats"].as_u64().cmp(&b["available_seats"].as_u64())
}

fn by_title(a: &Value, b: &Value) -> Order {
    let folded = |event: &Value| event["title"].as_str().unwrap().to_lowercase();
    folded(a).cmp(&folded(b))
}

/// Two instances, and the writes that they acknowledged.
struct World {
    instances: [Instance; 2],
    clock: Arc<MovableClock>,
    dice: Dice,
    admin: Person,
    /// With their profiles, by id.
    people: BTreeMap<u64, (Person, Value)>,
    /// The last acknowledged state of each, by id; the free seats follow from the registrations.
    events: BTreeMap<u64, Value>,
    /// When events were deleted.
    deleted: BTreeMap<u64, String>,
    /// By event and user.
    registrations: BTreeMap<(u64, u64), Value>,
    history: Vec<String>,
    /// How long each request took.
    times: Mutex<Vec<Duration>>,
}

impl World {
    async fn open(a: &Site, b: &Site) -> Self {
        Self::of(a, a.start().await, b.start().await).await
    }

    /// Three people and three events; one of them has two seats.
    async fn of(site: &Site, a: Instance, b: Instance) -> Self {
        let (admin, mut people) = (a.admin().await, BTreeMap::new());
        for person in a.people(3).await {
            let profile = a.get("/api/users/me").by(&person).send().await.expect(200).json();
            people.insert(person.id, (person, profile));
        }
        let mut world = Self {
            instances: [a, b],
            clock: site.clock.clone(),
            dice: Dice::new(),
            admin,
            people,
            events: BTreeMap::new(),
            deleted: BTreeMap::new(),
            registrations: BTreeMap::new(),
            history: Vec::new(),
            times: Mutex::default(),
        };
        for (title, seats) in [("Jazz by night", 5), ("Opera", 4), ("Duo", 2)] {
            world.write(A, Write::Create(json!({ "title": title, "total_seats": seats }))).await;
        }
        world
    }

    fn events<const N: usize>(&self) -> [u64; N] {
        self.events.keys().copied().collect::<Vec<_>>().try_into().unwrap()
    }

    fn people<const N: usize>(&self) -> [u64; N] {
        self.people.keys().copied().collect::<Vec<_>>().try_into().unwrap()
    }

    /// A random write on one instance; then random reads, on the other and on the same.
    async fn happen(&mut self) {
        let (event, user, writer) = {
            let events: Vec<_> = self.events.keys().copied().collect();
            let people: Vec<_> = self.people.keys().copied().collect();
            (self.dice.pick(&events), self.dice.pick(&people), self.dice.below(2))
        };
        let write = match self.dice.below(100) {
            0..40 => Write::Book(event, user),
            65..75 => Write::Update(event, json!({ "total_seats": 1 + self.dice.below(4) })),
            75..85 => Write::Update(event, self.chance_patch()),
            85..90 => Write::Change(user, json!({ "name": format!("Ada {}", self.dice.below(1000)) })),
            90..97 if self.events.len() < 12 => {
                let mut draft = self.chance_patch();
                draft["total_seats"] = json!(1 + self.dice.below(3));
                Write::Create(draft)
            }
            97.. => Write::Delete(event),
            _ => Write::Cancel(event, user),
        };
        self.write(writer, write).await;
        let views = self.views();
        let mut some = vec![View::Detail(event), View::Mine(user, "")];
        some.extend((0..4).map(|_| self.dice.pick(&views)));
        self.assert_seen(1 - writer, &some).await;
        self.assert_seen(writer, &some[..3]).await;
    }

    /// New values for one field.
    fn chance_patch(&mut self) -> Value {
        let number = self.dice.below(1000);
        match self.dice.below(4) {
            0 => json!({ "title": format!("{} {number}", ["jazz", "Jazz", "Blues", "aria"][number % 4]) }),
            1 => json!({ "venue": format!("Hall {number}") }),
            2 => json!({ "date": format!("2031-{:02}-{:02}T19:00:00Z", 1 + number % 12, 1 + number % 28) }),
            _ => json!({ "description": if number < 500 { json!(null) } else { json!(format!("Act {number}")) } }),
        }
    }

    /// Sends a write to an instance, checks the answer against the rules, and keeps the write.
    async fn write(&mut self, by: Which, write: Write) {
        self.clock.advance_secs(1);
        self.history.push(format!("{}: {write:?}", ["A", "B"][by]));
        match write {
            Write::Create(fields) => {
                let mut draft = json!({ "title": "Concert", "date": "2031-05-01T19:30:00Z", "venue": "Opera" });
                merge(&mut draft, &fields);
                let request = self.instances[by].post("/api/events", &draft).by(&self.admin);
                let created = self.send(request).await.expect(201).json();
                self.events.insert(created["id"].as_u64().unwrap(), created);
            }
            Write::Update(event, patch) => {
                let request = self.instances[by].put(&format!("/api/events/{event}"), &patch).by(&self.admin);
                let answer = self.send(request).await;
                if self.deleted.contains_key(&event) {
                    answer.expect_problem(404, "not_found");
                } else if patch["total_seats"].as_u64().is_some_and(|seats| seats < self.holders(event)) {
                    answer.expect_problem(409, "seats_below_registrations");
                } else {
                    let mut expected = self.event(event);
                    let before = expected.clone();
                    merge(&mut expected, &patch);
                    if expected != before {
                        expected["updated_at"] = self.now();
                    }
                    self.events.insert(event, expected);
                    assert_eq!(answer.expect(200).json(), self.event(event), "{}", self.story());
                }
            }
            Write::Delete(event) => {
                let request = self.instances[by].delete(&format!("/api/events/{event}")).by(&self.admin);
                let answer = self.send(request).await;
                if self.deleted.contains_key(&event) {
                    answer.expect_problem(404, "not_found");
                    return;
                }
                assert_eq!(answer.expect(200).json()["cancelled_registrations"], self.holders(event));
                for ((of, _), registration) in &mut self.registrations {
                    if *of == event {
                        registration["status"] = json!("cancelled");
                    }
                }
                let now = self.now();
                self.events.get_mut(&event).unwrap()["updated_at"] = now.clone();
                self.deleted.insert(event, now.as_str().unwrap().to_owned());
            }
            Write::Book(event, user) => self.book(by, event, user).await,
            Write::Cancel(event, user) => {
                let path = format!("/api/events/{event}/register");
                let answer = self.send(self.instances[by].delete(&path).by(&self.people[&user].0)).await;
                if self.deleted.contains_key(&event) {
                    answer.expect_problem(404, "not_found");
                } else if self.holds(event, user) {
                    answer.expect(200);
                    self.registrations.get_mut(&(event, user)).unwrap()["status"] = json!("cancelled");
                } else {
                    answer.expect_problem(404, "registration_not_found");
                }
            }
            Write::Change(user, fields) => {
                let request = self.instances[by].put("/api/users/me", &fields).by(&self.people[&user].0);
                let changed = self.send(request).await.expect(200).json();
                let (_, profile) = self.people.get_mut(&user).unwrap();
                merge(profile, &fields);
                assert_eq!(changed, *profile);
            }
        }
    }

    async fn book(&mut self, by: Which, event: u64, user: u64) {
        let path = format!("/api/events/{event}/register");
        let request = self.instances[by].post(&path, &json!({})).by(&self.people[&user].0);
        let answer = self.send(request).await;
        if self.deleted.contains_key(&event) {
            answer.expect_problem(404, "not_found");
        } else if self.holds(event, user) {
            answer.expect_problem(409, "already_registered");
        } else if !is_available(&self.event(event)) {
            answer.expect_problem(409, "sold_out");
        } else {
            let booked = answer.expect(201).json();
            let before = self.registrations.get(&(event, user));
            let expected = json!({
                "id": before.map_or(&booked["id"], |before| &before["id"]),
                "user_id": user,
                "event_id": event,
                "status": "confirmed",
                "registration_date": self.now(),
                "created_at": before.map_or(self.now(), |before| before["created_at"].clone()),
            });
            assert_eq!(booked, expected, "{}", self.story());
            self.registrations.insert((event, user), booked);
        }
    }

    /// Every kind of read, of every event and user.
    fn views(&self) -> Vec<View> {
        let mut views: Vec<View> = (0..LISTINGS.len()).map(View::List).collect();
        for &event in self.events.keys() {
            views.extend([View::Detail(event), View::Attendees(event, ""), View::Attendees(event, "status=confirmed")]);
        }
        for &user in self.people.keys() {
            views.extend([View::Mine(user, ""), View::Mine(user, "status=cancelled&limit=2"), View::Me(user)]);
        }
        views
    }

    /// Fails unless every read of this instance shows the acknowledged writes.
    async fn assert_seen_by(&self, reader: Which) {
        self.assert_seen(reader, &self.views()).await;
    }

    async fn assert_seen(&self, reader: Which, views: &[View]) {
        // A few at a time, so that the times measure the server and not its queue.
        let reads = stream::iter(views).for_each_concurrent(4, |&view| async move {
            let instance = &self.instances[reader];
            let request = match view {
                View::Detail(event) => instance.get(&format!("/api/events/{event}")),
                View::List(listing) => instance.get(&format!("/api/events?{}", LISTINGS[listing].query)),
                View::Mine(user, query) => {
                    instance.get(&format!("/api/users/me/registrations?{query}")).by(&self.people[&user].0)
                }
                View::Attendees(event, query) => {
                    instance.get(&format!("/api/events/{event}/registrations?{query}")).by(&self.admin)
                }
                View::Me(user) => instance.get("/api/users/me").by(&self.people[&user].0),
            };
            let answer = self.send(request).await;
            let seen = if answer.status == 200 {
                let body = answer.json();
                if body.is_array() { json!([body, answer.header("x-total-count")]) } else { body }
            } else {
                answer.expect_problem(404, "not_found");
                json!(null)
            };
            assert_eq!(seen, self.expected(view), "{view:?} on {}, {}", ["A", "B"][reader], self.story());
        });
        reads.await;
    }

    /// The expected body of a read: `null` for a deleted event; for an array, its total beside it.
    fn expected(&self, view: View) -> Value {
        match view {
            View::Detail(event) if self.deleted.contains_key(&event) => json!(null),
            View::Detail(event) => {
                let mut detail = self.event(event);
                detail["registration_count"] = json!(self.holders(event));
                detail
            }
            View::List(listing) => self.list(&LISTINGS[listing]),
            View::Me(user) => self.people[&user].1.clone(),
            View::Mine(user, query) => self.page(
                query,
                |row| row["user_id"] == user,
                |row| {
                    let id = row["event_id"].as_u64().unwrap();
                    let mut event = self.event(id);
                    event["deleted_at"] = json!(self.deleted.get(&id));
                    row["event"] = event;
                },
            ),
            View::Attendees(event, query) => self.page(
                query,
                |row| row["event_id"] == event,
                |row| {
                    let profile = &self.people[&row["user_id"].as_u64().unwrap()].1;
                    row["user"] = json!({ "id": profile["id"], "name": profile["name"], "email": profile["email"] });
                },
            ),
        }
    }

    fn list(&self, listing: &Listing) -> Value {
        let standing = self.events.keys().filter(|id| !self.deleted.contains_key(id));
        let mut rows: Vec<_> = standing.map(|&id| self.event(id)).filter(listing.holds).collect();
        // They are in the order of their ids, and ties stay so.
        rows.sort_by(listing.order);
        let total = rows.len();
        let shown: Vec<_> = rows.into_iter().skip((listing.page - 1) * listing.limit).take(listing.limit).collect();
        json!({ "data": shown, "total": total, "page": listing.page, "limit": listing.limit })
    }

    /// A page of registrations, newest first, each with its event or user.
    fn page(&self, query: &str, holds: impl Fn(&Value) -> bool, complete: impl Fn(&mut Value)) -> Value {
        let status = query.split('&').find_map(|pair| pair.strip_prefix("status="));
        let limit =
            query.split('&').find_map(|pair| pair.strip_prefix("limit=")).map_or(100, |limit| limit.parse().unwrap());
        let mut rows: Vec<Value> = self.registrations.values().filter(|row| holds(row)).cloned().collect();
        rows.retain(|row| status.is_none_or(|status| row["status"] == status));
        rows.sort_by_key(|row| (row["registration_date"].to_string(), row["id"].as_u64()));
        rows.reverse();
        let total = rows.len().to_string();
        rows.truncate(limit);
        rows.iter_mut().for_each(complete);
        json!([rows, total])
    }

    /// An event with its free seats.
    fn event(&self, id: u64) -> Value {
        let mut event = self.events[&id].clone();
        event["available_seats"] = json!(event["total_seats"].as_u64().unwrap() - self.holders(id));
        event
    }

    fn holders(&self, event: u64) -> u64 {
        self.people.keys().filter(|&&user| self.holds(event, user)).count() as u64
    }

    fn holds(&self, event: u64, user: u64) -> bool {
        self.registrations.get(&(event, user)).is_some_and(|row| row["status"] == "confirmed")
    }

    fn now(&self) -> Value {
        json!(self.clock.now().to_string())
    }

    fn story(&self) -> String {
        format!("after {:#?}", &self.history[self.history.len().saturating_sub(20)..])
    }

    async fn send(&self, request: Request) -> Answer {
        let sent = Moment::now();
        let answer = request.send().await;
        self.times.lock().unwrap().push(sent.elapsed());
        answer
    }

    /// Starts B anew: its cache is empty, and its first reads go to Redis. Checks all its reads.
    async fn replace_reader(&mut self, site: &Site) {
        let former = std::mem::replace(&mut self.instances[B], site.start().await);
        former.stop().await;
        for _ in 0..2 {
            self.assert_seen_by(B).await;
        }
    }

    /// Stops the instances, and fails if requests took too long. A busy machine may delay a few.
    async fn close(self) {
        let mut times = self.times.into_inner().unwrap();
        times.sort();
        let (half, slow) =
            (times[times.len() / 2], times.iter().filter(|time| **time > Duration::from_secs(3)).count());
        assert!(half < Duration::from_secs(1), "half of the requests took more than {half:?}");
        assert!(slow * 4 <= times.len(), "{slow} of {} requests took more than 3 s", times.len());
        for instance in self.instances {
            instance.stop().await;
        }
    }
}

/// Sells sixty seats on two instances, one after another, while readers alternate between the
/// instances. No read shows fewer sold seats than were acknowledged before its request, or than the
/// same reader saw before, and each answer adds up. `meanwhile` gets the number of sold seats.
async fn sell_before_watchers(site: &Site, mut meanwhile: impl AsyncFnMut(usize)) {
    let instances = [site.start().await, site.start().await];
    let admin = instances[A].admin().await;
    let event = instances[A].event(&admin, 60).await;
    let people = instances[A].people(60).await;
    let (sold, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let reads = [const { AtomicU64::new(0) }; 4];
    let box_office = async {
        for (turn, person) in people.iter().enumerate() {
            instances[turn % 2].book(event, person).await.expect(201);
            sold.fetch_add(1, Ordering::AcqRel);
            meanwhile(turn).await;
            if turn % 5 == 0 {
                let before = reads.each_ref().map(|reads| reads.load(Ordering::Acquire));
                let again = || reads.iter().zip(before).all(|(reads, before)| reads.load(Ordering::Acquire) > before);
                until("every watcher to read again", async || again()).await;
            }
        }
        over.store(true, Ordering::Release);
    };
    let watchers = (0..4_usize).map(|watcher| {
        let (instances, admin, sold, over, reads) = (&instances, &admin, &sold, &over, &reads);
        async move {
            let (mut seen, mut turn) = (0, watcher);
            while !over.load(Ordering::Acquire) {
                let (instance, least) = (&instances[turn % 2], seen.max(sold.load(Ordering::Acquire)));
                seen = match (watcher + turn / 2) % 4 {
                    0 | 1 => {
                        let detail = instance.detail(event).await;
                        let count = detail["registration_count"].as_u64().unwrap();
                        assert_eq!(detail["available_seats"], 60 - count, "{detail}");
                        count
                    }
                    2 => {
                        let query = ["sort=-available_seats", "sort=title"][turn % 2];
                        let list = instance.get(&format!("/api/events?{query}")).send().await.expect(200).json();
                        60 - list["data"][0]["available_seats"].as_u64().unwrap()
                    }
                    _ => {
                        let path = format!("/api/events/{event}/registrations?status=confirmed&limit=1");
                        let answer = instance.get(&path).by(admin).send().await.expect(200);
                        answer.header("x-total-count").parse().unwrap()
                    }
                };
                assert!(least <= seen, "{seen} sold after {least}");
                turn += 1;
                reads[watcher].fetch_add(1, Ordering::AcqRel);
            }
        }
    });
    tokio::join!(join_all(watchers), box_office);
    assert!(reads.iter().all(|reads| reads.load(Ordering::Acquire) > 10), "{reads:?} reads are no watch");
    for instance in instances {
        assert_eq!(instance.detail(event).await["available_seats"], 0);
        instance.stop().await;
    }
}

/// Puts a whole, sealed body under every key: that of another key of its kind, or an earlier body of
/// the same key.
async fn put_wrong_bodies(redis: &RedisServer, dice: &mut Dice, past: &mut HashMap<String, Vec<Vec<u8>>>) {
    const TEN_MINUTES: u64 = 600;
    let (mut connection, keys) = (redis.connect().await, redis.keys().await);
    for key in &keys {
        let held: Vec<u8> = connection.get(key).await.unwrap();
        past.entry(key.clone()).or_default().push(held);
    }
    for key in &keys {
        let kind = key.split(':').nth(1).unwrap();
        let kin: Vec<_> = keys.iter().filter(|other| other.split(':').nth(1) == Some(kind)).collect();
        let source = if dice.below(2) == 0 { key } else { dice.pick(&kin) };
        let body = dice.pick(&past[source]);
        let () = connection.set_ex(key, body, TEN_MINUTES).await.unwrap();
    }
}

/// How many reads hit a key in Redis.
async fn hits(redis: &RedisServer) -> u64 {
    let info: InfoDict = redis::cmd("INFO").arg("stats").query_async(&mut redis.connect().await).await.unwrap();
    info.get("keyspace_hits").unwrap()
}

fn is_number(text: &str) -> bool {
    text.parse::<u64>().is_ok()
}

/// Lays fields over others.
fn merge(object: &mut Value, fields: &Value) {
    for (name, value) in fields.as_object().unwrap() {
        object[name] = value.clone();
    }
}

//! Two instances, the writes that they acknowledged, and the answer of each read that follows from these.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant as Moment};

use domain::ports::Clock;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use super::listings::{LISTINGS, Listing, is_available};
use crate::harness::clock::MovableClock;
use crate::harness::dice::Dice;
use crate::harness::server::{Answer, Instance, Person, Request, Site};

/// Which of two instances.
type Which = usize;

pub const A: Which = 0;

pub const B: Which = 1;

/// A write of a user or an admin.
#[derive(Debug, Clone)]
pub enum Write {
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

/// Two instances, and the writes that they acknowledged.
pub struct World {
    instances: [Instance; 2],
    clock: Arc<MovableClock>,
    dice: Dice,
    pub admin: Person,
    /// With their profiles, by id.
    pub people: BTreeMap<u64, (Person, Value)>,
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
    pub async fn open(a: &Site, b: &Site) -> Self {
        Self::of(a, a.start().await, b.start().await).await
    }

    /// Three people and three events; one of them has two seats.
    pub async fn of(site: &Site, a: Instance, b: Instance) -> Self {
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

    pub fn events<const N: usize>(&self) -> [u64; N] {
        self.events.keys().copied().collect::<Vec<_>>().try_into().unwrap()
    }

    pub fn people<const N: usize>(&self) -> [u64; N] {
        self.people.keys().copied().collect::<Vec<_>>().try_into().unwrap()
    }

    /// A random write on one instance; then random reads, on the other and on the same.
    pub async fn happen(&mut self) {
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
    pub async fn write(&mut self, by: Which, write: Write) {
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
    pub async fn assert_seen_by(&self, reader: Which) {
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
    pub async fn replace_reader(&mut self, site: &Site) {
        let former = std::mem::replace(&mut self.instances[B], site.start().await);
        former.stop().await;
        for _ in 0..2 {
            self.assert_seen_by(B).await;
        }
    }

    /// Stops the instances, and fails if requests took too long. A busy machine may delay a few.
    pub async fn close(self) {
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

/// Lays fields over others.
fn merge(object: &mut Value, fields: &Value) {
    for (name, value) in fields.as_object().unwrap() {
        object[name] = value.clone();
    }
}

//! Requests at the same instant, on two instances of one service: each seat, address and token goes
//! to exactly one of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use adapter_sql::{Sql, SqlOptions};
use domain::ports::Audit;
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::harness::dice::Dice;
use crate::harness::server::{Answer, Instance, PASSWORD, Person, Request, Site};
use crate::harness::{all_at_once, until};
use crate::stories::on_both_stacks;

on_both_stacks!(
    the_last_seat_goes_to_one_of_fifty_people,
    ten_seats_go_to_ten_of_a_hundred_people,
    a_user_who_books_fifty_times_at_once_has_one_seat,
    fifty_cancellations_of_one_registration_return_one_seat,
    a_storm_of_bookings_and_cancellations_loses_no_seat,
    users_who_book_and_cancel_hold_what_their_last_answer_said,
    a_resized_event_never_has_fewer_seats_than_registrations,
    an_event_that_is_deleted_while_people_book_it_leaves_no_holder,
    no_booking_succeeds_after_the_answer_to_the_deletion,
    an_address_goes_to_one_of_those_who_sign_up_with_it,
    an_address_goes_to_one_of_those_who_move_to_it,
    a_refresh_token_is_spent_once_and_coming_back_ends_its_family,
    a_booking_sent_many_times_with_one_key_is_one_booking,
    an_event_created_many_times_with_one_key_is_one_event,
    one_key_at_once_for_two_events_books_one_of_them,
    each_user_has_their_own_idempotency_keys,
    hundreds_of_clients_that_hang_up_delay_no_other_user,
    a_booking_whose_client_hung_up_can_be_repeated_with_its_key,
);

async fn the_last_seat_goes_to_one_of_fifty_people(site: Site) {
    let service = Service::start(&site).await;
    let event = service.event(1).await;
    let people = service.people(50).await;
    let bookings = people.iter().enumerate().map(|(turn, person)| service.booking(turn, event, person));
    assert_eq!(tally(&at_once(bookings).await), counts(&[("201", 1), ("409 sold_out", 49)]));
    assert_eq!(service.confirmed(event).await, 1);
    service.stop().await;
}

async fn ten_seats_go_to_ten_of_a_hundred_people(site: Site) {
    let service = Service::start(&site).await;
    let event = service.event(10).await;
    let people = service.people(100).await;
    let bookings = people.iter().enumerate().map(|(turn, person)| service.booking(turn, event, person));
    assert_eq!(tally(&at_once(bookings).await), counts(&[("201", 10), ("409 sold_out", 90)]));
    assert_eq!(service.confirmed(event).await, 10);
    service.stop().await;
}

async fn a_user_who_books_fifty_times_at_once_has_one_seat(site: Site) {
    let service = Service::start(&site).await;
    // With one seat too: `already_registered` is answered before `sold_out`.
    for seats in [10, 1] {
        let event = service.event(seats).await;
        let ada = service.a().new_user().await;
        let answers = at_once((0..50).map(|turn| service.booking(turn, event, &ada))).await;
        assert_eq!(tally(&answers), counts(&[("201", 1), ("409 already_registered", 49)]));
        assert_eq!(service.confirmed(event).await, 1);
    }
    service.stop().await;
}

async fn fifty_cancellations_of_one_registration_return_one_seat(site: Site) {
    let service = Service::start(&site).await;
    let event = service.event(3).await;
    let people = service.people(2).await;
    for person in &people {
        service.a().book(event, person).await.expect(201);
    }
    let answers = at_once((0..50).map(|turn| service.cancellation(turn, event, &people[0]))).await;
    assert_eq!(tally(&answers), counts(&[("200", 1), ("404 registration_not_found", 49)]));
    assert_eq!(service.confirmed(event).await, 1);
    service.stop().await;
}

async fn a_storm_of_bookings_and_cancellations_loses_no_seat(site: Site) {
    let service = Service::start(&site).await;
    let event = service.event(12).await;
    let people = service.people(20).await;
    let mut dice = Dice::new();
    let (mut booked, mut cancelled) = (0, 0);
    for round in 0..6 {
        // Each user books and cancels at the same time, each time on a random instance.
        let mut requests = Vec::new();
        for person in &people {
            requests.push(service.booking(dice.below(2), event, person));
            requests.push(service.cancellation(dice.below(2), event, person));
        }
        let counted = tally(&at_once(requests).await);
        for answer in counted.keys() {
            let fair = ["201", "409 already_registered", "409 sold_out", "200", "404 registration_not_found"];
            assert!(fair.contains(&answer.as_str()), "{counted:?}");
        }
        booked += counted.get("201").unwrap_or(&0);
        cancelled += counted.get("200").unwrap_or(&0);
        assert_eq!(service.confirmed(event).await, booked - cancelled);
        if round == 0 {
            // So that there are seats to sell in the second round as well.
            for person in &people {
                cancelled += usize::from(service.cancellation(0, event, person).send().await.status == 200);
            }
        }
    }
    assert!(booked >= 24, "{booked} bookings are no storm");
    service.stop().await;
}

async fn users_who_book_and_cancel_hold_what_their_last_answer_said(site: Site) {
    let service = Service::start(&site).await;
    let event = service.event(12).await;
    let people = service.people(20).await;
    let fickle = people.iter().enumerate().map(|(number, person)| {
        let service = &service;
        async move {
            let mut holds = false;
            // An odd number of rounds, so that most users hold a seat at the end.
            for round in 0..7 {
                let instance = service.instance(number + round);
                if holds {
                    instance.cancel(event, person).await.expect(200);
                    holds = false;
                } else {
                    let answer = instance.book(event, person).await;
                    holds = answer.status == 201;
                    assert!(holds || outcome(&answer) == "409 sold_out", "{}", answer.text());
                }
            }
            holds.then_some(person.id)
        }
    });
    let holders: BTreeSet<u64> = join_all(fickle).await.into_iter().flatten().collect();
    assert!(!holders.is_empty());
    assert_eq!(service.holders(event).await, holders);
    assert_eq!(service.confirmed(event).await, holders.len());
    service.stop().await;
}

async fn a_resized_event_never_has_fewer_seats_than_registrations(site: Site) {
    let service = Service::start(&site).await;
    let event = service.event(10).await;
    let people = service.people(16).await;
    // Two users keep their seats to the end, so that a size below two is refused at any time.
    let loyal = service.people(2).await;
    for person in &loyal {
        service.a().book(event, person).await.expect(201);
    }
    service.resize(0, event, 1).await.expect_problem(409, "seats_below_registrations");
    let over = AtomicBool::new(false);
    let crowd = async {
        let fickle = people.iter().enumerate().map(|(number, person)| {
            let service = &service;
            async move {
                let mut counted = Vec::new();
                for round in 0..6 {
                    counted.push(service.booking(number + round, event, person).send().await);
                    if (number + round) % 3 != 0 {
                        counted.push(service.cancellation(number, event, person).send().await);
                    }
                }
                counted
            }
        });
        let answers = join_all(fickle).await.concat();
        over.store(true, Ordering::Release);
        answers
    };
    let organiser = async {
        let (mut dice, mut total) = (Dice::new(), 10);
        while !over.load(Ordering::Acquire) {
            let asked = 1 + dice.below(20);
            let answer = service.resize(dice.below(2), event, asked).await;
            if answer.status == 200 {
                let (of, free) = seats(&answer.json());
                assert_eq!(of, asked);
                assert!(free <= of);
                total = asked;
            } else {
                answer.expect_problem(409, "seats_below_registrations");
            }
        }
        service.resize(1, event, 1).await.expect_problem(409, "seats_below_registrations");
        total
    };
    let reader = async {
        let mut turn = 0;
        while !over.load(Ordering::Acquire) {
            assert_detail_adds_up(&service.instance(turn).detail(event).await);
            turn += 1;
        }
    };
    let (answers, total, ()) = tokio::join!(crowd, organiser, reader);
    let counted = tally(&answers);
    let confirmed = service.confirmed(event).await;
    let kept = counted["201"] - counted.get("200").unwrap_or(&0);
    assert_eq!(confirmed, kept + loyal.len(), "{counted:?}");
    assert_eq!(seats(&service.a().detail(event).await).0, total);

    service.resize(0, event, 40).await.expect(200);
    for turn in 0..2 {
        let late = service.people(1).await;
        service.instance(turn).book(event, &late[0]).await.expect(201);
    }
    let confirmed = service.confirmed(event).await;
    service.resize(1, event, confirmed - 1).await.expect_problem(409, "seats_below_registrations");
    let full = service.resize(0, event, confirmed).await.expect(200).json();
    assert_eq!(seats(&full), (confirmed, 0));
    service.stop().await;
}

async fn an_event_that_is_deleted_while_people_book_it_leaves_no_holder(site: Site) {
    let service = Service::start(&site).await;
    let people = service.people(30).await;
    for deletions in [1, 5] {
        let event = service.event(1000).await;
        let path = format!("/api/events/{event}");
        let mut requests: Vec<_> =
            people.iter().enumerate().map(|(turn, person)| service.booking(turn, event, person)).collect();
        for turn in 0..deletions {
            requests.insert(requests.len() / 2, service.instance(turn).delete(&path).by(&service.admin));
        }
        let answers = at_once(requests).await;
        let counted = tally(&answers);
        let deleted: Vec<_> = answers.iter().filter(|answer| answer.status == 200).map(Answer::json).collect();
        assert_eq!(deleted.len(), 1, "{counted:?}");
        let booked = counted.get("201").copied().unwrap_or(0);
        assert_eq!(counted.get("404 not_found").copied().unwrap_or(0), 30 - booked + deletions - 1, "{counted:?}");
        assert_eq!(deleted[0]["cancelled_registrations"], booked);

        // A booking after the answer to the deletion is refused.
        let late = people.iter().enumerate().map(|(turn, person)| service.booking(turn, event, person));
        assert_eq!(tally(&at_once(late).await), counts(&[("404 not_found", 30)]));
        for instance in &service.instances {
            instance.get(&path).send().await.expect_problem(404, "not_found");
            let rows = service.registrations(instance, event, "").await;
            assert_eq!(rows.len(), booked);
            assert!(rows.iter().all(|row| row["status"] == "cancelled"), "{rows:?}");
        }
        service.assert_audited().await;
    }
    service.stop().await;
}

async fn no_booking_succeeds_after_the_answer_to_the_deletion(site: Site) {
    let service = Service::start(&site).await;
    let people = service.people(12).await;
    let event = service.event(1000).await;
    let gone = AtomicBool::new(false);
    let crowd = join_all(people.iter().enumerate().map(|(number, person)| {
        let (service, gone) = (&service, &gone);
        async move {
            let (mut booked, mut late) = (0, 0);
            while late < 3 {
                let was_gone = gone.load(Ordering::Acquire);
                let answer = service.booking(number + late, event, person).send().await;
                let told = outcome(&answer);
                if was_gone {
                    assert_eq!(told, "404 not_found");
                    late += 1;
                } else {
                    assert!(["201", "409 already_registered", "404 not_found"].contains(&told.as_str()), "{told}");
                    booked += usize::from(answer.status == 201);
                }
            }
            booked
        }
    }));
    let organiser = async {
        until("some users have booked", async || service.holders(event).await.len() > 3).await;
        let answer = service.a().delete(&format!("/api/events/{event}")).by(&service.admin).send().await;
        gone.store(true, Ordering::Release);
        answer.expect(200).json()["cancelled_registrations"].as_u64().unwrap()
    };
    let (booked, cancelled) = tokio::join!(crowd, organiser);
    assert_eq!(booked.iter().sum::<usize>() as u64, cancelled);
    assert_eq!(service.holders(event).await, BTreeSet::new());
    service.assert_audited().await;
    service.stop().await;
}

async fn an_address_goes_to_one_of_those_who_sign_up_with_it(site: Site) {
    let service = Service::start(&site).await;
    let addresses = ["ada@example.com", "Ada@Example.com", " ADA@EXAMPLE.COM "];
    let sign_ups = (0..30).map(|turn| {
        let body = json!({ "name": format!("Ada {turn}"), "email": addresses[turn % 3], "password": PASSWORD });
        service.instance(turn).post("/api/auth/register", &body)
    });
    let answers = at_once(sign_ups).await;
    assert_eq!(tally(&answers), counts(&[("201", 1), ("409 email_taken", 29)]));
    let winner = answers.iter().find(|answer| answer.status == 201).unwrap().json();
    let credentials = json!({ "email": "ada@example.com", "password": PASSWORD });
    for instance in &service.instances {
        let logged_in = instance.post("/api/auth/login", &credentials).send().await.expect(200).json();
        assert_eq!(logged_in["user"], winner["user"]);
    }
    service.stop().await;
}

async fn an_address_goes_to_one_of_those_who_move_to_it(site: Site) {
    let service = Service::start(&site).await;
    let people = service.people(20).await;
    let moves = people.iter().enumerate().map(|(turn, person)| {
        service.instance(turn).put("/api/users/me", &json!({ "email": "wanted@example.com" })).by(person)
    });
    assert_eq!(tally(&at_once(moves).await), counts(&[("200", 1), ("409 email_taken", 19)]));
    service.stop().await;
}

async fn a_refresh_token_is_spent_once_and_coming_back_ends_its_family(site: Site) {
    let service = Service::start(&site).await;
    let ada = service.a().new_user().await;
    let refresh =
        |turn, token: &Value| service.instance(turn).post("/api/auth/refresh", &json!({ "refresh_token": token }));
    let token = json!(ada.refresh_token);
    let answers = at_once((0..30).map(|turn| refresh(turn, &token))).await;
    let counted = tally(&answers);
    for told in counted.keys() {
        let fair = ["200", "401 refresh_token_reused", "401 invalid_refresh_token"];
        assert!(fair.contains(&told.as_str()), "{counted:?}");
    }
    let winners: Vec<_> = answers.iter().filter(|answer| answer.status == 200).map(Answer::json).collect();
    assert!(winners.len() <= 1, "{counted:?}");
    assert!(counted.contains_key("401 refresh_token_reused"), "{counted:?}");
    for winner in winners {
        for turn in 0..2 {
            refresh(turn, &winner["refresh_token"]).send().await.expect_problem(401, "invalid_refresh_token");
        }
    }
    service.stop().await;
}

async fn a_booking_sent_many_times_with_one_key_is_one_booking(site: Site) {
    let service = Service::start(&site).await;
    let event = service.event(5).await;
    let ada = service.a().new_user().await;
    let booking = |turn| service.booking(turn, event, &ada).header("Idempotency-Key", "one");
    let first = assert_one_effect(&at_once((0..30).map(booking)).await, 201);
    assert_eq!(service.confirmed(event).await, 1);

    let cancellation = |turn| service.cancellation(turn, event, &ada).header("Idempotency-Key", "two");
    assert_one_effect(&at_once((0..30).map(cancellation)).await, 200);
    assert_eq!(service.confirmed(event).await, 0);
    // The first key still stands for the first answer, and books nothing.
    let again = at_once((0..10).map(booking)).await;
    for answer in again {
        assert_eq!(answer.header("idempotent-replayed"), "true");
        assert_eq!(answer.expect(201).body, first);
    }
    assert_eq!(service.confirmed(event).await, 0);
    service.stop().await;
}

async fn an_event_created_many_times_with_one_key_is_one_event(site: Site) {
    let service = Service::start(&site).await;
    let draft = json!({ "title": "Gala", "date": "2031-05-01T19:30:00Z", "venue": "Opera", "total_seats": 10 });
    let creation = |turn| {
        let request = service.instance(turn).post("/api/events", &draft).by(&service.admin);
        request.header("Idempotency-Key", "\"gala\"")
    };
    assert_one_effect(&at_once((0..30).map(creation)).await, 201);
    for instance in &service.instances {
        assert_eq!(instance.get("/api/events").send().await.expect(200).json()["total"], 1);
    }
    service.stop().await;
}

async fn one_key_at_once_for_two_events_books_one_of_them(site: Site) {
    let service = Service::start(&site).await;
    let events = [service.event(5).await, service.event(5).await];
    let ada = service.a().new_user().await;
    let bookings =
        (0..20).map(|turn| service.booking(turn / 2, events[turn % 2], &ada).header("Idempotency-Key", "either"));
    let answers = at_once(bookings).await;
    let counted = tally(&answers);
    for told in counted.keys() {
        let fair = ["201", "409 idempotency_in_progress", "422 idempotency_key_reused"];
        assert!(fair.contains(&told.as_str()), "{counted:?}");
    }
    let booked: BTreeSet<_> =
        answers.iter().filter(|answer| answer.status == 201).map(|answer| answer.body.clone()).collect();
    assert_eq!(booked.len(), 1, "{counted:?}");
    assert_eq!(service.confirmed(events[0]).await + service.confirmed(events[1]).await, 1);
    service.stop().await;
}

async fn each_user_has_their_own_idempotency_keys(site: Site) {
    let service = Service::start(&site).await;
    let event = service.event(20).await;
    let people = service.people(12).await;
    let bookings = people
        .iter()
        .enumerate()
        .map(|(turn, person)| service.booking(turn, event, person).header("Idempotency-Key", "mine"));
    let answers = at_once(bookings).await;
    assert_eq!(tally(&answers), counts(&[("201", 12)]));
    assert!(answers.iter().all(|answer| answer.header("idempotent-replayed").is_empty()));
    assert_eq!(service.confirmed(event).await, 12);
    service.stop().await;
}

async fn hundreds_of_clients_that_hang_up_delay_no_other_user(site: Site) {
    let service = Service::start(&site).await;
    let event = service.event(15).await;
    let people = service.people(20).await;
    let mut dice = Dice::new();
    for _ in 0..4 {
        let mut hang_ups = Vec::new();
        for (number, person) in people.iter().cycle().take(60).enumerate() {
            let instance = service.instance(dice.below(2));
            let method = dice.pick(&["POST", "DELETE"]);
            let path = format!("/api/events/{event}/register");
            let patience = Duration::from_micros(dice.below(6000) as u64);
            if number % 3 == 0 {
                let request = Box::new(instance.request(method.parse::<Method>().unwrap(), &path).by(person));
                hang_ups.push(HangUp::InTime { request, patience });
            } else {
                let (address, token) = (instance.base().trim_start_matches("http://"), &person.token);
                let text = format!(
                    "{method} {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nContent-Length: 0\r\n\r\n"
                );
                let sent = if number % 3 == 1 { text.len() } else { dice.below(text.len()) };
                hang_ups.push(HangUp::AfterBytes { address: address.to_owned(), text: text[..sent].to_owned() });
            }
        }
        all_at_once(hang_ups.into_iter().map(HangUp::happen)).await;
        // Whole requests may still be under way; each detail adds up all the same.
        for turn in 0..4 {
            assert_detail_adds_up(&service.instance(turn).detail(event).await);
        }
    }

    // Other users are served at once: no request holds the event's row lock.
    let other = service.people(10).await;
    service.resize(0, event, 100).await.expect(200);
    for (turn, person) in other.iter().enumerate() {
        service.instance(turn).book(event, person).await.expect(201);
    }
    until("the requests of the closed connections have ended", async || {
        let mut seen = Vec::new();
        for turn in 0..20 {
            seen.push(service.instance(turn).detail(event).await);
        }
        seen.iter().all(|detail| *detail == seen[0])
    })
    .await;
    assert!(service.confirmed(event).await >= 10);
    service.stop().await;
}

async fn a_booking_whose_client_hung_up_can_be_repeated_with_its_key(site: Site) {
    let service = Service::start(&site).await;
    let event = service.event(100).await;
    let people = service.people(40).await;
    let mut dice = Dice::new();
    let booking = |turn, person| service.booking(turn, event, person).header("Idempotency-Key", "again");
    let hang_ups: Vec<_> = people
        .iter()
        .enumerate()
        .map(|(turn, person)| HangUp::InTime {
            request: Box::new(booking(turn, person)),
            patience: Duration::from_micros(dice.below(20_000) as u64),
        })
        .collect();
    all_at_once(hang_ups.into_iter().map(HangUp::happen)).await;
    for (turn, person) in people.iter().enumerate() {
        until("the first try has ended", async || {
            let answer = booking(turn + 1, person).send().await;
            assert!(["201", "409 idempotency_in_progress"].contains(&outcome(&answer).as_str()), "{}", answer.text());
            answer.status == 201
        })
        .await;
    }
    assert_eq!(service.confirmed(event).await, 40);
    service.stop().await;
}

/// Two instances of one service, and its admin.
struct Service<'a> {
    site: &'a Site,
    instances: [Instance; 2],
    admin: Person,
}

impl<'a> Service<'a> {
    async fn start(site: &'a Site) -> Self {
        let instances = [site.start().await, site.start().await];
        let admin = instances[0].admin().await;
        Self { site, instances, admin }
    }

    fn a(&self) -> &Instance {
        &self.instances[0]
    }

    /// The two in turn.
    fn instance(&self, turn: usize) -> &Instance {
        &self.instances[turn % 2]
    }

    async fn people(&self, number: usize) -> Vec<Person> {
        self.a().people(number).await
    }

    async fn event(&self, seats: u32) -> u64 {
        self.a().event(&self.admin, seats).await
    }

    fn booking(&self, turn: usize, event: u64, person: &Person) -> Request {
        self.instance(turn).request(Method::POST, &format!("/api/events/{event}/register")).by(person)
    }

    fn cancellation(&self, turn: usize, event: u64, person: &Person) -> Request {
        self.instance(turn).delete(&format!("/api/events/{event}/register")).by(person)
    }

    async fn resize(&self, turn: usize, event: u64, seats: usize) -> Answer {
        let request = self.instance(turn).put(&format!("/api/events/{event}"), &json!({ "total_seats": seats }));
        request.by(&self.admin).send().await
    }

    /// An event's registrations from an instance, all on one page.
    async fn registrations(&self, instance: &Instance, event: u64, filter: &str) -> Vec<Value> {
        let path = format!("/api/events/{event}/registrations?limit=1000{filter}");
        let answer = instance.get(&path).by(&self.admin).send().await.expect(200);
        let rows: Vec<Value> = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(answer.header("x-total-count"), rows.len().to_string());
        rows
    }

    /// The users that hold a seat.
    async fn holders(&self, event: u64) -> BTreeSet<u64> {
        let rows = self.registrations(self.a(), event, "&status=confirmed").await;
        let holders: BTreeSet<_> = rows.iter().map(|row| row["user_id"].as_u64().unwrap()).collect();
        assert_eq!(holders.len(), rows.len(), "a user holds two seats: {rows:?}");
        holders
    }

    /// How many hold a seat. Fails unless the detail, the list, the registrations and the database
    /// say the same, on both instances.
    async fn confirmed(&self, event: u64) -> usize {
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
    async fn assert_audited(&self) {
        let options = SqlOptions::new(self.site.database_url(), 1);
        let sql = Sql::connect(&options, self.site.clock.clone()).await.unwrap();
        assert_eq!(sql.inconsistencies().await.unwrap(), []);
        sql.close().await;
    }

    async fn stop(self) {
        for instance in self.instances {
            instance.stop().await;
        }
    }
}

/// A client that does not wait for its answer.
enum HangUp {
    /// Closes the connection after this time, at any state of the request.
    InTime { request: Box<Request>, patience: Duration },
    /// Closes the connection as soon as this has been sent.
    AfterBytes { address: String, text: String },
}

impl HangUp {
    async fn happen(self) {
        match self {
            Self::InTime { request, patience } => drop(timeout(patience, request.send()).await),
            Self::AfterBytes { address, text } => {
                let stream = TcpStream::connect(address).await.unwrap();
                stream.writable().await.unwrap();
                assert_eq!(stream.try_write(text.as_bytes()).unwrap(), text.len());
            }
        }
    }
}

/// Sends all requests at the same instant.
async fn at_once(requests: impl IntoIterator<Item = Request>) -> Vec<Answer> {
    all_at_once(requests.into_iter().map(Request::send)).await
}

/// The status of an answer, and the code if it is a problem.
fn outcome(answer: &Answer) -> String {
    if answer.status < 400 {
        return answer.status.to_string();
    }
    let code = answer.json()["code"].as_str().unwrap().to_owned();
    answer.clone().expect_problem(answer.status, &code);
    format!("{} {code}", answer.status)
}

/// How often each outcome came.
fn tally(answers: &[Answer]) -> BTreeMap<String, usize> {
    let mut counted = BTreeMap::new();
    for answer in answers {
        *counted.entry(outcome(answer)).or_default() += 1;
    }
    counted
}

fn counts(expected: &[(&str, usize)]) -> BTreeMap<String, usize> {
    expected.iter().map(|&(outcome, count)| (outcome.to_owned(), count)).collect()
}

/// Total and free seats of an event; fails if one is negative.
fn seats(event: &Value) -> (usize, usize) {
    let number = |name: &str| usize::try_from(event[name].as_u64().unwrap_or_else(|| panic!("{event}"))).unwrap();
    (number("total_seats"), number("available_seats"))
}

#[track_caller]
fn assert_detail_adds_up(detail: &Value) {
    let (total, available) = seats(detail);
    assert_eq!(json!(total - available), detail["registration_count"], "{detail}");
}

/// Fails unless one request acted, and the others replayed it or got a 409 to wait. Returns the body of all.
fn assert_one_effect(answers: &[Answer], status: u16) -> Vec<u8> {
    let (done, waiting): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == status);
    for answer in waiting {
        assert_eq!(outcome(answer), "409 idempotency_in_progress");
        assert!(!answer.header("retry-after").is_empty());
    }
    let bodies: BTreeSet<_> = done.iter().map(|answer| answer.body.clone()).collect();
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    let first = done.iter().filter(|answer| answer.header("idempotent-replayed") != "true").count();
    assert_eq!(first, 1, "{first} of {} acted", done.len());
    bodies.into_iter().next().unwrap()
}

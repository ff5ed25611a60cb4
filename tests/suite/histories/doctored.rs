//! Histories that did not happen on any database: the search has to find what is wrong with them.

use std::collections::BTreeMap;

use domain::sample::{self, event_id, now, registration_id, user_id};
use domain::{BookingRefused, Committed, Event, KeyConflict, RegistrationStatus, SeatCount, Seats, Timestamp, Version};

use super::company::{History, shuffle};
use super::orders::{Order, Outcome, Refusal, Told, Wish};
use super::rows::{EventRow, Rows};
use super::search::explain;
use super::world::World;
use crate::harness::dice::Dice;

fn event(number: u64, seats: u64) -> Event {
    let seats = Seats::all_free(SeatCount::new(seats).unwrap());
    Event { seats, ..sample::event(number) }
}

/// An order about event 1.
fn order(by: u64, wish: Wish, key: Option<&str>) -> Order {
    Order { by: user_id(by), event: event_id(1), wish, key: key.map(str::to_owned) }
}

/// A round as a correct database carries it out.
struct Round {
    before: World,
    after: World,
    told: Vec<Told>,
}

impl Round {
    /// One order after the other.
    fn honest(before: &World, orders: &[Order], now: Timestamp) -> Self {
        let mut after = before.clone();
        let told = orders
            .iter()
            .map(|order| {
                let answer = after.carry_out(order, now, &numbers(order));
                Told { order: order.clone(), answer }
            })
            .collect();
        Self { before: before.clone(), after, told }
    }

    fn rows(&self) -> Rows {
        Rows {
            events: self.after.events.iter().map(|(id, event)| (*id, EventRow::of(event))).collect(),
            registrations: self.after.registrations.clone(),
        }
    }

    fn is_explained(&self) -> bool {
        self.is_explained_with(&self.rows())
    }

    fn is_explained_with(&self, rows: &Rows) -> bool {
        !explain(std::slice::from_ref(&self.before), &self.told, now(), rows).is_empty()
    }
}

/// Rows from which a new registration has the number of its event and user.
fn numbers(order: &Order) -> Rows {
    let (user, event) = (order.by.get(), order.event.get());
    let row = sample::registration(event * 1_000_000 + user, user, event);
    Rows { registrations: BTreeMap::from([((order.event, order.by), row)]), ..Rows::default() }
}

/// A round about a new event of so many seats, without registrations.
fn round(seats: u64, orders: &[Order]) -> Round {
    Round::honest(&World::new([event(1, seats)]), orders, now())
}

#[test]
fn a_true_round_is_explained_in_any_order_of_its_answers() {
    let mut round = round(
        1,
        &[
            order(1, Wish::Book, Some("a")),
            order(2, Wish::Book, None),
            order(1, Wish::Cancel, None),
            order(2, Wish::Book, None),
            order(1, Wish::Book, Some("a")),
            order(3, Wish::Delete, None),
        ],
    );
    let kinds: Vec<_> = round.told.iter().map(Told::kind).collect();
    assert_eq!(kinds, ["booked", "sold out", "cancelled", "booked", "replayed booking", "deleted"]);
    for _ in 0..round.told.len() {
        round.told.rotate_left(1);
        assert!(round.is_explained());
        round.told.swap(0, 3);
        assert!(round.is_explained());
    }
}

#[test]
fn one_seat_more_than_there_are_is_found() {
    let mut round = round(1, &[order(1, Wish::Book, None), order(2, Wish::Book, None)]);
    assert!(round.is_explained());
    let mut booked = round.told[0].answer.clone().unwrap();
    let Outcome::Registration(registration) = &mut booked.outcome else { unreachable!() };
    registration.user_id = user_id(2);
    registration.id = registration_id(1_000_002);
    round.after.registrations.insert((registration.event_id, user_id(2)), registration.clone());
    round.told[1].answer = Ok(booked);
    assert!(!round.is_explained());
}

#[test]
fn a_seat_that_was_refused_while_it_was_free_is_found() {
    let mut round = round(2, &[order(1, Wish::Book, None), order(2, Wish::Book, None)]);
    round.after.registrations.remove(&(event_id(1), user_id(2)));
    let event = round.after.events.values_mut().next().unwrap();
    event.seats = Seats::stored(2, 1).unwrap();
    event.version = Version::new(2);
    round.told[1].answer = Err(Refusal::Booking(BookingRefused::SoldOut));
    assert!(!round.is_explained());
}

#[test]
fn an_acknowledged_cancellation_that_is_not_stored_is_found() {
    let booked = round(1, &[order(1, Wish::Book, None)]);
    let round = Round::honest(&booked.after, &[order(1, Wish::Cancel, None)], now());
    assert!(round.is_explained());
    assert!(!round.is_explained_with(&booked.rows()), "the cancellation is not stored");
    let mut rows = round.rows();
    rows.events = booked.rows().events;
    assert!(!round.is_explained_with(&rows), "the seat did not come back");
    let mut rows = round.rows();
    rows.registrations = booked.rows().registrations;
    assert!(!round.is_explained_with(&rows), "the registration is held still");
}

#[test]
fn an_acknowledged_booking_that_is_not_stored_is_found() {
    let empty = round(2, &[]);
    let round = round(2, &[order(1, Wish::Book, None)]);
    assert!(round.is_explained());
    assert!(!round.is_explained_with(&empty.rows()));
}

#[test]
fn a_replay_of_something_else_is_found() {
    let key = Some("a");
    let mut round = round(3, &[order(1, Wish::Book, key), order(1, Wish::Cancel, None), order(1, Wish::Book, key)]);
    assert!(round.is_explained());
    let cancelled = round.told[1].answer.clone().unwrap().outcome;
    round.told[2].answer = Ok(Committed { outcome: cancelled, replayed: true });
    assert!(!round.is_explained());
}

#[test]
fn a_key_that_acted_twice_is_found() {
    let key = Some("a");
    let booked = round(3, &[order(1, Wish::Book, key), order(1, Wish::Cancel, None)]);
    let mut forgetful = booked.after.clone();
    forgetful.keys.clear();
    let mut round = Round::honest(&forgetful, &[order(1, Wish::Book, key)], now());
    round.before = booked.after;
    assert!(!round.is_explained());
}

#[test]
fn an_unused_key_is_not_in_progress() {
    let in_progress = Err(Refusal::Key(KeyConflict::InProgress));
    let mut alone = round(3, &[order(1, Wish::Book, Some("a")), order(2, Wish::Book, Some("a"))]);
    let mut rival = round(3, &[order(1, Wish::Book, Some("a")), order(1, Wish::Book, Some("a"))]);
    rival.told[1].answer = in_progress.clone();
    assert!(rival.is_explained());
    alone.told[1].answer = in_progress;
    alone.after = round(3, &[order(1, Wish::Book, Some("a"))]).after;
    assert!(!alone.is_explained());
}

#[test]
fn a_failure_of_the_store_is_never_explained() {
    let mut round = round(1, &[order(1, Wish::Book, None), order(2, Wish::Book, None)]);
    round.told[1].answer = Err(Refusal::Undeserved("Unavailable".to_owned()));
    assert!(!round.is_explained());
}

#[test]
fn any_one_thing_that_is_wrong_in_a_random_history_is_found() {
    let mut dice = Dice::new();
    for number in 0..500 {
        let events: Vec<_> =
            (0..2 + dice.below(3)).map(|place| event(1 + place as u64, 1 + dice.below(4) as u64)).collect();
        let users: Vec<_> = (1..=2 + dice.below(4) as u64).map(user_id).collect();
        let mut history = History::make_up(events, &users, &mut dice);
        for orders in std::mem::take(&mut history.rounds) {
            for tangle in &mut history.tangles {
                let mut orders = orders.clone();
                orders.retain(|order| tangle.events.contains(&order.event));
                shuffle(&mut orders, &mut dice);
                let mut round = Round::honest(&tangle.worlds[0], &orders, now());
                tangle.worlds = vec![round.after.clone()];
                shuffle(&mut round.told, &mut dice);
                assert!(round.is_explained(), "history {number}: {:#?}", round.told);
                let what = doctor(&mut round, &mut dice);
                assert!(!round.is_explained(), "history {number}, {what}: {:#?}", round.told);
            }
        }
    }
}

/// Makes one thing wrong in a round, and returns its name.
fn doctor(round: &mut Round, dice: &mut Dice) -> &'static str {
    let places: Vec<_> = round.after.registrations.keys().copied().collect();
    let ids: Vec<_> = round.after.events.keys().copied().collect();
    loop {
        let event = round.after.events.get_mut(&dice.pick(&ids)).unwrap();
        let (total, available) = (event.seats.total(), event.seats.available());
        let place = (!places.is_empty()).then(|| dice.pick(&places));
        let registration = place.map(|place| round.after.registrations.get_mut(&place).unwrap());
        let told = (!round.told.is_empty()).then(|| dice.below(round.told.len()));
        match (dice.below(8), registration, told) {
            (0, ..) if available > 0 => {
                event.seats = Seats::stored(total, available - 1).unwrap();
                return "a seat is lost";
            }
            (1, ..) if available < total => {
                event.seats = Seats::stored(total, available + 1).unwrap();
                return "a seat is free that is held";
            }
            (2, ..) => {
                event.version = event.version.next();
                return "an event was changed once more";
            }
            (3, Some(registration), _) => {
                registration.status = match registration.status {
                    RegistrationStatus::Confirmed => RegistrationStatus::Cancelled,
                    RegistrationStatus::Cancelled => RegistrationStatus::Confirmed,
                };
                return "a registration has the other status";
            }
            (4, Some(registration), _) => {
                registration.version = registration.version.next();
                return "a registration was changed once more";
            }
            (5, Some(_), _) => {
                round.after.registrations.remove(&place.unwrap());
                return "a registration is gone";
            }
            (6, _, Some(index)) => {
                if let Ok(done) = &mut round.told[index].answer {
                    done.replayed = !done.replayed;
                    return "something done is told as replayed, or the other way round";
                }
            }
            (7, _, Some(index)) => {
                let told = &mut round.told[index];
                // A change that changes nothing may as well come after the deletion.
                if !told.did_nothing() && matches!(told.order.wish, Wish::Book | Wish::Cancel) {
                    told.answer = Err(Refusal::NoEvent);
                    return "something done is told as refused";
                }
            }
            _ => {}
        }
    }
}

//! Each seat goes to one user, and no seat is lost.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join_all;

use super::service::{Service, assert_detail_adds_up, at_once, counts, outcome, seats, tally};
use crate::harness::dice::Dice;
use crate::harness::server::Site;
use crate::stories::on_both_stacks;

on_both_stacks!(
    the_last_seat_goes_to_one_of_fifty_people,
    ten_seats_go_to_ten_of_a_hundred_people,
    a_user_who_books_fifty_times_at_once_has_one_seat,
    fifty_cancellations_of_one_registration_return_one_seat,
    a_storm_of_bookings_and_cancellations_loses_no_seat,
    users_who_book_and_cancel_hold_what_their_last_answer_said,
    a_resized_event_never_has_fewer_seats_than_registrations,
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

//! Bookings of an event while it is deleted.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join_all;

use super::service::{Service, at_once, counts, outcome, tally};
use crate::harness::server::{Answer, Site};
use crate::harness::until;
use crate::stories::on_both_stacks;

on_both_stacks!(
    an_event_that_is_deleted_while_people_book_it_leaves_no_holder,
    no_booking_succeeds_after_the_answer_to_the_deletion,
);

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

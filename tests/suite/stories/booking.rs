//! Booking a seat and giving it back.

use domain::sample::at;
use serde_json::json;

use crate::harness::all_at_once;
use crate::harness::server::Site;

/// When the events of these stories start: within the life of a token.
const START: &str = "2030-01-15T20:00:00Z";
/// The last instant before.
const LAST_MOMENT: &str = "2030-01-15T19:59:59.999999Z";

on_both_stacks!(
    a_user_books_a_seat_and_gives_it_back,
    an_event_sells_until_the_instant_it_starts,
    already_registered_is_answered_before_sold_out,
    a_seat_booked_again_is_the_same_registration_with_a_new_date,
    a_cancellation_without_a_registration_is_refused,
    a_booking_needs_a_token_and_an_existing_event,
    a_cancellation_that_is_sent_many_times_at_once_gives_back_one_seat,
);

async fn a_user_books_a_seat_and_gives_it_back(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;
    let ada = api.new_user().await;
    let event = api.event(&admin, 3).await;

    let booked = api.book(event, &ada).await.expect(201).json();
    assert_eq!(booked["user_id"], ada.id);
    assert_eq!(booked["event_id"], event);
    assert_eq!(booked["status"], "confirmed");
    assert_eq!(booked["registration_date"], "2030-01-15T12:00:00Z");
    let detail = api.detail(event).await;
    assert_eq!((&detail["available_seats"], &detail["registration_count"]), (&json!(2), &json!(1)));

    let cancelled = api.cancel(event, &ada).await.expect(200).json();
    assert!(cancelled["message"].is_string(), "{cancelled}");
    let detail = api.detail(event).await;
    assert_eq!((&detail["available_seats"], &detail["registration_count"]), (&json!(3), &json!(0)));
    api.stop().await;
}

async fn an_event_sells_until_the_instant_it_starts(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;
    let [ada, bob, eve] = [api.new_user().await, api.new_user().await, api.new_user().await];
    let event = api.create(&admin, json!({ "date": START })).await["id"].as_u64().unwrap();

    site.clock.set(at(LAST_MOMENT));
    api.book(event, &ada).await.expect(201);
    api.book(event, &bob).await.expect(201);
    api.cancel(event, &bob).await.expect(200);

    site.clock.set(at(START));
    api.book(event, &eve).await.expect_problem(409, "event_started");
    api.cancel(event, &ada).await.expect_problem(409, "event_started");
    // A user without a seat gets `registration_not_found`; a user with one gets `event_started`.
    api.cancel(event, &eve).await.expect_problem(404, "registration_not_found");
    api.cancel(event, &bob).await.expect_problem(404, "registration_not_found");
    api.book(event, &ada).await.expect_problem(409, "event_started");
    api.book(event, &bob).await.expect_problem(409, "event_started");

    let detail = api.detail(event).await;
    assert_eq!((&detail["available_seats"], &detail["registration_count"]), (&json!(9), &json!(1)));
    api.stop().await;
}

async fn already_registered_is_answered_before_sold_out(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;
    let [ada, bob] = [api.new_user().await, api.new_user().await];
    let event = api.event(&admin, 1).await;

    api.book(event, &ada).await.expect(201);
    api.book(event, &ada).await.expect_problem(409, "already_registered");
    api.book(event, &bob).await.expect_problem(409, "sold_out");
    api.cancel(event, &ada).await.expect(200);
    api.book(event, &bob).await.expect(201);
    api.book(event, &ada).await.expect_problem(409, "sold_out");
    api.stop().await;
}

async fn a_seat_booked_again_is_the_same_registration_with_a_new_date(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;
    let ada = api.new_user().await;
    let event = api.event(&admin, 1).await;

    let first = api.book(event, &ada).await.expect(201).json();
    site.clock.advance_secs(60);
    api.cancel(event, &ada).await.expect(200);
    site.clock.advance_secs(60);
    let second = api.book(event, &ada).await.expect(201).json();

    assert_eq!(second["id"], first["id"]);
    assert_eq!(second["created_at"], "2030-01-15T12:00:00Z");
    assert_eq!(second["registration_date"], "2030-01-15T12:02:00Z");
    assert_eq!(second["status"], "confirmed");
    let mine = api.get("/api/users/me/registrations").by(&ada).send().await.expect(200);
    assert_eq!(mine.header("x-total-count"), "1");
    assert_eq!(mine.json()[0]["registration_date"], second["registration_date"]);
    api.stop().await;
}

async fn a_cancellation_without_a_registration_is_refused(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;
    let ada = api.new_user().await;
    let event = api.event(&admin, 2).await;

    api.cancel(event, &ada).await.expect_problem(404, "registration_not_found");
    api.book(event, &ada).await.expect(201);
    api.cancel(event, &ada).await.expect(200);
    api.cancel(event, &ada).await.expect_problem(404, "registration_not_found");
    assert_eq!(api.detail(event).await["available_seats"], 2);
    api.stop().await;
}

async fn a_booking_needs_a_token_and_an_existing_event(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;
    let ada = api.new_user().await;
    let event = api.event(&admin, 2).await;

    let seat = format!("/api/events/{event}/register");
    api.post(&seat, &json!({})).send().await.expect_problem(401, "unauthenticated");
    api.delete(&seat).send().await.expect_problem(401, "unauthenticated");
    for nothing in ["4000000", "0", "-1", "x", "1.0", "9007199254740992"] {
        let seat = format!("/api/events/{nothing}/register");
        api.post(&seat, &json!({})).by(&ada).send().await.expect_problem(404, "not_found");
        api.delete(&seat).by(&ada).send().await.expect_problem(404, "not_found");
    }
    api.delete(&format!("/api/events/{event}")).by(&admin).send().await.expect(200);
    api.book(event, &ada).await.expect_problem(404, "not_found");
    api.stop().await;
}

async fn a_cancellation_that_is_sent_many_times_at_once_gives_back_one_seat(site: Site) {
    let api = std::sync::Arc::new(site.start().await);
    let admin = api.admin().await;
    let [ada, bob] = [api.new_user().await, api.new_user().await];
    let event = api.event(&admin, 5).await;
    api.book(event, &ada).await.expect(201);
    api.book(event, &bob).await.expect(201);

    let answers = all_at_once((0..10).map(|_| {
        let (api, ada) = (api.clone(), ada.clone());
        async move { api.cancel(event, &ada).await }
    }))
    .await;
    let done = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(done, 1, "{:?}", answers.iter().map(|answer| answer.status).collect::<Vec<_>>());
    for refused in answers.into_iter().filter(|answer| answer.status != 200) {
        refused.expect_problem(404, "registration_not_found");
    }
    let detail = api.detail(event).await;
    assert_eq!((&detail["available_seats"], &detail["registration_count"]), (&json!(4), &json!(1)));
    std::sync::Arc::into_inner(api).expect("no other task holds the client").stop().await;
}

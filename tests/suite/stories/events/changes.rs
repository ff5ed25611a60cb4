//! Changes of an event, and its deletion.

use serde_json::{Map, Value, json};

use super::{tag_of, told};
use crate::harness::server::Site;

on_both_stacks!(
    a_whole_event_is_put_back_after_it_began,
    each_field_of_an_event_changes_alone,
    a_change_of_nothing_changes_nothing,
    a_change_with_a_wrong_field_changes_no_field,
    free_seats_move_with_all_seats_but_never_below_the_booked_ones,
    an_unknown_event_is_neither_changed_nor_deleted,
    a_deleted_event_leaves_the_programme_and_nothing_is_erased,
);

async fn a_whole_event_is_put_back_after_it_began(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;
    let event = api.create(&admin, json!({ "date": "2030-01-15T12:00:10.123456Z" })).await;
    let path = format!("/api/events/{}", event["id"]);
    site.clock.advance_secs(60);
    let put = async |change: Value| {
        let mut whole = api.get(&path).send().await.expect(200).json();
        whole.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        api.put(&path, &whole).by(&admin).send().await
    };
    assert_eq!(put(json!({})).await.expect(200).json()["updated_at"], event["updated_at"], "it changes nothing");
    let renamed = put(json!({ "title": "Recital", "date": "2030-01-15T13:00:10.1234569+01:00" })).await.expect(200);
    assert_eq!((&renamed.json()["title"], &renamed.json()["date"]), (&json!("Recital"), &event["date"]));
    // Another instant is another one, however near, and is named with all that is wrong.
    for date in ["2030-01-15T12:00:10.123457Z", "2030-01-15T12:00:10Z", "2030-01-15T12:01:00Z"] {
        let refused = put(json!({ "date": date })).await.expect_problem(422, "validation_failed");
        assert_eq!(told(&refused), ["date not_in_future"], "{date}");
        let refused = put(json!({ "date": date, "venue": " " })).await.expect_problem(422, "validation_failed");
        assert_eq!(told(&refused), ["date not_in_future", "venue blank"], "{date}");
    }
    let refused = put(json!({ "venue": " " })).await.expect_problem(422, "validation_failed");
    assert_eq!(told(&refused), ["venue blank"]);
    let stale = api.put(&path, &json!({ "date": "2029-01-01T00:00:00Z" })).by(&admin).header("If-Match", "\"x\"");
    stale.send().await.expect_problem(412, "precondition_failed");
    let moved = put(json!({ "date": "2030-01-15T12:01:00.000001Z" })).await.expect(200).json();
    assert_eq!(moved["date"], "2030-01-15T12:01:00.000001Z");
    api.stop().await;
}

async fn each_field_of_an_event_changes_alone(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;
    let event = api.event(&admin, 10).await;
    let path = format!("/api/events/{event}");
    let mut expected = api.detail(event).await;
    let mut tag = tag_of(&api, event).await;
    for (field, sent, kept) in [
        ("title", json!(" Recital "), json!("Recital")),
        ("description", json!("Chopin."), json!("Chopin.")),
        ("description", json!(null), json!(null)),
        ("date", json!("2032-05-01T19:30:00+01:00"), json!("2032-05-01T18:30:00Z")),
        ("venue", json!("Town hall"), json!("Town hall")),
        ("total_seats", json!(20), json!(20)),
    ] {
        site.clock.advance_secs(60);
        let body = json!({ field: sent, "id": 77, "available_seats": 1, "updated_at": "x", "created_at": null });
        let answer = api.put(&path, &body).by(&admin).send().await.expect(200);
        assert_eq!(answer.header("cache-control"), "private, no-store");
        expected[field] = kept;
        expected["available_seats"] = expected["total_seats"].clone();
        expected["updated_at"] = json!(now(&site));
        assert_eq!(api.detail(event).await, expected);
        let mut answered = expected.clone();
        answered.as_object_mut().unwrap().remove("registration_count");
        assert_eq!(answer.json(), answered);
        let changed = tag_of(&api, event).await;
        assert_ne!(changed, tag, "{field}");
        tag = changed;
    }
    assert_eq!(expected["created_at"], "2030-01-15T12:00:00Z");
    api.stop().await;
}

async fn a_change_of_nothing_changes_nothing(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;
    let event = api.event(&admin, 10).await;
    let path = format!("/api/events/{event}");
    let before = api.get(&path).send().await.expect(200);
    site.clock.advance_secs(60);
    for body in [
        json!({}),
        json!({ "unknown": 1 }),
        json!({ "title": " Concert ", "total_seats": 10, "date": "2031-05-01T21:30:00+02:00", "description": null }),
    ] {
        let answered = api.put(&path, &body).by(&admin).send().await.expect(200).json();
        assert_eq!(answered["updated_at"], "2030-01-15T12:00:00Z", "{body}");
        let after = api.get(&path).send().await.expect(200);
        assert_eq!((after.header("etag"), &after.body), (before.header("etag"), &before.body), "{body}");
    }
    api.stop().await;
}

async fn a_change_with_a_wrong_field_changes_no_field(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;
    let event = api.event(&admin, 10).await;
    let path = format!("/api/events/{event}");
    let before = api.get(&path).send().await.expect(200);
    for (body, wrong) in [
        (json!({ "title": null, "venue": "Elsewhere" }), vec!["title null"]),
        (
            json!({ "title": null, "date": null, "venue": null, "total_seats": null, "description": "new" }),
            vec!["date null", "title null", "total_seats null", "venue null"],
        ),
        (
            json!({ "title": "", "description": 1, "date": "x", "venue": [], "total_seats": 0 }),
            vec![
                "date malformed",
                "description wrong_type",
                "title blank",
                "total_seats out_of_range",
                "venue wrong_type",
            ],
        ),
        (json!({ "title": "New", "description": "x".repeat(10_001) }), vec!["description too_long"]),
    ] {
        let answer = api.put(&path, &body).by(&admin).send().await.expect_problem(422, "validation_failed");
        assert_eq!(told(&answer), wrong, "{body}");
    }
    let after = api.get(&path).send().await.expect(200);
    assert_eq!((after.header("etag"), &after.body), (before.header("etag"), &before.body));
    api.stop().await;
}

async fn free_seats_move_with_all_seats_but_never_below_the_booked_ones(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;
    let event = api.event(&admin, 3).await;
    for person in api.people(2).await {
        api.book(event, &person).await.expect(201);
    }
    let path = format!("/api/events/{event}");
    for (total, free) in [(10, 8), (2, 0), (1_000_000, 999_998), (2, 0), (5, 3)] {
        let answer = api.put(&path, &json!({ "total_seats": total })).by(&admin).send().await.expect(200).json();
        assert_eq!((&answer["total_seats"], &answer["available_seats"]), (&json!(total), &json!(free)));
        let detail = api.detail(event).await;
        assert_eq!((&detail["available_seats"], &detail["registration_count"]), (&json!(free), &json!(2)));
    }
    let before = api.get(&path).send().await.expect(200);
    site.clock.advance_secs(60);
    let too_few = json!({ "total_seats": 1, "title": "Smaller", "description": "new" });
    let answer = api.put(&path, &too_few).by(&admin).send().await;
    answer.expect_problem(409, "seats_below_registrations");
    let after = api.get(&path).send().await.expect(200);
    assert_eq!((after.header("etag"), &after.body), (before.header("etag"), &before.body));
    api.stop().await;
}

async fn an_unknown_event_is_neither_changed_nor_deleted(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;
    let deleted = api.event(&admin, 3).await;
    api.delete(&format!("/api/events/{deleted}")).by(&admin).send().await.expect(200);
    for event in [deleted, deleted + 1, 9_007_199_254_740_991] {
        let path = format!("/api/events/{event}");
        for body in [json!({}), json!({ "title": "Back" }), json!({ "total_seats": 1 })] {
            api.put(&path, &body).by(&admin).send().await.expect_problem(404, "not_found");
            let conditional = api.put(&path, &body).by(&admin).header("If-Match", "*").send().await;
            conditional.expect_problem(404, "not_found");
        }
        api.delete(&path).by(&admin).send().await.expect_problem(404, "not_found");
        api.get(&path).send().await.expect_problem(404, "not_found");
    }
    api.stop().await;
}

async fn a_deleted_event_leaves_the_programme_and_nothing_is_erased(site: Site) {
    let api = site.start().await;
    let (admin, [ada, max]) = (api.admin().await, [api.new_user().await, api.new_user().await]);
    let event = api.event(&admin, 10).await;
    let other = api.event(&admin, 10).await;
    let booked = api.book(event, &ada).await.expect(201).json();
    api.book(other, &ada).await.expect(201);
    api.book(event, &max).await.expect(201);
    api.cancel(event, &max).await.expect(200);
    let path = format!("/api/events/{event}");

    site.clock.advance_secs(60);
    let answer = api.delete(&path).by(&admin).send().await.expect(200);
    let body = answer.json();
    assert_eq!(body, json!({ "message": body["message"], "cancelled_registrations": 1 }));
    assert!(!body["message"].as_str().unwrap().is_empty());
    assert_eq!(answer.header("cache-control"), "private, no-store");

    api.get(&path).send().await.expect_problem(404, "not_found");
    let listed = api.get("/api/events").send().await.expect(200).json();
    assert_eq!((&listed["total"], &listed["data"][0]["id"]), (&json!(1), &json!(other)));
    api.book(event, &max).await.expect_problem(404, "not_found");
    api.cancel(event, &ada).await.expect(404);
    api.delete(&path).by(&admin).send().await.expect_problem(404, "not_found");

    let mut cancelled = booked;
    cancelled["status"] = json!("cancelled");
    let mine = api.get("/api/users/me/registrations").by(&ada).send().await.expect(200).json();
    let mine = mine.as_array().unwrap();
    assert_eq!(mine.iter().map(|row| &row["status"]).collect::<Vec<_>>(), ["confirmed", "cancelled"]);
    assert_eq!(mine[0]["event"]["deleted_at"], Value::Null);
    assert_eq!(without("event", &mine[1]), cancelled);
    assert_eq!(mine[1]["event"]["title"], "Concert");
    assert_eq!(mine[1]["event"]["deleted_at"], now(&site));
    assert_eq!(mine[1]["event"]["available_seats"], 10);

    let theirs = api.get(&format!("{path}/registrations")).by(&admin).send().await.expect(200);
    assert_eq!(theirs.header("x-total-count"), "2");
    let theirs = theirs.json();
    assert!(theirs.as_array().unwrap().iter().all(|row| row["status"] == "cancelled"), "{theirs}");
    let adas = theirs.as_array().unwrap().iter().find(|row| row["user_id"] == ada.id).unwrap();
    assert_eq!(without("user", adas), cancelled);
    assert_eq!(adas["user"]["email"], ada.email);
    api.stop().await;
}

/// The clock's instant, as in answers.
fn now(site: &crate::harness::server::Site) -> String {
    domain::ports::Clock::now(&*site.clock).to_string()
}

/// The object without one of its fields.
fn without(field: &str, object: &Value) -> Value {
    let kept: Map<_, _> = object.as_object().unwrap().clone().into_iter().filter(|(name, _)| name != field).collect();
    kept.into()
}

//! Changes with an idempotency key: made once, and replayed.

use reqwest::Method;
use serde_json::json;

use super::{assert_replayed, once, tag_of, told};
use crate::harness::server::Site;

on_both_stacks!(
    a_change_of_a_begun_event_is_replayed_as_it_was,
    a_change_of_the_programme_under_a_key_is_made_once,
    a_key_stands_for_one_request_of_one_admin,
    a_refused_change_of_the_programme_does_not_keep_its_key,
);

async fn a_change_of_a_begun_event_is_replayed_as_it_was(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;
    let event = api.create(&admin, json!({ "date": "2030-01-15T12:00:10Z" })).await;
    let path = format!("/api/events/{}", event["id"]);
    let put = async |date: &str, key: &str| {
        let body = json!({ "title": "Recital", "date": date });
        api.put(&path, &body).by(&admin).header("Idempotency-Key", key).send().await
    };
    let first = put("2030-01-15T12:00:20Z", "moved").await.expect(200);
    site.clock.advance_secs(60);
    let again = put("2030-01-15T12:00:20Z", "moved").await.expect(200);
    assert_eq!((again.header("idempotent-replayed"), &again.body), ("true", &first.body));
    let kept = put("2030-01-15T12:00:20Z", "kept").await.expect(200);
    assert_eq!((kept.header("idempotent-replayed"), &kept.body), ("", &first.body));
    let past = put("2030-01-15T12:00:30Z", "past").await.expect_problem(422, "validation_failed");
    assert_eq!(told(&past), ["date not_in_future"]);
    api.stop().await;
}

async fn a_change_of_the_programme_under_a_key_is_made_once(site: Site) {
    let api = site.start().await;
    let (admin, ada) = (api.admin().await, api.new_user().await);
    let draft = json!({ "title": "Concert", "date": "2031-05-01T19:30:00Z", "venue": "Opera", "total_seats": 5 });
    let create = async || api.post("/api/events", &draft).by(&admin).header("Idempotency-Key", "create").send().await;
    let created = once(create).await;
    assert_eq!((created.status, created.header("location").is_empty()), (201, false));
    assert_eq!(create().await.header("location"), created.header("location"));
    assert_eq!(api.get("/api/events").send().await.expect(200).json()["total"], 1);

    let path = created.header("location").to_owned();
    let event = created.json()["id"].as_u64().unwrap();
    let tag = tag_of(&api, event).await;
    let update = async || {
        let change = json!({ "title": "Recital", "total_seats": 6 });
        api.put(&path, &change).by(&admin).header("Idempotency-Key", "update").header("If-Match", &tag).send().await
    };
    let updated = once(update).await;
    assert_eq!((updated.status, &updated.json()["title"]), (200, &json!("Recital")));
    // A replay has the answer to its request, not the present state of the event.
    api.book(event, &ada).await.expect(201);
    site.clock.advance_secs(60);
    api.put(&path, &json!({ "title": "Matinee" })).by(&admin).send().await.expect(200);
    assert_replayed(&update().await, &updated);
    assert_eq!(api.detail(event).await["title"], "Matinee");
    assert_replayed(&create().await, &created);

    let delete = async || api.delete(&path).by(&admin).header("Idempotency-Key", "delete").send().await;
    let deleted = once(delete).await;
    assert_eq!((deleted.status, &deleted.json()["cancelled_registrations"]), (200, &json!(1)));
    assert_replayed(&update().await, &updated);
    assert_replayed(&create().await, &created);
    assert_eq!(api.get("/api/events").send().await.expect(200).json()["total"], 0);
    api.stop().await;
}

async fn a_key_stands_for_one_request_of_one_admin(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;
    let second = api.another_admin(&admin).await;
    let other = api.event(&admin, 5).await;
    let draft = json!({ "title": "Concert", "date": "2031-05-01T19:30:00Z", "venue": "Opera", "total_seats": 5 });
    let first = api.post("/api/events", &draft).by(&admin).header("Idempotency-Key", "k").send().await.expect(201);
    let event = first.json()["id"].as_u64().unwrap();

    let mut renamed = draft.clone();
    renamed["title"] = json!("Recital");
    let path = format!("/api/events/{event}");
    for reused in [
        api.post("/api/events", &renamed),
        api.put(&path, &draft),
        api.put(&path, &json!({})),
        api.delete(&path),
        api.delete(&format!("/api/events/{other}")),
        api.request(Method::POST, &format!("{path}/register")),
        api.put("/api/users/me", &draft),
    ] {
        let answer = reused.by(&admin).header("Idempotency-Key", "k").send().await;
        answer.expect_problem(422, "idempotency_key_reused");
    }
    assert_eq!(api.detail(event).await["registration_count"], 0);

    let theirs = api.post("/api/events", &draft).by(&second).header("Idempotency-Key", "k").send().await.expect(201);
    assert_eq!(theirs.header("idempotent-replayed"), "");
    assert_ne!(theirs.json()["id"], event);
    let quoted = api.post("/api/events", &draft).by(&admin).header("Idempotency-Key", "\"k\"").send().await;
    assert_replayed(&quoted, &first);
    api.stop().await;
}

async fn a_refused_change_of_the_programme_does_not_keep_its_key(site: Site) {
    let api = site.start().await;
    let (admin, ada, max) = (api.admin().await, api.new_user().await, api.new_user().await);
    let event = api.event(&admin, 5).await;
    let path = format!("/api/events/{event}");
    let registered = [&ada, &max];
    for person in registered {
        api.book(event, person).await.expect(201);
    }
    let create = async |seats: u32| {
        let draft =
            json!({ "title": "Concert", "date": "2031-05-01T19:30:00Z", "venue": "Opera", "total_seats": seats });
        api.post("/api/events", &draft).by(&admin).header("Idempotency-Key", "create").send().await
    };
    create(0).await.expect_problem(422, "validation_failed");
    assert_eq!(create(1).await.expect(201).header("idempotent-replayed"), "");

    let shrink = async || {
        api.put(&path, &json!({ "total_seats": 1 })).by(&admin).header("Idempotency-Key", "shrink").send().await
    };
    shrink().await.expect_problem(409, "seats_below_registrations");
    api.cancel(event, &ada).await.expect(200);
    assert_eq!(shrink().await.expect(200).header("idempotent-replayed"), "");

    let delete = async |condition: &str| {
        let request = api.delete(&path).by(&admin).header("Idempotency-Key", "delete");
        request.header("If-Match", condition).send().await
    };
    delete("\"stale\"").await.expect_problem(412, "precondition_failed");
    assert_eq!(delete("*").await.expect(200).header("idempotent-replayed"), "");
    api.stop().await;
}

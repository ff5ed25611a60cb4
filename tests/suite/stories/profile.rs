//! A user's own account, and the requests of users with an idempotency key.

use reqwest::Method;
use serde_json::json;

use super::events::{assert_replayed, once};
use crate::harness::server::{Answer, PASSWORD, Site};

const ME: &str = "/api/users/me";

on_both_stacks!(
    a_user_reads_their_own_account,
    a_profile_changes_by_what_is_sent_and_nothing_else,
    an_address_belongs_to_one_account,
    every_wrong_field_of_a_profile_is_named_at_once_and_none_is_changed,
    a_request_with_an_idempotency_key_acts_once,
    a_begun_event_still_replays_earlier_requests,
    a_refusal_does_not_keep_its_key,
    a_key_stands_for_one_request_of_one_user,
    a_key_is_1_to_255_visible_ascii_characters,
    a_wrong_key_and_wrong_fields_are_named_together,
);

async fn a_user_reads_their_own_account(site: Site) {
    let api = site.start().await;
    let (admin, ada) = (api.admin().await, api.new_user().await);
    let answer = api.get(ME).by(&ada).send().await.expect(200);
    assert_eq!(answer.header("cache-control"), "private, no-store");
    assert_eq!(answer.header("content-type"), "application/json");
    let me = answer.json();
    assert_eq!(
        me,
        json!({
            "id": ada.id,
            "name": me["name"],
            "email": ada.email,
            "role": "user",
            "notifications": true,
            "created_at": "2030-01-15T12:00:00Z",
        })
    );
    assert!(me["name"].as_str().unwrap().starts_with("Person "), "{me}");
    let theirs = api.get(ME).by(&admin).send().await.expect(200).json();
    assert_eq!((&theirs["id"], &theirs["role"]), (&json!(admin.id), &json!("admin")));
    api.stop().await;
}

async fn a_profile_changes_by_what_is_sent_and_nothing_else(site: Site) {
    let api = site.start().await;
    let ada = api.new_user().await;
    let mut expected = api.get(ME).by(&ada).send().await.expect(200).json();
    for (body, changed) in [
        (json!({}), json!({})),
        (json!({ "name": "  Ada King\t" }), json!({ "name": "Ada King" })),
        (json!({ "email": " Ada.King@Example.com " }), json!({ "email": "ada.king@example.com" })),
        (json!({ "name": "é".repeat(100), "email": "a@b.c" }), json!({ "name": "é".repeat(100), "email": "a@b.c" })),
        // A user cannot change their own role or id.
        (
            json!({
                "name": "Ada", "role": "admin", "id": 1, "password": "another password", "created_at": null,
                "user_id": 1, "is_admin": true,
            }),
            json!({ "name": "Ada" }),
        ),
    ] {
        site.clock.advance_secs(60);
        for (name, value) in changed.as_object().unwrap() {
            expected[name] = value.clone();
        }
        let answer = api.put(ME, &body).by(&ada).send().await.expect(200);
        assert_eq!(answer.header("cache-control"), "private, no-store");
        assert_eq!(answer.json(), expected, "{body}");
        assert_eq!(api.get(ME).by(&ada).send().await.expect(200).json(), expected, "{body}");
    }
    api.post("/api/events", &json!({})).by(&ada).send().await.expect_problem(403, "forbidden");
    api.log_in("a@b.c", "another password").await.expect_problem(401, "invalid_credentials");
    api.log_in(&ada.email, PASSWORD).await.expect_problem(401, "invalid_credentials");
    assert_eq!(api.log_in("A@B.c", PASSWORD).await.expect(200).json()["user"], expected);
    api.stop().await;
}

async fn an_address_belongs_to_one_account(site: Site) {
    let api = site.start().await;
    let (ada, max) = (api.new_user().await, api.new_user().await);
    let before = api.get(ME).by(&max).send().await.expect(200).json();
    for taken in [ada.email.clone(), ada.email.to_uppercase(), format!("  {}\n", ada.email)] {
        let body = json!({ "name": "Max the second", "email": taken });
        api.put(ME, &body).by(&max).send().await.expect_problem(409, "email_taken");
        assert_eq!(api.get(ME).by(&max).send().await.expect(200).json(), before);
    }
    // A user's own address is not taken, in any case.
    let own = json!({ "email": max.email.to_uppercase() });
    assert_eq!(api.put(ME, &own).by(&max).send().await.expect(200).json(), before);

    // An address that was given up can be taken.
    api.put(ME, &json!({ "email": "new@example.com" })).by(&ada).send().await.expect(200);
    let given_up = api.put(ME, &json!({ "email": ada.email })).by(&max).send().await.expect(200).json();
    assert_eq!(given_up["email"], ada.email);
    assert_eq!(api.log_in(&ada.email, PASSWORD).await.expect(200).person().id, max.id);
    api.stop().await;
}

async fn every_wrong_field_of_a_profile_is_named_at_once_and_none_is_changed(site: Site) {
    let api = site.start().await;
    let ada = api.new_user().await;
    let before = api.get(ME).by(&ada).send().await.expect(200).json();
    for (body, wrong) in [
        (json!({ "name": null, "email": null }), vec!["email null", "name null"]),
        (json!({ "name": 1, "email": [] }), vec!["email wrong_type", "name wrong_type"]),
        (json!({ "name": " ", "email": "ada" }), vec!["email malformed", "name blank"]),
        (json!({ "name": "é".repeat(101), "email": "a\0@b.c" }), vec!["email malformed", "name too_long"]),
        (json!({ "name": "Ada\0", "email": "new@example.com" }), vec!["name control_character"]),
        (json!({ "name": "New", "email": "" }), vec!["email malformed"]),
    ] {
        let answer = api.put(ME, &body).by(&ada).send().await.expect_problem(422, "validation_failed");
        assert_eq!(told(&answer), wrong, "{body}");
    }
    assert_eq!(api.get(ME).by(&ada).send().await.expect(200).json(), before);
    api.stop().await;
}

async fn a_request_with_an_idempotency_key_acts_once(site: Site) {
    let api = site.start().await;
    let (admin, ada) = (api.admin().await, api.new_user().await);
    let event = api.event(&admin, 5).await;
    let register = format!("/api/events/{event}/register");
    let rename =
        async || api.put(ME, &json!({ "name": "Ada King" })).by(&ada).header("Idempotency-Key", "rename").send().await;
    let renamed = once(rename).await;
    api.put(ME, &json!({ "name": "Ada" })).by(&ada).send().await.expect(200);
    assert_replayed(&rename().await, &renamed);
    assert_eq!(api.get(ME).by(&ada).send().await.expect(200).json()["name"], "Ada");

    let book = async || api.request(Method::POST, &register).by(&ada).header("Idempotency-Key", "book").send().await;
    let cancel = async || api.delete(&register).by(&ada).header("Idempotency-Key", "cancel").send().await;
    let booked = once(book).await;
    assert_eq!((booked.status, &booked.json()["status"]), (201, &json!("confirmed")));
    assert_eq!(api.detail(event).await["available_seats"], 4);
    let cancelled = once(cancel).await;
    assert_eq!(cancelled.status, 200);
    assert_eq!(api.detail(event).await["available_seats"], 5);

    // The booking has been cancelled since: the answer is the same, and nothing is booked.
    site.clock.advance_secs(3600);
    assert_replayed(&book().await, &booked);
    assert_eq!(api.detail(event).await["available_seats"], 5);
    api.book(event, &ada).await.expect(201);
    assert_replayed(&cancel().await, &cancelled);
    assert_eq!(api.detail(event).await["available_seats"], 4);
    api.stop().await;
}

async fn a_begun_event_still_replays_earlier_requests(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;
    let draft = json!({ "title": "Soon", "date": "2030-01-15T13:00:00Z", "venue": "Opera", "total_seats": 5 });
    let create = async || api.post("/api/events", &draft).by(&admin).header("Idempotency-Key", "create").send().await;
    let created = create().await.expect(201);
    let path = created.header("location").to_owned();
    let update = async || {
        let change = json!({ "date": "2030-01-15T14:00:00Z" });
        api.put(&path, &change).by(&admin).header("Idempotency-Key", "update").send().await
    };
    let book = async || {
        let request = api.request(Method::POST, &format!("{path}/register")).by(&admin);
        request.header("Idempotency-Key", "book").send().await
    };
    let updated = update().await.expect(200);
    let booked = book().await.expect(201);

    site.clock.advance_secs(3 * 3600);
    assert_replayed(&create().await, &created);
    assert_replayed(&update().await, &updated);
    assert_replayed(&book().await, &booked);
    // Under a new key these are new requests, and too late.
    let mut wrong = draft.clone();
    wrong["total_seats"] = json!(0);
    for (request, expected) in [
        (api.post("/api/events", &draft), vec!["date not_in_future"]),
        (api.put(&path, &json!({ "date": "2030-01-15T14:30:00Z" })), vec!["date not_in_future"]),
        (api.post("/api/events", &wrong), vec!["date not_in_future", "total_seats out_of_range"]),
    ] {
        let late = request.by(&admin).header("Idempotency-Key", "late").send().await;
        assert_eq!(told(&late.expect_problem(422, "validation_failed")), expected);
    }
    assert_eq!(api.get("/api/events").send().await.expect(200).json()["total"], 1);
    api.stop().await;
}

async fn a_refusal_does_not_keep_its_key(site: Site) {
    let api = site.start().await;
    let (admin, ada, max) = (api.admin().await, api.new_user().await, api.new_user().await);
    let event = api.event(&admin, 1).await;
    let register = format!("/api/events/{event}/register");
    api.book(event, &max).await.expect(201);
    let book = async || api.request(Method::POST, &register).by(&ada).header("Idempotency-Key", "book").send().await;
    book().await.expect_problem(409, "sold_out");
    api.cancel(event, &max).await.expect(200);
    let booked = once(book).await;
    assert_eq!(booked.json()["user_id"], ada.id);

    let cancel = async || api.delete(&register).by(&max).header("Idempotency-Key", "cancel").send().await;
    cancel().await.expect_problem(404, "registration_not_found");
    api.cancel(event, &ada).await.expect(200);
    api.book(event, &max).await.expect(201);
    once(cancel).await;

    let rename =
        async || api.put(ME, &json!({ "email": max.email })).by(&ada).header("Idempotency-Key", "rename").send().await;
    rename().await.expect_problem(409, "email_taken");
    api.put(ME, &json!({ "email": "given.up@example.com" })).by(&max).send().await.expect(200);
    assert_eq!(once(rename).await.json()["email"], max.email);
    api.stop().await;
}

async fn a_key_stands_for_one_request_of_one_user(site: Site) {
    let api = site.start().await;
    let (admin, ada, max) = (api.admin().await, api.new_user().await, api.new_user().await);
    let event = api.event(&admin, 5).await;
    let other = api.event(&admin, 5).await;
    let at = |event: u64| format!("/api/events/{event}/register");
    let key = ("Idempotency-Key", "k");
    let first = api.request(Method::POST, &at(event)).by(&ada).header(key.0, key.1).send().await.expect(201);
    for reused in [
        api.request(Method::POST, &at(other)),
        api.delete(&at(event)),
        api.put(ME, &json!({})),
        // The body is a part of the request, even if the route does not read it.
        api.post(&at(event), &json!({})),
    ] {
        let answer = reused.by(&ada).header(key.0, key.1).send().await;
        answer.expect_problem(422, "idempotency_key_reused");
    }
    let theirs = api.request(Method::POST, &at(event)).by(&max).header(key.0, key.1).send().await.expect(201);
    assert_eq!(theirs.header("idempotent-replayed"), "");
    assert_eq!(theirs.json()["user_id"], max.id);
    let again = api.request(Method::POST, &at(event)).by(&ada).header(key.0, key.1).send().await;
    assert_replayed(&again, &first);
    assert_eq!(api.detail(event).await["registration_count"], 2);
    assert_eq!(api.detail(other).await["registration_count"], 0);
    api.stop().await;
}

async fn a_key_is_1_to_255_visible_ascii_characters(site: Site) {
    let api = site.start().await;
    let (admin, ada) = (api.admin().await, api.new_user().await);
    let event = api.event(&admin, 5).await;
    let path = format!("/api/events/{event}");
    let (empty, named) = (json!({}), json!({ "name": "Never" }));
    let draft = json!({ "title": "Never", "date": "2031-05-01T19:30:00Z", "venue": "Opera", "total_seats": 5 });
    let too_long = "k".repeat(256);
    for key in ["", "\"\"", "a b", "a\tb", &too_long, &format!("\"{too_long}\"")] {
        for request in [
            api.post("/api/events", &draft),
            api.put(&path, &empty),
            api.delete(&path),
            api.request(Method::POST, &format!("{path}/register")),
            api.delete(&format!("{path}/register")),
            api.put(ME, &named),
        ] {
            let answer = request.by(&admin).header("Idempotency-Key", key).send().await;
            let answer = answer.expect_problem(422, "validation_failed");
            assert_eq!(answer.wrong_fields()[0].0, "Idempotency-Key", "{key:?}");
        }
    }
    let put = || api.put(ME, &named).by(&ada);
    for request in [
        put().raw_header("Idempotency-Key", "clé".as_bytes()),
        put().raw_header("Idempotency-Key", b"\xff"),
        put().header("Idempotency-Key", "a").header("Idempotency-Key", "b"),
    ] {
        let answer = request.send().await.expect_problem(422, "validation_failed");
        assert_eq!(answer.wrong_fields()[0].0, "Idempotency-Key");
    }
    let me = api.get(ME).by(&ada).send().await.expect(200).json();
    assert_ne!(me["name"], "Never");
    assert_eq!(api.get("/api/events").send().await.expect(200).json()["total"], 1);

    for (number, key) in ["k", "!~", &"k".repeat(255), &format!("\"{}\"", "q".repeat(255))].iter().enumerate() {
        let body = json!({ "name": format!("Name {number}") });
        once(async || api.put(ME, &body).by(&ada).header("Idempotency-Key", key).send().await).await;
    }
    api.stop().await;
}

async fn a_wrong_key_and_wrong_fields_are_named_together(site: Site) {
    let api = site.start().await;
    let (admin, ada) = (api.admin().await, api.new_user().await);
    for (request, wrong) in [
        (api.put(ME, &json!({ "name": null })).by(&ada), vec!["Idempotency-Key", "name"]),
        (
            api.post("/api/events", &json!({})).by(&admin),
            vec!["Idempotency-Key", "date", "title", "total_seats", "venue"],
        ),
    ] {
        let answer = request.header("Idempotency-Key", "a b").send().await;
        let fields = answer.expect_problem(422, "validation_failed").wrong_fields();
        assert_eq!(fields.iter().map(|(field, _)| field.as_str()).collect::<Vec<_>>(), wrong);
    }
    api.stop().await;
}

/// The wrong fields, each with its code.
fn told(answer: &Answer) -> Vec<String> {
    answer.wrong_fields().into_iter().map(|(field, code)| format!("{field} {code}")).collect()
}

//! The fields of an event, new or changed: what each may hold.

use reqwest::Method;
use serde_json::{Value, json};

use super::told;
use crate::harness::server::{Answer, Instance, Person, Site};

on_both_stacks!(
    a_new_event_is_answered_with_its_address_and_all_its_seats,
    a_description_may_be_left_out_null_or_empty,
    every_wrong_field_of_a_new_event_is_named_at_once,
    texts_hold_no_control_characters_but_lines_and_tabs_in_a_description,
    the_limits_of_an_event_are_inside_it,
    seats_are_a_whole_number_from_1_to_a_million,
    a_date_is_in_the_future_and_told_in_utc,
    a_text_without_anything_to_see_is_blank,
);

async fn a_new_event_is_answered_with_its_address_and_all_its_seats(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;
    let answer = api
        .post(
            "/api/events",
            &json!({
                "title": "  Nocturnes \n", "description": " Chopin.\r\n\tOn a piano of 1848. ", "venue": "\tOpera ",
                "date": "2031-05-01T19:30:00Z", "total_seats": 120,
                "id": 77, "available_seats": 3, "created_at": "2000-01-01T00:00:00Z", "version": 9, "deleted_at": "x",
            }),
        )
        .by(&admin)
        .send()
        .await
        .expect(201);
    let event = answer.json();
    let id = event["id"].as_u64().unwrap();
    assert_eq!(answer.header("location"), format!("/api/events/{id}"));
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("cache-control"), "private, no-store");
    let shape = json!({
        "id": id,
        "title": "Nocturnes",
        "description": "Chopin.\r\n\tOn a piano of 1848.",
        "date": "2031-05-01T19:30:00Z",
        "venue": "Opera",
        "total_seats": 120,
        "available_seats": 120,
        "created_at": "2030-01-15T12:00:00Z",
        "updated_at": "2030-01-15T12:00:00Z",
    });
    assert_eq!(event, shape);
    assert_ne!(id, 77);
    assert_eq!(api.get("/api/events").send().await.expect(200).json()["data"], json!([shape]));
    let mut detail = shape;
    detail["registration_count"] = json!(0);
    assert_eq!(api.get(answer.header("location")).send().await.expect(200).json(), detail);
    api.stop().await;
}

async fn a_description_may_be_left_out_null_or_empty(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;
    for (fields, kept) in [
        (json!({}), Value::Null),
        (json!({ "description": null }), Value::Null),
        (json!({ "description": "" }), json!("")),
        (json!({ "description": " \t\n " }), json!("")),
        (json!({ "description": "one\r\n\ttwo" }), json!("one\r\n\ttwo")),
    ] {
        let event = api.create(&admin, fields).await;
        assert_eq!(event["description"], kept);
        assert_eq!(api.detail(event["id"].as_u64().unwrap()).await["description"], kept);
    }
    api.stop().await;
}

async fn every_wrong_field_of_a_new_event_is_named_at_once(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;
    for (body, wrong) in [
        (json!({}), vec!["date required", "title required", "total_seats required", "venue required"]),
        (
            json!({ "title": null, "description": null, "date": null, "venue": null, "total_seats": null }),
            vec!["date null", "title null", "total_seats null", "venue null"],
        ),
        (
            json!({ "title": 1, "description": [], "date": 2031, "venue": {}, "total_seats": "10" }),
            vec![
                "date wrong_type",
                "description wrong_type",
                "title wrong_type",
                "total_seats wrong_type",
                "venue wrong_type",
            ],
        ),
        (
            json!({
                "title": "é".repeat(201), "description": "é".repeat(10_001), "date": "tomorrow",
                "venue": "é".repeat(201), "total_seats": 1_000_001,
            }),
            vec![
                "date malformed",
                "description too_long",
                "title too_long",
                "total_seats out_of_range",
                "venue too_long",
            ],
        ),
        (
            json!({
                "title": " \t\n", "description": "a\0b", "date": "2029-01-01T00:00:00Z", "venue": "",
                "total_seats": 0,
            }),
            vec![
                "date not_in_future",
                "description control_character",
                "title blank",
                "total_seats out_of_range",
                "venue blank",
            ],
        ),
    ] {
        let answer = api.post("/api/events", &body).by(&admin).send().await;
        assert_eq!(told(&answer.expect_problem(422, "validation_failed")), wrong, "{body}");
    }
    assert_eq!(api.get("/api/events").send().await.expect(200).json()["total"], 0);
    api.stop().await;
}

async fn texts_hold_no_control_characters_but_lines_and_tabs_in_a_description(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;
    let event = api.event(&admin, 5).await;
    for character in ['\0', '\u{1}', '\u{7}', '\u{b}', '\u{1b}', '\u{7f}', '\u{85}', '\u{9f}', '\t', '\n', '\r'] {
        let text = format!("a{character}b");
        let line = matches!(character, '\t' | '\n' | '\r');
        for (field, refused) in [("title", true), ("venue", true), ("description", !line)] {
            let created = post_with(&api, &admin, field, json!(text)).await;
            let path = format!("/api/events/{event}");
            let updated = api.put(&path, &json!({ field: text })).by(&admin).send().await;
            if refused {
                for answer in [created, updated] {
                    let answer = answer.expect_problem(422, "validation_failed");
                    assert_eq!(told(&answer), [format!("{field} control_character")], "{character:?}");
                }
            } else {
                assert_eq!(created.expect(201).json()[field], text);
                assert_eq!(updated.expect(200).json()[field], text);
            }
        }
    }
    // Half a surrogate pair is no text.
    let half = r#"{"title":"a\ud800b","date":"2031-05-01T19:30:00Z","venue":"Opera","total_seats":1}"#;
    let answer = api.request(Method::POST, "/api/events").by(&admin).body("application/json", half).send().await;
    assert_eq!(told(&answer.expect_problem(422, "validation_failed")), ["title wrong_type"]);
    api.stop().await;
}

async fn the_limits_of_an_event_are_inside_it(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;
    for fields in [
        json!({ "title": "x", "venue": "y", "total_seats": 1 }),
        json!({ "title": "é".repeat(200), "venue": "\u{1f980}".repeat(200), "total_seats": 1_000_000 }),
        json!({ "description": "\u{1f980}".repeat(10_000) }),
    ] {
        let event = api.create(&admin, fields.clone()).await;
        let detail = api.detail(event["id"].as_u64().unwrap()).await;
        for (name, value) in fields.as_object().unwrap() {
            assert_eq!(&event[name], value);
            assert_eq!(&detail[name], value);
        }
    }
    api.stop().await;
}

async fn seats_are_a_whole_number_from_1_to_a_million(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;
    let event = api.event(&admin, 5).await;
    for (seats, code) in [
        ("0", "out_of_range"),
        ("-1", "out_of_range"),
        ("1000001", "out_of_range"),
        ("4294967297", "out_of_range"),
        ("18446744073709551617", "out_of_range"),
        ("1e30", "out_of_range"),
        ("1.5", "wrong_type"),
        ("\"10\"", "wrong_type"),
        ("true", "wrong_type"),
        ("[10]", "wrong_type"),
        ("{}", "wrong_type"),
        ("null", "null"),
    ] {
        for answer in seats_as_written(&api, &admin, event, seats).await {
            let answer = answer.expect_problem(422, "validation_failed");
            assert_eq!(told(&answer), [format!("total_seats {code}")], "{seats}");
        }
    }
    // Numbers too large for an integer or a float.
    for seats in ["1e400", "-1e400", &"9".repeat(400)] {
        for answer in seats_as_written(&api, &admin, event, seats).await {
            let answer = answer.expect_problem(422, "validation_failed");
            assert_eq!(answer.wrong_fields()[0].0, "total_seats", "{seats}");
        }
    }
    assert_eq!(api.detail(event).await["total_seats"], 5);
    api.stop().await;
}

async fn a_date_is_in_the_future_and_told_in_utc(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;
    for (date, told_as) in [
        ("2030-01-15T12:00:00.000001Z", "2030-01-15T12:00:00.000001Z"),
        ("2031-05-01T21:30:00+02:00", "2031-05-01T19:30:00Z"),
        ("2031-01-01T00:15:00+05:45", "2030-12-31T18:30:00Z"),
        ("2031-05-01T19:30:00-03:30", "2031-05-01T23:00:00Z"),
        ("2031-05-01T19:30:00-00:00", "2031-05-01T19:30:00Z"),
        ("2031-05-01T19:30:00.1234569Z", "2031-05-01T19:30:00.123456Z"),
        ("2031-05-01T19:30:00.100Z", "2031-05-01T19:30:00.100Z"),
        ("2032-02-29T00:00:00Z", "2032-02-29T00:00:00Z"),
        ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
        ("2031-05-01t19:30:00z", "2031-05-01T19:30:00Z"),
    ] {
        let event = api.create(&admin, json!({ "date": date })).await;
        let path = format!("/api/events/{}", event["id"]);
        assert_eq!(event["date"], told_as, "{date}");
        assert_eq!(api.get(&path).send().await.expect(200).json()["date"], told_as, "{date}");
        let again = api.put(&path, &json!({ "date": date })).by(&admin).send().await.expect(200).json();
        assert_eq!(again["date"], told_as, "{date}");
    }
    let event = api.event(&admin, 5).await;
    for (date, code) in [
        ("2030-01-15T12:00:00Z", "not_in_future"),
        ("2030-01-15T13:00:00+01:00", "not_in_future"),
        ("2030-01-15T12:00:00.0000009Z", "not_in_future"),
        ("2030-01-15T11:59:59.999999Z", "not_in_future"),
        ("1969-12-31T23:59:59Z", "not_in_future"),
        ("0001-01-01T00:00:00Z", "not_in_future"),
        ("0000-01-01T00:00:00Z", "malformed"),
        ("0001-01-01T00:00:00+01:00", "malformed"),
        ("9999-12-31T23:59:59-01:00", "malformed"),
        ("9999-12-31T23:59:60Z", "malformed"),
        ("2031-06-30T23:59:60Z", "malformed"),
        ("2031-06-30T23:59:60.5Z", "malformed"),
        ("2031-05-01T10:00:60Z", "malformed"),
        ("2031-05-01 19:30:00Z", "malformed"),
        ("2031-05-01T19:30Z", "malformed"),
        ("2031-05-01T19:30:00\u{2212}01:00", "malformed"),
        ("10000-01-01T00:00:00Z", "malformed"),
        ("+12031-01-01T00:00:00Z", "malformed"),
        ("-2031-01-01T00:00:00Z", "malformed"),
        ("2031-02-29T00:00:00Z", "malformed"),
        ("2031-13-01T00:00:00Z", "malformed"),
        ("2031-05-01T24:00:00Z", "malformed"),
        ("2031-05-01T19:30:00", "malformed"),
        ("2031-05-01T19:30:00+25:00", "malformed"),
        ("2031-05-01", "malformed"),
        ("1935689400", "malformed"),
        ("2031-05-01T19:30:00Z\0", "malformed"),
        ("", "malformed"),
    ] {
        let created = post_with(&api, &admin, "date", json!(date)).await;
        let path = format!("/api/events/{event}");
        for answer in [created, api.put(&path, &json!({ "date": date })).by(&admin).send().await] {
            let answer = answer.expect_problem(422, "validation_failed");
            assert_eq!(told(&answer), [format!("date {code}")], "{date:?}");
        }
    }
    assert_eq!(api.detail(event).await["date"], "2031-05-01T19:30:00Z");
    api.stop().await;
}

async fn a_text_without_anything_to_see_is_blank(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;
    let event = api.event(&admin, 5).await;
    let path = format!("/api/events/{event}");
    for text in [
        "\u{200b}",
        "\u{2060}\u{200d}",
        "\u{ad}",
        "\u{3164}",
        "\u{115f} \u{1160}",
        "\u{fe0f}",
        "\u{202e}\u{2066}",
        "\u{e0041}\u{e007f}",
        "\u{2800}",
        "\u{feff}",
    ] {
        for field in ["title", "venue"] {
            let updated = api.put(&path, &json!({ field: text })).by(&admin).send().await;
            for answer in [post_with(&api, &admin, field, json!(text)).await, updated] {
                let answer = answer.expect_problem(422, "validation_failed");
                assert_eq!(told(&answer), [format!("{field} blank")], "{text:?}");
            }
        }
        let person = json!({ "name": text, "email": "a@example.com", "password": "correct horse" });
        let answer = api.post("/api/auth/register", &person).send().await.expect_problem(422, "validation_failed");
        assert_eq!(told(&answer), ["name blank"], "{text:?}");
        let answer = api.put("/api/users/me", &json!({ "name": text })).by(&admin).send().await;
        assert_eq!(told(&answer.expect_problem(422, "validation_failed")), ["name blank"], "{text:?}");
    }
    let pilot = api.create(&admin, json!({ "title": "👩\u{200d}✈\u{fe0f}" })).await;
    assert_eq!(pilot["title"], "👩\u{200d}✈\u{fe0f}");
    api.stop().await;
}

/// Posts a valid event with this field.
async fn post_with(api: &Instance, admin: &Person, field: &str, value: Value) -> Answer {
    let mut event = json!({ "title": "Concert", "date": "2031-05-01T19:30:00Z", "venue": "Opera", "total_seats": 10 });
    event[field] = value;
    api.post("/api/events", &event).by(admin).send().await
}

/// A new event and a changed one, with a number of seats that is sent as it is written.
async fn seats_as_written(api: &Instance, admin: &Person, event: u64, seats: &str) -> [Answer; 2] {
    let new = format!(r#"{{"title":"Concert","date":"2031-05-01T19:30:00Z","venue":"Opera","total_seats":{seats}}}"#);
    let change = format!(r#"{{"total_seats":{seats}}}"#);
    let path = format!("/api/events/{event}");
    [
        api.request(Method::POST, "/api/events").by(admin).body("application/json", new).send().await,
        api.request(Method::PUT, &path).by(admin).body("application/json", change).send().await,
    ]
}

//! The programme, as admins run it: events put on it, changed and taken off.

use reqwest::Method;
use serde_json::{Map, Value, json};

use crate::harness::server::{Answer, Instance, Person, Site};

on_both_stacks!(
    a_new_event_is_answered_with_its_address_and_all_its_seats,
    a_description_may_be_left_out_null_or_empty,
    every_wrong_field_of_a_new_event_is_named_at_once,
    texts_hold_no_control_characters_but_lines_and_tabs_in_a_description,
    the_limits_of_an_event_are_inside_it,
    seats_are_a_whole_number_from_1_to_a_million,
    a_date_is_in_the_future_and_told_in_utc,
    a_whole_event_is_put_back_after_it_began,
    a_change_of_a_begun_event_is_replayed_as_it_was,
    a_text_without_anything_to_see_is_blank,
    each_field_of_an_event_changes_alone,
    a_change_of_nothing_changes_nothing,
    a_change_with_a_wrong_field_changes_no_field,
    free_seats_move_with_all_seats_but_never_below_the_booked_ones,
    an_unknown_event_is_neither_changed_nor_deleted,
    a_change_is_made_only_to_the_version_it_was_meant_for,
    a_write_answers_the_tag_that_a_read_has_next,
    a_deleted_event_leaves_the_programme_and_nothing_is_erased,
    a_change_of_the_programme_under_a_key_is_made_once,
    a_key_stands_for_one_request_of_one_admin,
    a_refused_change_of_the_programme_does_not_keep_its_key,
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

async fn a_change_is_made_only_to_the_version_it_was_meant_for(site: Site) {
    let api = site.start().await;
    let (admin, ada) = (api.admin().await, api.new_user().await);
    // Long enough to be worth compressing.
    let event = api.create(&admin, json!({ "description": "la ".repeat(1000) })).await["id"].as_u64().unwrap();
    let path = format!("/api/events/{event}");
    let put = async |condition: &str, title: &str| {
        api.put(&path, &json!({ "title": title })).by(&admin).header("If-Match", condition).send().await
    };
    let first = tag_of(&api, event).await;
    assert!(first.starts_with('"') && first.ends_with('"'), "{first} is no strong tag");
    put(&first, "second").await.expect(200);
    put(&first, "never").await.expect_problem(412, "precondition_failed");

    let second = tag_of(&api, event).await;
    for unmet in [
        &format!("W/{second}"),
        second.trim_matches('"'),
        "\"something else\"",
        "\"\"",
        "",
        &format!("{first}, W/{second}"),
    ] {
        put(unmet, "never").await.expect_problem(412, "precondition_failed");
    }
    put(&format!("{first}, {second}"), "third").await.expect(200);
    put("*", "fourth").await.expect(200);

    let compressed = api.get(&path).header("Accept-Encoding", "gzip").send().await.expect(200);
    assert_eq!(compressed.header("content-encoding"), "gzip");
    assert_ne!(compressed.header("etag"), tag_of(&api, event).await);
    put(compressed.header("etag"), "fifth").await.expect(200);
    put(compressed.header("etag"), "never").await.expect_problem(412, "precondition_failed");

    // A booking changes the tag too.
    let before_booking = tag_of(&api, event).await;
    api.book(event, &ada).await.expect(201);
    put(&before_booking, "never").await.expect_problem(412, "precondition_failed");
    assert_eq!(api.detail(event).await["title"], "fifth");

    let delete = async |condition: &str| api.delete(&path).by(&admin).header("If-Match", condition).send().await;
    delete(&before_booking).await.expect_problem(412, "precondition_failed");
    delete(&format!("W/{}", tag_of(&api, event).await)).await.expect_problem(412, "precondition_failed");
    assert_eq!(api.detail(event).await["registration_count"], 1);
    delete(&tag_of(&api, event).await).await.expect(200);
    api.stop().await;
}

async fn a_write_answers_the_tag_that_a_read_has_next(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;
    let fields = json!({ "title": "One", "date": "2031-05-01T19:30:00Z", "venue": "Opera", "total_seats": 10 });
    let create = async || api.post("/api/events", &fields).header("Idempotency-Key", "a").by(&admin).send().await;
    let created = create().await.expect(201);
    let event = created.json()["id"].as_u64().unwrap();
    let path = format!("/api/events/{event}");
    assert_eq!(created.header("etag"), tag_of(&api, event).await);
    let change = async |tag: &str, title: &str| {
        let change = api.put(&path, &json!({ "title": title })).header("If-Match", tag);
        change.header("Idempotency-Key", title).by(&admin).send().await
    };
    let changed = change(created.header("etag"), "Two").await.expect(200);
    assert_eq!(changed.header("etag"), tag_of(&api, event).await);
    assert_ne!(changed.header("etag"), created.header("etag"));
    let unchanged = api.put(&path, &json!({})).by(&admin).send().await.expect(200);
    assert_eq!(unchanged.header("etag"), changed.header("etag"));
    api.book(event, &admin).await.expect(201);
    assert_ne!(tag_of(&api, event).await, changed.header("etag"));
    // A replay has the tag of the state that it shows.
    for (replayed, first) in [(create().await, &created), (change(created.header("etag"), "Two").await, &changed)] {
        assert_eq!(replayed.header("idempotent-replayed"), "true");
        assert_eq!(replayed.header("etag"), first.header("etag"));
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

/// Sends a request twice, and returns the first answer: the second answer has to be a replay of it.
pub(super) async fn once(send: impl AsyncFn() -> Answer) -> Answer {
    let first = send().await;
    assert!((200..300).contains(&first.status), "{}", first.text());
    assert_eq!(first.header("idempotent-replayed"), "");
    assert_replayed(&send().await, &first);
    first
}

/// Fails unless the answer is a replay of the first one, byte by byte.
#[track_caller]
pub(super) fn assert_replayed(answer: &Answer, first: &Answer) {
    assert_eq!((answer.status, answer.text()), (first.status, first.text()));
    assert_eq!(answer.header("idempotent-replayed"), "true");
    assert_eq!(answer.header("content-type"), first.header("content-type"));
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

/// The present entity tag of an event, uncompressed.
async fn tag_of(api: &Instance, event: u64) -> String {
    api.get(&format!("/api/events/{event}")).send().await.expect(200).header("etag").to_owned()
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

/// The wrong fields, each with its code.
fn told(answer: &Answer) -> Vec<String> {
    answer.wrong_fields().into_iter().map(|(field, code)| format!("{field} {code}")).collect()
}

//! Signing up, logging in, staying logged in, logging out.

use std::time::{Duration, Instant as Moment};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::harness::server::{Answer, Instance, PASSWORD, Site};

const DAY: u32 = 24 * 3600;

on_both_stacks!(
    signing_up_answers_with_the_account_and_a_pair_of_tokens,
    every_wrong_field_of_a_sign_up_is_named_at_once,
    the_limits_of_a_sign_up_are_inside_it,
    an_address_is_one_whatever_its_case_and_the_space_around_it,
    an_email_with_a_letter_that_folds_to_ascii_is_refused,
    a_password_is_taken_as_it_is,
    only_an_admin_makes_admins,
    a_wrong_address_and_a_wrong_password_are_answered_alike,
    an_unknown_address_costs_as_much_time_as_a_wrong_password,
    a_refresh_token_is_good_for_one_exchange,
    an_invalid_refresh_token_is_refused,
    a_session_ends_30_days_after_its_log_in_however_often_it_is_refreshed,
    a_refreshed_token_has_the_present_profile_and_role,
    logging_out_ends_the_whole_session_and_no_other,
    no_answer_holds_a_password_or_its_hash,
);

async fn signing_up_answers_with_the_account_and_a_pair_of_tokens(site: Site) {
    let api = site.start().await;
    let answer = sign_up(
        &api,
        json!({
            "name": "  Ada Lovelace\t", "email": "ada@example.com", "password": PASSWORD, "id": 77, "admin": true,
        }),
    )
    .await
    .expect(201);
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("cache-control"), "private, no-store");

    let body = answer.json();
    let ada = answer.person();
    assert_eq!(
        body,
        json!({
            "user": {
                "id": ada.id,
                "name": "Ada Lovelace",
                "email": "ada@example.com",
                "role": "user",
                "notifications": true,
                "created_at": "2030-01-15T12:00:00Z",
            },
            "token": ada.token,
            "refresh_token": ada.refresh_token,
            "token_type": "Bearer",
            "expires_in": DAY,
        })
    );
    assert_eq!(
        claims(&ada.token),
        json!({
            "userId": ada.id,
            "sub": ada.id.to_string(),
            "email": "ada@example.com",
            "accountCreatedAt": "2030-01-15T12:00:00Z",
            "role": "user",
            "iss": "boxoffice",
            "iat": 1_894_708_800,
            "exp": 1_894_708_800 + DAY,
        })
    );
    assert_eq!(api.get("/api/users/me").by(&ada).send().await.expect(200).json(), body["user"]);

    let logged_in = api.log_in("ada@example.com", PASSWORD).await.expect(200);
    let again = logged_in.person();
    assert_ne!(again.refresh_token, ada.refresh_token);
    assert_eq!(
        logged_in.json(),
        json!({
            "user": body["user"],
            "token": again.token,
            "refresh_token": again.refresh_token,
            "token_type": "Bearer",
            "expires_in": DAY,
        })
    );
    api.stop().await;
}

async fn every_wrong_field_of_a_sign_up_is_named_at_once(site: Site) {
    let api = site.start().await;
    let long = |character: &str, times: usize| character.repeat(times);
    for (body, wrong) in [
        (json!({}), vec!["email required", "name required", "password required"]),
        (
            json!({ "name": null, "email": null, "password": null, "role": null }),
            vec!["email null", "name null", "password null", "role null"],
        ),
        (
            json!({ "name": 1, "email": ["ada@example.com"], "password": 12_345_678, "role": { "a": 1 } }),
            vec!["email wrong_type", "name wrong_type", "password wrong_type", "role wrong_type"],
        ),
        (
            json!({ "name": " \n ", "email": "ada", "password": "1234567", "role": "root" }),
            vec!["email malformed", "name blank", "password too_short", "role malformed"],
        ),
        (
            json!({ "name": long("é", 101), "email": "", "password": long("x", 72), "role": "Admin" }),
            vec!["email malformed", "name too_long", "password too_long", "role malformed"],
        ),
        (
            json!({ "name": "a\0b", "email": "a\0@example.com", "password": "1234\x005678", "role": "" }),
            vec!["email malformed", "name control_character", "password control_character", "role malformed"],
        ),
        // Characters for the lower limit, bytes for the upper one.
        (
            json!({ "name": "a\tb", "email": "a b@example.com", "password": "ééééééé" }),
            vec!["email malformed", "name control_character", "password too_short"],
        ),
        (
            json!({ "name": "a\u{85}b", "email": "a@b@c", "password": long("é", 36) }),
            vec!["email malformed", "name control_character", "password too_long"],
        ),
    ] {
        let answer = sign_up(&api, body.clone()).await.expect_problem(422, "validation_failed");
        assert_eq!(told(&answer), wrong, "{body}");
        for error in answer.json()["errors"].as_array().unwrap() {
            assert!(!error["message"].as_str().unwrap().is_empty(), "{error}");
        }
    }
    api.stop().await;
}

async fn the_limits_of_a_sign_up_are_inside_it(site: Site) {
    let api = site.start().await;
    let longest = format!("{}x", "é".repeat(35));
    assert_eq!(longest.len(), 71);
    for (number, (name, password)) in [
        ("A".to_owned(), "éééééééé".to_owned()),
        ("é".repeat(100), longest),
        ("\u{1f980}".repeat(100), "12345678".to_owned()),
        (format!("  {}  ", "x".repeat(100)), "x".repeat(71)),
    ]
    .into_iter()
    .enumerate()
    {
        let email = format!("edge-{number}@example.com");
        let body = json!({ "name": name, "email": email, "password": password });
        let user = sign_up(&api, body).await.expect(201).json();
        assert_eq!(user["user"]["name"], name.trim());
        api.log_in(&email, &password).await.expect(200);
    }
    api.stop().await;
}

async fn an_address_is_one_whatever_its_case_and_the_space_around_it(site: Site) {
    let api = site.start().await;
    let with = |email: &str| json!({ "name": "Ada", "email": email, "password": PASSWORD });
    let ada = sign_up(&api, with(" \tAda@Example.COM\n")).await.expect(201).person();
    assert_eq!(ada.email, "ada@example.com");
    for taken in ["ada@example.com", "ADA@EXAMPLE.COM", "  aDa@example.com"] {
        sign_up(&api, with(taken)).await.expect_problem(409, "email_taken");
        assert_eq!(api.log_in(taken, PASSWORD).await.expect(200).person().id, ada.id);
    }
    api.stop().await;
}

async fn an_email_with_a_letter_that_folds_to_ascii_is_refused(site: Site) {
    let api = site.start().await;
    let with = |email: &str| json!({ "name": "Kay", "email": email, "password": PASSWORD });
    let kay = sign_up(&api, with("kiss@example.com")).await.expect(201).person();
    // The Kelvin sign, the long s, and the Turkish I, whose lower cases are or begin with letters of ASCII.
    for email in ["\u{212a}iss@example.com", "ki\u{17f}s@example.com", "k\u{130}ss@example.com", "kiss@e\u{17f}.com"] {
        assert_eq!(
            told(&sign_up(&api, with(email)).await.expect_problem(422, "validation_failed")),
            ["email malformed"]
        );
        api.log_in(email, PASSWORD).await.expect_problem(401, "invalid_credentials");
        let change = api.put("/api/users/me", &json!({ "email": email })).by(&kay).send().await;
        assert_eq!(told(&change.expect_problem(422, "validation_failed")), ["email malformed"], "{email}");
    }
    api.stop().await;
}

async fn a_password_is_taken_as_it_is(site: Site) {
    let api = site.start().await;
    let nearly = "x".repeat(70);
    for (number, (password, others)) in [
        ("  pass word  ".to_owned(), vec!["pass word".to_owned(), "  pass word ".to_owned()]),
        ("        ".to_owned(), vec!["       ".to_owned(), String::new()]),
        ("PassWord".to_owned(), vec!["password".to_owned()]),
        ("caf\u{e9} noir".to_owned(), vec!["cafe\u{301} noir".to_owned()]),
        // Every one of the 71 bytes counts, and none after them is cut off.
        (format!("{nearly}y"), vec![format!("{nearly}z"), nearly.clone(), format!("{nearly}yz")]),
    ]
    .into_iter()
    .enumerate()
    {
        let email = format!("taken-as-it-is-{number}@example.com");
        sign_up(&api, json!({ "name": "Ada", "email": email, "password": password })).await.expect(201);
        api.log_in(&email, &password).await.expect(200);
        for other in others {
            api.log_in(&email, &other).await.expect_problem(401, "invalid_credentials");
        }
    }
    api.stop().await;
}

async fn only_an_admin_makes_admins(site: Site) {
    let api = site.start().await;
    let (admin, user) = (api.admin().await, api.new_user().await);
    let as_role = |email: &str, role: &str| {
        let body = json!({ "name": "Eve", "email": email, "password": PASSWORD, "role": role });
        api.post("/api/auth/register", &body)
    };
    as_role("eve@example.com", "admin").send().await.expect_problem(403, "role_not_allowed");
    as_role("eve@example.com", "admin").by(&user).send().await.expect_problem(403, "role_not_allowed");
    // A caller without permission does not learn either that the address is taken.
    as_role(&user.email, "admin").by(&user).send().await.expect_problem(403, "role_not_allowed");
    let refused = as_role("eve@example.com", "admin").token("x.y.z").send().await;
    assert_eq!(refused.expect_problem(401, "unauthenticated").header("www-authenticate"), "Bearer");

    // The refused sign-ups made no account; and a sign-up with the role `user` ignores the token.
    let eve = as_role("eve@example.com", "user").token("x.y.z").send().await.expect(201);
    assert_eq!(eve.json()["user"]["role"], "user");
    api.post("/api/events", &json!({})).by(&eve.person()).send().await.expect_problem(403, "forbidden");
    let plain = json!({ "name": "Max", "email": "max@example.com", "password": PASSWORD });
    let max = api.post("/api/auth/register", &plain).by(&admin).send().await.expect(201);
    assert_eq!(max.json()["user"]["role"], "user");

    let made = as_role("second@example.com", "admin").by(&admin).send().await.expect(201);
    assert_eq!(made.json()["user"]["role"], "admin");
    assert_eq!(claims(&made.person().token)["role"], "admin");
    // The new admin has the same permissions as the first one.
    as_role("third@example.com", "admin").by(&made.person()).send().await.expect(201);

    site.run_sql(&format!("UPDATE users SET role = 'user' WHERE id = {}", admin.id)).await;
    as_role("fourth@example.com", "admin").by(&admin).send().await.expect_problem(403, "role_not_allowed");
    api.stop().await;
}

async fn a_wrong_address_and_a_wrong_password_are_answered_alike(site: Site) {
    let api = site.start().await;
    let ada = api.new_user().await;
    let expected = comparable(&api.log_in(&ada.email, "wrong password").await);
    for (email, password) in [
        ("nobody@example.com", PASSWORD),
        ("no address", PASSWORD),
        ("", ""),
        ("a\0@example.com", PASSWORD),
        (&format!("{}@example.com", "x".repeat(10_000)), PASSWORD),
        (&ada.email, ""),
        (&ada.email, "short"),
        (&ada.email, &format!("{PASSWORD}\0")),
        (&ada.email, &"x".repeat(100)),
        (&ada.email, &"\u{1f980}".repeat(10_000)),
        (&format!("{}\0", ada.email), PASSWORD),
    ] {
        let answer = api.log_in(email, password).await.expect_problem(401, "invalid_credentials");
        assert_eq!(comparable(&answer), expected, "{email:?} {password:?}");
    }
    for (body, wrong) in [
        (json!({}), ["email required", "password required"]),
        (json!({ "email": null, "password": null }), ["email null", "password null"]),
        (json!({ "email": 1, "password": true }), ["email wrong_type", "password wrong_type"]),
    ] {
        let answer = api.post("/api/auth/login", &body).send().await.expect_problem(422, "validation_failed");
        assert_eq!(told(&answer), wrong, "{body}");
    }
    api.stop().await;
}

async fn an_unknown_address_costs_as_much_time_as_a_wrong_password(site: Site) {
    // Some 15 ms a hash, so that it outweighs all the rest of a request.
    let site = site.with("BCRYPT_COST", "8");
    let api = site.start().await;
    let ada = api.new_user().await;
    let too_long = "x".repeat(100);
    let attempts = [
        (ada.email.as_str(), "wrong password"),
        (&ada.email, &too_long),
        ("nobody@example.com", PASSWORD),
        ("nobody@example.com", &too_long),
        ("no address", PASSWORD),
    ];
    // The quickest of each: the rest of the time comes from the load of the machine.
    let mut quickest = [Duration::MAX; 5];
    // A busy machine needs more tries; an answer that skips the hash is too quick in all of them.
    for _ in 0..40 {
        for ((email, password), quickest) in attempts.iter().zip(&mut quickest) {
            let asked = Moment::now();
            api.log_in(email, password).await.expect_problem(401, "invalid_credentials");
            *quickest = asked.elapsed().min(*quickest);
        }
        if quickest.iter().all(|other| *other > quickest[0] / 2) {
            break;
        }
    }
    let known = quickest[0];
    for (attempt, other) in attempts.iter().zip(quickest) {
        assert!(other > known / 2, "{attempt:?}: {other:?} instead of {known:?}");
    }
    api.stop().await;
}

async fn a_refresh_token_is_good_for_one_exchange(site: Site) {
    let api = site.start().await;
    let first = api.new_user().await;
    let elsewhere = api.log_in(&first.email, PASSWORD).await.expect(200).person();

    site.clock.advance_secs(60);
    let answer = api.refresh(&first.refresh_token).await.expect(200);
    assert_eq!(answer.header("cache-control"), "private, no-store");
    let (body, second) = (answer.json(), answer.person());
    assert_eq!(body["user"], api.get("/api/users/me").by(&second).send().await.expect(200).json());
    assert_eq!(
        body,
        json!({
            "user": body["user"],
            "token": second.token,
            "refresh_token": second.refresh_token,
            "token_type": "Bearer",
            "expires_in": DAY,
        })
    );
    assert_eq!(claims(&second.token)["exp"], 1_894_708_800 + 60 + DAY);
    assert_ne!(second.refresh_token, first.refresh_token);
    let third = api.refresh(&second.refresh_token).await.expect(200).person();

    // A client sends a spent refresh token: it may be the thief or the owner, so the whole session ends.
    let reused = api.refresh(&first.refresh_token).await.expect_problem(401, "refresh_token_reused");
    assert_eq!(reused.header("www-authenticate"), "Bearer");
    for revoked in [&third, &second, &first] {
        api.refresh(&revoked.refresh_token).await.expect_problem(401, "invalid_refresh_token");
    }
    api.refresh(&elsewhere.refresh_token).await.expect(200);
    api.stop().await;
}

async fn an_invalid_refresh_token_is_refused(site: Site) {
    let api = site.start().await;
    let ada = api.new_user().await;
    for unknown in [
        "",
        "x",
        "a\0b",
        &ada.token,
        &ada.refresh_token.to_uppercase(),
        &format!(" {}", ada.refresh_token),
        &"x".repeat(10_000),
    ] {
        api.refresh(unknown).await.expect_problem(401, "invalid_refresh_token");
    }
    // A refresh token is not accepted as an access token.
    api.get("/api/users/me").token(&ada.refresh_token).send().await.expect_problem(401, "unauthenticated");
    for path in ["/api/auth/refresh", "/api/auth/logout"] {
        for (body, wrong) in [
            (json!({}), "refresh_token required"),
            (json!({ "refresh_token": null }), "refresh_token null"),
            (json!({ "refresh_token": 1 }), "refresh_token wrong_type"),
        ] {
            let answer = api.post(path, &body).send().await.expect_problem(422, "validation_failed");
            assert_eq!(told(&answer), [wrong], "{path} {body}");
        }
    }
    api.refresh(&ada.refresh_token).await.expect(200);
    api.stop().await;
}

async fn a_session_ends_30_days_after_its_log_in_however_often_it_is_refreshed(site: Site) {
    let api = site.start().await;
    let idle = api.new_user().await;
    let mut busy = api.log_in(&idle.email, PASSWORD).await.expect(200).person();
    for _ in 0..3 {
        site.clock.advance_secs(10 * DAY - 1);
        busy = api.refresh(&busy.refresh_token).await.expect(200).person();
    }
    site.clock.advance_secs(2);
    busy = api.refresh(&busy.refresh_token).await.expect(200).person();
    site.clock.advance_secs(1);
    for ended in [&busy, &idle] {
        api.refresh(&ended.refresh_token).await.expect_problem(401, "invalid_refresh_token");
    }
    let anew = api.log_in(&idle.email, PASSWORD).await.expect(200).person();
    api.refresh(&anew.refresh_token).await.expect(200);
    api.stop().await;
}

async fn a_refreshed_token_has_the_present_profile_and_role(site: Site) {
    let api = site.start().await;
    let ada = api.new_user().await;
    let change = json!({ "name": "Ada King", "email": "ada.king@example.com" });
    api.put("/api/users/me", &change).by(&ada).send().await.expect(200);
    site.run_sql(&format!("UPDATE users SET role = 'admin' WHERE id = {}", ada.id)).await;

    let answer = api.refresh(&ada.refresh_token).await.expect(200);
    let (user, now) = (answer.json()["user"].clone(), answer.person());
    assert_eq!(
        (&user["name"], &user["email"], &user["role"]),
        (&json!("Ada King"), &json!("ada.king@example.com"), &json!("admin"))
    );
    let claims = claims(&now.token);
    assert_eq!((&claims["email"], &claims["role"]), (&json!("ada.king@example.com"), &json!("admin")));
    assert_eq!(claims["userId"], ada.id);

    site.run_sql(&format!("DELETE FROM users WHERE id = {}", ada.id)).await;
    api.refresh(&now.refresh_token).await.expect_problem(401, "invalid_refresh_token");
    api.stop().await;
}

async fn logging_out_ends_the_whole_session_and_no_other(site: Site) {
    let api = site.start().await;
    let here = api.new_user().await;
    let there = api.log_in(&here.email, PASSWORD).await.expect(200).person();
    let next = api.refresh(&here.refresh_token).await.expect(200).person();

    let gone = log_out(&api, &next.refresh_token).await.expect(204);
    assert!(gone.body.is_empty());
    assert_eq!(gone.header("cache-control"), "private, no-store");
    for token in [&next.refresh_token, &here.refresh_token] {
        api.refresh(token).await.expect_problem(401, "invalid_refresh_token");
        log_out(&api, token).await.expect(204);
    }
    for unknown in ["", "x", "a\0b", &"x".repeat(10_000)] {
        log_out(&api, unknown).await.expect(204);
    }

    // A spent refresh token still names its session.
    let last = api.refresh(&there.refresh_token).await.expect(200).person();
    log_out(&api, &there.refresh_token).await.expect(204);
    api.refresh(&last.refresh_token).await.expect_problem(401, "invalid_refresh_token");
    api.stop().await;
}

async fn no_answer_holds_a_password_or_its_hash(site: Site) {
    let api = site.start().await;
    let (admin, ada) = (api.admin().await, api.new_user().await);
    let event = api.event(&admin, 5).await;
    api.book(event, &ada).await.expect(201);
    let me = "/api/users/me";
    let new = json!({ "name": "Eve", "email": "eve@example.com", "password": PASSWORD });
    let wrong = json!({ "name": "", "email": "eve", "password": format!("{PASSWORD}{}", "!".repeat(71)) });
    let taken = json!({ "name": "Eve", "email": ada.email, "password": PASSWORD });
    let malformed = format!(r#"{{"password": "{PASSWORD}" "#);
    for answer in [
        sign_up(&api, new).await.expect(201),
        sign_up(&api, wrong).await.expect(422),
        sign_up(&api, taken).await.expect(409),
        api.request(reqwest::Method::POST, "/api/auth/register")
            .body("application/json", malformed)
            .send()
            .await
            .expect(400),
        api.log_in(&ada.email, PASSWORD).await.expect(200),
        api.log_in("nobody@example.com", PASSWORD).await.expect(401),
        api.refresh(&ada.refresh_token).await.expect(200),
        api.get(me).by(&ada).send().await.expect(200),
        api.put(me, &json!({ "name": "A", "password": PASSWORD })).by(&ada).send().await.expect(200),
        api.get("/api/users/me/registrations").by(&ada).send().await.expect(200),
        api.get(&format!("/api/events/{event}/registrations")).by(&admin).send().await.expect(200),
        api.get("/api/events").send().await.expect(200),
    ] {
        let told = format!("{:?} {}", answer.headers, answer.text());
        for secret in [PASSWORD, "\"password\":", "\"password_hash\":", "$2a$", "$2b$", "$2y$"] {
            assert!(!told.contains(secret), "{secret} in {told}");
        }
    }
    api.stop().await;
}

async fn sign_up(api: &Instance, body: Value) -> Answer {
    api.post("/api/auth/register", &body).send().await
}

async fn log_out(api: &Instance, refresh_token: &str) -> Answer {
    api.post("/api/auth/logout", &json!({ "refresh_token": refresh_token })).send().await
}

/// Status, headers and body of an answer, without those that differ with each request.
fn comparable(answer: &Answer) -> (u16, Vec<(String, String)>, Value) {
    let mut body = answer.json();
    body["request_id"] = Value::Null;
    let mut headers: Vec<_> = answer
        .headers
        .iter()
        // Each worker lists the exposed headers in an order of its own.
        .filter(|(name, _)| !["x-request-id", "date", "access-control-expose-headers"].contains(&name.as_str()))
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    headers.sort();
    (answer.status, headers, body)
}

/// The claims of a token; the signature is not checked.
fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).expect("three parts");
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

/// The wrong fields, each with its code.
fn told(answer: &Answer) -> Vec<String> {
    answer.wrong_fields().into_iter().map(|(field, code)| format!("{field} {code}")).collect()
}

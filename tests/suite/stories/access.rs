//! The permissions of each role, and the tokens that authenticate a user.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Sha256, Sha512};

use crate::harness::server::{Instance, PASSWORD, Person, Request, Site};

/// The site's signing secret, and another one.
const SECRET: &str = "a secret of the tests, 32 bytes or more";
const OTHER_SECRET: &str = "quite another secret of the tests, as long";

/// The clock's first instant.
const NOW: i64 = 1_894_708_800;

on_both_stacks!(
    each_role_may_make_its_own_calls_and_no_others,
    an_access_token_ends_24_hours_after_its_issue_to_the_second,
    the_lifetime_of_access_tokens_is_a_setting,
    a_forged_altered_or_expired_token_is_refused,
    only_the_bearer_scheme_authenticates,
    a_secret_that_was_replaced_is_accepted_while_it_is_configured,
    a_user_whose_row_is_gone_is_refused_everywhere,
    a_lost_role_is_refused_at_once_and_a_gained_one_is_let_in,
    an_invalid_id_is_not_found,
);

async fn each_role_may_make_its_own_calls_and_no_others(site: Site) {
    let api = site.start().await;
    let (admin, user) = (api.admin().await, api.new_user().await);
    let event = api.event(&admin, 5).await;
    for (method, path, body, expected) in calls(event, &user) {
        let answers = [
            call(&api, &method, &path, body.as_ref()).send().await,
            call(&api, &method, &path, body.as_ref()).by(&user).send().await,
            call(&api, &method, &path, body.as_ref()).by(&admin).send().await,
        ];
        let statuses = answers.each_ref().map(|answer| answer.status);
        assert_eq!(statuses, expected, "{method} {path}: anonymous, user, admin");
        for answer in answers {
            match answer.status {
                401 if path.starts_with("/api/auth/") => drop(answer.expect_problem(401, "invalid_credentials")),
                401 => {
                    let answer = answer.expect_problem(401, "unauthenticated");
                    assert_eq!(answer.header("www-authenticate"), "Bearer");
                }
                403 => {
                    let answer = answer.expect_problem(403, "forbidden");
                    assert_eq!(answer.header("www-authenticate"), "");
                }
                _ => {}
            }
        }
    }
    api.stop().await;
}

async fn an_access_token_ends_24_hours_after_its_issue_to_the_second(site: Site) {
    let api = site.start().await;
    let ada = api.new_user().await;
    site.clock.advance_secs(24 * 3600 - 1);
    api.get("/api/users/me").by(&ada).send().await.expect(200);
    site.clock.advance_secs(1);
    assert_no_proof(&api, &ada.token, "expired").await;
    let next = api.refresh(&ada.refresh_token).await.expect(200).person();
    api.get("/api/users/me").by(&next).send().await.expect(200);
    api.stop().await;
}

async fn the_lifetime_of_access_tokens_is_a_setting(site: Site) {
    let site = site.with("ACCESS_TOKEN_TTL", "90s");
    let api = site.start().await;
    let ada = api.new_user().await;
    assert_eq!(api.refresh(&ada.refresh_token).await.expect(200).json()["expires_in"], 90);
    site.clock.advance_secs(89);
    api.get("/api/users/me").by(&ada).send().await.expect(200);
    site.clock.advance_secs(1);
    assert_no_proof(&api, &ada.token, "expired").await;
    api.stop().await;
}

async fn a_forged_altered_or_expired_token_is_refused(site: Site) {
    let api = site.start().await;
    let ada = api.new_user().await;
    let claims = json!({
        "userId": ada.id, "sub": ada.id.to_string(), "email": ada.email, "role": "user",
        "iss": "boxoffice", "iat": NOW, "exp": NOW + 3600,
    });
    let but = |name: &str, value: Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        signed("HS256", SECRET, &claims)
    };
    let without = |name: &str| {
        let mut claims = claims.clone();
        claims.as_object_mut().unwrap().remove(name);
        signed("HS256", SECRET, &claims)
    };
    let of_user = |id: u64| {
        let (user_id, sub) = (json!(id), json!(id.to_string()));
        let mut claims = claims.clone();
        (claims["userId"], claims["sub"]) = (user_id, sub);
        claims
    };

    // The unchanged token is accepted: so each token below is refused for its one change.
    let genuine = signed("HS256", SECRET, &claims);
    for accepted in [genuine.clone(), without("sub"), without("email"), without("role"), without("iat")] {
        let me = api.get("/api/users/me").token(&accepted).send().await.expect(200).json();
        assert_eq!(me["id"], ada.id);
        api.get("/api/events").token(&accepted).send().await.expect(200);
    }

    let (head, signature) = genuine.rsplit_once('.').unwrap();
    let (header, payload) = head.split_once('.').unwrap();
    for (wrong, token) in [
        ("another secret", signed("HS256", OTHER_SECRET, &claims)),
        ("no algorithm", format!("{}.", unsigned("none", &claims))),
        ("no algorithm, written otherwise", format!("{}.", unsigned("nOnE", &claims))),
        ("no algorithm, but a signature", format!("{}.{signature}", unsigned("none", &claims))),
        ("another algorithm", signed("HS512", SECRET, &claims)),
        ("no user", without("userId")),
        ("no issuer", without("iss")),
        ("no end", without("exp")),
        ("another issuer", but("iss", json!("somebody else"))),
        ("a list of issuers", but("iss", json!(["boxoffice"]))),
        ("a user in quotes", but("userId", json!(ada.id.to_string()))),
        ("a user of null", but("userId", json!(null))),
        ("user 0", but("userId", json!(0))),
        ("a user below 0", but("userId", json!(-1))),
        ("half a user", but("userId", json!(1.5))),
        ("a user beyond all ids", but("userId", json!(1_u64 << 53))),
        ("a user that never existed", signed("HS256", SECRET, &of_user(4_000_000))),
        ("an end that has come", but("exp", json!(NOW))),
        ("an end in quotes", but("exp", json!((NOW + 3600).to_string()))),
        ("claims of another token", format!("{}.{signature}", unsigned("HS256", &of_user(1)))),
        ("half a signature", format!("{head}.{}", &signature[..20])),
        ("no signature", format!("{head}.")),
        ("two parts", head.to_owned()),
        ("four parts", format!("{genuine}.x")),
        ("no claims", format!("{header}..{signature}")),
        ("claims that are no JSON", format!("{header}.{}.{signature}", &payload[1..])),
        ("nothing", String::new()),
        ("dots", "..".to_owned()),
        ("a very long one", "x".repeat(20_000)),
    ] {
        assert_no_proof(&api, &token, wrong).await;
    }
    api.stop().await;
}

async fn only_the_bearer_scheme_authenticates(site: Site) {
    let api = site.start().await;
    let ada = api.new_user().await;
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let header = format!("{scheme} {}", ada.token);
        api.get("/api/users/me").header("Authorization", &header).send().await.expect(200);
    }
    for header in [
        format!("Basic {}", ada.token),
        "Basic YWRhOmNvcnJlY3QgaG9yc2UgYmF0dGVyeQ==".to_owned(),
        format!("Token {}", ada.token),
        ada.token.clone(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        format!("Bearer {} {}", ada.token, ada.token),
        String::new(),
    ] {
        for path in ["/api/users/me", "/api/events"] {
            let answer = api.get(path).header("Authorization", &header).send().await;
            let answer = answer.expect_problem(401, "unauthenticated");
            assert_eq!(answer.header("www-authenticate"), "Bearer", "{header}");
        }
    }
    // Two `Authorization` headers authenticate no user.
    let twice = api.get("/api/users/me").by(&ada).by(&ada).send().await;
    twice.expect_problem(401, "unauthenticated");
    api.get("/api/users/me").raw_header("Authorization", b"Bearer \xff").send().await.expect(401);
    api.stop().await;
}

async fn a_secret_that_was_replaced_is_accepted_while_it_is_configured(site: Site) {
    let api = site.start().await;
    let ada = api.new_user().await;
    api.stop().await;

    let site = site.with("JWT_SECRET", OTHER_SECRET).with("JWT_PREVIOUS_SECRET", SECRET);
    let api = site.start().await;
    assert_eq!(api.get("/api/users/me").by(&ada).send().await.expect(200).json()["id"], ada.id);
    let new = api.log_in(&ada.email, PASSWORD).await.expect(200).person();
    api.get("/api/users/me").by(&new).send().await.expect(200);
    let neither = signed(
        "HS256",
        "a third secret, which nobody has configured",
        &json!({
            "userId": ada.id, "iss": "boxoffice", "exp": NOW + 3600,
        }),
    );
    assert_no_proof(&api, &neither, "neither secret").await;
    api.stop().await;

    // New tokens are signed with the new secret; without the setting, the old secret is refused.
    let site = site.with("JWT_PREVIOUS_SECRET", "one more secret, that is not of any token here");
    let api = site.start().await;
    api.get("/api/users/me").by(&new).send().await.expect(200);
    assert_no_proof(&api, &ada.token, "signed with a secret that is no more").await;
    // Refresh tokens do not depend on the secret.
    api.refresh(&ada.refresh_token).await.expect(200);
    api.stop().await;
}

async fn a_user_whose_row_is_gone_is_refused_everywhere(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;
    let event = api.event(&admin, 5).await;
    let gone = api.another_admin(&admin).await;
    site.run_sql(&format!("DELETE FROM users WHERE id = {}", gone.id)).await;
    // An id is never given to a second user.
    let newcomer = api.new_user().await;
    assert_ne!(newcomer.id, gone.id);
    for (method, path, body, [_, _, allowed]) in calls(event, &newcomer) {
        if path.starts_with("/api/events") || path.starts_with("/api/users") {
            let answer = call(&api, &method, &path, body.as_ref()).by(&gone).send().await;
            assert_eq!(answer.status, 401, "{method} {path}, where an admin gets {allowed}");
            assert_eq!(answer.header("www-authenticate"), "Bearer");
        }
    }
    let another = json!({ "name": "Eve", "email": "eve@example.com", "password": PASSWORD, "role": "admin" });
    let sponsored = api.post("/api/auth/register", &another).by(&gone).send().await;
    sponsored.expect_problem(401, "unauthenticated");
    api.log_in(&gone.email, PASSWORD).await.expect_problem(401, "invalid_credentials");
    assert_eq!(api.detail(event).await["available_seats"], 5);
    api.stop().await;
}

async fn a_lost_role_is_refused_at_once_and_a_gained_one_is_let_in(site: Site) {
    let api = site.start().await;
    let (admin, user) = (api.admin().await, api.new_user().await);
    let second = api.another_admin(&admin).await;
    let event = api.event(&second, 5).await;
    let path = format!("/api/events/{event}");
    let change = json!({ "title": "Changed" });

    site.run_sql(&format!("UPDATE users SET role = 'user' WHERE id = {}", second.id)).await;
    api.put(&path, &change).by(&second).send().await.expect_problem(403, "forbidden");
    api.delete(&path).by(&second).send().await.expect_problem(403, "forbidden");
    api.get(&format!("{path}/registrations")).by(&second).send().await.expect_problem(403, "forbidden");
    assert_eq!(api.detail(event).await["title"], "Concert");
    // The token itself is still accepted for the calls of every role.
    let me = api.get("/api/users/me").by(&second).send().await.expect(200).json();
    assert_eq!(me["role"], "user");
    api.book(event, &second).await.expect(201);

    site.run_sql(&format!("UPDATE users SET role = 'admin' WHERE id = {}", user.id)).await;
    api.put(&path, &change).by(&user).send().await.expect(200);
    api.stop().await;
}

async fn an_invalid_id_is_not_found(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;
    let event = api.event(&admin, 5).await;
    let before = api.detail(event).await;
    let huge = "9".repeat(400);
    for id in [
        "0",
        "-1",
        "1.5",
        "1.0",
        "1e0",
        "abc",
        "9007199254740992",
        "9007199254740991",
        "18446744073709551617",
        &huge,
        "%00",
        "1%00",
        "%20",
        "%201",
        "1%20",
        "+1",
        "%2B1",
        "01",
        "0x1",
        "%ff",
        "%D9%A1",
        "1%2F",
        "1,2",
        "null",
        "*",
        "%25",
        "%",
        "%zz",
        "1;x=1",
        "me",
    ] {
        for (method, path, body) in [
            (Method::GET, format!("/api/events/{id}"), None),
            (Method::PUT, format!("/api/events/{id}"), Some(json!({ "title": "Changed" }))),
            (Method::DELETE, format!("/api/events/{id}"), None),
            (Method::POST, format!("/api/events/{id}/register"), None),
            (Method::DELETE, format!("/api/events/{id}/register"), None),
            (Method::GET, format!("/api/events/{id}/registrations"), None),
        ] {
            let answer = call(&api, &method, &path, body.as_ref()).by(&admin).send().await;
            assert_eq!(answer.status, 404, "{method} {path}: {}", answer.text());
            answer.expect_problem(404, "not_found");
        }
    }
    assert_eq!(api.detail(event).await, before);
    api.stop().await;
}

/// Method, path, body, and the statuses for anonymous callers, users and admins. They are in an order
/// in which each can succeed after the ones before.
type Call = (Method, String, Option<Value>, [u16; 3]);

fn calls(event: u64, user: &Person) -> Vec<Call> {
    let at = |rest: &str| format!("/api/events/{event}{rest}");
    let new = json!({ "title": "Recital", "date": "2031-05-01T19:30:00Z", "venue": "Opera", "total_seats": 10 });
    let log_in = json!({ "email": user.email, "password": PASSWORD });
    let wrong_log_in = json!({ "email": user.email, "password": "wrong password" });
    let (get, head, post, put, delete) = (Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE);
    let call = |method: &Method, path: &str, body: Option<Value>, expected: [u16; 3]| {
        (method.clone(), path.to_owned(), body, expected)
    };
    vec![
        // Every caller.
        call(&post, "/api/auth/register", Some(json!({})), [422; 3]),
        call(&post, "/api/auth/login", Some(log_in), [200; 3]),
        call(&post, "/api/auth/login", Some(wrong_log_in), [401; 3]),
        call(&post, "/api/auth/logout", Some(json!({ "refresh_token": "unknown" })), [204; 3]),
        call(&get, "/api/events", None, [200; 3]),
        call(&get, &at(""), None, [200; 3]),
        call(&get, "/api/events/999999", None, [404; 3]),
        call(&get, "/api", None, [200; 3]),
        call(&get, "/api/openapi.json", None, [200; 3]),
        call(&get, "/health/live", None, [200; 3]),
        call(&get, "/health/ready", None, [200; 3]),
        call(&get, "/metrics", None, [200; 3]),
        // Callers with a token.
        call(&post, &at("/register"), None, [401, 201, 201]),
        call(&get, "/api/users/me/registrations", None, [401, 200, 200]),
        call(&delete, &at("/register"), None, [401, 200, 200]),
        call(&delete, &at("/register"), None, [401, 404, 404]),
        call(&get, "/api/users/me", None, [401, 200, 200]),
        call(&put, "/api/users/me", Some(json!({})), [401, 200, 200]),
        // Admins.
        call(&post, "/api/events", Some(new), [401, 403, 201]),
        call(&put, &at(""), Some(json!({ "title": "Changed" })), [401, 403, 200]),
        call(&get, &at("/registrations"), None, [401, 403, 200]),
        // A caller without permission gets 401 or 403 before the body is validated.
        call(&post, "/api/events", Some(json!({})), [401, 403, 422]),
        call(&put, &at(""), Some(json!({ "title": null })), [401, 403, 422]),
        call(&put, "/api/events/abc", Some(json!({})), [401, 403, 404]),
        call(&delete, "/api/events/999999", None, [401, 403, 404]),
        call(&get, "/api/events/999999/registrations", None, [401, 403, 404]),
        call(&post, "/api/events/abc/register", None, [401, 404, 404]),
        call(&put, "/api/users/me", Some(json!({ "name": null })), [401, 422, 422]),
        // Delete the event last.
        call(&delete, &at(""), None, [401, 403, 200]),
        call(&delete, &at(""), None, [401, 403, 404]),
    ]
    .into_iter()
    // `HEAD` has the permissions of `GET`. Its refusals have no body to check.
    .chain([call(&head, "/api/events", None, [200; 3])])
    .collect()
}

fn call(api: &Instance, method: &Method, path: &str, body: Option<&Value>) -> Request {
    let request = api.request(method.clone(), path);
    body.into_iter().fold(request, Request::json)
}

/// All routes refuse the token, public reads too.
async fn assert_no_proof(api: &Instance, token: &str, wrong: &str) {
    for path in ["/api/users/me", "/api/events", "/api/events/999999", "/api/users/me/registrations"] {
        let answer = api.get(path).token(token).send().await;
        assert_eq!(answer.status, 401, "{wrong}, at {path}: {}", answer.text());
        let answer = answer.expect_problem(401, "unauthenticated");
        assert_eq!(answer.header("www-authenticate"), "Bearer", "{wrong}, at {path}");
    }
}

/// A token of these claims, signed as its header says.
fn signed(algorithm: &str, secret: &str, claims: &Value) -> String {
    let unsigned = unsigned(algorithm, claims);
    let signature = if algorithm == "HS512" {
        let mac = Hmac::<Sha512>::new_from_slice(secret.as_bytes()).unwrap();
        BASE64_URL_SAFE_NO_PAD.encode(mac.chain_update(&unsigned).finalize().into_bytes())
    } else {
        let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        BASE64_URL_SAFE_NO_PAD.encode(mac.chain_update(&unsigned).finalize().into_bytes())
    };
    format!("{unsigned}.{signature}")
}

/// The header and the claims of a token.
fn unsigned(algorithm: &str, claims: &Value) -> String {
    let header = json!({ "alg": algorithm, "typ": "JWT" });
    [header, claims.clone()].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part.to_string())).join(".")
}

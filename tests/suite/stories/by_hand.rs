//! Rows with invalid values that were written with SQL before the tables refused them: the API shows, mends and deletes
//! them like all others.

use serde_json::{Value, json};

use crate::conformance::invalid_values::MIGRATION;
use crate::harness::server::{Instance, PASSWORD, Person, Site};

/// A site whose database has users, events and a booking, which statements changed afterwards.
struct Before {
    ada: Person,
    booked: u64,
    other: u64,
}

/// Writes valid rows with the tables of an earlier release, then spoils them with SQL.
async fn spoil(site: &Site, spoilt: impl Fn(&Before) -> Vec<String>) -> Before {
    let api = site.start().await;
    let admin = api.admin().await;
    let before =
        Before { ada: api.new_user().await, booked: api.event(&admin, 10).await, other: api.event(&admin, 10).await };
    api.book(before.booked, &before.ada).await.expect(201);
    api.stop().await;
    site.go_back_before(MIGRATION).await;
    for statement in spoilt(&before) {
        site.run_sql(&statement).await;
    }
    before
}

/// The ids on the first page of a list.
async fn listed(api: &Instance, query: &str) -> Vec<Value> {
    let list = api.get(&format!("/api/events{query}")).send().await.expect(200).json();
    list["data"].as_array().unwrap().iter().map(|event| event["id"].clone()).collect()
}

on_both_stacks!(
    an_event_with_odd_texts_is_listed_shown_changed_and_deleted,
    a_user_with_an_odd_name_logs_in_and_mends_it,
    an_account_with_capitals_in_its_address_is_one_account,
    check_names_every_invalid_value,
);

async fn an_event_with_odd_texts_is_listed_shown_changed_and_deleted(site: Site) {
    let (long, longer) = ("x".repeat(300), "y".repeat(10_001));
    for (column, odd) in [
        ("title", "a\tb"),
        ("title", "a\nb"),
        ("title", ""),
        ("title", long.as_str()),
        ("venue", ""),
        ("venue", "a\u{1}b"),
        ("venue", long.as_str()),
        ("description", longer.as_str()),
    ] {
        let Before { ada, booked, other } =
            spoil(&site, |it| vec![format!("UPDATE events SET {column} = '{odd}' WHERE id = {}", it.booked)]).await;
        let api = site.start().await;
        let admin = api.admin().await;
        let detail = api.detail(booked).await;
        assert_eq!(detail[column], odd);
        let mut ids = listed(&api, "?sort=available_seats").await;
        ids.truncate(2);
        assert_eq!(ids, [json!(booked), json!(other)]);
        assert!(listed(&api, "?sort=title").await.contains(&json!(booked)));
        assert!(listed(&api, "?sort=-date&available_only=true").await.contains(&json!(booked)));

        let theirs = format!("/api/events/{booked}/registrations");
        assert_eq!(api.get(&theirs).by(&admin).send().await.expect(200).json()[0]["user"]["id"], ada.id);
        let mine = async || api.get("/api/users/me/registrations").by(&ada).send().await.expect(200).json();
        assert_eq!(mine().await[0]["event"][column], odd);
        api.cancel(booked, &ada).await.expect(200);
        api.book(booked, &ada).await.expect(201);

        let path = format!("/api/events/{booked}");
        let tag = api.get(&path).send().await.expect(200).header("etag").to_owned();
        let seats = json!({ "total_seats": 20 });
        let put = |body: &Value, tag: &str| api.put(&path, body).by(&admin).header("If-Match", tag).send();
        assert_eq!(put(&seats, &tag).await.expect(200).json()[column], odd);
        put(&seats, &tag).await.expect_problem(412, "precondition_failed");
        let tag = api.get(&path).send().await.expect(200).header("etag").to_owned();
        let mut mended = json!({});
        mended[column] = json!("Mended");
        assert_eq!(put(&mended, &tag).await.expect(200).json()[column], "Mended");
        assert_eq!(api.detail(booked).await[column], "Mended");
        assert_eq!(mine().await[0]["event"][column], "Mended");
        api.stop().await;

        let spoilt = format!("UPDATE events SET {column} = '{odd}' WHERE id = {booked}");
        site.go_back_before(MIGRATION).await;
        site.run_sql(&spoilt).await;
        let api = site.start().await;
        let gone = api.delete(&path).by(&admin).send().await.expect(200).json();
        assert_eq!(gone["cancelled_registrations"], 1);
        let mine = api.get("/api/users/me/registrations").by(&ada).send().await.expect(200).json();
        assert_eq!(mine[0]["event"][column], odd);
        assert!(!listed(&api, "").await.contains(&json!(booked)));
        api.delete(&format!("/api/events/{other}")).by(&admin).send().await.expect(200);
        api.stop().await;
    }
}

async fn a_user_with_an_odd_name_logs_in_and_mends_it(site: Site) {
    let long = "z".repeat(101);
    for odd in ["", "a\tb", "a\u{7}b", long.as_str()] {
        let Before { ada, booked, .. } =
            spoil(&site, |it| vec![format!("UPDATE users SET name = '{odd}' WHERE id = {}", it.ada.id)]).await;
        let api = site.start().await;
        let session = api.log_in(&ada.email, PASSWORD).await.expect(200).json();
        assert_eq!(session["user"]["name"], odd);
        assert_eq!(
            api.refresh(session["refresh_token"].as_str().unwrap()).await.expect(200).json()["user"]["name"],
            odd
        );
        assert_eq!(api.get("/api/users/me").by(&ada).send().await.expect(200).json()["name"], odd);
        let admin = api.admin().await;
        let theirs = format!("/api/events/{booked}/registrations");
        assert_eq!(api.get(&theirs).by(&admin).send().await.expect(200).json()[0]["user"]["name"], odd);
        let email = json!({ "email": format!("new-{}", ada.email) });
        assert_eq!(api.put("/api/users/me", &email).by(&ada).send().await.expect(200).json()["name"], odd);
        let name = json!({ "name": "Ada" });
        assert_eq!(api.put("/api/users/me", &name).by(&ada).send().await.expect(200).json()["name"], "Ada");
        api.stop().await;
    }
}

async fn an_account_with_capitals_in_its_address_is_one_account(site: Site) {
    let Before { ada, .. } =
        spoil(&site, |it| vec![format!("UPDATE users SET email = upper(email) WHERE id = {}", it.ada.id)]).await;
    let api = site.start().await;
    for email in [ada.email.clone(), ada.email.to_uppercase()] {
        let user = api.log_in(&email, PASSWORD).await.expect(200).json()["user"].clone();
        assert_eq!((&user["id"], &user["email"]), (&json!(ada.id), &json!(ada.email)));
        let twice = json!({ "name": "Ada", "email": email, "password": PASSWORD });
        api.post("/api/auth/register", &twice).send().await.expect_problem(409, "email_taken");
    }
    api.stop().await;
}

async fn check_names_every_invalid_value(site: Site) {
    let Before { ada, booked, .. } = spoil(&site, |it| {
        vec![
            format!("UPDATE events SET title = '', venue = 'a\tb' WHERE id = {}", it.booked),
            format!("UPDATE users SET name = ' ' WHERE id = {}", it.ada.id),
        ]
    })
    .await;
    site.start().await.stop().await;
    // The rows are from before there were facts, also by the clock of this test.
    site.run_sql("UPDATE history_state SET begun_at = '2031-01-01T00:00:00+00:00'").await;
    let check = site.run_command(&["check"]).await;
    let said = String::from_utf8(check.stdout).unwrap();
    assert_eq!(
        said,
        format!(
            "events {booked}: title is blank\nevents {booked}: venue has a control character\nusers {}: name is blank\n",
            ada.id
        )
    );
    assert_eq!(check.status.code(), Some(1));

    site.run_sql(&format!("UPDATE events SET title = 'Opera', venue = 'Opera' WHERE id = {booked}")).await;
    site.run_sql(&format!("UPDATE users SET name = 'Ada' WHERE id = {}", ada.id)).await;
    let check = site.run_command(&["check"]).await;
    assert!(check.status.success(), "{check:?}");
}

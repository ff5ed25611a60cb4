//! Changes that are meant for one version of an event.

use serde_json::json;

use super::tag_of;
use crate::harness::server::Site;

on_both_stacks!(a_change_is_made_only_to_the_version_it_was_meant_for, a_write_answers_the_tag_that_a_read_has_next);

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

//! Entity tags, and the requests that are conditional on them.

use std::collections::BTreeSet;
use std::io::Read;

use flate2::read::GzDecoder;
use serde_json::json;

use crate::harness::server::{Instance, Person, Site};

on_both_stacks!(
    a_current_copy_gets_304_without_a_body,
    a_tag_changes_with_every_visible_change,
    a_tag_never_comes_back_with_the_seats,
    each_coding_has_a_tag_of_its_own,
    a_change_meant_for_another_version_is_not_made,
);

fn gunzip(body: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    GzDecoder::new(body).read_to_end(&mut plain).unwrap();
    plain
}

/// The event's address, and an event of so many bytes there.
async fn event_of(api: &Instance, admin: &Person, bytes: usize) -> String {
    let made = api.create(admin, json!({ "description": "" })).await["id"].as_u64().unwrap();
    let path = format!("/api/events/{made}");
    let empty = api.get(&path).send().await.expect(200).body.len();
    let description = "x".repeat(bytes - empty);
    api.put(&path, &json!({ "description": description })).by(admin).send().await.expect(200);
    path
}

async fn a_current_copy_gets_304_without_a_body(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;
    let event = api.event(&admin, 2).await;
    api.book(event, &admin).await.expect(201);

    let detail = format!("/api/events/{event}");
    let attendees = format!("{detail}/registrations");
    for (path, signed_in) in [
        (detail.as_str(), false),
        ("/api/events", false),
        (&attendees, true),
        ("/api/users/me/registrations", true),
        ("/api", false),
        ("/api/openapi.json", false),
    ] {
        let ask = |copies: &str| {
            let request = api.get(path).header("If-None-Match", copies);
            if signed_in { request.by(&admin) } else { request }
        };
        let whole = ask("\"another\"").send().await.expect(200);
        let tag = whole.header("etag").to_owned();
        assert!(tag.len() > 2 && tag.starts_with('"') && tag.ends_with('"'), "{path}: {tag} is not strong");
        for copies in [&tag, &format!("W/{tag}"), &format!("\"x\", W/\"y\" ,{tag}"), "*"] {
            let unchanged = ask(copies).send().await;
            assert_eq!(unchanged.status, 304, "{path} {copies}");
            assert_eq!(unchanged.body, b"", "{path}");
            for name in ["etag", "cache-control", "vary"] {
                assert_eq!(unchanged.header(name), whole.header(name), "{path}: {name}");
            }
            assert!(!unchanged.headers.contains_key("content-type"), "{path}");
        }
        for others in ["\"x\"", "\"x\", \"y\"", tag.trim_matches('"'), "rubbish", ""] {
            assert_eq!(ask(others).send().await.expect(200).body, whole.body, "{path} {others}");
        }
    }
    api.stop().await;
}

async fn a_tag_changes_with_every_visible_change(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;
    let ada = api.new_user().await;
    let event = api.event(&admin, 5).await;
    let path = format!("/api/events/{event}");

    let mut tags = BTreeSet::new();
    let mut bodies = BTreeSet::new();
    let mut look = async |change: &str| {
        for path in [path.as_str(), "/api/events", "/api/users/me/registrations"] {
            let request = api.get(path);
            let signed_in = path.ends_with("registrations");
            let answer = if signed_in { request.by(&ada) } else { request }.send().await.expect(200);
            let tag = (path.to_owned(), answer.header("etag").to_owned());
            if bodies.insert((path.to_owned(), answer.body)) {
                assert!(tags.insert(tag), "{change}: {path} has a tag that it had before");
            } else if path.starts_with("/api/events") {
                assert!(!change.ends_with('!'), "{change} {path} shows nothing of it");
            }
        }
        tags.len()
    };
    look("a new event!").await;
    api.book(event, &ada).await.expect(201);
    look("a booking!").await;
    site.clock.advance_secs(1);
    for (change, body) in [
        ("a title!", json!({ "title": "Another" })),
        ("a venue!", json!({ "venue": "Elsewhere" })),
        ("a date!", json!({ "date": "2032-01-01T00:00:00Z" })),
        ("a description!", json!({ "description": "More" })),
        ("seats!", json!({ "total_seats": 7 })),
    ] {
        api.put(&path, &body).by(&admin).send().await.expect(200);
        look(change).await;
    }
    let before = look("nothing").await;
    let unchanged = api.get(&path).send().await.expect(200);
    site.clock.advance_secs(1);
    api.put(&path, &json!({})).by(&admin).send().await.expect(200);
    assert_eq!(look("an empty change").await, before, "an empty change shows nowhere");
    let still = api.get(&path).send().await.expect(200);
    assert_eq!((still.header("etag"), &still.body), (unchanged.header("etag"), &unchanged.body));
    api.cancel(event, &ada).await.expect(200);
    look("a cancellation!").await;
    api.stop().await;
}

async fn a_tag_never_comes_back_with_the_seats(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;
    let ada = api.new_user().await;
    let event = api.event(&admin, 5).await;
    let path = format!("/api/events/{event}");
    let tag = async || api.get(&path).send().await.expect(200).header("etag").to_owned();

    let mut seen = BTreeSet::from([tag().await]);
    for _ in 0..3 {
        api.book(event, &ada).await.expect(201);
        assert!(seen.insert(tag().await), "a booking");
        api.cancel(event, &ada).await.expect(200);
        assert!(seen.insert(tag().await), "a cancellation");
    }
    api.stop().await;
}

async fn each_coding_has_a_tag_of_its_own(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;
    let path = event_of(&api, &admin, 1024).await;
    let ask = |path: &str, accepted: &str| api.get(path).header("Accept-Encoding", accepted);

    let plain = ask(&path, "identity").send().await.expect(200);
    assert_eq!((plain.body.len(), plain.header("content-encoding")), (1024, ""));
    let compressed = ask(&path, "gzip").send().await.expect(200);
    assert_eq!(compressed.header("content-encoding"), "gzip");
    assert_eq!(compressed.header("content-type"), "application/json");
    assert!(compressed.body.len() < plain.body.len());
    assert_eq!(gunzip(&compressed.body), plain.body);
    let (plain_tag, compressed_tag) = (plain.header("etag"), compressed.header("etag"));
    assert_ne!(plain_tag, compressed_tag);

    // The tag of one coding does not match the other coding.
    ask(&path, "gzip").header("If-None-Match", compressed_tag).send().await.expect(304);
    ask(&path, "gzip").header("If-None-Match", plain_tag).send().await.expect(200);
    ask(&path, "identity").header("If-None-Match", plain_tag).send().await.expect(304);
    ask(&path, "identity").header("If-None-Match", compressed_tag).send().await.expect(200);
    let unchanged = ask(&path, "gzip").header("If-None-Match", compressed_tag).send().await;
    assert_eq!(unchanged.header("etag"), compressed_tag);

    for accepted in ["gzip, br", "br;q=1, gzip;q=0.8", "GZIP", "deflate, gzip"] {
        assert_eq!(ask(&path, accepted).send().await.header("content-encoding"), "gzip", "{accepted}");
    }
    for refused in ["", "br", "gzip;q=0", "identity", "gzip;q=0.1, identity", "rubbish;;", "*;q=0, identity"] {
        let answer = ask(&path, refused).send().await.expect(200);
        assert_eq!(answer.header("content-encoding"), "", "{refused}");
        assert_eq!(answer.body, plain.body, "{refused}");
    }

    // An answer with one byte less is not compressed.
    let small = event_of(&api, &admin, 1023).await;
    let answer = ask(&small, "gzip").send().await.expect(200);
    assert_eq!((answer.body.len(), answer.header("content-encoding")), (1023, ""));
    let list = ask("/api/events", "gzip").send().await.expect(200);
    assert_eq!(list.header("content-encoding"), "gzip");
    let plain = ask("/api/events", "identity").send().await.expect(200);
    assert_eq!(gunzip(&list.body), plain.body);
    assert_ne!(list.header("etag"), plain.header("etag"));
    api.stop().await;
}

async fn a_change_meant_for_another_version_is_not_made(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;
    let ada = api.new_user().await;
    let path = event_of(&api, &admin, 2000).await;
    let event = path.rsplit('/').next().unwrap().parse().unwrap();
    let tag = async |accepted: &str| {
        let answer = api.get(&path).header("Accept-Encoding", accepted).send().await.expect(200);
        answer.header("etag").to_owned()
    };
    let rename =
        |title: &str, tags: &str| api.put(&path, &json!({ "title": title })).by(&admin).header("If-Match", tags).send();

    let (plain, compressed) = (tag("identity").await, tag("gzip").await);
    rename("First", &plain).await.expect(200);
    for stale in [plain.as_str(), &compressed, "\"x\"", "rubbish", "", &format!("W/{}", tag("identity").await)] {
        rename("Never", stale).await.expect_problem(412, "precondition_failed");
        let delete = api.delete(&path).by(&admin).header("If-Match", stale).send().await;
        delete.expect_problem(412, "precondition_failed");
    }
    assert_eq!(api.detail(event).await["title"], "First");

    rename("Second", &tag("gzip").await).await.expect(200);
    rename("Third", &format!("\"x\", {}", tag("identity").await)).await.expect(200);
    rename("Fourth", "*").await.expect(200);
    // A booking is a visible change too.
    let before = tag("identity").await;
    api.book(event, &ada).await.expect(201);
    rename("Never", &before).await.expect_problem(412, "precondition_failed");
    assert_eq!(api.detail(event).await["title"], "Fourth");

    // An unknown event has no version, and a caller without permission gets 403 first.
    let nowhere = "/api/events/4000000";
    let missing = api.put(nowhere, &json!({})).by(&admin).header("If-Match", "\"1\"").send().await;
    assert!(matches!(missing.status, 404 | 412), "{}", missing.text());
    let stranger = api.delete(&path).by(&ada).header("If-Match", "\"1\"").send().await;
    stranger.expect_problem(403, "forbidden");

    api.delete(&path).by(&admin).header("If-Match", &tag("gzip").await).send().await.expect(200);
    api.get(&path).send().await.expect_problem(404, "not_found");
    api.stop().await;
}

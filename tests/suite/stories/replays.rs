//! Outcomes that earlier releases kept with their idempotency keys replay to the same bytes.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::server::{Answer, Instance, Person, Site};

/// Sends a request under the key `k`.
async fn send(api: &Instance, by: &Person, method: &Method, path: &str, body: Option<&Value>) -> Answer {
    let request = api.request(method.clone(), path).by(by).header("Idempotency-Key", "k");
    match body {
        Some(body) => request.json(body).send().await,
        None => request.send().await,
    }
}

/// Sends a request, has its outcome stored as a release wrote it, and sends the request again.
async fn replays(site: &Site, api: &Instance, by: &Person, request: (Method, String, Option<Value>), released: &str) {
    let (method, path, body) = request;
    let first = send(api, by, &method, &path, body.as_ref()).await;
    assert!((200..300).contains(&first.status), "{}", first.text());
    let kept = released.replace('\'', "''");
    site.run_sql(&format!("UPDATE idempotency_keys SET outcome = '{kept}' WHERE user_id = {}", by.id)).await;
    let again = send(api, by, &method, &path, body.as_ref()).await;
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!((again.status, again.text()), (first.status, first.text()), "{released}");
    site.run_sql("DELETE FROM idempotency_keys").await;
}

on_both_stacks!(outcomes_of_earlier_releases_replay_to_the_same_bytes,);

async fn outcomes_of_earlier_releases_replay_to_the_same_bytes(site: Site) {
    let api = site.start().await;
    let (admin, ada) = (api.admin().await, api.new_user().await);
    let event = api.event(&admin, 10).await;
    let (register, path) = (format!("/api/events/{event}/register"), format!("/api/events/{event}"));
    let now = "2030-01-15T12:00:00Z";

    let registration = |status: &str, version: u32| {
        format!(
            r#"{{"id":1,"user_id":{},"event_id":{event},"status":"{status}","registration_date":"{now}","created_at":"{now}","version":{version}}}"#,
            ada.id
        )
    };
    replays(&site, &api, &ada, (Method::POST, register.clone(), None), &registration("confirmed", 1)).await;
    replays(&site, &api, &ada, (Method::DELETE, register.clone(), None), &registration("cancelled", 2)).await;

    let new = json!({
        "title": "Été", "description": "one\n\ttwo", "date": "2031-05-01T19:30:00.5Z", "venue": "Opera", "total_seats": 7,
    });
    let created = format!(
        r#"{{"id":{},"title":"Été","description":"one\n\ttwo","date":"2031-05-01T19:30:00.500Z","venue":"Opera","total_seats":7,"available_seats":7,"created_at":"{now}","updated_at":"{now}","deleted_at":null,"version":1,"title_folded":"été"}}"#,
        event + 1
    );
    replays(&site, &api, &admin, (Method::POST, "/api/events".to_owned(), Some(new)), &created).await;

    let revised = json!({ "venue": "Scala", "total_seats": 9 });
    let changed = format!(
        r#"{{"id":{event},"title":"Concert","description":null,"date":"2031-05-01T19:30:00Z","venue":"Scala","total_seats":9,"available_seats":9,"created_at":"{now}","updated_at":"{now}","deleted_at":null,"version":4,"title_folded":"concert"}}"#
    );
    replays(&site, &api, &admin, (Method::PUT, path.clone(), Some(revised)), &changed).await;

    api.book(event, &ada).await.expect(201);
    replays(&site, &api, &admin, (Method::DELETE, path, None), r#"{"cancelled_registrations":1}"#).await;

    let renamed =
        format!(r#"{{"id":{},"name":"Countess","email":"{}","role":"user","created_at":"{now}"}}"#, ada.id, ada.email);
    let me = (Method::PUT, "/api/users/me".to_owned(), Some(json!({ "name": "Countess" })));
    replays(&site, &api, &ada, me, &renamed).await;
    api.stop().await;
}

//! Facts posted to receivers, and how admins look after them.

use std::collections::HashMap;
use std::process::Stdio;
use std::time::Duration;

use domain::ports::Clock;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::timeout;

use crate::harness::receiver::{Message, Receiver, Reply};
use crate::harness::server::{Instance, Person, Site};
use crate::harness::until;

on_both_stacks!(
    a_receiver_gets_signed_facts_of_its_types_in_order,
    a_failed_delivery_is_tried_again_on_schedule,
    a_receiver_that_answers_410_is_disabled,
    a_slow_receiver_delays_no_other,
    a_secret_is_shown_once_and_rotated_with_an_overlap,
    a_webhook_is_sent_the_past_by_replay_only,
    a_delivery_is_sent_again_on_request,
    wrong_webhooks_are_refused_by_field,
    the_fifty_first_webhook_is_refused,
    only_admins_look_after_webhooks,
    a_webhook_is_changed_and_deleted,
    the_receivers_of_the_guide_verify_real_deliveries,
);

async fn a_receiver_gets_signed_facts_of_its_types_in_order(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;
    let receiver = Receiver::start().await;
    let webhook = create(&api, &admin, &receiver, &["registration.*", "event.deleted"]).await;
    let event = api.event(&admin, 5).await;
    let people = api.people(3).await;
    for person in &people {
        api.book(event, person).await.expect(201);
        api.cancel(event, person).await.expect(200);
    }
    api.delete(&format!("/api/events/{event}")).by(&admin).send().await.expect(200);

    let messages = receiver.expect(7).await;
    let kinds: Vec<_> = messages.iter().map(Message::kind).collect();
    let mut expected = [["registration.confirmed", "registration.cancelled"]; 3].concat();
    expected.push("event.deleted");
    assert_eq!(kinds, expected);
    let sequences: Vec<u64> =
        messages.iter().map(|message| message.fact()["sequence"].as_str().unwrap().parse().unwrap()).collect();
    assert!(sequences.is_sorted(), "{sequences:?}");
    let history = api.get(&format!("/api/events/{event}/history")).by(&admin).send().await.expect(200).json();
    for message in &messages {
        assert_eq!(message.signatures_by(secret(&webhook)), 1);
        assert_eq!(message.headers["content-type"], "application/cloudevents+json");
        assert_eq!(message.headers["webhook-id"], message.fact()["id"].as_str().unwrap());
        let facts = history["data"].as_array().unwrap();
        assert!(facts.contains(&message.fact()), "a receiver is told what the history tells");
    }
    let log = until_settled(&api, &admin, &webhook, 7).await;
    assert!(log.iter().all(|delivery| delivery["status"] == "delivered" && delivery["last_status"] == 200), "{log:?}");
    api.stop().await;
}

async fn a_failed_delivery_is_tried_again_on_schedule(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;
    let receiver = Receiver::start().await;
    receiver.reply_with([Reply::Status(500, ""), Reply::Status(503, "Retry-After: 90\r\n"), Reply::Status(302, "")]);
    let webhook = create(&api, &admin, &receiver, &["event.created"]).await;
    api.event(&admin, 5).await;
    // The pauses: 5 s, then what the receiver asks for because it is longer than 60 s, then 5 minutes; a fifth more or less.
    for (attempt, status, secs) in [(1, 500, 6), (2, 503, 90), (3, 302, 360)] {
        receiver.expect(attempt).await;
        until("the attempt is in the log", async || log(&api, &admin, &webhook).await[0]["attempts"] == attempt).await;
        let delivery = &log(&api, &admin, &webhook).await[0];
        assert_eq!((&delivery["status"], &delivery["last_status"]), (&json!("pending"), &json!(status)));
        assert!(delivery["last_error"].as_str().unwrap().contains(&status.to_string()), "{delivery}");
        site.clock.advance_secs(secs);
    }
    let messages = receiver.expect(4).await;
    assert!(messages.iter().all(|message| message.headers["webhook-id"] == messages[0].headers["webhook-id"]));
    let log = until_settled(&api, &admin, &webhook, 1).await;
    assert_eq!((&log[0]["status"], &log[0]["attempts"]), (&json!("delivered"), &json!(4)));
    api.stop().await;
}

async fn a_receiver_that_answers_410_is_disabled(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;
    let receiver = Receiver::start().await;
    receiver.reply_with([Reply::Status(410, "")]);
    let webhook = create(&api, &admin, &receiver, &["*"]).await;
    api.event(&admin, 5).await;
    let path = path(&webhook);
    until("the webhook is disabled", async || {
        api.get(&path).by(&admin).send().await.expect(200).json()["enabled"] == false
    })
    .await;
    api.post(&format!("{path}/test"), &json!({})).by(&admin).send().await.expect_problem(409, "webhook_disabled");
    assert_eq!(log(&api, &admin, &webhook).await[0]["status"], "failed");
    api.stop().await;
}

async fn a_slow_receiver_delays_no_other(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;
    let (slow, fast) = (Receiver::start().await, Receiver::start().await);
    slow.reply_with(vec![Reply::Stall; 100]);
    create(&api, &admin, &slow, &["event.created"]).await;
    create(&api, &admin, &fast, &["event.created"]).await;
    for _ in 0..12 {
        api.event(&admin, 5).await;
    }
    fast.expect(12).await;
    assert!(slow.messages().len() <= 4, "at most four are under way");
    api.stop().await;
}

async fn a_secret_is_shown_once_and_rotated_with_an_overlap(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;
    let receiver = Receiver::start().await;
    let body = json!({ "url": receiver.url(), "types": ["event.created"] });
    let create = async || api.post("/api/webhooks", &body).by(&admin).header("Idempotency-Key", "once").send().await;
    let webhook = create().await.expect(201).json();
    let replayed = create().await.expect(201);
    assert_eq!((replayed.header("Idempotent-Replayed"), &replayed.json()["secret"]), ("true", &Value::Null));
    let path = path(&webhook);
    for shown in [api.get(&path), api.get("/api/webhooks"), api.get("/api/history")] {
        assert!(!shown.by(&admin).send().await.expect(200).text().contains("whsec_"));
    }
    let rotated = api.post(&format!("{path}/rotate-secret"), &json!({})).by(&admin).send().await.expect(200).json();
    assert_ne!(secret(&rotated), secret(&webhook));
    api.event(&admin, 5).await;
    let message = &receiver.expect(1).await[0];
    assert_eq!((message.signatures_by(secret(&webhook)), message.signatures_by(secret(&rotated))), (1, 1));
    site.clock.advance_secs(24 * 3_600);
    let admin = api.refresh(&admin.refresh_token).await.expect(200).person();
    api.event(&admin, 5).await;
    let message = &receiver.expect(2).await[1];
    assert_eq!((message.signatures_by(secret(&webhook)), message.signatures_by(secret(&rotated))), (0, 1));
    api.stop().await;
}

async fn a_webhook_is_sent_the_past_by_replay_only(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;
    let receiver = Receiver::start().await;
    let before = api.event(&admin, 5).await;
    site.clock.advance_secs(60);
    let webhook = create(&api, &admin, &receiver, &["event.created"]).await;
    let after = api.event(&admin, 5).await;
    receiver.expect(1).await;
    let path = path(&webhook);
    let from = json!({ "from": "2030-01-15T12:00:00Z", "to": "2030-01-15T12:00:00Z" });
    let replayed = api.post(&format!("{path}/replay"), &from).by(&admin).send().await.expect(202).json();
    assert_eq!(replayed["queued"], 1);
    let subjects: Vec<_> = receiver.expect(2).await.iter().map(|message| message.fact()["subject"].clone()).collect();
    assert_eq!(subjects, [json!(format!("events/{after}")), json!(format!("events/{before}"))]);
    let other = json!({ "from": "2030-01-01", "types": ["registration.*"] });
    let replayed = api.post(&format!("{path}/replay"), &other).by(&admin).send().await.expect(202).json();
    assert_eq!(replayed["queued"], 0, "the webhook has no such type");
    api.post(&format!("{path}/replay"), &json!({ "from": "2030-01-02", "to": "2030-01-01" }))
        .by(&admin)
        .send()
        .await
        .expect_problem(422, "validation_failed");
    api.stop().await;
}

async fn a_delivery_is_sent_again_on_request(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;
    let receiver = Receiver::start().await;
    receiver.reply_with([Reply::Status(500, "")]);
    let webhook = create(&api, &admin, &receiver, &["*"]).await;
    let path = path(&webhook);
    let test = api.post(&format!("{path}/test"), &json!({})).by(&admin).send().await.expect(202).json();
    until("the attempt is in the log", async || log(&api, &admin, &webhook).await[0]["attempts"] == 1).await;
    assert_eq!(receiver.messages()[0].kind(), "webhook.test");
    let retry = format!("{path}/deliveries/{}/retry", test["delivery_id"]);
    api.post(&retry, &json!({})).by(&admin).send().await.expect(202);
    let log = until_settled(&api, &admin, &webhook, 1).await;
    assert_eq!((&log[0]["status"], &log[0]["attempts"]), (&json!("delivered"), &json!(2)));
    api.post(&format!("{path}/deliveries/999/retry"), &json!({}))
        .by(&admin)
        .send()
        .await
        .expect_problem(404, "not_found");
    let pending = api.get(&format!("{path}/deliveries?status=pending")).by(&admin).send().await.expect(200);
    assert_eq!((pending.header("X-Total-Count"), pending.json()), ("0", json!([])));
    api.stop().await;
}

async fn wrong_webhooks_are_refused_by_field(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;
    let refused = async |body: Value| {
        let answer = api.post("/api/webhooks", &body).by(&admin).send().await.expect_problem(422, "validation_failed");
        answer.wrong_fields().into_iter().map(|(field, _)| field).collect::<Vec<_>>()
    };
    assert_eq!(refused(json!({})).await, ["types", "url"]);
    assert_eq!(
        refused(json!({ "url": "hook", "types": ["event.sold"], "enabled": 1 })).await,
        ["enabled", "types", "url"]
    );
    for url in [
        "https://10.0.0.1/",
        "https://[fd00::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://169.254.169.254/latest",
        "https://2130706433.example/ x",
        "ftp://example.com/",
        "https://user:secret@example.com/",
        "http://example.com/",
        "https://192.168.0.1:8443/",
        "https://0x0a000001/",
    ] {
        assert_eq!(refused(json!({ "url": url, "types": ["*"] })).await, ["url"], "{url}");
        assert_eq!(refused(json!({ "url": url, "types": [] })).await, ["types", "url"], "all wrong fields at once");
    }
    assert_eq!(api.get("/api/webhooks").by(&admin).send().await.expect(200).json(), json!([]));
    api.stop().await;
}

async fn the_fifty_first_webhook_is_refused(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;
    let body = json!({ "url": "https://example.com/hook", "types": ["*"], "enabled": false });
    for _ in 0..50 {
        api.post("/api/webhooks", &body).by(&admin).send().await.expect(201);
    }
    api.post("/api/webhooks", &body).by(&admin).send().await.expect_problem(409, "too_many_webhooks");
    let listed = api.get("/api/webhooks").by(&admin).send().await.expect(200);
    assert_eq!((listed.header("X-Total-Count"), listed.json().as_array().unwrap().len()), ("50", 50));
    api.stop().await;
}

async fn only_admins_look_after_webhooks(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;
    let ada = api.new_user().await;
    let receiver = Receiver::start().await;
    let webhook = create(&api, &admin, &receiver, &["event.created"]).await;
    let path = path(&webhook);
    let calls = || {
        [
            api.get("/api/webhooks"),
            api.post("/api/webhooks", &json!({ "url": receiver.url(), "types": ["*"] })),
            api.get(&path),
            api.put(&path, &json!({ "enabled": false })),
            api.delete(&path),
            api.post(&format!("{path}/rotate-secret"), &json!({})),
            api.post(&format!("{path}/test"), &json!({})),
            api.get(&format!("{path}/deliveries")),
            api.post(&format!("{path}/deliveries/1/retry"), &json!({})),
            api.post(&format!("{path}/replay"), &json!({ "from": "2030-01-01" })),
            api.get("/api/history"),
        ]
    };
    for call in calls() {
        call.send().await.expect_problem(401, "unauthenticated");
    }
    for call in calls() {
        call.by(&ada).send().await.expect_problem(403, "forbidden");
    }
    for id in ["0", "x", "99"] {
        let unknown = format!("/api/webhooks/{id}");
        api.get(&unknown).by(&admin).send().await.expect_problem(404, "not_found");
        api.post(&format!("{unknown}/test"), &json!({})).by(&admin).send().await.expect_problem(404, "not_found");
        api.get(&format!("{unknown}/deliveries")).by(&admin).send().await.expect_problem(404, "not_found");
    }
    api.stop().await;
}

async fn a_webhook_is_changed_and_deleted(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;
    let (first, second) = (Receiver::start().await, Receiver::start().await);
    let webhook = create(&api, &admin, &first, &["registration.*"]).await;
    let path = path(&webhook);
    let fields = json!({ "url": second.url(), "types": ["event.created"], "description": "Ours" });
    let changed = api.put(&path, &fields).by(&admin).send().await.expect(200).json();
    let shown: HashMap<String, Value> = serde_json::from_value(changed.clone()).unwrap();
    assert_eq!((&shown["description"], &shown["enabled"], shown.get("secret")), (&json!("Ours"), &json!(true), None));
    assert_eq!(api.put(&path, &json!({})).by(&admin).send().await.expect(200).json(), changed);
    api.event(&admin, 5).await;
    second.expect(1).await;
    api.delete(&path).by(&admin).send().await.expect(204);
    api.get(&path).by(&admin).send().await.expect_problem(404, "not_found");
    api.delete(&path).by(&admin).send().await.expect_problem(404, "not_found");
    assert!(first.messages().is_empty());
    api.stop().await;
}

async fn the_receivers_of_the_guide_verify_real_deliveries(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;
    let folder = tempfile::tempdir().unwrap();
    for (language, interpreter) in [("python", "python3"), ("javascript", "node")] {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let body = json!({ "url": format!("http://127.0.0.1:{port}/hook"), "types": ["registration.*"] });
        let webhook = api.post("/api/webhooks", &body).by(&admin).send().await.expect(201).json();
        let guide = include_str!("../../../docs/webhooks.md");
        let (_, rest) = guide.split_once(&format!("```{language}\n")).unwrap();
        let program = folder.path().join(language);
        std::fs::write(&program, rest.split_once("```").unwrap().0).unwrap();
        let mut receiver = Command::new(interpreter)
            .arg(program)
            .arg(port.to_string())
            .env("WEBHOOK_SECRET", secret(&webhook))
            .env("NOW", site.clock.now().unix_secs().to_string())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{interpreter} is needed to try docs/webhooks.md: {error}"));
        until("the receiver listens", async || TcpStream::connect(("127.0.0.1", port)).await.is_ok()).await;
        let (event, user) = (api.event(&admin, 5).await, api.new_user().await);
        api.book(event, &user).await.expect(201);
        api.cancel(event, &user).await.expect(200);
        let mut lines = BufReader::new(receiver.stdout.take().unwrap()).lines();
        for kind in ["registration.confirmed", "registration.cancelled"] {
            let line = timeout(Duration::from_secs(30), lines.next_line()).await.expect("a line in time").unwrap();
            assert_eq!(line, Some(format!("{kind} events/{event}")), "{language}");
        }
        until_settled(&api, &admin, &webhook, 2).await;
        // What is signed with another secret is refused.
        let path = path(&webhook);
        for _ in 0..2 {
            api.post(&format!("{path}/rotate-secret"), &json!({})).by(&admin).send().await.expect(200);
        }
        api.book(event, &user).await.expect(201);
        until("the refusal is in the log", async || log(&api, &admin, &webhook).await[0]["last_status"] == 401).await;
        api.delete(&path).by(&admin).send().await.expect(204);
    }
    api.stop().await;
}

async fn create(api: &Instance, admin: &Person, receiver: &Receiver, types: &[&str]) -> Value {
    let body = json!({ "url": receiver.url(), "types": types });
    api.post("/api/webhooks", &body).by(admin).send().await.expect(201).json()
}

fn path(webhook: &Value) -> String {
    format!("/api/webhooks/{}", webhook["id"])
}

fn secret(webhook: &Value) -> &str {
    webhook["secret"].as_str().unwrap()
}

async fn log(api: &Instance, admin: &Person, webhook: &Value) -> Vec<Value> {
    let deliveries = api.get(&format!("{}/deliveries", path(webhook))).by(admin).send().await.expect(200);
    deliveries.json().as_array().unwrap().clone()
}

/// The log once nothing of it is pending.
async fn until_settled(api: &Instance, admin: &Person, webhook: &Value, count: usize) -> Vec<Value> {
    until("every delivery is settled", async || {
        let log = log(api, admin, webhook).await;
        log.len() == count && log.iter().all(|delivery| delivery["status"] != "pending")
    })
    .await;
    log(api, admin, webhook).await
}

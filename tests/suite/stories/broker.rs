//! Facts published to `RabbitMQ`.

use lapin::ExchangeKind;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use serde_json::{Value, json};

use crate::harness::rabbitmq::{Consumer, RabbitServer, shared_url};
use crate::harness::server::{Instance, Site, Stack};
use crate::harness::until;

/// The facts of a story are bound by a queue of an exchange of their own.
async fn consumer(url: &str, exchange: &'static str) -> Consumer {
    let consumer = Consumer::connect(url, exchange).await;
    consumer.declare_exchange(ExchangeKind::Topic).await;
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    consumer.bind("registrations", "registration.*", durable, FieldTable::default()).await;
    consumer
}

/// Waits for a message, and reads it.
async fn next(consumer: &Consumer) -> Value {
    let mut message = None;
    until("a message is there", async || {
        message = consumer.next("registrations").await;
        message.is_some()
    })
    .await;
    let message = message.unwrap();
    let fact: Value = serde_json::from_slice(&message.data).unwrap();
    assert_eq!(message.routing_key.as_str(), fact["type"]);
    assert_eq!(message.properties.message_id().as_ref().unwrap().as_str(), fact["id"]);
    fact
}

async fn state(api: &Instance) -> Value {
    let ready = api.get("/health/ready").send().await.expect(200).json();
    json!([ready["status"], ready["dependencies"]["broker"]])
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fact_is_published_as_the_history_has_it() {
    let site = Site::new(Stack::Embedded).await;
    let site = site.with("AMQP_URL", &shared_url()).with("AMQP_EXCHANGE", "stories.embedded");
    let consumer = consumer(&shared_url(), "stories.embedded").await;
    let api = site.start().await;
    let (admin, person) = (api.admin().await, api.new_user().await);
    assert_eq!(state(&api).await, json!(["ready", "up"]));
    let event = api.event(&admin, 5).await;
    api.book(event, &person).await.expect(201);
    api.cancel(event, &person).await.expect(200);
    let told = [next(&consumer).await, next(&consumer).await];
    let history = api.get("/api/history?types=registration.*").by(&admin).send().await.expect(200).json();
    assert_eq!(history["data"], json!(told));
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn facts_wait_for_a_broker_that_is_away() {
    let mut server = RabbitServer::start().await;
    let consumer = consumer(server.url(), "boxoffice").await;
    let site = Site::migrated().await.with("AMQP_URL", server.url());
    let (api, other) = (site.start().await, site.start().await);
    let (admin, people) = (api.admin().await, api.people(20).await);
    let event = api.event(&admin, 50).await;
    api.book(event, &people[0]).await.expect(201);
    assert_eq!(next(&consumer).await["type"], "registration.confirmed");
    server.kill();
    until("readiness knows", async || state(&api).await == json!(["degraded", "down"])).await;
    for (place, person) in people.iter().enumerate().skip(1) {
        [&api, &other][place % 2].book(event, person).await.expect(201);
    }
    server.restart().await;
    let consumer = Consumer::connect(server.url(), "boxoffice").await;
    let mut told = Vec::new();
    while told.len() < people.len() - 1 {
        let fact = next(&consumer).await;
        // A fact whose confirm was lost comes again.
        if !told.contains(&fact) {
            told.push(fact);
        }
    }
    let sequences: Vec<u64> = told.iter().map(|fact| fact["sequence"].as_str().unwrap().parse().unwrap()).collect();
    assert!(sequences.is_sorted(), "in the order of the commits: {sequences:?}");
    until("readiness knows", async || state(&api).await == json!(["ready", "up"])).await;
    api.stop().await;
    other.stop().await;
}

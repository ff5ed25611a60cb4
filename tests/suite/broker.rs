//! Facts in a real broker, and what is said when it is away, closed, wrong or silent.

use std::time::{Duration, Instant};

use adapter_amqp::{AmqpUrl, Exchange, RabbitPublisher};
use domain::ports::{PublishFailed, Publisher};
use domain::{Fact, FactId, FactType, Timestamp};
use lapin::ExchangeKind;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpSocket};

use crate::harness::rabbitmq::{Consumer, RabbitServer, shared_url};
use crate::harness::until;

/// Connecting and confirming have 5 s each; the rest is for a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn facts_arrive_in_order_as_persistent_messages() {
    let publisher = publisher(&shared_url(), "broker.order");
    let consumer = Consumer::connect(&shared_url(), "broker.order").await;
    publisher.publish(&facts(0..1)).await.unwrap();
    consumer.bind("confirmed", "registration.confirmed", QueueDeclareOptions::default(), FieldTable::default()).await;
    consumer.bind("all", "#", QueueDeclareOptions::default(), FieldTable::default()).await;

    // More than may be on their way at once.
    let facts = facts(1..1_001);
    publisher.publish(&facts).await.unwrap();

    for fact in &facts {
        let message = consumer.next("all").await.expect("a message for every fact");
        let properties = &message.properties;
        assert_eq!(message.data, fact.body.as_bytes());
        assert_eq!(message.routing_key.as_str(), fact.kind.as_str());
        assert_eq!(properties.message_id().as_ref().unwrap().as_str(), fact.id.as_str());
        assert_eq!(properties.kind().as_ref().unwrap().as_str(), fact.kind.as_str());
        assert_eq!(properties.content_type().as_ref().unwrap().as_str(), "application/cloudevents+json");
        assert_eq!(*properties.delivery_mode(), Some(2));
        assert_eq!(*properties.timestamp(), Some(1_700_000_000));
    }
    assert!(consumer.next("all").await.is_none());
    let confirmed = facts.iter().filter(|fact| fact.kind == FactType::RegistrationConfirmed);
    for fact in confirmed {
        let message = consumer.next("confirmed").await.unwrap();
        assert_eq!(message.properties.message_id().as_ref().unwrap().as_str(), fact.id.as_str());
    }
    assert!(consumer.next("confirmed").await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publisher_outlives_its_broker_and_confirmed_facts_do_too() {
    let mut server = RabbitServer::start().await;
    let publisher = publisher(server.url(), "facts");
    assert!(publisher.is_reachable().await);
    publisher.publish(&facts(0..1)).await.unwrap();
    let consumer = Consumer::connect(server.url(), "facts").await;
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    consumer.bind("kept", "#", durable, FieldTable::default()).await;
    publisher.publish(&facts(1..3)).await.unwrap();

    server.pause();
    let failed = publish_in_vain(&publisher).await;
    assert_eq!(failed.0, "the broker did not confirm within 5s");
    assert!(!publisher.is_reachable().await);
    server.resume();
    // What it was sent before is published by now or later; what comes now is confirmed.
    until("the broker answers again", async || publisher.is_reachable().await).await;
    publisher.publish(&facts(3..4)).await.unwrap();

    server.kill();
    let failed = publish_in_vain(&publisher).await;
    assert!(!failed.0.is_empty() && !failed.0.contains('\n'), "{failed}");
    let failed = publish_in_vain(&publisher).await;
    assert_eq!(failed.0, "the broker is not there: the connection was refused");
    assert!(!publisher.is_reachable().await);

    server.restart().await;
    assert!(publisher.is_reachable().await);
    publisher.publish(&facts(4..5)).await.unwrap();
    let consumer = Consumer::connect(server.url(), "facts").await;
    let mut arrived = Vec::new();
    while let Some(message) = consumer.next("kept").await {
        arrived.push(message.properties.message_id().as_ref().unwrap().to_string());
    }
    // A fact whose publishing failed may have arrived all the same.
    arrived.retain(|id| id != "fact-99");
    assert_eq!(arrived, ["fact-1", "fact-2", "fact-3", "fact-4"]);
}

#[tokio::test]
async fn a_broker_that_was_never_there_is_told_at_once() {
    // Bound, so that nobody else listens there.
    let held = TcpSocket::new_v4().unwrap();
    held.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let publisher = publisher(&format!("amqp://{}", held.local_addr().unwrap()), "facts");
    assert_eq!(publish_in_vain(&publisher).await.0, "the broker is not there: the connection was refused");
    assert!(!publisher.is_reachable().await);
    assert_eq!(publisher.publish(&[]).await, Ok(()), "nothing is published without a broker");
}

#[tokio::test]
async fn a_wrong_password_is_told_and_not_shown() {
    let url = shared_url();
    let (user, rest) = url.strip_prefix("amqp://").unwrap().split_once(':').unwrap();
    let (_, host) = rest.split_once('@').unwrap();
    let publisher = publisher(&format!("amqp://{user}:s3cret@{host}"), "facts");
    assert_eq!(publish_in_vain(&publisher).await.0, "the broker refused the user or the password");
    assert!(!publisher.is_reachable().await);
    assert!(!format!("{publisher:?}").contains("s3cret"), "{publisher:?}");
}

#[tokio::test]
async fn a_virtual_host_that_is_not_there_is_named() {
    let url = shared_url().replace("/%2f", "/nowhere");
    let failed = publish_in_vain(&publisher(&url, "facts")).await;
    assert!(failed.0.starts_with("the broker answered ") && failed.0.contains("vhost nowhere not found"), "{failed}");
}

#[tokio::test]
async fn an_exchange_of_another_kind_is_named() {
    let consumer = Consumer::connect(&shared_url(), "broker.fanout").await;
    consumer.declare_exchange(ExchangeKind::Fanout).await;
    let publisher = publisher(&shared_url(), "broker.fanout");
    let failed = publish_in_vain(&publisher).await;
    assert!(failed.0.starts_with(r#"the exchange "broker.fanout" is there with other properties: "#), "{failed}");
    assert!(failed.0.contains("received 'topic' but current is 'fanout'"), "{failed}");
    assert!(publisher.is_reachable().await, "the broker answers");
}

#[tokio::test]
async fn a_deleted_exchange_is_declared_again() {
    let publisher = publisher(&shared_url(), "broker.deleted");
    publisher.publish(&facts(0..1)).await.unwrap();
    let consumer = Consumer::connect(&shared_url(), "broker.deleted").await;
    consumer.delete_exchange().await;
    let failed = publish_in_vain(&publisher).await;
    assert!(!failed.0.contains('\n'), "{failed}");
    publisher.publish(&facts(1..2)).await.unwrap();
}

#[tokio::test]
async fn a_fact_that_a_queue_refuses_is_not_published() {
    let publisher = publisher(&shared_url(), "broker.full");
    publisher.publish(&facts(0..1)).await.unwrap();
    let consumer = Consumer::connect(&shared_url(), "broker.full").await;
    let mut one = FieldTable::default();
    one.insert("x-max-length".into(), 1.into());
    one.insert("x-overflow".into(), lapin::types::LongString::from("reject-publish").into());
    consumer.bind("full", "#", QueueDeclareOptions::default(), one).await;
    // A full queue refuses the next message but one at the latest.
    let failed = publisher.publish(&facts(1..10)).await.unwrap_err();
    assert!(failed.0.starts_with("the broker did not take the fact fact-"), "{failed}");
    consumer.purge("full").await;
    publisher.publish(&facts(10..11)).await.unwrap();
}

#[tokio::test]
async fn a_listener_that_keeps_silent_costs_no_more_than_the_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let publisher = publisher(&format!("amqp://{}", listener.local_addr().unwrap()), "facts");

    let asked = Instant::now();
    assert!(!publisher.is_reachable().await);
    assert!(asked.elapsed() < Duration::from_secs(4), "{:?}", asked.elapsed());
    assert_eq!(publish_in_vain(&publisher).await.0, "no connection to the broker was made within 5s");

    // Nothing of either attempt is left.
    for _ in 0..2 {
        let (mut connection, _) = listener.accept().await.unwrap();
        let mut received = Vec::new();
        connection.read_to_end(&mut received).await.unwrap();
        assert_eq!(received, b"AMQP\x00\x00\x09\x01");
    }
}

fn publisher(url: &str, exchange: &str) -> RabbitPublisher {
    RabbitPublisher::new(AmqpUrl::parse(url).unwrap(), Exchange::parse(exchange).unwrap())
}

/// A failure that comes in time.
async fn publish_in_vain(publisher: &RabbitPublisher) -> PublishFailed {
    let asked = Instant::now();
    let failed = publisher.publish(&facts(99..100)).await.unwrap_err();
    assert!(asked.elapsed() < PATIENCE, "{:?}", asked.elapsed());
    failed
}

fn facts(numbers: std::ops::Range<usize>) -> Vec<Fact> {
    let fact = |number: usize| Fact {
        id: FactId::new(format!("fact-{number}")),
        kind: FactType::ALL[number % FactType::ALL.len()],
        at: Timestamp::parse("2023-11-14T22:13:20Z").unwrap(),
        event: None,
        body: format!(r#"{{"id":"fact-{number}","name":"Bücher"}}"#).into(),
    };
    numbers.map(fact).collect()
}

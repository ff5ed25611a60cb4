//! Caches of bodies. They may forget any body; a body that they answer is one that was put there.

use std::sync::Arc;
use std::time::Duration;

use adapter_memory::MemoryBodies;
use adapter_redis::{Redis, RedisBodies};
use caching::{Bodies, Key, Seal, Snapshot, Tiered};
use domain::event::Version;
use domain::sample::{at, event_id, registration, seats, user_id};
use domain::{
    Description, Event, EventFilter, EventTitle, Page, PageRequest, Registration, RegistrationStatus,
    RegistrationWithEvent, TitleSearch, Venue,
};

use crate::harness::redis::{RedisServer, shared_url};
use crate::harness::store::FAR;
use crate::harness::{all_at_once, until};

const SECRET: &[u8] = b"a secret of at least thirty-two bytes";

/// Runs each case on every cache.
macro_rules! on_every_place {
    ($($case:ident),+ $(,)?) => {
        on_every_place!(memory: memory(); $($case),+);
        on_every_place!(redis: redis(&shared_url(), &new_database()); $($case),+);
        on_every_place!(tiered: Arc::new(Tiered::new(memory(), redis(&shared_url(), &new_database()), FAR)); $($case),+);
    };
    ($kind:ident: $place:expr; $($case:ident),+) => {
        mod $kind {
            use super::*;

            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $case() {
                    super::$case($place).await;
                }
            )+
        }
    };
}

on_every_place!(
    a_body_that_was_put_is_answered_whole,
    a_body_that_was_never_put_is_absent,
    a_body_put_again_replaces_the_one_before,
    bodies_of_different_keys_do_not_mix,
    many_who_put_and_get_at_once_see_whole_bodies,
);

async fn a_body_that_was_put_is_answered_whole(place: Arc<dyn Bodies>) {
    for (key, body) in samples() {
        place.put(&key, body.clone()).await;
        assert_eq!(place.get(&key).await, Some(body), "{key}");
    }
}

async fn a_body_that_was_never_put_is_absent(place: Arc<dyn Bodies>) {
    for (key, _) in samples() {
        assert_eq!(place.get(&key).await, None, "{key}");
    }
}

async fn a_body_put_again_replaces_the_one_before(place: Arc<dyn Bodies>) {
    for version in 1..=20 {
        place.put(&event_key(1), event_body(1, version)).await;
        assert_eq!(place.get(&event_key(1)).await, Some(event_body(1, version)));
    }
}

async fn bodies_of_different_keys_do_not_mix(place: Arc<dyn Bodies>) {
    for id in 1..=20 {
        place.put(&event_key(id), event_body(id, id)).await;
    }
    for id in 1..=20 {
        assert_eq!(place.get(&event_key(id)).await, Some(event_body(id, id)));
    }
    assert_eq!(place.get(&event_key(21)).await, None);
}

async fn many_who_put_and_get_at_once_see_whole_bodies(place: Arc<dyn Bodies>) {
    all_at_once((0..20).map(|turn| {
        let place = place.clone();
        async move {
            for version in 1..=10 {
                let id = turn % 4 + 1;
                place.put(&event_key(id), event_body(id, version)).await;
                if let Some(found) = place.get(&event_key(id)).await {
                    let Snapshot::Event(event) = &*found else { panic!("{found:?}") };
                    assert_eq!(found, event_body(id, event.version.get()));
                }
            }
        }
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_memory_forgets_and_stays_within_its_bytes() {
    const MAX_BYTES: u64 = 64 << 10;
    let place = memory_of(MAX_BYTES);
    let mut body = event(1, 1);
    body.description = Some(Description::parse(&"x".repeat(1000)).unwrap());
    for id in 1..=1000 {
        body.id = event_id(id);
        place.put(&event_key(id), Arc::new(Snapshot::Event(body.clone().into()))).await;
    }
    let mut kept = 0;
    for id in 1..=1000 {
        kept += u64::from(place.get(&event_key(id)).await.is_some());
    }
    assert!((1..=MAX_BYTES / 1000).contains(&kept), "{kept} bodies of 1,000 bytes and more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_in_redis_is_kept_under_the_name_operators_know_and_not_for_ever() {
    let server = RedisServer::start().await;
    let place = redis(&server.url(), "a");
    for (key, body) in samples() {
        place.put(&key, body).await;
    }
    let mut expected: Vec<_> = samples().iter().map(|(key, _)| key.to_string()).collect();
    expected.sort();
    assert_eq!(server.keys().await, expected);
    let mut connection = server.connect().await;
    for (key, _) in samples() {
        let ttl: i64 = ::redis::cmd("PTTL").arg(key.to_string()).query_async(&mut connection).await.unwrap();
        let lifetime = i64::try_from(key.lifetime().as_millis()).unwrap();
        assert!((1..=lifetime).contains(&ttl), "{key} lives {ttl} ms");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_for_another_database_or_under_another_secret_is_absent() {
    let server = RedisServer::start().await;
    redis(&server.url(), "a").put(&event_key(1), event_body(1, 1)).await;
    assert_eq!(redis(&server.url(), "a").get(&event_key(1)).await, Some(event_body(1, 1)));
    assert_eq!(redis(&server.url(), "b").get(&event_key(1)).await, None);
    let seal = Seal::new(b"another secret of thirty-two bytes!", "a");
    let stranger = RedisBodies::new(Redis::new(&server.url()).unwrap(), seal);
    assert_eq!(stranger.get(&event_key(1)).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn rubbish_in_redis_is_absent_and_replaced() {
    let server = RedisServer::start().await;
    let place = redis(&server.url(), "a");
    for round in 0..5 {
        for id in 1..=5 + round {
            place.put(&event_key(id), event_body(id, 1)).await;
        }
        server.fill_with_rubbish(&["events:detail:99"]).await;
        for id in (1..=5 + round).chain([99]) {
            assert_eq!(place.get(&event_key(id)).await, None, "{id}");
            place.put(&event_key(id), event_body(id, 2)).await;
            assert_eq!(place.get(&event_key(id)).await, Some(event_body(id, 2)), "{id}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_comes_back_serves_again() {
    let mut server = RedisServer::start().await;
    let place = redis_within(Redis::BUDGET, &server.url(), "a");
    place.put(&event_key(1), event_body(1, 1)).await;
    server.kill();
    assert_eq!(place.get(&event_key(1)).await, None);
    place.put(&event_key(1), event_body(1, 2)).await;
    server.restart().await;
    until("a body is kept again", async || {
        place.put(&event_key(1), event_body(1, 3)).await;
        place.get(&event_key(1)).await.is_some()
    })
    .await;
    assert_eq!(place.get(&event_key(1)).await, Some(event_body(1, 3)));
    server.flush().await;
    assert_eq!(place.get(&event_key(1)).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_hangs_costs_a_reader_less_than_a_tenth_of_a_second() {
    let server = RedisServer::start().await;
    let place = redis_within(Redis::BUDGET, &server.url(), "a");
    until("a body is kept", async || {
        place.put(&event_key(1), event_body(1, 1)).await;
        place.get(&event_key(1)).await.is_some()
    })
    .await;
    server.pause();
    // The best of several tries: the rest of the time comes from the load of the machine.
    let mut waited = Duration::MAX;
    for _ in 0..5 {
        let asked = std::time::Instant::now();
        assert_eq!(place.get(&event_key(1)).await, None);
        waited = waited.min(asked.elapsed());
    }
    assert!(waited.as_millis() < 250, "{waited:?}");
    server.resume();
    until("the body is back", async || place.get(&event_key(1)).await.is_some()).await;
}

fn memory() -> Arc<dyn Bodies> {
    memory_of(1 << 20)
}

fn memory_of(max_bytes: u64) -> Arc<dyn Bodies> {
    Arc::new(MemoryBodies::new(max_bytes))
}

/// Bodies in Redis with a long timeout: a late call counts as a miss, and a busy machine makes calls late.
fn redis(url: &str, database: &str) -> Arc<dyn Bodies> {
    redis_within(Duration::from_secs(30), url, database)
}

fn redis_within(budget: Duration, url: &str, database: &str) -> Arc<dyn Bodies> {
    Arc::new(RedisBodies::new(Redis::with_budget(url, budget).unwrap(), Seal::new(SECRET, database)))
}

/// The name of a new database, of which Redis has no bodies.
fn new_database() -> String {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish().to_string()
}

fn event_key(id: u64) -> Key {
    Key::Event(event_id(id))
}

fn event_body(id: u64, version: u64) -> Arc<Snapshot> {
    Arc::new(Snapshot::Event(event(id, version).into()))
}

fn event(id: u64, version: u64) -> Event {
    Event {
        id: event_id(id),
        title: EventTitle::parse("Été \u{1F3B6} \"quoted\" \\ \u{2028}").unwrap(),
        description: Some(Description::parse("Line one\r\n\tline two").unwrap()),
        starts_at: at("2030-05-01T19:30:00.123456Z"),
        venue: Venue::parse("Opera").unwrap(),
        seats: seats(1_000_000, 999_999),
        created_at: at("2030-01-01T00:00:00Z"),
        updated_at: at("2030-01-02T00:00:00.5Z"),
        deleted_at: None,
        version: Version::new(version),
    }
}

/// One of every kind.
fn samples() -> Vec<(Key, Arc<Snapshot>)> {
    let user = user_id(7);
    let deleted = Event { description: None, deleted_at: Some(at("2030-02-01T00:00:00Z")), ..event(2, 9) };
    let registration = Registration {
        status: RegistrationStatus::Cancelled,
        registered_at: at("2030-01-03T00:00:00.000001Z"),
        created_at: at("2030-01-02T00:00:00Z"),
        version: Version::new(2),
        ..registration(3, 7, 2)
    };
    let list = Key::EventPage {
        filter: EventFilter { search: TitleSearch::parse("été : * \u{1F3B6}").unwrap(), ..EventFilter::default() },
        page: PageRequest { number: 2, size: 10 },
    };
    vec![
        (event_key(1), event_body(1, 12)),
        (
            list,
            Arc::new(Snapshot::EventPage {
                catalogue: Version::new(5),
                page: Page { rows: vec![event(1, 12), event(4, 1)], total: 12 }.into(),
            }),
        ),
        (
            Key::Registrations(user),
            Arc::new(Snapshot::Registrations {
                version: Some(Version::new(4)),
                page: Page { rows: vec![RegistrationWithEvent { registration, event: deleted }], total: 1 },
            }),
        ),
        (
            Key::Registrations(user_id(8)),
            Arc::new(Snapshot::Registrations { version: None, page: Page { rows: vec![], total: 0 } }),
        ),
    ]
}

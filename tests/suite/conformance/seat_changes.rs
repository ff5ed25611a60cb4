//! Channels of seat changes. They may lose some and then report a gap; each change that they deliver was announced.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ::redis::AsyncCommands;
use adapter_memory::MemorySeatChanges;
use adapter_redis::{Redis, RedisSeatChanges};
use caching::Seal;
use domain::ports::{Heard, SeatChanges, SeatListener};
use domain::sample::{event_id, seats};
use domain::{SeatChange, SeatSnapshot, Version};
use tokio::time::timeout;

use crate::harness::redis::{RedisServer, shared_url};
use crate::harness::store::Store;
use crate::harness::{all_at_once, until};

const SECRET: &[u8] = b"a secret of at least thirty-two bytes";

/// Runs each case on every channel.
macro_rules! on_every_way {
    ($($case:ident),+ $(,)?) => {
        on_every_way!(memory: Arc::new(MemorySeatChanges::new()); $($case),+);
        on_every_way!(redis: redis(&shared_url(), &new_database()); $($case),+);
    };
    ($kind:ident: $way:expr; $($case:ident),+) => {
        mod $kind {
            use super::*;

            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $case() {
                    super::$case($way).await;
                }
            )+
        }
    };
}

on_every_way!(
    every_listener_gets_each_announcement,
    an_announcement_needs_no_listener,
    a_listener_hears_nothing_from_before,
    a_slow_listener_learns_that_it_missed_something,
    the_newest_change_arrives_however_many_announce_at_once,
    a_store_announces_what_it_committed_and_nothing_else,
);

async fn every_listener_gets_each_announcement(way: Arc<dyn SeatChanges>) {
    let mut listeners = [way.listen(), way.listen(), way.listen()];
    for change in [moved(1, 1), moved(2, 1), deleted(1, 2)] {
        way.announce(change);
        for listener in &mut listeners {
            hear(listener, change).await;
        }
    }
}

async fn an_announcement_needs_no_listener(way: Arc<dyn SeatChanges>) {
    for version in 1..=10_000 {
        way.announce(moved(version % 7 + 1, version));
    }
    let mut listener = way.listen();
    way.announce(moved(1, 20_000));
    hear(&mut listener, moved(1, 20_000)).await;
}

async fn a_listener_hears_nothing_from_before(way: Arc<dyn SeatChanges>) {
    let mut first = way.listen();
    way.announce(moved(1, 1));
    hear(&mut first, moved(1, 1)).await;
    drop(first);
    let mut later = way.listen();
    way.announce(moved(1, 2));
    // A message through Redis may come twice, and late.
    let heard = hear(&mut later, moved(1, 2)).await;
    assert!(heard.iter().all(|heard| matches!(heard, Heard::Gap) || *heard == Heard::Change(moved(1, 1))), "{heard:?}");
}

async fn a_slow_listener_learns_that_it_missed_something(way: Arc<dyn SeatChanges>) {
    let mut slow = way.listen();
    for version in 1..=50_000 {
        way.announce(moved(1, version));
    }
    way.announce(moved(2, 1));
    let heard = hear(&mut slow, moved(2, 1)).await;
    assert!(heard.contains(&Heard::Gap), "{} heard, and no gap", heard.len());
    assert!(heard.len() < 10_000, "{} were kept for it", heard.len());
}

async fn the_newest_change_arrives_however_many_announce_at_once(way: Arc<dyn SeatChanges>) {
    let mut listener = way.listen();
    let announcing = all_at_once((0..8_u64).map(|turn| {
        let way = way.clone();
        async move {
            for version in 1..=50 {
                way.announce(moved(turn + 1, version));
                tokio::task::yield_now().await;
            }
        }
    }));
    announcing.await;
    let mut newest = [0; 8];
    while newest != [50; 8] {
        match heard_by(&mut listener).await {
            Heard::Change(change) => {
                let of = &mut newest[usize::try_from(change.event().get()).unwrap() - 1];
                *of = change.version().get().max(*of);
            }
            Heard::Gap => {}
        }
    }
}

async fn a_store_announces_what_it_committed_and_nothing_else(way: Arc<dyn SeatChanges>) {
    for store in [Store::sqlite().await, Store::postgres().await] {
        store.announce_to(way.clone());
        let mut listener = way.listen();
        let (ada, bob) = (store.user().await.id, store.user().await.id);
        let event = store.event(1).await;
        let seats = |total, available, version| {
            let seats = seats(total, available);
            SeatChange::Moved(SeatSnapshot { event: event.id, seats, version: Version::new(version) })
        };
        store.book(ada, event.id).await.unwrap();
        let mut heard = hear(&mut listener, seats(1, 0, 2)).await;
        store.book(ada, event.id).await.unwrap_err();
        store.book(bob, event.id).await.unwrap_err();
        store.cancel(bob, event.id).await.unwrap_err();
        store.cancel(ada, event.id).await.unwrap();
        heard.extend(hear(&mut listener, seats(1, 1, 3)).await);
        let patch = domain::EventPatch { total_seats: domain::SeatCount::new(5).ok(), ..Default::default() };
        store.update(event.id, patch.clone()).await.unwrap();
        heard.extend(hear(&mut listener, seats(5, 5, 4)).await);
        // This update changes nothing.
        store.update(event.id, patch).await.unwrap();
        store.delete(event.id).await;
        let gone = SeatChange::Deleted { event: event.id, version: Version::new(5) };
        heard.extend(hear(&mut listener, gone).await);
        let told = [seats(1, 0, 2), seats(1, 1, 3), seats(5, 5, 4), gone];
        for heard in heard {
            assert!(matches!(heard, Heard::Gap) || told.iter().any(|told| heard == Heard::Change(*told)), "{heard:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_on_one_redis_hear_each_other() {
    let server = RedisServer::start().await;
    let (ours, theirs) = (redis(&server.url(), "a"), redis(&server.url(), "a"));
    let mut hears = theirs.listen();
    assert_eq!(heard_by(&mut hears).await, Heard::Gap, "it has just subscribed");
    for version in 1..=5 {
        ours.announce(moved(1, version));
        hear(&mut hears, moved(1, version)).await;
    }
    // Thousands of events at once, too.
    for event in 1..=5_000 {
        ours.announce(moved(event, 9));
    }
    let mut events = std::collections::BTreeSet::new();
    while events.len() < 5_000 {
        match heard_by(&mut hears).await {
            Heard::Change(change) if change.version() == Version::new(9) => {
                events.insert(change.event());
            }
            Heard::Change(_) => {}
            Heard::Gap => return,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_of_different_databases_or_secrets_do_not_hear_each_other() {
    let server = RedisServer::start().await;
    let ours = redis(&server.url(), "a");
    let stranger = Seal::new(b"another secret of thirty-two bytes!", "a");
    let strangers = [
        redis(&server.url(), "b"),
        Arc::new(RedisSeatChanges::new(&Redis::new(&server.url()).unwrap(), stranger, "a")) as Arc<dyn SeatChanges>,
    ];
    let mut hears = ours.listen();
    assert_eq!(heard_by(&mut hears).await, Heard::Gap);
    let published = count_messages(&server).await;
    for stranger in &strangers {
        stranger.announce(moved(1, 1));
    }
    until("they have published", async || published.lock().unwrap().len() >= 2).await;
    // Another instance of database `a`, whose message comes after theirs.
    let friend = redis(&server.url(), "a");
    friend.announce(moved(2, 1));
    assert_eq!(heard_by(&mut hears).await, Heard::Change(moved(2, 1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn rubbish_on_the_channel_is_ignored() {
    let server = RedisServer::start().await;
    let (ours, theirs) = (redis(&server.url(), "a"), redis(&server.url(), "a"));
    let mut hears = theirs.listen();
    assert_eq!(heard_by(&mut hears).await, Heard::Gap);
    let published = count_messages(&server).await;
    ours.announce(moved(1, 1));
    assert_eq!(heard_by(&mut hears).await, Heard::Change(moved(1, 1)));
    until("the message was seen", async || !published.lock().unwrap().is_empty()).await;
    let genuine = published.lock().unwrap()[0].clone();
    let mut altered = genuine.clone();
    *altered.last_mut().unwrap() ^= 1;
    let mut stranger = server.connect().await;
    for rubbish in [vec![], b"rubbish".to_vec(), vec![0; 57], vec![7; 2 << 20], altered, genuine[..40].to_vec()] {
        let () = stranger.publish("events:seats:a", rubbish).await.unwrap();
    }
    ours.announce(moved(1, 2));
    assert_eq!(heard_by(&mut hears).await, Heard::Change(moved(1, 2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_comes_back_is_heard_again_after_a_gap() {
    let mut server = RedisServer::start().await;
    let (ours, theirs) = (redis(&server.url(), "a"), redis(&server.url(), "a"));
    let (mut here, mut there) = (ours.listen(), theirs.listen());
    assert_eq!(heard_by(&mut here).await, Heard::Gap);
    assert_eq!(heard_by(&mut there).await, Heard::Gap);
    server.kill();
    ours.announce(moved(1, 1));
    assert_eq!(heard_by(&mut here).await, Heard::Change(moved(1, 1)), "local listeners do not need Redis");
    server.restart().await;
    loop {
        // Changes that were announced meanwhile may come first.
        if heard_by(&mut there).await == Heard::Gap {
            break;
        }
    }
    ours.announce(moved(1, 2));
    hear(&mut there, moved(1, 2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_hangs_is_noticed_and_heard_again_after_a_gap() {
    let server = RedisServer::start().await;
    let (ours, theirs) = (redis(&server.url(), "a"), redis(&server.url(), "a"));
    let (mut here, mut there) = (ours.listen(), theirs.listen());
    assert_eq!(heard_by(&mut here).await, Heard::Gap);
    assert_eq!(heard_by(&mut there).await, Heard::Gap);
    server.pause();
    ours.announce(moved(1, 1));
    assert_eq!(heard_by(&mut here).await, Heard::Change(moved(1, 1)));
    // Longer than the timeout that detects it.
    assert!(timeout(Duration::from_secs(4), there.next()).await.is_err(), "a message came through");
    server.resume();
    loop {
        if heard_by(&mut there).await == Heard::Gap {
            break;
        }
    }
    ours.announce(moved(1, 2));
    hear(&mut there, moved(1, 2)).await;
}

/// The next message; fails if none comes within ten seconds.
async fn heard_by(listener: &mut Box<dyn SeatListener>) -> Heard {
    timeout(Duration::from_secs(10), listener.next()).await.expect("no message for ten seconds")
}

/// Waits for a change; returns the messages before it.
async fn hear(listener: &mut Box<dyn SeatListener>, change: SeatChange) -> Vec<Heard> {
    let mut before = Vec::new();
    loop {
        let heard = heard_by(listener).await;
        if heard == Heard::Change(change) {
            return before;
        }
        before.push(heard);
    }
}

/// Every message that is published from now on.
async fn count_messages(server: &RedisServer) -> Arc<Mutex<Vec<Vec<u8>>>> {
    let mut subscription = ::redis::Client::open(server.url()).unwrap().get_async_pubsub().await.unwrap();
    subscription.psubscribe("*").await.unwrap();
    let messages = Arc::<Mutex<Vec<Vec<u8>>>>::default();
    let kept = messages.clone();
    tokio::spawn(async move {
        let mut stream = subscription.into_on_message();
        while let Some(message) = futures_util::StreamExt::next(&mut stream).await {
            kept.lock().unwrap().push(message.get_payload_bytes().to_vec());
        }
    });
    messages
}

fn redis(url: &str, database: &str) -> Arc<dyn SeatChanges> {
    Arc::new(RedisSeatChanges::new(&Redis::new(url).unwrap(), Seal::new(SECRET, database), database))
}

/// The name of a new database, of which no other test announces changes.
fn new_database() -> String {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish().to_string()
}

fn moved(event: u64, version: u64) -> SeatChange {
    let (event, seats) = (event_id(event), seats(1_000_000, 999_999));
    SeatChange::Moved(SeatSnapshot { event, seats, version: Version::new(version) })
}

fn deleted(event: u64, version: u64) -> SeatChange {
    SeatChange::Deleted { event: event_id(event), version: Version::new(version) }
}

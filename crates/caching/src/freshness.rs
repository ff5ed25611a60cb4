//! The whole argument of the crate, tried: readers and writers at full speed, over a place for
//! bodies that answers whichever of all the bodies it was ever given.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use domain::ports::{Events, RegistrationFilter, Registrations};
use domain::sample::{event_id, user_id};
use domain::{Event, EventFilter};

use crate::world::{World, page_of};
use crate::{Bodies, Cache, CacheOptions, CachedEvents, CachedRegistrations, Key, Snapshot};

/// Keeps every body for ever and answers any of those of the key, or none.
#[derive(Default)]
struct Lunatic {
    bodies: Mutex<HashMap<Key, Vec<Arc<Snapshot>>>>,
    dice: Dice,
}

#[async_trait]
impl Bodies for Lunatic {
    async fn get(&self, key: &Key) -> Option<Arc<Snapshot>> {
        let throw = self.dice.throw();
        if throw.is_multiple_of(5) {
            tokio::task::yield_now().await;
        }
        let bodies = self.bodies.lock().unwrap();
        let bodies = bodies.get(key)?;
        // The newest half of the time: otherwise nothing would ever be confirmed.
        let any = usize::try_from(throw).unwrap() % (bodies.len() + 1);
        bodies.iter().rev().nth(if throw.is_multiple_of(2) { 0 } else { any }).cloned()
    }

    async fn put(&self, key: &Key, body: Arc<Snapshot>) {
        if !self.dice.throw().is_multiple_of(4) {
            self.bodies.lock().unwrap().entry(key.clone()).or_default().push(body);
        }
    }
}

/// A sequence without a visible order (splitmix64).
#[derive(Default)]
struct Dice(AtomicU64);

impl Dice {
    fn throw(&self) -> u64 {
        let mut z = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) >> 8
    }
}

const EVENTS: u64 = 4;
const READS: usize = 2000;

fn free_seats(events: &[Event]) -> u32 {
    events.iter().map(|event| event.seats.available()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn with_any_cached_bodies_no_reader_sees_a_state_before_its_call() {
    let (world, bodies) = (Arc::new(World::new(EVENTS)), Arc::new(Lunatic::default()));
    // Two instances of the program share the store and the bodies.
    let instances: Vec<_> = (0..2)
        .map(|_| {
            let cache = Cache::new(world.clone(), bodies.clone(), CacheOptions::default());
            let events = Arc::new(CachedEvents::new(world.clone(), Arc::clone(&cache)));
            (events, Arc::new(CachedRegistrations::new(world.clone(), cache)))
        })
        .collect();
    let seats = free_seats(&world.page(100).rows);
    // So that no standby is without the registration.
    world.book(EVENTS, 9);
    world.cancel(EVENTS, 9);

    let writer = tokio::spawn({
        let world = Arc::clone(&world);
        let dice = Dice::default();
        async move {
            let mut standby = world.copied();
            for written in 0..READS {
                // A standby that lags is promoted now and then: what was committed meanwhile is lost.
                match written % 64 {
                    0 => standby = world.copied(),
                    8 => world.promote(standby.clone()),
                    _ => {}
                }
                let throw = dice.throw();
                match throw % 8 {
                    // No seat is made or lost, so that a page of two instants shows.
                    0..=3 => world.shift(1 + throw % 2, 3 + throw % 2),
                    4 | 5 => world.shift(3 + throw % 2, 1 + throw % 2),
                    _ => {
                        world.book(EVENTS, 9);
                        world.cancel(EVENTS, 9);
                    }
                }
                tokio::task::yield_now().await;
            }
        }
    });
    let readers: Vec<_> = (0..8)
        .map(|reader| {
            let (events, registrations) = instances[reader % 2].clone();
            let world = Arc::clone(&world);
            tokio::spawn(async move {
                for read in 0..READS {
                    match read % 3 {
                        0 => {
                            let acknowledged = world.event(1).unwrap().version;
                            let seen = events.find(event_id(1)).await.unwrap().unwrap().version;
                            assert!(seen >= acknowledged, "{seen:?} was read after {acknowledged:?}");
                        }
                        1 => {
                            let acknowledged = world.page(100);
                            let seen = events.list(&EventFilter::default(), page_of(100)).await.unwrap();
                            for (seen, acknowledged) in seen.rows.iter().zip(&acknowledged.rows) {
                                assert!(seen.version >= acknowledged.version);
                            }
                            let free = free_seats(&seen.rows);
                            assert!(free == seats || free + 1 == seats, "the page is of more than one instant");
                        }
                        _ => {
                            let acknowledged = world.bookings(9, 10);
                            let page = page_of(10);
                            let seen =
                                registrations.of_user(user_id(9), RegistrationFilter::default(), page).await.unwrap();
                            assert!(seen.total >= acknowledged.total);
                            for (seen, acknowledged) in seen.rows.iter().zip(&acknowledged.rows) {
                                assert!(seen.registration.version >= acknowledged.registration.version);
                                assert!(seen.event.version >= acknowledged.event.version);
                            }
                        }
                    }
                }
            })
        })
        .collect();
    for reader in readers {
        reader.await.unwrap();
    }
    writer.await.unwrap();
    assert!(world.count("confirm") > 0 && world.count("find_many") > 0);
}

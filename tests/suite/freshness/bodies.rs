//! The bodies in Redis: their names and lifetimes, and that no wrong one is answered.

use std::collections::HashMap;

use redis::{AsyncCommands, InfoDict};

use super::world::{A, World};
use crate::harness::dice::Dice;
use crate::harness::redis::RedisServer;
use crate::harness::server::{PASSWORD, Site};
use crate::harness::until;

#[tokio::test(flavor = "multi_thread")]
async fn rubbish_in_redis_is_never_answered() {
    let mut site = Site::migrated().await;
    let redis = site.redis.take().unwrap();
    let mut world = World::open(&site, &site).await;
    for step in 0..40 {
        world.happen().await;
        if step % 10 == 9 {
            redis.fill_with_rubbish(&["events:detail:1", "events:detail:2", "user:registrations:2"]).await;
            let before = hits(&redis).await;
            world.replace_reader(&site).await;
            assert!(hits(&redis).await > before, "no read met the rubbish");
        }
    }
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_under_another_key_or_of_another_time_is_never_answered() {
    let mut site = Site::migrated().await;
    let redis = site.redis.take().unwrap();
    let mut world = World::open(&site, &site).await;
    let (mut dice, mut past) = (Dice::new(), HashMap::new());
    for step in 0..40 {
        world.happen().await;
        if step % 6 == 5 {
            put_wrong_bodies(&redis, &mut dice, &mut past).await;
            let before = hits(&redis).await;
            world.replace_reader(&site).await;
            assert!(hits(&redis).await > before, "no read met a wrong body");
        }
    }
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_another_database_in_the_same_redis_are_never_answered() {
    let here = Site::migrated().await;
    let there = Site::migrated().await.with("REDIS_URL", &here.redis.as_ref().unwrap().url());
    let (mut one, mut other) = (World::open(&here, &here).await, World::open(&there, &there).await);
    for step in 0..30 {
        one.happen().await;
        other.happen().await;
        if step % 10 == 9 {
            one.replace_reader(&here).await;
            other.replace_reader(&there).await;
        }
    }
    one.close().await;
    other.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_in_redis_have_known_names_and_lifetimes_and_no_secret() {
    let mut site = Site::migrated().await;
    let redis = site.redis.take().unwrap();
    let mut world = World::open(&site, &site).await;
    for _ in 0..30 {
        world.happen().await;
    }
    world.assert_seen_by(A).await;
    let kinds = ["events:list:", "events:detail:", "user:registrations:"];
    until("bodies of every kind are there", async || {
        let keys = redis.keys().await;
        kinds.iter().all(|kind| keys.iter().any(|key| key.starts_with(kind)))
    })
    .await;

    let mut connection = redis.connect().await;
    let admin = world.admin.clone();
    let people = world.people.values().map(|(person, _)| person).chain([&admin]);
    let mut secrets: Vec<&str> = people.flat_map(|person| [&*person.token, &*person.refresh_token]).collect();
    secrets.extend([PASSWORD, "$2a$", "$2b$", "$2y$", "password"]);
    for key in redis.keys().await {
        let parts: Vec<&str> = key.splitn(5, ':').collect();
        let (known, minutes) = match parts[..] {
            ["events", "list", page, limit, filters] => {
                (is_number(page) && is_number(limit) && filters.starts_with("sort="), 5)
            }
            ["events", "detail", id] => (is_number(id), 10),
            ["user", "registrations", id] => (is_number(id), 15),
            _ => (false, 0),
        };
        assert!(known, "{key}");
        let lifetime_ms: i64 = connection.pttl(&key).await.unwrap();
        assert!(0 < lifetime_ms && lifetime_ms <= minutes * 60_000, "{key} stays for {lifetime_ms} ms");
        let body: Vec<u8> = connection.get(&key).await.unwrap();
        for secret in &secrets {
            let found = body.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(!found, "{key} holds {secret}");
        }
    }
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_one_instance_read_is_a_hit_in_redis_for_another() {
    let mut site = Site::migrated().await;
    let redis = site.redis.take().unwrap();
    let mut world = World::open(&site, &site).await;
    world.assert_seen_by(A).await;
    until("a body is there", async || redis.keys().await.iter().any(|key| key.starts_with("events:detail:"))).await;
    let before = hits(&redis).await;
    world.replace_reader(&site).await;
    assert!(hits(&redis).await > before);
    world.close().await;
}

/// Puts a whole, sealed body under every key: that of another key of its kind, or an earlier body of
/// the same key.
async fn put_wrong_bodies(redis: &RedisServer, dice: &mut Dice, past: &mut HashMap<String, Vec<Vec<u8>>>) {
    const TEN_MINUTES: u64 = 600;
    let (mut connection, keys) = (redis.connect().await, redis.keys().await);
    for key in &keys {
        let held: Vec<u8> = connection.get(key).await.unwrap();
        past.entry(key.clone()).or_default().push(held);
    }
    for key in &keys {
        let kind = key.split(':').nth(1).unwrap();
        let kin: Vec<_> = keys.iter().filter(|other| other.split(':').nth(1) == Some(kind)).collect();
        let source = if dice.below(2) == 0 { key } else { dice.pick(&kin) };
        let body = dice.pick(&past[source]);
        let () = connection.set_ex(key, body, TEN_MINUTES).await.unwrap();
    }
}

/// How many reads hit a key in Redis.
async fn hits(redis: &RedisServer) -> u64 {
    let info: InfoDict = redis::cmd("INFO").arg("stats").query_async(&mut redis.connect().await).await.unwrap();
    info.get("keyspace_hits").unwrap()
}

fn is_number(text: &str) -> bool {
    text.parse::<u64>().is_ok()
}

//! Reads while Redis is killed, hangs, is flushed, restarts, or is reached by one instance only.

use super::world::World;
use crate::harness::server::Site;
use crate::harness::until;

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_killed_is_not_missed() {
    let mut site = Site::migrated().await;
    let mut redis = site.redis.take().unwrap();
    let mut world = World::open(&site, &site).await;
    for step in 0..40 {
        if step == 10 {
            redis.kill();
        }
        world.happen().await;
    }
    world.replace_reader(&site).await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_hangs_is_not_waited_for() {
    let mut site = Site::migrated().await;
    let redis = site.redis.take().unwrap();
    let mut world = World::open(&site, &site).await;
    for step in 0..60 {
        match step {
            10 | 40 => redis.pause(),
            30 | 50 => redis.resume(),
            _ => {}
        }
        world.happen().await;
        if step == 45 {
            world.replace_reader(&site).await;
        }
    }
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_flushed_again_and_again_does_no_harm() {
    let mut site = Site::migrated().await;
    let redis = site.redis.take().unwrap();
    let mut world = World::open(&site, &site).await;
    for step in 0..40 {
        if step % 3 == 0 {
            redis.flush().await;
        }
        world.happen().await;
        if step % 20 == 19 {
            world.replace_reader(&site).await;
        }
    }
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_restarts_again_and_again_does_no_harm() {
    let mut site = Site::migrated().await;
    let mut redis = site.redis.take().unwrap();
    let mut world = World::open(&site, &site).await;
    for step in 0..48 {
        if step % 12 == 11 {
            redis.restart().await;
        }
        world.happen().await;
        if step % 20 == 19 {
            world.replace_reader(&site).await;
        }
    }
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_only_one_instance_reaches_makes_no_difference() {
    let cut_off = Site::migrated().await;
    let url = cut_off.redis.as_ref().unwrap().url();
    // No server listens on port 1.
    let cut_off = cut_off.with("REDIS_URL", "redis://127.0.0.1:1");
    let b = cut_off.start().await;
    let connected = cut_off.with("REDIS_URL", &url);
    let mut world = World::of(&connected, connected.start().await, b).await;
    for _ in 0..40 {
        world.happen().await;
    }
    let redis = connected.redis.as_ref().unwrap();
    until("one of them uses it", async || !redis.keys().await.is_empty()).await;
    world.close().await;
}

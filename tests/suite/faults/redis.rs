//! Faults of Redis, which no client may notice.

use std::time::{Duration, Instant};

use super::ledger::Entry;
use super::service::{Service, went_well};
use crate::harness::proxy::{Proxy, Toxic};
use crate::harness::server::{Instance, Site};

/// The longest time that Redis may add to a request.
const ADDED: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread")]
async fn no_fault_of_redis_fails_a_request_or_makes_an_answer_wrong() {
    let mut service = Service::on(Site::migrated().await).await;
    let bad = Duration::from_millis(1_200);
    service.calm().await;

    service.site.redis.as_mut().unwrap().kill();
    service.lasts(bad).await;
    service.site.redis.as_mut().unwrap().restart().await;
    service.lasts(bad).await;

    service.site.redis.as_ref().unwrap().pause();
    service.lasts(bad).await;
    service.site.redis.as_ref().unwrap().resume();
    service.lasts(bad).await;

    let redis = service.site.redis.as_ref().unwrap();
    let pause = bad.as_millis().to_string();
    let mut connection = redis.connect().await;
    let () = ::redis::cmd("CLIENT").arg("PAUSE").arg(&pause).arg("ALL").query_async(&mut connection).await.unwrap();
    service.lasts(bad * 2).await;

    for _ in 0..10 {
        service.lasts(Duration::from_millis(60)).await;
        redis.flush().await;
        service.lasts(Duration::from_millis(60)).await;
        redis.fill_with_rubbish(&[]).await;
    }
    let entries = service.reckon().await;
    let failed: Vec<_> = entries.iter().filter(|entry| !went_well(entry)).collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_answers_nothing_but_refusals_fails_no_request() {
    let service = Service::on(Site::migrated().await).await;
    let redis = service.site.redis.as_ref().unwrap();
    let bad = Duration::from_secs(1);
    service.calm().await;

    redis.exhaust_memory().await;
    service.lasts(bad).await;
    redis.free_memory().await;
    service.calm().await;

    for serves_stale in [true, false] {
        redis.demote(serves_stale).await;
        service.lasts(bad).await;
        redis.promote().await;
        service.calm().await;
    }

    for (taken, given) in [(["-set", "-publish"], ["+set", "+publish"]), (["-@all", "+acl"], ["+@all", "+acl"])] {
        redis.permit(&taken).await;
        service.lasts(bad).await;
        redis.permit(&given).await;
        service.calm().await;
    }

    redis.load_slowly(bad).await;
    redis.has_loaded().await;
    service.calm().await;

    let entries = service.reckon().await;
    let failed: Vec<_> = entries.iter().filter(|entry| !went_well(entry)).collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_to_redis_that_is_bad_in_any_way_fails_no_request() {
    let site = Site::migrated().await;
    let (line, url) = Proxy::on_the_way_to(&site.redis.as_ref().unwrap().url()).await;
    let service = Service::on(site.with("REDIS_URL", &url)).await;
    for toxic in [
        Toxic::Latency(Duration::from_millis(20)),
        Toxic::Reset,
        Toxic::CutAfter(100),
        Toxic::BlackHole,
        Toxic::Slices(7, Duration::from_millis(1)),
    ] {
        service.calm().await;
        line.set(toxic);
        service.lasts(Duration::from_millis(800)).await;
        line.mend();
    }
    let entries = service.reckon().await;
    let failed: Vec<&Entry> = entries.iter().filter(|entry| !went_well(entry)).collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

/// Measures requests one after the other, and takes the best of several tries: this is the time that a reader
/// waits for Redis, not for a core of a busy machine.
#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_hangs_costs_a_reader_a_tenth_of_a_second_at_most() {
    let site = Site::migrated().await;
    let (line, url) = Proxy::on_the_way_to(&site.redis.as_ref().unwrap().url()).await;
    let site = site.with("REDIS_URL", &url);
    for path in ["/api/events/{event}", "/api/events?limit=99", "/api/users/me/registrations"] {
        let usual = best_of_several(&site, &line, path, Toxic::None).await;
        for toxic in [Toxic::BlackHole, Toxic::Latency(Duration::from_millis(60))] {
            let mut added = Duration::MAX;
            for _ in 0..3 {
                if added > ADDED {
                    added = added.min(best_of_several(&site, &line, path, toxic).await.saturating_sub(usual));
                }
            }
            eprintln!("{path}, {toxic:?}: {added:?} more");
            assert!(added <= ADDED, "{path}, {toxic:?}: {added:?} more");
        }
    }
}

/// The time of the first read after the line went bad, of a body that is not in the process.
async fn best_of_several(site: &Site, line: &Proxy, path: &str, toxic: Toxic) -> Duration {
    let mut best = Duration::MAX;
    for _ in 0..3 {
        line.mend();
        // Each new instance has a new circuit breaker and an empty cache.
        let instance = site.start().await;
        let admin = instance.admin().await;
        let event = instance.event(&admin, 5).await;
        // Another read first, so that there is a connection to Redis.
        read(&instance, "/api/events?limit=98", event, &admin.token).await;
        line.set(toxic);
        best = best.min(read(&instance, path, event, &admin.token).await);
        line.mend();
        instance.stop().await;
    }
    best
}

async fn read(instance: &Instance, path: &str, event: u64, token: &str) -> Duration {
    let path = path.replace("{event}", &event.to_string());
    let asked = Instant::now();
    instance.get(&path).token(token).send().await.expect(200);
    asked.elapsed()
}

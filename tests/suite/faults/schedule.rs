//! Faults in a random order, for as long as wanted.

use std::env;
use std::fs;
use std::time::{Duration, Instant};

use super::service::Service;
use crate::harness::proxy::{Proxy, Toxic};
use crate::harness::server::Site;

/// How long a run of the tests spends here.
const USUALLY: Duration = Duration::from_secs(10);

/// A fault of the schedule.
#[derive(Debug, Clone, Copy)]
enum Fault {
    PostgresFrozen,
    PostgresCrashed,
    PostgresConnectionsEnded,
    PostgresLine(Toxic),
    RedisLine(Toxic),
    RedisKilled,
    RedisHangs,
    RedisFlushed,
    RedisRubbish,
}

const FAULTS: [Fault; 17] = [
    Fault::PostgresFrozen,
    Fault::PostgresCrashed,
    Fault::PostgresConnectionsEnded,
    Fault::PostgresLine(Toxic::Latency(Duration::from_millis(30))),
    Fault::PostgresLine(Toxic::Reset),
    Fault::PostgresLine(Toxic::BlackHole),
    Fault::PostgresLine(Toxic::CutAfter(200)),
    Fault::PostgresLine(Toxic::CutAfter(2_000)),
    Fault::PostgresLine(Toxic::LoseAnswerTo("COMMIT")),
    Fault::PostgresLine(Toxic::Slices(60, Duration::from_millis(1))),
    Fault::RedisLine(Toxic::Reset),
    Fault::RedisLine(Toxic::BlackHole),
    Fault::RedisLine(Toxic::CutAfter(500)),
    Fault::RedisKilled,
    Fault::RedisHangs,
    Fault::RedisFlushed,
    Fault::RedisRubbish,
];

/// The seed is printed; `BOXOFFICE_TEST_SEED` repeats its schedule. `SOAK_SECS` makes it last.
#[tokio::test(flavor = "multi_thread")]
async fn faults_in_any_order_harm_nobody() {
    let wanted = env::var("SOAK_SECS").ok().map(|secs| Duration::from_secs(secs.parse().unwrap()));
    let site = Site::breakable().await;
    let (to_postgres, database_url) = Proxy::on_the_way_to(&site.database_url()).await;
    let (to_redis, redis_url) = Proxy::on_the_way_to(&site.redis.as_ref().unwrap().url()).await;
    let site = site.with("DATABASE_URL", &database_url).with("REDIS_URL", &redis_url);
    let mut service = Service::on(site).await;
    let begun = Instant::now();
    let mut told = begun;
    while begun.elapsed() < wanted.unwrap_or(USUALLY) {
        let (fault, lasts) = (service.dice.pick(&FAULTS), Duration::from_millis(service.dice.below(1_500) as u64));
        eprintln!("{:>7.1} s: {fault:?} for {lasts:?}", begun.elapsed().as_secs_f64());
        set(&mut service, fault, &to_postgres, &to_redis, true).await;
        service.lasts(lasts).await;
        set(&mut service, fault, &to_postgres, &to_redis, false).await;
        service.heals(Instant::now()).await;
        if wanted.is_some() && told.elapsed() > Duration::from_secs(10) {
            told = Instant::now();
            let findings = service.look_back().await;
            assert!(findings.is_empty(), "{findings:#?}");
            eprintln!("{:>7.1} s: {} KiB resident", begun.elapsed().as_secs_f64(), resident_kib());
        }
    }
    service.reckon().await;
}

/// Begins a fault, or ends it.
async fn set(service: &mut Service, fault: Fault, to_postgres: &Proxy, to_redis: &Proxy, begins: bool) {
    let redis = service.site.redis.as_mut().unwrap();
    match (fault, begins) {
        (Fault::PostgresFrozen, true) => service.site.postgres().freeze(),
        (Fault::PostgresFrozen, false) => service.site.postgres().thaw(),
        (Fault::PostgresCrashed, true) => service.site.postgres().stop_immediately(),
        (Fault::PostgresCrashed, false) => service.site.postgres().start_again().await,
        (Fault::PostgresConnectionsEnded, _) => service.site.run_sql(super::postgres::END_ALL).await,
        (Fault::PostgresLine(toxic), true) => to_postgres.set(toxic),
        (Fault::PostgresLine(_), false) => to_postgres.mend(),
        (Fault::RedisLine(toxic), true) => to_redis.set(toxic),
        (Fault::RedisLine(_), false) => to_redis.mend(),
        (Fault::RedisKilled, true) => redis.kill(),
        (Fault::RedisKilled, false) => redis.restart().await,
        (Fault::RedisHangs, true) => redis.pause(),
        (Fault::RedisHangs, false) => redis.resume(),
        (Fault::RedisFlushed, _) => redis.flush().await,
        (Fault::RedisRubbish, _) => redis.fill_with_rubbish(&[]).await,
    }
}

/// What this process holds in memory, the instances, their clients and the ledger.
fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

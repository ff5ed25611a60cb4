//! Faults in a random order, for as long as wanted.

use std::env;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sea_orm::DatabaseConnection;

use super::failover::{lose_commits, synchronous_standby, take_over};
use super::postgres::{END_ALL, hoard_connections, hold_row};
use super::service::Service;
use crate::harness::postgres::PostgresServer;
use crate::harness::program::{Program, resident_kib};
use crate::harness::proxy::{Proxy, Toxic};
use crate::harness::server::Site;

/// How long a run of the tests spends here.
const USUALLY: Duration = Duration::from_secs(10);

/// Between two looks at the ledger, and at the memory, of a long run.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(10);

/// By then an instance has filled everything that takes memory: bodies, connections, statements.
const WARM_AFTER: Duration = Duration::from_mins(2);

/// How much more memory a warm instance may take: the memory that an allocator keeps, but no leak.
const MAY_GROW_KIB: u64 = 24 * 1024;

/// A fault of the schedule.
#[derive(Debug, Clone, Copy)]
enum Fault {
    PostgresFrozen,
    PostgresCrashed,
    PostgresConnectionsEnded,
    PostgresConnectionsTaken,
    PostgresDiskFull,
    PostgresRowHeld,
    PostgresFailsOver,
    PostgresFailsOverWithLoss,
    PostgresLine(Toxic),
    RedisLine(Toxic),
    RedisKilled,
    RedisHangs,
    RedisFlushed,
    RedisRubbish,
    RedisMemoryFull,
    RedisReadOnly,
    RedisForbids,
    RedisLoads,
    InstanceKilled,
}

const FAULTS: [Fault; 27] = [
    Fault::PostgresFrozen,
    Fault::PostgresCrashed,
    Fault::PostgresConnectionsEnded,
    Fault::PostgresConnectionsTaken,
    Fault::PostgresDiskFull,
    Fault::PostgresRowHeld,
    Fault::PostgresFailsOver,
    Fault::PostgresFailsOverWithLoss,
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
    Fault::RedisMemoryFull,
    Fault::RedisReadOnly,
    Fault::RedisForbids,
    Fault::RedisLoads,
    Fault::InstanceKilled,
];

/// A service whose instances are processes, and the handles for all faults.
struct Stage {
    service: Service,
    /// The first is never killed, so that its memory can be watched.
    programs: [Program; 2],
    to_postgres: Proxy,
    to_redis: Proxy,
    /// Connections of an operator that hold locks, or take up the server's connections.
    hands: Vec<DatabaseConnection>,
    /// The server that is about to be promoted.
    standby: Option<PostgresServer>,
}

/// Prints the seed; `BOXOFFICE_TEST_SEED` repeats its schedule. `SOAK_SECS` sets how long it runs, and
/// then it watches the memory of an instance.
#[tokio::test(flavor = "multi_thread")]
async fn faults_in_any_order_break_no_promise() {
    let wanted = env::var("SOAK_SECS").ok().map(|secs| Duration::from_secs(secs.parse().unwrap()));
    let mut stage = Stage::set_up().await;
    let begun = Instant::now();
    let mut told = begun;
    let mut warm_kib = None;
    while begun.elapsed() < wanted.unwrap_or(USUALLY) {
        let dice = &mut stage.service.dice;
        let (fault, lasts) = (dice.pick(&FAULTS), Duration::from_millis(dice.below(1_500) as u64));
        eprintln!("{:>7.1} s: {fault:?} for {lasts:?}", begun.elapsed().as_secs_f64());
        stage.begin(fault).await;
        stage.service.lasts(lasts).await;
        stage.end(fault).await;
        stage.service.heals(Instant::now()).await;
        if wanted.is_some() && told.elapsed() > LOOKED_AT_EVERY {
            told = Instant::now();
            let findings = stage.service.look_back().await;
            assert!(findings.is_empty(), "{findings:#?}");
            let [lasting, killed] = stage.programs.each_ref().map(Program::resident_kib);
            let tests = resident_kib("self");
            eprintln!(
                "{:>7.1} s: {lasting} KiB resident in the instance that is never killed, {killed} KiB in the other, \
                 {tests} KiB in these tests",
                begun.elapsed().as_secs_f64()
            );
            if begun.elapsed() > WARM_AFTER {
                let warm = *warm_kib.get_or_insert(lasting);
                assert!(lasting <= warm + MAY_GROW_KIB, "the instance grew from {warm} to {lasting} KiB");
            }
        }
    }
    stage.service.reckon().await;
}

impl Stage {
    async fn set_up() -> Self {
        let site = Site::breakable().await;
        let (to_postgres, database_url) = Proxy::on_the_way_to(&site.database_url()).await;
        let (to_redis, redis_url) = Proxy::on_the_way_to(&site.redis.as_ref().unwrap().url()).await;
        let site = site.with("DATABASE_URL", &database_url).with("REDIS_URL", &redis_url);
        let programs = [site.start_process().await, site.start_process().await];
        let instances = programs.iter().map(|program| Arc::new(program.instance())).collect();
        let service = Service::of(site, instances).await;
        Self { service, programs, to_postgres, to_redis, hands: Vec::new(), standby: None }
    }

    async fn begin(&mut self, fault: Fault) {
        match fault {
            Fault::PostgresFailsOver => {
                self.standby = Some(synchronous_standby(&mut self.service).await);
                return self.service.site.postgres().stop_immediately();
            }
            Fault::PostgresFailsOverWithLoss => {
                let standby = self.service.site.postgres().standby().await;
                lose_commits(&mut self.service, &standby).await;
                self.standby = Some(standby);
                return;
            }
            _ => {}
        }
        let event = self.service.events[0];
        let site = &mut self.service.site;
        let url = site.database_url();
        let redis = site.redis.as_mut().unwrap();
        match fault {
            Fault::PostgresFrozen => site.postgres().freeze(),
            Fault::PostgresCrashed => site.postgres().stop_immediately(),
            Fault::PostgresConnectionsEnded => site.run_sql(END_ALL).await,
            Fault::PostgresConnectionsTaken => self.hands = hoard_connections(&url, Duration::from_secs(1)).await,
            Fault::PostgresDiskFull => site.postgres().fill_disk(),
            Fault::PostgresRowHeld => self.hands = vec![hold_row(&url, event).await],
            Fault::PostgresFailsOver | Fault::PostgresFailsOverWithLoss => unreachable!("begun above"),
            Fault::PostgresLine(toxic) => self.to_postgres.set(toxic),
            Fault::RedisLine(toxic) => self.to_redis.set(toxic),
            Fault::RedisKilled => redis.kill(),
            Fault::RedisHangs => redis.pause(),
            Fault::RedisFlushed => redis.flush().await,
            Fault::RedisRubbish => redis.fill_with_rubbish(&[]).await,
            Fault::RedisMemoryFull => redis.exhaust_memory().await,
            Fault::RedisReadOnly => redis.demote(true).await,
            Fault::RedisForbids => redis.permit(&["-@all", "+acl"]).await,
            Fault::RedisLoads => redis.load_slowly(Duration::from_secs(1)).await,
            Fault::InstanceKilled => {
                self.service.may_be_cut();
                self.programs[1].kill();
            }
        }
    }

    async fn end(&mut self, fault: Fault) {
        if let Some(standby) = self.standby.take() {
            take_over(&mut self.service, &self.to_postgres, standby).await;
            return;
        }
        let site = &mut self.service.site;
        let redis = site.redis.as_mut().unwrap();
        match fault {
            Fault::PostgresFrozen => site.postgres().thaw(),
            Fault::PostgresCrashed => site.postgres().start_again().await,
            Fault::PostgresConnectionsEnded => site.run_sql(END_ALL).await,
            Fault::PostgresConnectionsTaken | Fault::PostgresRowHeld => {
                for hand in self.hands.drain(..) {
                    hand.close().await.unwrap();
                }
            }
            Fault::PostgresDiskFull => site.postgres().clear_disk().await,
            Fault::PostgresFailsOver | Fault::PostgresFailsOverWithLoss => unreachable!("ended above"),
            Fault::PostgresLine(_) => self.to_postgres.mend(),
            Fault::RedisLine(_) => self.to_redis.mend(),
            Fault::RedisKilled => redis.restart().await,
            Fault::RedisHangs => redis.resume(),
            Fault::RedisFlushed | Fault::RedisRubbish => {}
            Fault::RedisMemoryFull => redis.free_memory().await,
            Fault::RedisReadOnly => redis.promote().await,
            Fault::RedisForbids => redis.permit(&["+@all"]).await,
            Fault::RedisLoads => redis.has_loaded().await,
            Fault::InstanceKilled => {
                self.programs[1].start_again().await;
                self.service.is_whole_again();
            }
        }
    }
}

//! A primary that is lost, with or without its last commits, and the standby that takes its place.

use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::postgres::is_acknowledged_booking;
use super::service::Service;
use crate::harness::postgres::{PostgresServer, ask, execute};
use crate::harness::proxy::Proxy;
use crate::harness::server::Site;

const TIMELINE: &str = "SELECT substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)";

/// Changes with every write of the program.
const WRITTEN: &str = "SELECT CAST(SUM(version) AS text) FROM (SELECT version FROM events UNION ALL
                       SELECT version FROM registrations) AS rows";

#[tokio::test]
async fn a_promotion_leaves_unsent_commits_on_the_old_timeline() {
    let mut primary = PostgresServer::start().await;
    let standby = primary.standby().await;
    let (name, url) = Proxy::on_the_way_to(&primary.url()).await;
    assert_eq!(ask(&url, TIMELINE).await, "00000001");

    primary.wait_for_standbys(true).await;
    execute(&url, &["CREATE TABLE sent ()"]).await;
    standby.cut_off().await;
    let hangs = execute(&url, &["CREATE TABLE not_sent ()"]);
    assert!(timeout(Duration::from_millis(200), hangs).await.is_err(), "no standby has confirmed this commit");
    primary.stop_immediately();
    standby.promote().await;
    name.lead_to(&standby.address());

    assert_eq!(ask(&url, TIMELINE).await, "00000002");
    let tables = "SELECT string_agg(relname, ' ') FROM pg_class WHERE relname IN ('sent', 'not_sent')";
    assert_eq!(ask(&url, tables).await, "sent");
    primary.start_again().await;
    assert_eq!(ask(&primary.url(), TIMELINE).await, "00000001");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_without_losses_loses_and_doubles_nothing() {
    let (mut service, name) = Service::behind_a_bad_line(Site::breakable().await).await;
    for _ in 0..2 {
        let standby = synchronous_standby(&mut service).await;
        service.calm().await;
        service.site.postgres().stop_immediately();
        take_over(&mut service, &name, standby).await;
        service.heals(Instant::now()).await;
    }
    service.reckon().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_lost_with_their_primary_are_never_shown_again() {
    let (mut service, name) = Service::behind_a_bad_line(Site::breakable().await).await;
    for _ in 0..2 {
        let standby = service.site.postgres().standby().await;
        lose_commits(&mut service, &standby).await;
        take_over(&mut service, &name, standby).await;
        service.heals(Instant::now()).await;
        service.calm().await;
    }
    service.reckon().await;
}

/// With asynchronous replication commits are lost. The checker is not told of the loss, and has to find it.
#[tokio::test(flavor = "multi_thread")]
async fn the_checker_finds_commits_lost_with_their_primary() {
    let (mut service, name) = Service::behind_a_bad_line(Site::breakable().await).await;
    let standby = service.site.postgres().standby().await;
    standby.cut_off().await;
    for _ in 0..3 {
        service.meets("a booking is acknowledged", Instant::now(), is_acknowledged_booking).await;
    }
    service.site.postgres().stop_immediately();
    take_over(&mut service, &name, standby).await;
    service.heals(Instant::now()).await;
    let (_, findings) = service.findings().await;
    assert!(!findings.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_primary_that_comes_back_is_not_written_to() {
    let mut site = Site::breakable().await;
    let standby = site.postgres().standby().await;
    let both = format!("postgres://postgres@{},{}/postgres", standby.address(), site.postgres().address());
    let mut service = Service::on(site.with("DATABASE_URL", &both)).await;
    service.calm().await;
    service.site.postgres().wait_for_standbys(true).await;
    service.calm().await;
    service.site.postgres().stop_immediately();
    let mut old = promote(&mut service, standby).await;
    service.heals(Instant::now()).await;

    old.start_again().await;
    old.wait_for_standbys(false).await;
    let before = ask(&old.url(), WRITTEN).await;
    for _ in 0..5 {
        service.meets("a booking is acknowledged", Instant::now(), is_acknowledged_booking).await;
        service.calm().await;
    }
    assert_eq!(ask(&old.url(), WRITTEN).await, before);
    service.reckon().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_primary_that_thaws_after_a_promotion_is_not_read() {
    let (mut service, name) = Service::behind_a_bad_line(Site::breakable().await).await;
    let standby = synchronous_standby(&mut service).await;
    service.calm().await;
    service.site.postgres().freeze();
    let old = take_over(&mut service, &name, standby).await;
    service.heals(Instant::now()).await;
    old.thaw();
    service.lasts(Duration::from_secs(2)).await;
    service.reckon().await;
}

/// A standby that has every commit which was acknowledged from now on.
pub async fn synchronous_standby(service: &mut Service) -> PostgresServer {
    let primary = service.site.postgres();
    let standby = primary.standby().await;
    primary.wait_for_standbys(true).await;
    standby
}

/// Cuts the standby off, waits for acknowledged bookings that it does not get, and ends the primary.
pub async fn lose_commits(service: &mut Service, standby: &PostgresServer) {
    let since = Instant::now();
    standby.cut_off().await;
    let cut = Instant::now();
    service.meets("a booking is acknowledged", cut, is_acknowledged_booking).await;
    service.calm().await;
    service.site.postgres().stop_immediately();
    service.loses(since, cut);
}

/// Makes the standby the site's primary and leads the name to it; returns the old primary.
pub async fn take_over(service: &mut Service, name: &Proxy, standby: PostgresServer) -> PostgresServer {
    let address = standby.address();
    let old = promote(service, standby).await;
    name.lead_to(&address);
    old
}

async fn promote(service: &mut Service, standby: PostgresServer) -> PostgresServer {
    standby.promote().await;
    standby.wait_for_standbys(false).await;
    service.site.move_to(standby)
}

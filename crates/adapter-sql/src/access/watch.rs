//! Which server writes, found out without traffic.
//!
//! Every second each host of the URL is asked over a connection of its own, all at once, so that one that is
//! silent delays no other. The sessions of a pool cannot tell: they stay where they were made when an address
//! moves, and to an old primary that was frozen during a promotion nothing has happened.

use std::time::{Duration, Instant};

use domain::Timeline;
use domain::ports::StoreError;
use metrics::gauge;
use sea_orm::sqlx::{ConnectOptions, Connection};
use sea_orm::{ConnectionTrait, Statement, Value};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::Sql;
use crate::access::bond::{Bond, Retired};
use crate::access::error::failed;
use crate::access::operation::Reading;
use crate::access::pools::Postgres;
use crate::access::server::{Sight, Unfit};
use crate::access::survey::{AT_MOST_EVERY, choose, look};

/// Between two looks, if nothing happens.
const EVERY: Duration = Duration::from_secs(1);

/// How long a host is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long the others are waited for when one writes: one of them may be of a higher timeline.
const GRACE: Duration = Duration::from_millis(250);

/// How often a server that grants fewer connections than wanted is asked for more.
const GROW_EVERY: Duration = Duration::from_secs(10);

/// How long the server is asked how many connections there are.
const COUNT_WITHIN: Duration = Duration::from_secs(1);

impl Sql {
    /// Looks after the servers of Postgres for ever: leads new connections to the one that writes, and retires
    /// those that lead elsewhere.
    pub async fn watch(&self) {
        let Some(postgres) = self.0.pools.postgres() else { return std::future::pending().await };
        let mut grown = Instant::now();
        loop {
            tokio::select! {
                () = sleep(EVERY) => {}
                () = self.0.pools.outlook().alarmed() => sleep(AT_MOST_EVERY).await,
            }
            self.look_around(postgres).await;
            if postgres.granted() == postgres.wanted {
                grown = Instant::now();
            } else if grown.elapsed() >= GROW_EVERY {
                self.grow(postgres).await;
                grown = Instant::now();
            }
        }
    }

    async fn look_around(&self, postgres: &Postgres) {
        let (pools, outlook) = (&self.0.pools, self.0.pools.outlook());
        let bond = std::sync::Arc::clone(&pools.present().bond);
        let seen = look(&postgres.hosts, PATIENCE, GRACE).await;
        if let Some((host, server)) = choose(&seen, bond.server(), pools.greatest_timeline()) {
            pools.lead_to(host, server);
            outlook.not_hindered();
        } else {
            let (own, _) = postgres.target();
            match seen.get(&own) {
                Some(Ok(sight)) => hinder(*sight, &bond, pools.greatest_timeline(), |unfit| outlook.hindered_by(unfit)),
                Some(Err(unanswered)) if unanswered.is_full() => self.shrink(&bond).await,
                // It does not say: whether the connections there are of use is found out by those who use them.
                Some(Err(_)) | None => {}
            }
        }
        gauge!("database_writable").set(i32::from(outlook.hindrance().is_none()));
        gauge!("database_timeline").set(pools.greatest_timeline().map_or(0, Timeline::get));
    }

    /// Is content with the connections there are, for the server grants no other.
    async fn shrink(&self, bond: &Bond) {
        let sessions = bond.sessions();
        if sessions.is_empty() {
            return;
        }
        let known = u32::try_from(sessions.len()).unwrap_or(u32::MAX);
        let counting = self.read_once("count_sessions", move |reading| count(reading, sessions));
        let there = timeout(COUNT_WITHIN, counting).await.ok().and_then(Result::ok).unwrap_or(known);
        if there > 0 {
            self.0.pools.resize(there.min(self.0.pools.postgres().map_or(there, Postgres::granted)));
        }
    }

    /// Tries whether the server grants more connections by now.
    async fn grow(&self, postgres: &Postgres) {
        let (_, host) = postgres.target();
        let (granted, mut asked) = (postgres.granted(), JoinSet::new());
        for _ in granted..postgres.wanted {
            let host = host.clone();
            asked.spawn(async move { timeout(PATIENCE, host.connect()).await.ok().and_then(Result::ok) });
        }
        let more: Vec<_> = asked.join_all().await.into_iter().flatten().collect();
        let found = u32::try_from(more.len()).unwrap_or(u32::MAX);
        for connection in more {
            drop(timeout(PATIENCE, connection.close()).await);
        }
        self.0.pools.resize(granted.saturating_add(found));
    }
}

/// What follows from a server that is not to be written to, at the address of the connections.
fn hinder(sight: Sight, bond: &Bond, greatest: Option<Timeline>, hindered_by: impl Fn(Unfit)) {
    match sight {
        Sight::Standby => {
            hindered_by(Unfit::Standby);
            // The address has left the server that the connections lead to.
            if bond.server().is_some() {
                bond.retire(Retired::Superseded);
            }
        }
        Sight::ReadsOnly(server) | Sight::Writes(server) if Some(server.timeline) < greatest => {
            hindered_by(Unfit::Outdated);
        }
        Sight::ReadsOnly(server) | Sight::Writes(server) => {
            hindered_by(Unfit::ReadOnly);
            if bond.server().is_some_and(|known| known != server) {
                bond.retire(Retired::Superseded);
            }
        }
    }
}

/// How many of these processes of the server there still are.
async fn count(Reading { db, engine, .. }: Reading, sessions: Vec<i32>) -> Result<u32, StoreError> {
    let sessions: Value = engine.numbers(sessions.into_iter().map(i64::from));
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE pid = ANY($1)";
    let statement = Statement::from_sql_and_values(engine.backend(), sql, [sessions]);
    let row = db.query_one_raw(statement).await.map_err(failed)?;
    let there: i64 = row.map_or(Ok(0), |row| row.try_get_by_index(0)).map_err(failed)?;
    Ok(u32::try_from(there).unwrap_or(u32::MAX))
}

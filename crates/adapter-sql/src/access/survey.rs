//! What is seen of the hosts of a URL, and which of them is to be written to.

use std::collections::HashMap;
use std::fmt;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use domain::Timeline;
use domain::ports::StoreError;
use sea_orm::sqlx::postgres::{PgConnectOptions, PgConnection};
use sea_orm::sqlx::{self, ConnectOptions, Connection, Error as SqlxError, Row};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout, timeout_at};

use crate::SqlDeadlines;
use crate::access::hosts;
use crate::access::server::{self, Server, Sight, Unfit, examine};

/// Between two looks, whatever happens.
pub(crate) const AT_MOST_EVERY: Duration = Duration::from_millis(200);

/// How long the others are waited for at the start when one writes, when no timeline is known yet and an old primary cannot be told from a new one.
const GRACE_AT_START: Duration = Duration::from_secs(1);

/// What is seen of each host, by its place in the URL.
pub(crate) type Seen = HashMap<usize, Result<Sight, Unanswered>>;

/// Why a host told nothing.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// It was silent.
    Silent,
    Failed(SqlxError),
}

impl Unanswered {
    /// Whether the answer will hardly be another one soon.
    fn is_final(&self) -> bool {
        match self {
            Self::Silent => false,
            // cannot_connect_now: it is starting.
            Self::Failed(SqlxError::Database(error)) => {
                !error.code().is_some_and(|code| code == "53300" || code == "57P03")
            }
            // What a proxy does before a server that is starting.
            Self::Failed(SqlxError::Io(error)) => {
                !matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset)
            }
            Self::Failed(_) => true,
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        matches!(self, Self::Failed(error) if server::is_full(error))
    }
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent => f.write_str("no answer"),
            Self::Failed(error) => {
                let why = server::why(error);
                f.write_str(&why)?;
                // What poolers say to the timeouts of a session.
                if why.contains("unsupported startup parameter") {
                    f.write_str(
                        ": a pooler such as PgBouncer does not pass a session's settings on; name Postgres itself",
                    )?;
                }
                Ok(())
            }
        }
    }
}

/// The server that writes, once there is one, and that it has what is needed.
pub(crate) async fn find(hosts: &[PgConnectOptions], deadlines: &SqlDeadlines) -> Result<(usize, Server), StoreError> {
    let until = Instant::now() + deadlines.acquire;
    loop {
        let seen = look(hosts, until.saturating_duration_since(Instant::now()), GRACE_AT_START).await;
        if let Some((host, server)) = choose(&seen, None, None) {
            let silent = || StoreError::unavailable(format!("{}: {}", hosts::name(&hosts[host]), Unanswered::Silent));
            let vetted = timeout_at(until.into(), vet(&hosts[host], deadlines)).await.unwrap_or_else(|_| Err(silent()));
            match vetted {
                Err(StoreError::Unavailable(_)) if Instant::now() + AT_MOST_EVERY < until => {}
                vetted => return vetted.map(|()| (host, server)),
            }
        }
        let hopeless = !seen.is_empty() && seen.values().all(|seen| seen.as_ref().is_err_and(Unanswered::is_final));
        if hopeless || Instant::now() + AT_MOST_EVERY >= until {
            return Err(StoreError::unavailable(told(hosts, &seen)));
        }
        sleep(AT_MOST_EVERY).await;
    }
}

/// What each host said, in a line.
fn told(hosts: &[PgConnectOptions], seen: &Seen) -> String {
    let told = hosts.iter().enumerate().map(|(index, host)| {
        let said = match seen.get(&index) {
            Some(Ok(Sight::Standby)) => Unfit::Standby.to_string(),
            Some(Ok(Sight::ReadsOnly(_))) => Unfit::ReadOnly.to_string(),
            Some(Ok(Sight::Writes(_))) => Unfit::Outdated.to_string(),
            Some(Err(unanswered)) => unanswered.to_string(),
            None => Unanswered::Silent.to_string(),
        };
        format!("{}: {said}", hosts::name(host))
    });
    told.collect::<Vec<_>>().join("; ")
}

/// Asks every host at once. When one writes, the others are not waited for much longer.
pub(crate) async fn look(hosts: &[PgConnectOptions], patience: Duration, grace: Duration) -> Seen {
    let mut asked = JoinSet::new();
    for (index, host) in hosts.iter().cloned().enumerate() {
        asked.spawn(async move {
            let answer = timeout(patience, ask(&host)).await;
            (index, answer.map_err(|_| Unanswered::Silent).and_then(|sight| sight.map_err(Unanswered::Failed)))
        });
    }
    let (mut seen, mut until) = (Seen::new(), Instant::now() + patience);
    while let Ok(Some(answer)) = timeout_at(until.into(), asked.join_next()).await {
        let Ok((index, sight)) = answer else { continue };
        if matches!(sight, Ok(Sight::Writes(_))) {
            until = until.min(Instant::now() + grace);
        }
        seen.insert(index, sight);
    }
    seen
}

/// Asks one host over a connection of its own.
async fn ask(host: &PgConnectOptions) -> Result<Sight, SqlxError> {
    let mut connection = host.connect().await?;
    let introduced = examine(&mut connection).await?;
    connection.close().await?;
    Ok(introduced.sight)
}

/// The server that writes on the highest timeline, which is not below the greatest that was seen. Of several
/// the one that is known stays; otherwise the first in the URL.
pub(crate) fn choose(seen: &Seen, known: Option<Server>, greatest: Option<Timeline>) -> Option<(usize, Server)> {
    let writing = seen.iter().filter_map(|(index, sight)| match sight {
        Ok(Sight::Writes(server)) if Some(server.timeline) >= greatest => Some((*index, *server)),
        _ => None,
    });
    writing.max_by_key(|(index, server)| (server.timeline, Some(*server) == known, std::cmp::Reverse(*index)))
}

/// Refuses a database that bookings cannot rely on.
async fn vet(host: &PgConnectOptions, deadlines: &SqlDeadlines) -> Result<(), StoreError> {
    let lost = |error: SqlxError| StoreError::unavailable(format!("{}: {}", hosts::name(host), server::why(&error)));
    let mut connection = host.connect().await.map_err(lost)?;
    let question = "SELECT current_setting('server_encoding') AS encoding, CAST(current_database() AS text) AS name, \
                    (SELECT setting FROM pg_settings WHERE name = 'lock_timeout') AS lock_timeout";
    let row = sqlx::raw_sql(question).fetch_one(&mut connection).await.map_err(lost)?;
    let text = |column: &str| row.try_get::<String, _>(column).map_err(lost);
    let encoding = text("encoding")?;
    if encoding != "UTF8" {
        let name = text("name")?;
        return Err(StoreError::fault(format!(
            "the database {name} is encoded in {encoding} and must be in UTF8: \
             make another one with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
        )));
    }
    if text("lock_timeout")? != deadlines.lock.as_millis().to_string() {
        return Err(StoreError::fault(
            "a pooler such as PgBouncer does not pass a session's settings on (ignore_startup_parameters): \
             name Postgres itself",
        ));
    }
    if are_shared(&mut connection, host).await.map_err(lost)? {
        return Err(StoreError::fault(
            "sessions are shared by a pooler such as PgBouncer with pool_mode = transaction: \
             name Postgres itself, or set pool_mode = session",
        ));
    }
    connection.close().await.map_err(lost)
}

/// Whether a connection is not a session: whether statements of two connections meet the same one, or those of
/// one connection different ones.
async fn are_shared(one: &mut PgConnection, host: &PgConnectOptions) -> Result<bool, SqlxError> {
    let mut other = match host.connect().await {
        // The server itself is full: a pooler would queue this connection.
        Err(error) if server::is_full(&error) => return Ok(false),
        connected => connected?,
    };
    let first = session(one).await?;
    for _ in 0..3 {
        sqlx::raw_sql("BEGIN").execute(&mut other).await?;
        let shared = session(&mut other).await? == first || session(one).await? != first;
        sqlx::raw_sql("COMMIT").execute(&mut other).await?;
        if shared {
            return Ok(true);
        }
    }
    other.close().await?;
    Ok(false)
}

/// The process of the server that serves a connection.
async fn session(connection: &mut PgConnection) -> Result<i32, SqlxError> {
    sqlx::raw_sql("SELECT pg_backend_pid()").fetch_one(connection).await?.try_get(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(timeline: u32, started_us: i64) -> Server {
        Server { timeline: Timeline::new(timeline).unwrap(), started_us }
    }

    fn seen(sights: impl IntoIterator<Item = Sight>) -> Seen {
        sights.into_iter().map(Ok).enumerate().collect()
    }

    #[test]
    fn the_server_that_writes_is_found_wherever_it_stands() {
        let (one, two) = (server(1, 10), server(2, 20));
        assert_eq!(choose(&seen([Sight::Standby, Sight::Writes(one)]), None, None), Some((1, one)));
        assert_eq!(choose(&seen([Sight::ReadsOnly(one), Sight::Standby]), None, None), None);
        assert_eq!(
            choose(&Seen::from([(0, Err(Unanswered::Silent)), (1, Ok(Sight::Writes(two)))]), None, None),
            Some((1, two))
        );
    }

    #[test]
    fn of_two_that_write_the_higher_timeline_wins_and_then_the_known_one() {
        let (one, two, twin) = (server(1, 10), server(2, 20), server(2, 30));
        let writes = |servers: [Server; 2]| seen(servers.map(Sight::Writes));
        assert_eq!(choose(&writes([one, two]), Some(one), one.timeline.into()), Some((1, two)));
        assert_eq!(choose(&writes([two, twin]), None, None), Some((0, two)));
        assert_eq!(choose(&writes([two, twin]), Some(twin), None), Some((1, twin)));
    }

    #[test]
    fn an_old_primary_is_never_chosen() {
        assert_eq!(choose(&seen([Sight::Writes(server(1, 10))]), None, Timeline::new(2)), None);
    }
}

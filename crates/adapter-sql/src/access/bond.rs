//! What the connections of a pool have in common.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::access::server::{Introduced, Server, Sight, Unfit};
use crate::access::timelines::{Seen, Timelines};

/// A connection that was idle for longer is asked whether it lives before it is used.
const TRUSTED_IDLE: Duration = Duration::from_millis(100);

/// What is known of the database, whichever connection it was learnt from.
#[derive(Default)]
pub(crate) struct Outlook {
    pub(crate) timelines: Timelines,
    /// Why nothing can be written at present, if that is known.
    hindrance: Mutex<Option<Unfit>>,
    /// Rung when the [watcher](crate::access::watch) should look at once.
    alarm: Notify,
}

impl Outlook {
    /// Why nothing can be written, as far as is known.
    pub(crate) fn hindrance(&self) -> Option<Unfit> {
        *lock(&self.hindrance)
    }

    pub(crate) fn hindered_by(&self, unfit: Unfit) {
        if lock(&self.hindrance).replace(unfit) != Some(unfit) {
            tracing::warn!(reason = %unfit, "the database cannot be written to");
        }
    }

    pub(crate) fn not_hindered(&self) {
        if lock(&self.hindrance).take().is_some() {
            tracing::info!("nothing is known any more that keeps the database from being written to");
        }
    }

    /// Has the watcher look at once.
    pub(crate) fn alarm(&self) {
        self.alarm.notify_one();
    }

    pub(crate) async fn alarmed(&self) {
        self.alarm.notified().await;
    }
}

/// What the connections of a pool have in common.
#[derive(Default)]
pub(crate) struct Bond {
    pub(crate) outlook: Arc<Outlook>,
    /// The server they lead to, once there was one.
    server: Mutex<Option<Server>>,
    /// The server's processes that served them; some may have ended.
    sessions: Mutex<HashSet<i32>>,
    /// When one of them was last found dead.
    lost: Mutex<Option<Instant>>,
    retired: AtomicU8,
    retiring: Notify,
}

/// Why a pool is not used any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Retired {
    /// Others are needed; what was begun goes on, and is right.
    Replaced = 1,
    /// Its server is not the one that writes: what it says may be past, what it takes may be lost.
    Superseded = 2,
}

/// What the connections of a pool are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Writer,
    Reader,
}

impl Bond {
    /// That of a pool which has no connection yet.
    pub(crate) fn under(outlook: &Arc<Outlook>) -> Self {
        Self { outlook: Arc::clone(outlook), ..Self::default() }
    }

    /// Takes a new connection in, if it can be used like the others.
    pub(crate) fn admit(&self, introduced: Introduced, role: Role) -> Result<(), Unfit> {
        let admitted = self.judge(introduced.sight, role);
        match admitted {
            Ok(()) => {
                lock(&self.sessions).insert(introduced.session);
            }
            Err(unfit) => {
                if unfit != Unfit::Another {
                    self.outlook.hindered_by(unfit);
                }
                self.outlook.alarm();
            }
        }
        admitted
    }

    fn judge(&self, sight: Sight, role: Role) -> Result<(), Unfit> {
        let server = sight.primary().ok_or(Unfit::Standby)?;
        if self.outlook.timelines.saw(server.timeline) == Seen::Lower {
            return Err(Unfit::Outdated);
        }
        let before = *lock(&self.server).get_or_insert(server);
        if before != server || self.is_outdated() {
            self.retire(Retired::Superseded);
            return Err(Unfit::Another);
        }
        match sight {
            Sight::ReadsOnly(_) if role == Role::Writer => return Err(Unfit::ReadOnly),
            Sight::Writes(_) => self.outlook.not_hindered(),
            _ => {}
        }
        Ok(())
    }

    /// The server, once there was a connection.
    pub(crate) fn server(&self) -> Option<Server> {
        *lock(&self.server)
    }

    /// The processes of the server that served the connections.
    pub(crate) fn sessions(&self) -> Vec<i32> {
        lock(&self.sessions).iter().copied().collect()
    }

    /// Has no operation begin on these connections any more.
    pub(crate) fn retire(&self, why: Retired) {
        self.retired.fetch_max(why as u8, Ordering::AcqRel);
        self.retiring.notify_waiters();
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire) != 0 || self.is_outdated()
    }

    /// Whether what is read may be past, and what is written lost.
    pub(crate) fn is_superseded(&self) -> bool {
        self.retired.load(Ordering::Acquire) == Retired::Superseded as u8 || self.is_outdated()
    }

    /// Whether a higher timeline was seen than that of the server.
    pub(crate) fn is_outdated(&self) -> bool {
        self.server().is_some_and(|server| Some(server.timeline) < self.outlook.timelines.greatest())
    }

    /// Waits until the connections are retired because another server writes.
    pub(crate) async fn superseded(&self) {
        while !self.is_superseded() {
            let mut retiring = std::pin::pin!(self.retiring.notified());
            retiring.as_mut().enable();
            if !self.is_superseded() {
                retiring.await;
            }
        }
    }

    /// Waits until the connections are retired.
    pub(crate) async fn retired(&self) {
        let mut retiring = std::pin::pin!(self.retiring.notified());
        retiring.as_mut().enable();
        if !self.is_retired() {
            retiring.await;
        }
    }

    /// Has connections that were used before now asked whether they live: one of them did not.
    pub(crate) fn distrust(&self) {
        *lock(&self.lost) = Some(Instant::now());
    }

    /// Whether a connection that was last used so long ago has to be asked.
    pub(crate) fn is_doubtful(&self, idle_for: Duration) -> bool {
        let lost = *lock(&self.lost);
        idle_for >= TRUSTED_IDLE || lost.is_some_and(|lost| lost.elapsed() <= idle_for)
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use domain::Timeline;

    use super::*;

    fn server(timeline: u32, started_us: i64) -> Server {
        Server { timeline: Timeline::new(timeline).unwrap(), started_us }
    }

    fn admit(bond: &Bond, sight: Sight, role: Role) -> Result<(), Unfit> {
        bond.admit(Introduced { sight, session: 1 }, role)
    }

    #[test]
    fn a_connection_is_taken_if_it_fits_its_role() {
        let (bond, server) = (Bond::default(), server(1, 10));
        for role in [Role::Writer, Role::Reader] {
            assert_eq!(admit(&bond, Sight::Standby, role), Err(Unfit::Standby));
            assert_eq!(admit(&bond, Sight::Writes(server), role), Ok(()));
        }
        assert_eq!(bond.outlook.hindrance(), None);
        assert_eq!(admit(&bond, Sight::ReadsOnly(server), Role::Reader), Ok(()));
        assert_eq!(admit(&bond, Sight::ReadsOnly(server), Role::Writer), Err(Unfit::ReadOnly));
        assert_eq!(bond.outlook.hindrance(), Some(Unfit::ReadOnly));
        assert!(!bond.is_retired());
    }

    #[test]
    fn connections_to_two_servers_are_never_in_one_pool() {
        for other in [server(1, 20), server(2, 20)] {
            let bond = Bond::default();
            admit(&bond, Sight::Writes(server(1, 10)), Role::Reader).unwrap();
            assert_eq!(admit(&bond, Sight::Writes(other), Role::Reader), Err(Unfit::Another));
            assert!(bond.is_superseded());
        }
    }

    #[test]
    fn an_old_primary_is_never_connected_to() {
        let bond = Bond::default();
        bond.outlook.timelines.saw(Timeline::new(2).unwrap());
        for sight in [Sight::Writes(server(1, 10)), Sight::ReadsOnly(server(1, 10))] {
            assert_eq!(admit(&bond, sight, Role::Reader), Err(Unfit::Outdated));
        }
        assert!(bond.server().is_none());
    }

    #[test]
    fn a_bond_is_superseded_by_a_higher_timeline() {
        let bond = Bond::default();
        admit(&bond, Sight::Writes(server(1, 10)), Role::Writer).unwrap();
        assert!(!bond.is_superseded());
        bond.outlook.timelines.saw(Timeline::new(2).unwrap());
        assert!(bond.is_superseded());
    }
}

//! Doing a job that one process at a time may do.

use std::sync::Arc;
use std::time::Duration;

use domain::ports::{Job, Leases};
use tokio::time::{Instant, sleep};

/// How long a process has a job, and how often it says that it still does it.
const LEASE: Duration = Duration::from_secs(15);
const RENEWAL: Duration = Duration::from_secs(5);

/// Whether this process is the one that does a job.
pub(crate) struct Leader {
    leases: Arc<dyn Leases>,
    job: Job,
    renewed: Option<Instant>,
}

impl Leader {
    pub(crate) fn new(leases: Arc<dyn Leases>, job: Job) -> Self {
        Self { leases, job, renewed: None }
    }

    /// Whether the job is this process's. While the store fails, it is no process's.
    pub(crate) async fn leads(&mut self) -> bool {
        if self.renewed.is_some_and(|renewed| renewed.elapsed() < RENEWAL) {
            return true;
        }
        self.renewed = match self.leases.hold(self.job, LEASE).await {
            Ok(true) => Some(Instant::now()),
            Ok(false) => None,
            Err(error) => {
                tracing::debug!(%error, job = self.job.as_str(), "who does a job could not be found out");
                None
            }
        };
        self.renewed.is_some()
    }

    /// Waits until the job may have become free.
    pub(crate) async fn follow(&self) {
        sleep(RENEWAL).await;
    }
}

//! That the program is about to stop.

use std::sync::Arc;

use tokio::sync::watch;

/// Tells the readiness check that the program is about to stop, and live streams when it does.
#[derive(Debug, Clone)]
pub struct Draining(Arc<watch::Sender<Stage>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Serving,
    Draining,
    Stopping,
}

impl Default for Draining {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Stage::Serving)))
    }
}

impl Draining {
    /// From now on the program is not ready for new work.
    pub fn begin(&self) {
        self.0.send_replace(Stage::Draining);
    }

    /// Ends every live stream: the listener is closed, so clients find another instance.
    pub fn end_streams(&self) {
        self.0.send_replace(Stage::Stopping);
    }

    pub(crate) fn has_begun(&self) -> bool {
        *self.0.borrow() >= Stage::Draining
    }

    pub(crate) fn ending(&self) -> Ending {
        Ending(self.0.subscribe())
    }
}

/// When live streams end.
pub(crate) struct Ending(watch::Receiver<Stage>);

impl Ending {
    /// Waits for it.
    pub(crate) async fn wait(&mut self) {
        // Without a sender left, it has come as well.
        let _ = self.0.wait_for(|stage| *stage == Stage::Stopping).await;
    }
}

//! Changes of seats, told within the process.

use std::future::pending;

use async_trait::async_trait;
use domain::SeatChange;
use domain::ports::{Heard, SeatChanges, SeatListener};
use tokio::sync::broadcast::{Receiver, Sender, channel, error::RecvError};

/// Tells changes to the listeners of this process, and to no other.
pub struct MemorySeatChanges {
    told: Sender<SeatChange>,
}

impl MemorySeatChanges {
    /// Changes that a listener may be behind before it has missed some.
    const BEHIND: usize = 1024;

    /// There is no listener yet.
    pub fn new() -> Self {
        Self { told: channel(Self::BEHIND).0 }
    }
}

impl Default for MemorySeatChanges {
    fn default() -> Self {
        Self::new()
    }
}

impl SeatChanges for MemorySeatChanges {
    fn announce(&self, change: SeatChange) {
        // Without listeners there is nothing to do.
        let _ = self.told.send(change);
    }

    fn listen(&self) -> Box<dyn SeatListener> {
        Box::new(Listener(self.told.subscribe()))
    }
}

struct Listener(Receiver<SeatChange>);

#[async_trait]
impl SeatListener for Listener {
    async fn next(&mut self) -> Heard {
        match self.0.recv().await {
            Ok(change) => Heard::Change(change),
            Err(RecvError::Lagged(_)) => Heard::Gap,
            // There is no announcer left.
            Err(RecvError::Closed) => pending().await,
        }
    }
}

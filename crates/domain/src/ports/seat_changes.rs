//! Changes of seats, told to those who watch them.

use async_trait::async_trait;

use crate::SeatChange;

/// Carries changes of seats from the instance that committed them to the listeners on every
/// instance that shares it.
///
/// It is as quick as it can be and promises nothing more: a change may be told late, twice, out of
/// order or not at all. A listener tells old from new by the version, is warned of what may have been
/// missed by [`Heard::Gap`], and cannot do without looking at the store every now and then.
#[cfg_attr(feature = "mock", mockall::automock)]
pub trait SeatChanges: Send + Sync {
    /// Hands a committed change over and returns at once, whatever becomes of it. Where changes come
    /// faster than they can be told, the newest of each event is.
    fn announce(&self, change: SeatChange);

    /// Listens to what is announced from now on.
    fn listen(&self) -> Box<dyn SeatListener>;
}

/// One who listens.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait SeatListener: Send {
    /// Waits for what is heard next. A caller that stops waiting misses nothing.
    async fn next(&mut self) -> Heard;
}

/// What a listener hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// A change, perhaps an older one than was heard before.
    Change(SeatChange),
    /// Changes of any event may have been missed.
    Gap,
}

//! Seats, watched by many at once.
//!
//! Changes come in from [`SeatChanges`], quick but unreliable; the store is looked at every now and
//! then, slow but sure. Both are offered to the watched event, which keeps the newest state and
//! nothing else, and hands it to its watchers no faster than the pace:
//!
//! ```text
//!  SeatChanges ──► hear ──┐                             ┌──► Watch
//!                         ├──► offer: newer? ──► pace ──┼──► Watch
//!  Versions, Events ► look┘    (one state an event)     └──► Watch
//! ```
//!
//! So a watcher who is slow misses states in between and never the last one, and costs no memory for
//! what they miss. An event nobody watches costs nothing at all.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use domain::ports::{Events, Heard, SeatChanges, SeatListener, StoreError, VersionQuestion, Versions};
use domain::{EventId, SeatChange, Version};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until};

/// How often watched events are looked at in the store, however quiet it is.
const LOOK_EVERY: Duration = Duration::from_millis(1_500);

/// Between two states of one event that are handed out: at most ten a second.
const LEAST_PACE: Duration = Duration::from_millis(110);

/// The same with very many watchers: a state has to reach them half a second after its commit.
const GREATEST_PACE: Duration = Duration::from_millis(350);

/// Watchers who can be told at the least pace without keeping a core from selling seats.
const WATCHERS_AT_LEAST_PACE: usize = 1_000;

/// The seats of events, for those who watch them.
pub struct LiveSeats {
    changes: Arc<dyn SeatChanges>,
    events: Arc<dyn Events>,
    versions: Arc<dyn Versions>,
    board: Mutex<Board>,
    /// Somebody watches, where nobody did.
    watched: Notify,
    /// A state waits for its turn, where none did.
    due: Notify,
    /// Changes may have been missed.
    missed: Notify,
}

#[derive(Default)]
struct Board {
    events: HashMap<EventId, Watched>,
    /// When a state that waits is handed out.
    due: BTreeSet<(Instant, EventId)>,
    watchers: usize,
}

struct Watched {
    /// What is known; `None` until somebody has looked.
    newest: Option<Arc<SeatState>>,
    handed_out_at: Option<Instant>,
    due: Option<Instant>,
    hand_out: watch::Sender<Option<Arc<SeatState>>>,
}

/// The state of an event's seats, shared by all who watch it.
#[derive(Debug)]
pub struct SeatState {
    change: SeatChange,
    rendered: OnceLock<Arc<[u8]>>,
}

impl SeatState {
    fn new(change: SeatChange) -> Self {
        Self { change, rendered: OnceLock::new() }
    }

    /// The state.
    pub fn change(&self) -> &SeatChange {
        &self.change
    }

    /// The event's version.
    pub fn version(&self) -> Version {
        self.change.version()
    }

    /// What a protocol makes of it, made once for all who watch.
    pub fn rendered(&self, render: impl FnOnce(&SeatChange) -> Vec<u8>) -> Arc<[u8]> {
        Arc::clone(self.rendered.get_or_init(|| render(&self.change).into()))
    }
}

impl LiveSeats {
    /// Watches the programme in `events`, whose changes are announced to `changes`. Nothing is handed
    /// out but first states until [`LiveSeats::run`] runs.
    pub fn new(changes: Arc<dyn SeatChanges>, events: Arc<dyn Events>, versions: Arc<dyn Versions>) -> Self {
        Self {
            changes,
            events,
            versions,
            board: Mutex::default(),
            watched: Notify::new(),
            due: Notify::new(),
            missed: Notify::new(),
        }
    }

    /// Watches an event from now on; `None` if there is none. The first state is one that was read
    /// after the call.
    pub async fn watch(self: &Arc<Self>, event: EventId) -> Result<Option<Watch>, StoreError> {
        let mut watch = self.enter(event);
        let Some(found) = self.events.find(event).await? else { return Ok(None) };
        watch.first = self.offer(SeatChange::from(&*found));
        let deleted = watch.first.as_ref().is_some_and(|first| matches!(first.change, SeatChange::Deleted { .. }));
        Ok((!deleted).then_some(watch))
    }

    /// Keeps the states of watched events up to date, for as long as it is polled.
    pub async fn run(&self) {
        let listener = self.changes.listen();
        tokio::join!(self.hear(listener), self.look(), self.hand_out());
    }

    async fn hear(&self, mut listener: Box<dyn SeatListener>) {
        loop {
            match listener.next().await {
                Heard::Change(change) => {
                    self.offer(change);
                }
                Heard::Gap => self.missed.notify_one(),
            }
        }
    }

    async fn look(&self) {
        loop {
            if self.board().events.is_empty() {
                self.watched.notified().await;
            }
            tokio::select! {
                () = self.missed.notified() => {}
                () = sleep(LOOK_EVERY) => {}
            }
            if let Err(error) = self.look_once().await {
                tracing::warn!(%error, "watched seats could not be looked at; they are at the next turn");
            }
        }
    }

    /// Offers every watched event what the store has newer: a small query for all of them, and another
    /// for those that have changed.
    async fn look_once(&self) -> Result<(), StoreError> {
        let known: HashMap<_, _> = {
            let board = self.board();
            board.events.iter().map(|(id, event)| (*id, event.newest.as_ref().map(|newest| newest.version()))).collect()
        };
        if known.is_empty() {
            return Ok(());
        }
        let question = VersionQuestion { events: known.keys().copied().collect(), ..VersionQuestion::default() };
        let mut moved = Vec::new();
        for (event, stamp) in self.versions.confirm(&question).await?.events {
            if known.get(&event).is_none_or(|known| *known >= Some(stamp.version)) {
                continue;
            }
            if stamp.deleted {
                self.offer(SeatChange::Deleted { event, version: stamp.version });
            } else {
                moved.push(event);
            }
        }
        if !moved.is_empty() {
            for event in self.events.find_many(&moved).await? {
                self.offer(SeatChange::from(&event));
            }
        }
        Ok(())
    }

    async fn hand_out(&self) {
        loop {
            let next = self.board().due.first().map(|(at, _)| *at);
            match next {
                None => self.due.notified().await,
                Some(at) => {
                    sleep_until(at).await;
                    self.board().hand_out_due(Instant::now());
                }
            }
        }
    }

    fn enter(self: &Arc<Self>, event: EventId) -> Watch {
        let mut board = self.board();
        board.watchers += 1;
        let watched = board.events.entry(event).or_insert_with(|| Watched {
            newest: None,
            handed_out_at: None,
            due: None,
            hand_out: watch::Sender::new(None),
        });
        let states = watched.hand_out.subscribe();
        drop(board);
        self.watched.notify_one();
        Watch { seats: Arc::clone(self), event, first: None, states, told: None }
    }

    fn leave(&self, event: EventId) {
        let mut board = self.board();
        board.watchers -= 1;
        // Whoever leaves still holds the last of the receivers.
        let last = board.events.get(&event).is_some_and(|watched| watched.hand_out.receiver_count() <= 1);
        if last
            && let Some(watched) = board.events.remove(&event)
            && let Some(at) = watched.due
        {
            board.due.remove(&(at, event));
        }
    }

    /// Takes a change in, if it is newer than what is known of a watched event. Answers the newest.
    fn offer(&self, change: SeatChange) -> Option<Arc<SeatState>> {
        let mut board = self.board();
        let pace = pace(board.watchers);
        let Board { events, due, .. } = &mut *board;
        let watched = events.get_mut(&change.event())?;
        if let Some(newest) = &watched.newest
            && newest.version() >= change.version()
        {
            return Some(Arc::clone(newest));
        }
        let state = Arc::new(SeatState::new(change));
        watched.newest = Some(Arc::clone(&state));
        let now = Instant::now();
        let earliest = watched.handed_out_at.map_or(now, |at| at + pace);
        if earliest <= now {
            watched.hand_out(now);
        } else if watched.due.is_none() {
            watched.due = Some(earliest);
            if due.is_empty() {
                self.due.notify_one();
            }
            due.insert((earliest, change.event()));
        }
        Some(state)
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Board {
    fn hand_out_due(&mut self, now: Instant) {
        while let Some((at, event)) = self.due.first().copied()
            && at <= now
        {
            self.due.pop_first();
            if let Some(watched) = self.events.get_mut(&event) {
                watched.hand_out(now);
            }
        }
    }
}

impl Watched {
    fn hand_out(&mut self, now: Instant) {
        self.due = None;
        self.handed_out_at = Some(now);
        self.hand_out.send_replace(self.newest.clone());
    }
}

/// The time between two states of an event, with so many watchers of any event.
fn pace(watchers: usize) -> Duration {
    let crowd = u32::try_from(watchers / WATCHERS_AT_LEAST_PACE).unwrap_or(u32::MAX);
    LEAST_PACE.saturating_mul(crowd.max(1)).min(GREATEST_PACE)
}

/// Somebody who watches an event, until this is dropped.
pub struct Watch {
    seats: Arc<LiveSeats>,
    event: EventId,
    /// What was read when they came, until they are told.
    first: Option<Arc<SeatState>>,
    states: watch::Receiver<Option<Arc<SeatState>>>,
    /// The version of what they were told last.
    told: Option<Version>,
}

impl Watch {
    /// Which event is watched.
    pub fn event(&self) -> EventId {
        self.event
    }

    /// Goes on from a version that was seen before: if it is the present one, it is not told again.
    pub fn resume(&mut self, seen: Version) {
        if self.first.as_ref().is_some_and(|first| first.version() == seen) {
            self.told = Some(seen);
        }
    }

    /// Waits for a state that is newer than the one told last. Whoever stops waiting misses nothing.
    pub async fn next(&mut self) -> Arc<SeatState> {
        loop {
            let newest = self.states.borrow_and_update().clone();
            let first = self.first.take();
            let news = newest.into_iter().chain(first).max_by_key(|state| state.version());
            if let Some(state) = news
                && self.told < Some(state.version())
            {
                self.told = Some(state.version());
                return state;
            }
            if self.states.changed().await.is_err() {
                // The event stays on the board for as long as it is watched.
                std::future::pending::<()>().await;
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.seats.leave(self.event);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use async_trait::async_trait;
    use domain::ports::{EventStamp, MockEvents, MockSeatChanges, MockVersions, VersionAnswer};
    use domain::{Event, EventTitle, SeatSnapshot, Seats, Timestamp, Venue};
    use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
    use tokio::task::JoinHandle;
    use tokio::time::timeout;

    use super::*;

    const NOBODY_ELSE_TELLS: Duration = Duration::from_hours(1);

    /// One event of a thousand seats; each change sells one.
    struct World {
        seats: Arc<LiveSeats>,
        line: UnboundedSender<Heard>,
        version: Arc<AtomicU64>,
        looks: Arc<AtomicU64>,
        running: JoinHandle<()>,
    }

    struct Line(UnboundedReceiver<Heard>);

    #[async_trait]
    impl SeatListener for Line {
        async fn next(&mut self) -> Heard {
            match self.0.recv().await {
                Some(heard) => heard,
                None => std::future::pending().await,
            }
        }
    }

    impl World {
        fn new() -> Self {
            let (line, hears) = unbounded_channel();
            let hears = Mutex::new(Some(hears));
            let mut changes = MockSeatChanges::new();
            changes.expect_listen().times(1).returning(move || Box::new(Line(hears.lock().unwrap().take().unwrap())));
            let (version, looks) = (Arc::new(AtomicU64::new(1)), Arc::new(AtomicU64::new(0)));
            let mut events = MockEvents::new();
            let current = Arc::clone(&version);
            events.expect_find().returning(move |found| {
                let version = current.load(Ordering::SeqCst);
                Ok((found == id() && version < DELETED_AT).then(|| Arc::new(event(version))))
            });
            let current = Arc::clone(&version);
            events.expect_find_many().returning(move |_| Ok(vec![event(current.load(Ordering::SeqCst))]));
            let mut versions = MockVersions::new();
            let (current, looked) = (Arc::clone(&version), Arc::clone(&looks));
            versions.expect_confirm().returning(move |question| {
                assert_eq!(question.events.iter().copied().collect::<Vec<_>>(), [id()]);
                if looked.fetch_add(1, Ordering::SeqCst) == FAILS {
                    return Err(StoreError::unavailable("cut off"));
                }
                let version = current.load(Ordering::SeqCst);
                let stamp = EventStamp { version: Version::new(version), deleted: version >= DELETED_AT };
                Ok(VersionAnswer { events: HashMap::from([(id(), stamp)]), ..VersionAnswer::default() })
            });
            let seats = Arc::new(LiveSeats::new(Arc::new(changes), Arc::new(events), Arc::new(versions)));
            let runs = Arc::clone(&seats);
            let running = tokio::spawn(async move { runs.run().await });
            Self { seats, line, version, looks, running }
        }

        async fn watch(&self) -> Watch {
            self.seats.watch(id()).await.unwrap().unwrap()
        }

        /// A change that nobody is told of.
        fn change(&self) -> SeatChange {
            let version = self.version.fetch_add(1, Ordering::SeqCst) + 1;
            SeatChange::from(&event(version))
        }

        fn tell(&self, change: SeatChange) {
            self.line.send(Heard::Change(change)).unwrap();
        }
    }

    impl Drop for World {
        fn drop(&mut self) {
            self.running.abort();
        }
    }

    /// From this version on the event is deleted.
    const DELETED_AT: u64 = 100_000;

    /// The look that fails.
    const FAILS: u64 = 1;

    fn id() -> EventId {
        EventId::new(1).unwrap()
    }

    fn event(version: u64) -> Event {
        let at = Timestamp::parse("2030-04-01T00:00:00Z").unwrap();
        let sold = u32::try_from(version).unwrap();
        Event {
            id: id(),
            title: EventTitle::parse("Concert").unwrap(),
            description: None,
            starts_at: at,
            venue: Venue::parse("Opera").unwrap(),
            seats: Seats::stored(1_000_000, 1_000_000 - sold).unwrap(),
            created_at: at,
            updated_at: at,
            deleted_at: None,
            version: Version::new(version),
        }
    }

    async fn told(watch: &mut Watch) -> u64 {
        watch.next().await.version().get()
    }

    async fn is_told_nothing(watch: &mut Watch) -> bool {
        timeout(Duration::from_millis(1), watch.next()).await.is_err()
    }

    #[tokio::test(start_paused = true)]
    async fn a_watcher_is_told_the_present_state_and_then_every_newer_one() {
        let world = World::new();
        let mut watch = world.watch().await;
        let first = watch.next().await;
        assert_eq!(*first.change(), SeatChange::Moved(SeatSnapshot::from(&event(1))));
        assert!(is_told_nothing(&mut watch).await);
        let (older, newer) = (world.change(), world.change());
        world.tell(newer);
        assert_eq!(told(&mut watch).await, 3);
        world.tell(older);
        world.tell(newer);
        assert!(timeout(Duration::from_millis(500), watch.next()).await.is_err(), "versions only grow");
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_that_is_not_there_cannot_be_watched() {
        let world = World::new();
        assert!(world.seats.watch(EventId::new(2).unwrap()).await.unwrap().is_none());
        world.version.store(DELETED_AT, Ordering::SeqCst);
        assert!(world.seats.watch(id()).await.unwrap().is_none());
        assert!(world.seats.board().events.is_empty(), "they leave nothing behind");
    }

    #[tokio::test(start_paused = true)]
    async fn states_are_handed_out_ten_times_a_second_at_most_and_the_last_one_always() {
        let world = World::new();
        let mut watch = world.watch().await;
        assert_eq!(told(&mut watch).await, 1);
        let begun = Instant::now();
        let mut states = Vec::new();
        for _ in 0..1_000 {
            world.tell(world.change());
            if let Ok(version) = timeout(Duration::from_millis(1), told(&mut watch)).await {
                states.push(version);
            }
        }
        while *states.last().unwrap() < 1_001 {
            states.push(told(&mut watch).await);
        }
        let seconds = begun.elapsed().as_secs_f64();
        let most = seconds * 10.0 + 1.0;
        assert!(states.len() >= 5, "{states:?}");
        assert!(states.iter().map(|_| 1.0).sum::<f64>() <= most, "{} states in {seconds} s", states.len());
        assert!(states.is_sorted() && states.last() == Some(&1_001), "{states:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_after_a_quiet_time_is_handed_out_at_once() {
        let world = World::new();
        let mut watch = world.watch().await;
        assert_eq!(told(&mut watch).await, 1);
        for version in 2..5 {
            sleep(LEAST_PACE).await;
            let begun = Instant::now();
            world.tell(world.change());
            assert_eq!(told(&mut watch).await, version);
            assert!(begun.elapsed() < Duration::from_millis(5), "{:?}", begun.elapsed());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_watcher_misses_what_was_in_between_and_never_the_last() {
        let world = World::new();
        let mut watch = world.watch().await;
        assert_eq!(told(&mut watch).await, 1);
        for _ in 0..50 {
            world.tell(world.change());
            sleep(Duration::from_millis(200)).await;
        }
        assert_eq!(told(&mut watch).await, 51);
        assert!(is_told_nothing(&mut watch).await);
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_was_told_of_is_found_by_looking() {
        let world = World::new();
        let mut watch = world.watch().await;
        assert_eq!(told(&mut watch).await, 1);
        for version in 2..8 {
            world.change();
            // One of the looks fails.
            let found = timeout(2 * LOOK_EVERY + GREATEST_PACE, watch.next()).await.unwrap();
            assert_eq!(found.version().get(), version);
        }
        assert!(world.looks.load(Ordering::SeqCst) >= 7);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_gap_the_store_is_looked_at_at_once() {
        let world = World::new();
        let mut watch = world.watch().await;
        assert_eq!(told(&mut watch).await, 1);
        world.change();
        sleep(LEAST_PACE).await;
        let begun = Instant::now();
        world.line.send(Heard::Gap).unwrap();
        assert_eq!(told(&mut watch).await, 2);
        assert!(begun.elapsed() < Duration::from_millis(10));
    }

    #[tokio::test(start_paused = true)]
    async fn a_deletion_is_told_however_it_is_learnt() {
        let world = World::new();
        let (mut told_of_it, mut looked) = (world.watch().await, world.watch().await);
        assert_eq!((told(&mut told_of_it).await, told(&mut looked).await), (1, 1));
        world.version.store(DELETED_AT, Ordering::SeqCst);
        let deletion = SeatChange::Deleted { event: id(), version: Version::new(DELETED_AT) };
        assert_eq!(*looked.next().await.change(), deletion);
        world.tell(deletion);
        assert_eq!(*told_of_it.next().await.change(), deletion);
    }

    #[tokio::test(start_paused = true)]
    async fn while_nobody_watches_nothing_is_looked_at_or_kept() {
        let world = World::new();
        for _ in 0..100 {
            world.tell(world.change());
        }
        sleep(NOBODY_ELSE_TELLS).await;
        assert_eq!(world.looks.load(Ordering::SeqCst), 0);
        let watch = world.watch().await;
        sleep(NOBODY_ELSE_TELLS).await;
        drop(watch);
        sleep(LOOK_EVERY).await;
        let looks = world.looks.load(Ordering::SeqCst);
        assert!((2_000..2_500).contains(&looks), "{looks}");
        world.tell(world.change());
        sleep(NOBODY_ELSE_TELLS).await;
        assert_eq!(world.looks.load(Ordering::SeqCst), looks);
        let board = world.seats.board();
        assert!(board.events.is_empty() && board.due.is_empty() && board.watchers == 0);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_goes_on_from_the_present_version_is_not_told_it_again() {
        let world = World::new();
        let mut current = world.watch().await;
        current.resume(Version::new(1));
        assert!(is_told_nothing(&mut current).await);
        for other in [0, 2, 900] {
            let mut behind = world.watch().await;
            behind.resume(Version::new(other));
            assert_eq!(told(&mut behind).await, 1);
        }
        world.tell(world.change());
        assert_eq!(told(&mut current).await, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_state_is_rendered_once_for_all() {
        let world = World::new();
        let mut watchers = Vec::new();
        for _ in 0..3 {
            watchers.push(world.watch().await);
        }
        world.tell(world.change());
        let rendered = AtomicU64::new(0);
        for watch in &mut watchers {
            let mut state = watch.next().await;
            while state.version().get() < 2 {
                state = watch.next().await;
            }
            let bytes = state.rendered(|_| {
                rendered.fetch_add(1, Ordering::SeqCst);
                b"state".to_vec()
            });
            assert_eq!(&*bytes, b"state");
        }
        assert_eq!(rendered.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_crowd_is_told_less_often_and_in_time() {
        let millis = |watchers| pace(watchers).as_millis();
        assert_eq!([0, 1, 1_999, 2_000, 3_500, 10_000, usize::MAX].map(millis), [110, 110, 110, 220, 330, 350, 350]);
    }
}

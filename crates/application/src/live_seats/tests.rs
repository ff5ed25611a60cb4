//! Watchers, changes and looks at the store, in time that stands still.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use domain::ports::{EventStamp, MockEvents, MockSeatChanges, MockVersions, VersionAnswer};
use domain::sample::{self, event_id, seats};
use domain::{Event, SeatSnapshot, Timeline};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::board::{GREATEST_PACE, LEAST_PACE};
use super::*;

const SILENCE: Duration = Duration::from_hours(1);

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
            Ok((found == event_id(1) && !is_deleted(version)).then(|| Arc::new(event(version))))
        });
        let current = Arc::clone(&version);
        events.expect_find_many().returning(move |_| Ok(vec![event(current.load(Ordering::SeqCst))]));
        let mut versions = MockVersions::new();
        let (current, looked) = (Arc::clone(&version), Arc::clone(&looks));
        versions.expect_confirm().returning(move |question| {
            assert_eq!(question.events.iter().copied().collect::<Vec<_>>(), [event_id(1)]);
            if looked.fetch_add(1, Ordering::SeqCst) == FAILS {
                return Err(StoreError::unavailable("cut off"));
            }
            let version = current.load(Ordering::SeqCst);
            let (deleted, version) = (is_deleted(version), Version::new(version));
            let events = HashMap::from([(event_id(1), EventStamp { version, deleted })]);
            let events = if version.count() == LOST { HashMap::new() } else { events };
            Ok(VersionAnswer { timeline: version.timeline(), events, ..VersionAnswer::default() })
        });
        let seats = Arc::new(LiveSeats::new(Arc::new(changes), Arc::new(events), Arc::new(versions)));
        let runs = Arc::clone(&seats);
        let running = tokio::spawn(async move { runs.run().await });
        Self { seats, line, version, looks, running }
    }

    async fn watch(&self) -> Watch {
        self.seats.watch(event_id(1)).await.unwrap().unwrap()
    }

    /// A change that is not announced.
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

/// At this count there is no such event.
const LOST: u64 = 0;

fn is_deleted(version: u64) -> bool {
    Version::new(version).count() >= DELETED_AT
}

/// The version of the event on the second timeline.
fn promoted(count: u64) -> u64 {
    Version::on(Timeline::new(2).unwrap(), count).unwrap().get()
}

/// The look that fails.
const FAILS: u64 = 1;

fn event(version: u64) -> Event {
    let sold = u32::try_from(Version::new(version).count()).unwrap();
    Event { seats: seats(1_000_000, 1_000_000 - sold), version: Version::new(version), ..sample::event(1) }
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
    assert!(world.seats.watch(event_id(2)).await.unwrap().is_none());
    world.version.store(DELETED_AT, Ordering::SeqCst);
    assert!(world.seats.watch(event_id(1)).await.unwrap().is_none());
    assert!(world.seats.board.watched().events.is_empty(), "they leave nothing behind");
}

#[tokio::test(start_paused = true)]
async fn states_are_sent_ten_times_a_second_at_most_and_the_last_one_always() {
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
async fn a_slow_watcher_skips_states_but_never_the_last() {
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
async fn a_change_without_a_message_is_found_by_polling() {
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
    let deletion = SeatChange::Deleted { event: event_id(1), version: Version::new(DELETED_AT) };
    assert_eq!(*looked.next().await.change(), deletion);
    world.tell(deletion);
    assert_eq!(*told_of_it.next().await.change(), deletion);
}

#[tokio::test(start_paused = true)]
async fn a_promoted_standby_is_believed_although_it_counts_less() {
    let world = World::new();
    let mut watch = world.watch().await;
    for _ in 0..3 {
        world.change();
    }
    let lost = world.change();
    world.tell(lost);
    while told(&mut watch).await < lost.version().get() {}
    world.version.store(promoted(2), Ordering::SeqCst);
    assert_eq!(told(&mut watch).await, promoted(2), "it is found by looking");
    world.tell(lost);
    world.tell(SeatChange::from(&event(7)));
    assert!(is_told_nothing(&mut watch).await, "an instance at the old primary is not heard");
    world.tell(SeatChange::from(&event(promoted(3))));
    assert_eq!(told(&mut watch).await, promoted(3));
}

#[tokio::test(start_paused = true)]
async fn an_old_primary_is_not_heard_of_an_event_not_looked_at_since() {
    let world = World::new();
    let mut watch = world.watch().await;
    assert_eq!(told(&mut watch).await, 1);
    let elsewhere = SeatSnapshot { event: event_id(2), ..SeatSnapshot::from(&event(promoted(1))) };
    world.tell(SeatChange::Moved(elsewhere));
    world.tell(SeatChange::from(&event(7)));
    assert!(is_told_nothing(&mut watch).await);
    assert!(matches!(world.seats.watch(event_id(1)).await, Err(StoreError::Unavailable(_))), "the old one was asked");
}

#[tokio::test(start_paused = true)]
async fn an_event_that_was_lost_with_its_timeline_is_told_as_deleted() {
    let world = World::new();
    let mut watch = world.watch().await;
    assert_eq!(told(&mut watch).await, 1);
    world.version.store(promoted(LOST), Ordering::SeqCst);
    let gone = SeatChange::Deleted { event: event_id(1), version: Version::new(promoted(LOST)) };
    assert_eq!(*watch.next().await.change(), gone);
}

#[tokio::test(start_paused = true)]
async fn without_watchers_nothing_is_polled_or_kept() {
    let world = World::new();
    for _ in 0..100 {
        world.tell(world.change());
    }
    sleep(SILENCE).await;
    assert_eq!(world.looks.load(Ordering::SeqCst), 0);
    let watch = world.watch().await;
    sleep(SILENCE).await;
    drop(watch);
    sleep(LOOK_EVERY).await;
    let looks = world.looks.load(Ordering::SeqCst);
    assert!((2_000..2_500).contains(&looks), "{looks}");
    world.tell(world.change());
    sleep(SILENCE).await;
    assert_eq!(world.looks.load(Ordering::SeqCst), looks);
    let board = world.seats.board.watched();
    assert!(board.events.is_empty() && board.due.is_empty() && board.watchers == 0);
}

#[tokio::test(start_paused = true)]
async fn a_watcher_that_resumes_at_the_present_version_is_not_sent_it_again() {
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

//! Who booked what, with a cache before it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use domain::ports::{RegistrationFilter, Registrations, StoreError, VersionQuestion};
use domain::{EventId, Page, PageRequest, RegistrationWithEvent, RegistrationWithUser, UserId, Version};

use crate::cache::Outcome;
use crate::shared_reads::SharedReads;
use crate::{Cache, Key, Snapshot};

/// [`Registrations`] that keeps the newest of each user; everything else passes through.
pub struct CachedRegistrations {
    inner: Arc<dyn Registrations>,
    cache: Arc<Cache>,
    loads: SharedReads<Key, Option<Version>, Result<Arc<Snapshot>, StoreError>>,
}

/// What is kept: a first page of this size, of every status. It answers every smaller first page.
const NEWEST: PageRequest = PageRequest { number: 1, size: 100 };

impl CachedRegistrations {
    /// `inner`, with `cache` before it.
    pub fn new(inner: Arc<dyn Registrations>, cache: Arc<Cache>) -> Self {
        let loads = {
            let (inner, keeper) = (Arc::clone(&inner), Arc::clone(&cache));
            cache.loads(move |key, labels: Vec<Option<Version>>| {
                let (inner, keeper) = (Arc::clone(&inner), Arc::clone(&keeper));
                async move {
                    let Key::Registrations(user) = key else { return Err(wrong_kind()) };
                    let page = inner.of_user(user, RegistrationFilter::default(), NEWEST).await?;
                    // All of them were confirmed before this load began, so the newest may be the label.
                    let version = labels.into_iter().flatten().max();
                    let body = Arc::new(Snapshot::Registrations { version, page });
                    keeper.keep(&key, &body).await;
                    Ok(body)
                }
            })
        };
        Self { inner, cache, loads }
    }

    /// The newest registrations of a user as they are at present.
    async fn newest(&self, user: UserId) -> Result<Arc<Snapshot>, StoreError> {
        let (key, arrived) = (Key::Registrations(user), Instant::now());
        if let Some(body) = self.cache.trusted(&key, arrived) {
            self.cache.count(&key, Outcome::Hit);
            return Ok(body);
        }
        let kept = self.cache.body(&key).await;
        let events = kept.as_deref().and_then(parts).map(|(_, page)| ids(page)).unwrap_or_default();
        let question = VersionQuestion { events, attendees: BTreeSet::from([user]), ..VersionQuestion::default() };
        let present = self.cache.confirm(question).await?;
        let version = present.attendees.get(&user).copied();
        if let Some(body) = kept
            && let Some((label, page)) = parts(&body)
            && label == version
            && page.rows.iter().all(|booking| {
                present.events.get(&booking.event.id).is_some_and(|at| at.version == booking.event.version)
            })
        {
            self.cache.answered(&key, &body, arrived, Outcome::Hit);
            return Ok(body);
        }
        let body = self.loads.ask(key.clone(), version).await??;
        self.cache.answered(&key, &body, arrived, Outcome::Miss);
        Ok(body)
    }
}

#[async_trait]
impl Registrations for CachedRegistrations {
    async fn of_event(
        &self,
        event: EventId,
        filter: RegistrationFilter,
        page: PageRequest,
    ) -> Result<Option<Page<RegistrationWithUser>>, StoreError> {
        self.inner.of_event(event, filter, page).await
    }

    async fn of_user(
        &self,
        user: UserId,
        filter: RegistrationFilter,
        page: PageRequest,
    ) -> Result<Page<RegistrationWithEvent>, StoreError> {
        if filter.status.is_some() || page.number != NEWEST.number || page.size > NEWEST.size {
            return self.inner.of_user(user, filter, page).await;
        }
        let body = self.newest(user).await?;
        let (_, newest) = parts(&body).ok_or_else(wrong_kind)?;
        let rows = newest.rows.iter().take(page.size as usize).cloned().collect();
        Ok(Page { rows, total: newest.total })
    }
}

fn parts(body: &Snapshot) -> Option<(Option<Version>, &Page<RegistrationWithEvent>)> {
    match body {
        Snapshot::Registrations { version, page } => Some((*version, page)),
        _ => None,
    }
}

fn ids(page: &Page<RegistrationWithEvent>) -> BTreeSet<EventId> {
    page.rows.iter().map(|booking| booking.event.id).collect()
}

fn wrong_kind() -> StoreError {
    StoreError::fault("a body of another kind than its key's")
}

#[cfg(test)]
mod tests {
    use domain::RegistrationStatus;
    use domain::ports::MockRegistrations;
    use domain::sample::{event_id, user_id};

    use super::*;
    use crate::CacheOptions;
    use crate::bodies::sample::Shelf;
    use crate::world::{World, page_of};

    fn setting() -> (Arc<World>, Arc<Shelf>, Arc<CachedRegistrations>) {
        let (world, shelf) = (Arc::new(World::new(200)), Arc::new(Shelf::default()));
        let cache = Cache::new(world.clone(), shelf.clone(), CacheOptions::default());
        let registrations = Arc::new(CachedRegistrations::new(world.clone(), cache));
        (world, shelf, registrations)
    }

    fn all() -> RegistrationFilter {
        RegistrationFilter::default()
    }

    #[tokio::test]
    async fn every_small_first_page_is_answered_from_the_newest_hundred() {
        let (world, _, registrations) = setting();
        for event in 1..=130 {
            world.book(event, 9);
        }
        for size in [100, 1, 10, 99] {
            let page = registrations.of_user(user_id(9), all(), page_of(size)).await.unwrap();
            assert_eq!(page, world.bookings(9, size as usize));
            assert_eq!((page.rows.len(), page.total), (size as usize, 130));
        }
        assert_eq!(world.count("of_user"), 1);
    }

    #[tokio::test]
    async fn a_user_without_registrations_has_a_body_too() {
        let (world, _, registrations) = setting();
        for _ in 0..2 {
            let page = registrations.of_user(user_id(9), all(), page_of(10)).await.unwrap();
            assert_eq!(page, Page { rows: Vec::new(), total: 0 });
        }
        assert_eq!(world.count("of_user"), 1);
        world.book(3, 9);
        assert_eq!(registrations.of_user(user_id(9), all(), page_of(10)).await.unwrap(), world.bookings(9, 10));
    }

    #[tokio::test]
    async fn a_change_of_a_registration_or_of_its_event_is_seen_at_once() {
        let (world, _, registrations) = setting();
        let changes: [fn(&World); 5] = [
            |world| world.book(3, 9),
            |world| world.book(4, 9),
            |world| world.cancel(3, 9),
            |world| world.book(4, 8),
            |world| world.delete(4),
        ];
        for change in changes {
            change(&world);
            assert_eq!(registrations.of_user(user_id(9), all(), page_of(10)).await.unwrap(), world.bookings(9, 10));
        }
        assert_eq!(world.count("of_user"), 5);
        world.book(5, 8);
        registrations.of_user(user_id(9), all(), page_of(10)).await.unwrap();
        assert_eq!(world.count("of_user"), 5, "what does not concern the user loads nothing");
    }

    #[tokio::test]
    async fn a_registration_of_a_lost_timeline_is_not_answered() {
        let (world, _, registrations) = setting();
        world.book(3, 9);
        let standby = world.copied();
        world.cancel(3, 9);
        registrations.of_user(user_id(9), all(), page_of(10)).await.unwrap();
        world.promote(standby);
        world.book(4, 9);
        world.cancel(4, 9);
        world.book(4, 9);
        assert_eq!(registrations.of_user(user_id(9), all(), page_of(10)).await.unwrap(), world.bookings(9, 10));
        let standby = world.copied();
        world.book(5, 8);
        registrations.of_user(user_id(8), all(), page_of(10)).await.unwrap();
        world.promote(standby);
        assert_eq!(registrations.of_user(user_id(8), all(), page_of(10)).await.unwrap().total, 0);
        world.book(6, 8);
        assert_eq!(registrations.of_user(user_id(8), all(), page_of(10)).await.unwrap(), world.bookings(8, 10));
    }

    #[tokio::test]
    async fn a_load_that_began_before_a_booking_is_not_answered_after_it() {
        let (world, _, registrations) = setting();
        let load = world.hold("of_user");
        let read = |registrations: &Arc<CachedRegistrations>| {
            let registrations = Arc::clone(registrations);
            tokio::spawn(async move { registrations.of_user(user_id(9), all(), page_of(10)).await })
        };
        let early = read(&registrations);
        load.reached.await.unwrap();
        world.book(3, 9);
        let late = read(&registrations);
        while registrations.loads.waiting(&Key::Registrations(user_id(9))) == 0 {
            tokio::task::yield_now().await;
        }
        load.proceed.send(()).unwrap();
        assert_eq!(early.await.unwrap().unwrap().total, 0);
        assert_eq!(late.await.unwrap().unwrap(), world.bookings(9, 10));
        assert_eq!(registrations.of_user(user_id(9), all(), page_of(10)).await.unwrap(), world.bookings(9, 10));
    }

    #[tokio::test]
    async fn other_pages_and_the_lists_of_events_pass_through() {
        let mut inner = MockRegistrations::new();
        inner.expect_of_user().times(3).returning(|_, _, _| Ok(Page { rows: Vec::new(), total: 7 }));
        inner.expect_of_event().times(1).returning(|_, _, _| Ok(None));
        let (world, shelf) = (Arc::new(World::new(1)), Arc::new(Shelf::default()));
        let cache = Cache::new(world.clone(), shelf.clone(), CacheOptions::default());
        let registrations = CachedRegistrations::new(Arc::new(inner), cache);
        let confirmed = RegistrationFilter { status: Some(RegistrationStatus::Confirmed) };
        for (filter, page) in [
            (confirmed, page_of(10)),
            (all(), PageRequest { number: 2, size: 10 }),
            (all(), PageRequest { number: 1, size: 101 }),
        ] {
            assert_eq!(registrations.of_user(user_id(9), filter, page).await.unwrap().total, 7);
        }
        assert!(registrations.of_event(event_id(1), all(), page_of(10)).await.unwrap().is_none());
        assert_eq!((world.count("confirm"), shelf.gets(), shelf.len()), (0, 0, 0));
    }

    #[tokio::test]
    async fn a_store_that_does_not_confirm_is_an_error() {
        let (world, _, registrations) = setting();
        registrations.of_user(user_id(9), all(), page_of(10)).await.unwrap();
        world.cut_off(true);
        let answer = registrations.of_user(user_id(9), all(), page_of(10)).await;
        assert!(matches!(answer, Err(StoreError::Unavailable(_))));
    }
}

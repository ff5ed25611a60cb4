//! What tells people and the broker of facts: queued as facts are projected, and taken by one process.

use std::sync::Arc;
use std::time::Duration;

use domain::ports::{
    AfterMail, DueMail, FactLag, History, HistoryFilter, Job, Leases, MailAttempt, Mails, Position, ProfilePatch,
    Unpublished, Untold, Users,
};
use domain::{Command, EventId, EventPatch, FactType, MailKind, UserId, Venue};

use crate::harness::store::Store;

on_both_databases!(
    a_booking_and_a_cancellation_are_mailed_as_they_were,
    an_event_that_moves_is_mailed_to_whoever_has_a_seat,
    a_deleted_event_is_one_mail_to_each_holder,
    a_user_who_wants_no_mail_gets_none,
    a_mail_that_failed_is_due_again_when_it_says,
    a_store_without_mail_queues_none,
    people_are_reminded_once_of_an_event,
    the_broker_is_told_what_happens_from_its_first_day_on,
    a_job_belongs_to_one_process,
    what_was_not_told_is_known_by_its_age,
);

async fn a_booking_and_a_cancellation_are_mailed_as_they_were(store: Arc<Store>) {
    let (event, user) = (with_mail(&store).await, store.user().await);
    store.book(user.id, event).await.unwrap();
    store.cancel(user.id, event).await.unwrap();
    let mails = due(&store).await;
    assert_eq!(kinds(&mails), [MailKind::SeatConfirmed, MailKind::SeatCancelled]);
    let told = &mails[0].mail;
    assert_eq!((&told.to, &told.name), (&user.email, &user.name));
    assert_eq!((told.event.id, told.event.seats.available()), (event, 9), "the event as it was then");
    assert_ne!(mails[0].mail.id, mails[1].mail.id);
    assert!(due(&store).await.is_empty(), "what was taken is not due again at once");
    store.clock.advance_secs(61);
    assert_eq!(due(&store).await.len(), 2, "it is, if it was not settled within a minute");
    settle(&store, &mails, &AfterMail::Sent).await;
    store.clock.advance_secs(61);
    assert!(due(&store).await.is_empty());
}

async fn an_event_that_moves_is_mailed_to_whoever_has_a_seat(store: Arc<Store>) {
    let event = with_mail(&store).await;
    let users = store.users(3).await;
    for user in &users {
        store.book(*user, event).await.unwrap();
    }
    store.cancel(users[2], event).await.unwrap();
    settle(&store, &due(&store).await, &AfterMail::Sent).await;
    let patch = EventPatch { venue: Venue::parse("Arena").ok(), ..EventPatch::default() };
    store.update(event, patch).await.unwrap();
    let mails = due(&store).await;
    assert_eq!(kinds(&mails), [MailKind::EventMoved; 2]);
    assert_eq!(recipients(&mails), users[..2]);
    assert!(mails.iter().all(|mail| mail.mail.event.venue.as_str() == "Arena"));
    let patch = EventPatch { description: Some(None), ..EventPatch::default() };
    store.update(event, patch).await.unwrap();
    assert!(due(&store).await.is_empty(), "another text moves no event");
}

async fn a_deleted_event_is_one_mail_to_each_holder(store: Arc<Store>) {
    let event = with_mail(&store).await;
    let users = store.users(3).await;
    for user in &users {
        store.book(*user, event).await.unwrap();
    }
    settle(&store, &due(&store).await, &AfterMail::Sent).await;
    store.delete(event).await;
    let mails = due(&store).await;
    assert_eq!((kinds(&mails), recipients(&mails)), (vec![MailKind::EventDeleted; 3], users));
}

async fn a_user_who_wants_no_mail_gets_none(store: Arc<Store>) {
    let (event, user) = (with_mail(&store).await, store.user().await.id);
    store.book(user, event).await.unwrap();
    let want = async |notifications| {
        let what = ProfilePatch { notifications: Some(notifications), ..ProfilePatch::default() };
        Users::update(store.sql(), Command { by: user, once: None, what }).await.unwrap();
    };
    want(false).await;
    assert!(due(&store).await.is_empty());
    want(true).await;
    store.clock.advance_secs(61);
    assert!(due(&store).await.is_empty(), "it is not sent later either");
}

async fn a_mail_that_failed_is_due_again_when_it_says(store: Arc<Store>) {
    let (event, user) = (with_mail(&store).await, store.user().await.id);
    store.book(user, event).await.unwrap();
    let mails = due(&store).await;
    let later = store.now().plus_secs(600);
    settle(&store, &mails, &AfterMail::Retry(later, "451 not now".to_owned())).await;
    store.clock.advance_secs(599);
    assert!(due(&store).await.is_empty());
    store.clock.advance_secs(1);
    let again = due(&store).await;
    assert_eq!((again[0].attempts, &again[0].mail), (1, &mails[0].mail));
    settle(&store, &again, &AfterMail::Failed("550 no such user".to_owned())).await;
    store.clock.advance_secs(7 * 86_400);
    assert!(due(&store).await.is_empty());
}

async fn a_store_without_mail_queues_none(store: Arc<Store>) {
    let event = store.event(10).await.id;
    store.book(store.user().await.id, event).await.unwrap();
    projected(&store).await;
    store.sql().queue_mail();
    assert!(due(&store).await.is_empty());
}

async fn people_are_reminded_once_of_an_event(store: Arc<Store>) {
    const DAY: u32 = 86_400;
    let event = with_mail(&store).await;
    let [early, gone, late] = store.users(3).await[..] else { unreachable!() };
    let remind = async || store.sql().remind(DAY).await.unwrap();
    for user in [early, gone] {
        store.book(user, event).await.unwrap();
    }
    store.cancel(gone, event).await.unwrap();
    settle(&store, &due(&store).await, &AfterMail::Sent).await;
    assert_eq!(remind().await, 0);
    store.clock.advance_secs(29 * DAY - 60);
    assert_eq!(remind().await, 0);
    store.clock.advance_secs(60);
    assert_eq!(remind().await, 1);
    let mails = due(&store).await;
    assert_eq!((kinds(&mails), recipients(&mails)), (vec![MailKind::Reminder], vec![early]));
    store.book(late, event).await.unwrap();
    store.clock.advance_secs(60);
    assert_eq!(remind().await, 0, "nobody twice, and nobody who booked later");
}

async fn the_broker_is_told_what_happens_from_its_first_day_on(store: Arc<Store>) {
    let event = store.event(10).await.id;
    projected(&store).await;
    let next = async |limit| store.sql().next(limit).await.unwrap();
    assert!(next(10).await.facts.is_empty(), "nothing from before");
    let users = store.users(2).await;
    for user in users {
        store.book(user, event).await.unwrap();
    }
    projected(&store).await;
    let page = next(3).await;
    let types = |facts: &[domain::Fact]| facts.iter().map(|fact| fact.kind).collect::<Vec<_>>();
    let (created, confirmed) = (FactType::UserCreated, FactType::RegistrationConfirmed);
    assert_eq!(types(&page.facts), [created, created, confirmed]);
    assert_eq!(next(3).await, page, "until it is said to be published");
    store.sql().published(page.next).await.unwrap();
    let rest = next(3).await;
    assert_eq!(types(&rest.facts), [confirmed]);
    store.sql().published(rest.next).await.unwrap();
    store.sql().published(page.next).await.unwrap();
    assert!(next(3).await.facts.is_empty(), "it never goes back");
}

/// A `SQLite` file has one process, to which every job belongs.
async fn a_job_belongs_to_one_process(store: Arc<Store>) {
    let minute = Duration::from_mins(1);
    for job in [Job::Webhooks, Job::Broker, Job::Mail] {
        for _ in 0..2 {
            assert!(store.sql().hold(job, minute).await.unwrap());
        }
    }
    if store.sql().engine() == "sqlite" {
        return;
    }
    let other = store.another().await;
    assert!(!other.hold(Job::Mail, minute).await.unwrap());
    store.sql().release_all().await.unwrap();
    assert!(other.hold(Job::Mail, Duration::ZERO).await.unwrap(), "it was let go");
    assert!(store.sql().hold(Job::Mail, minute).await.unwrap(), "the lease of the other has ended");
    assert!(!other.hold(Job::Mail, minute).await.unwrap());
    assert!(other.hold(Job::Broker, minute).await.unwrap(), "each job is on its own");
}

async fn what_was_not_told_is_known_by_its_age(store: Arc<Store>) {
    let (event, user) = (with_mail(&store).await, store.user().await.id);
    projected(&store).await;
    store.sql().next(1).await.unwrap();
    let untold = async || store.sql().oldest_untold().await.unwrap();
    assert_eq!(untold().await, Untold::default());
    let booked = store.now();
    store.book(user, event).await.unwrap();
    store.clock.advance_secs(60);
    let all = Untold { webhook: Some(booked), broker: Some(booked), mail: Some(booked) };
    assert_eq!(untold().await, all, "nothing of it is in the history");
    projected(&store).await;
    let queued = store.now();
    assert_eq!(untold().await, Untold { webhook: None, broker: Some(booked), mail: Some(queued) });
    store.sql().published(store.sql().next(1).await.unwrap().next).await.unwrap();
    let mails = due(&store).await;
    assert_eq!(untold().await, Untold { mail: Some(queued), ..Untold::default() }, "it was taken, and not tried");
    settle(&store, &mails, &AfterMail::Retry(store.now(), "451 not now".to_owned())).await;
    assert_eq!(untold().await, Untold::default(), "what fails is told");
}

/// An event of a store that tells people of it.
async fn with_mail(store: &Store) -> EventId {
    store.sql().queue_mail();
    store.event(10).await.id
}

async fn projected(store: &Store) {
    History::page(store.sql(), &HistoryFilter::default(), Position::START, 1).await.unwrap();
}

async fn due(store: &Store) -> Vec<DueMail> {
    projected(store).await;
    store.sql().claim(100).await.unwrap()
}

async fn settle(store: &Store, mails: &[DueMail], next: &AfterMail) {
    let attempts = mails.iter().map(|mail| MailAttempt { mail: mail.id, next: next.clone() }).collect();
    Mails::settle(store.sql(), attempts).await.unwrap();
}

fn kinds(mails: &[DueMail]) -> Vec<MailKind> {
    mails.iter().map(|mail| mail.mail.kind).collect()
}

fn recipients(mails: &[DueMail]) -> Vec<UserId> {
    mails.iter().map(|mail| mail.user).collect()
}

//! What happened: written down with each change, and read in the order of the commits.

use std::collections::HashSet;
use std::sync::Arc;

use domain::FactType::{EventCreated, EventDeleted, RegistrationCancelled, RegistrationConfirmed, UserCreated};
use domain::ports::{History, HistoryError, HistoryFilter, HistoryPage, Outbox, Position, ProfilePatch, Users};
use domain::{
    Command, Description, EventDraft, EventId, EventPatch, EventTitle, Fact, FactType, PersonName, Timestamp, UserId,
};
use serde_json::{Value, json};

use crate::harness::all_at_once;
use crate::harness::store::Store;

on_both_databases!(
    every_change_leaves_one_fact_with_the_state_after_it,
    a_refused_or_empty_change_leaves_no_fact,
    a_deleted_event_leaves_a_fact_for_each_registration,
    following_the_cursor_shows_every_fact_once_while_others_write,
    a_user_is_shown_what_is_about_them_and_what_they_did,
    filters_keep_the_facts_that_match_all_of_them,
    a_cursor_expires_with_the_facts_after_it,
    a_long_description_is_cut_in_a_fact,
);

async fn every_change_leaves_one_fact_with_the_state_after_it(store: Arc<Store>) {
    let event = store.event(2).await;
    let user = store.user().await;
    let booked = store.book(user.id, event.id).await.unwrap();
    store.cancel(user.id, event.id).await.unwrap();
    rename(&store, event.id, "Recital").await;
    let patch = ProfilePatch { name: PersonName::parse("Grace").ok(), email: None, notifications: None };
    Users::update(store.sql(), Command { by: user.id, once: None, what: patch }).await.unwrap();

    let facts: Vec<_> = all(&store).await.iter().map(Told::of).collect();
    let of = |kind: &str| facts.iter().find(|fact| fact.kind == kind).unwrap_or_else(|| panic!("no {kind}"));
    let kinds: Vec<_> = facts.iter().map(|fact| fact.kind.as_str()).collect();
    let expected = [
        "user.created",
        "event.created",
        "user.created",
        "registration.confirmed",
        "registration.cancelled",
        "event.updated",
        "user.updated",
    ];
    assert_eq!(kinds, expected);

    let confirmed = &of("registration.confirmed").body;
    assert_eq!(confirmed["specversion"], "1.0");
    assert_eq!(confirmed["source"], format!("boxoffice/{}", store.sql().database_id().await.unwrap()));
    assert_eq!(confirmed["subject"], format!("events/{}", event.id));
    assert_eq!(confirmed["sequence"], event.version.next().get().to_string());
    assert_eq!(confirmed["time"], store.now().to_string());
    let data = &confirmed["data"];
    assert_eq!(
        data["registration"],
        json!({
            "id": booked.id.get(),
            "user_id": user.id.get(),
            "event_id": event.id.get(),
            "status": "confirmed",
            "registration_date": booked.registered_at.to_string(),
            "created_at": booked.created_at.to_string(),
        })
    );
    assert_eq!((&data["event"]["title"], &data["event"]["available_seats"]), (&json!("Concert"), &json!(1)));
    assert_eq!((&data["user"], &data["by"]), (&json!({ "id": user.id.get() }), &json!(user.id.get())));

    let cancelled = &of("registration.cancelled").body["data"];
    assert_eq!((&cancelled["cause"], &cancelled["event"]["available_seats"]), (&json!("holder"), &json!(2)));
    assert_eq!(of("event.updated").body["data"]["event"]["title"], "Recital");
    let updated = &of("user.updated").body;
    assert_eq!(updated["data"], json!({ "user": { "id": user.id.get() }, "by": user.id.get() }));
    assert_eq!((&updated["subject"], updated.get("sequence")), (&json!(format!("users/{}", user.id)), None));
    let text = facts.iter().map(|fact| fact.body.to_string()).collect::<String>();
    assert!(!text.contains("Grace") && !text.contains('@'), "a fact has no name and no address");
    let ids: HashSet<_> = facts.iter().map(|fact| fact.body["id"].to_string()).collect();
    assert_eq!(ids.len(), facts.len());
}

async fn a_refused_or_empty_change_leaves_no_fact(store: Arc<Store>) {
    let event = store.event(1).await;
    let [holder, user] = store.users(2).await[..] else { unreachable!() };
    store.book(holder, event.id).await.unwrap();
    let before = all(&store).await.len();
    store.book(holder, event.id).await.unwrap_err();
    store.book(user, event.id).await.unwrap_err();
    store.cancel(user, event.id).await.unwrap_err();
    rename(&store, event.id, "Concert").await;
    let patch = ProfilePatch { name: PersonName::parse("Ada").ok(), email: None, notifications: None };
    Users::update(store.sql(), Command { by: user, once: None, what: patch }).await.unwrap();
    assert_eq!(all(&store).await.len(), before);
}

async fn a_deleted_event_leaves_a_fact_for_each_registration(store: Arc<Store>) {
    let event = store.event(450).await;
    let users = store.users(450).await;
    all_at_once(users.iter().map(|user| {
        let (store, user) = (Arc::clone(&store), *user);
        async move { store.book(user, event.id).await.unwrap() }
    }))
    .await;
    store.delete(event.id).await;
    let facts = all(&store).await;
    let told: Vec<_> = facts.iter().filter(|fact| fact.event == Some(event.id)).map(Told::of).collect();
    let (last, cancelled) = told.split_last().unwrap();
    assert_eq!(last.kind, "event.deleted");
    let cancelled: Vec<_> = cancelled.iter().filter(|fact| fact.kind == "registration.cancelled").collect();
    let holders: HashSet<_> = cancelled.iter().map(|fact| fact.body["data"]["user"]["id"].as_u64().unwrap()).collect();
    assert_eq!(holders, users.iter().map(|user| user.get()).collect());
    for fact in &cancelled {
        let data = &fact.body["data"];
        assert_eq!((&data["cause"], &data["registration"]["status"]), (&json!("event_deleted"), &json!("cancelled")));
        assert_eq!(fact.body["sequence"], last.body["sequence"]);
        let at = data["registration"]["registration_date"].as_str().unwrap();
        assert_eq!(Timestamp::parse(at).unwrap().to_string(), at, "instants are written as everywhere");
    }
    let ids: HashSet<_> = facts.iter().map(|fact| fact.id.as_str()).collect();
    assert_eq!(ids.len(), facts.len());
}

async fn following_the_cursor_shows_every_fact_once_while_others_write(store: Arc<Store>) {
    const EVENTS: usize = 4;
    const USERS: usize = 40;
    let mut events = Vec::new();
    for _ in 0..EVENTS {
        events.push(store.event(100).await.id);
    }
    let users = store.users(USERS).await;
    let writers = {
        let (store, events) = (Arc::clone(&store), events.clone());
        tokio::spawn(async move {
            all_at_once(users.into_iter().map(|user| {
                let (store, events) = (Arc::clone(&store), events.clone());
                async move {
                    for event in events {
                        store.book(user, event).await.unwrap();
                        store.cancel(user, event).await.unwrap();
                    }
                }
            }))
            .await;
        })
    };
    let (mut seen, mut after) = (Vec::new(), Position::START);
    let is_moved = |fact: &Fact| fact.kind.as_str().starts_with("registration.");
    while seen.iter().filter(|fact| is_moved(fact)).count() < EVENTS * USERS * 2 {
        let page = page(&store, &HistoryFilter::default(), after, 7).await.unwrap();
        assert!(page.next >= after && page.facts.len() <= 7);
        after = page.next;
        seen.extend(page.facts);
    }
    writers.await.unwrap();
    assert!(page(&store, &HistoryFilter::default(), after, 7).await.unwrap().facts.is_empty());
    let ids: HashSet<_> = seen.iter().map(|fact| fact.id.as_str()).collect();
    assert_eq!(ids.len(), seen.len(), "each once");
    for event in events {
        let versions: Vec<u64> = seen
            .iter()
            .filter(|fact| fact.event == Some(event))
            .map(|fact| Told::of(fact).body["sequence"].as_str().unwrap().parse().unwrap())
            .collect();
        assert_eq!(versions, (1..=versions.len() as u64).collect::<Vec<_>>(), "in the order of the commits");
    }
    let again: Vec<_> = all(&store).await;
    assert_eq!(again, seen);
}

async fn a_user_is_shown_what_is_about_them_and_what_they_did(store: Arc<Store>) {
    let event = store.event(5).await;
    let [ada, bob] = store.users(2).await[..] else { unreachable!() };
    store.book(ada, event.id).await.unwrap();
    store.book(bob, event.id).await.unwrap();
    store.delete(event.id).await;
    let kinds = async |user: UserId| {
        let filter = HistoryFilter { concerns: Some(user), ..HistoryFilter::default() };
        let page = page(&store, &filter, Position::START, 1_000).await.unwrap();
        page.facts.iter().map(|fact| fact.kind).collect::<Vec<_>>()
    };
    assert_eq!(kinds(ada).await, [UserCreated, RegistrationConfirmed, RegistrationCancelled]);
    let admin = store.admin().await;
    let cancelled = [RegistrationCancelled; 2];
    let expected = [[UserCreated, EventCreated].as_slice(), &cancelled, &[EventDeleted]].concat();
    assert_eq!(kinds(admin).await, expected);
}

async fn filters_keep_the_facts_that_match_all_of_them(store: Arc<Store>) {
    let (first, second) = (store.event(5).await, store.event(5).await);
    let [ada, bob] = store.users(2).await[..] else { unreachable!() };
    let begun = store.now();
    for (user, event) in [(ada, first.id), (bob, first.id), (ada, second.id)] {
        store.book(user, event).await.unwrap();
        store.clock.advance_secs(60);
    }
    store.cancel(ada, first.id).await.unwrap();
    let count = async |filter: HistoryFilter| page(&store, &filter, Position::START, 1_000).await.unwrap().facts.len();
    let types = vec![FactType::RegistrationConfirmed];
    let confirmed = HistoryFilter { types, ..HistoryFilter::default() };
    assert_eq!(count(confirmed.clone()).await, 3);
    assert_eq!(count(HistoryFilter { event: Some(first.id), ..confirmed.clone() }).await, 2);
    assert_eq!(count(HistoryFilter { user: Some(ada), ..confirmed.clone() }).await, 2);
    assert_eq!(count(HistoryFilter { by: Some(bob), ..confirmed.clone() }).await, 1);
    let minute = begun.plus_secs(60);
    assert_eq!(count(HistoryFilter { from: Some(minute), ..confirmed.clone() }).await, 2);
    assert_eq!(count(HistoryFilter { to: Some(minute), ..confirmed.clone() }).await, 2);
    assert_eq!(count(HistoryFilter { from: Some(minute), to: Some(minute), ..confirmed }).await, 1);
    let created = HistoryFilter { types: vec![FactType::EventCreated], ..HistoryFilter::default() };
    assert_eq!(count(created).await, 2);
}

async fn a_cursor_expires_with_the_facts_after_it(store: Arc<Store>) {
    let event = store.event(5).await;
    store.user().await;
    let newest = page(&store, &HistoryFilter::default(), Position::START, 1_000).await.unwrap().next;
    let first = page(&store, &HistoryFilter::default(), Position::START, 1).await.unwrap().next;
    store.clock.advance_secs(100 * 86_400);
    store.sql().drop_history(store.now()).await.unwrap();
    let expired = page(&store, &HistoryFilter::default(), first, 10).await;
    assert!(matches!(expired, Err(HistoryError::CursorExpired)), "{expired:?}");
    // Nothing was after the newest cursor, so nothing is lost by going on from it.
    assert!(page(&store, &HistoryFilter::default(), newest, 10).await.unwrap().facts.is_empty());
    assert!(all(&store).await.is_empty());
    rename(&store, event.id, "Recital").await;
    let facts = page(&store, &HistoryFilter::default(), newest, 10).await.unwrap().facts;
    assert_eq!(facts.iter().map(|fact| fact.kind).collect::<Vec<_>>(), [FactType::EventUpdated]);
}

async fn a_long_description_is_cut_in_a_fact(store: Arc<Store>) {
    let text = "é".repeat(4_001);
    store.add_event(EventDraft { description: Description::parse(&text).ok(), ..store.draft("Concert", 5) }).await;
    let facts = all(&store).await;
    let event = &Told::of(facts.last().unwrap()).body["data"]["event"];
    assert_eq!(event["description"].as_str().unwrap().chars().count(), 4_000);
    assert_eq!(event["description_truncated"], true);
    assert!(facts.last().unwrap().body.len() < 20 << 10);
}

struct Told {
    kind: String,
    body: Value,
}

impl Told {
    fn of(fact: &Fact) -> Self {
        let body: Value = serde_json::from_str(&fact.body).unwrap();
        assert_eq!((&body["id"], &body["type"]), (&json!(fact.id.as_str()), &json!(fact.kind.as_str())));
        Self { kind: fact.kind.as_str().to_owned(), body }
    }
}

async fn page(store: &Store, filter: &HistoryFilter, after: Position, limit: u32) -> Result<HistoryPage, HistoryError> {
    History::page(store.sql(), filter, after, limit).await
}

async fn all(store: &Store) -> Vec<Fact> {
    page(store, &HistoryFilter::default(), Position::START, 100_000).await.unwrap().facts
}

async fn rename(store: &Store, event: EventId, title: &str) {
    let patch = EventPatch { title: EventTitle::parse(title).ok(), ..EventPatch::default() };
    store.update(event, patch).await.unwrap();
}

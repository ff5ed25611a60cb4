//! Lists of events: filters, order and pages.

use std::collections::BTreeSet;
use std::sync::Arc;

use domain::event::StartsAt;
use domain::sample::{at, page};
use domain::{EventFilter, EventId, EventOrder, Timestamp, TitleSearch};

use crate::harness::store::Store;

on_every_store!(
    percent_underscore_and_backslash_are_ordinary_characters,
    a_title_is_found_by_any_part_of_it_whatever_the_case_and_script,
    both_ends_of_a_period_are_included_to_the_microsecond,
    only_events_with_a_free_seat_are_listed_if_asked_for,
    each_order_runs_both_ways_and_ties_follow_by_id,
    titles_are_sorted_by_code_point_of_their_folded_form,
    a_list_shows_the_seats_that_are_free_by_now,
    a_list_by_free_seats_follows_every_booking,
    filters_narrow_each_other,
    a_page_past_the_end_is_empty_and_has_the_true_total,
    pages_together_are_the_list,
    a_page_fills_up_when_an_event_before_it_goes,
);

async fn percent_underscore_and_backslash_are_ordinary_characters(store: Arc<Store>) {
    let titles =
        ["100% Jazz", "100 Jazz", "snake_case", "snakeXcase", r"back\slash", "back/slash", "it's \"fine\" ;--"];
    for title in titles {
        store.event_titled(title).await;
    }
    for (search, found) in [
        ("%", vec!["100% Jazz"]),
        ("0% j", vec!["100% Jazz"]),
        ("_", vec!["snake_case"]),
        ("e_c", vec!["snake_case"]),
        (r"\", vec![r"back\slash"]),
        (r"\s", vec![r"back\slash"]),
        ("%%", vec![]),
        (r"\%", vec![]),
        ("' OR '1'='1", vec![]),
        ("it's \"", vec!["it's \"fine\" ;--"]),
        ("*", vec![]),
        ("[0-9]", vec![]),
    ] {
        assert_eq!(titles_found(&store, search).await, found, "{search}");
    }
}

async fn a_title_is_found_by_any_part_of_it_whatever_the_case_and_script(store: Arc<Store>) {
    for title in ["École de danse", "Straße der Musik", "Москва ночью", "Ελληνικός ΧΟΡΟΣ", "東京ジャズ", "İstanbul"]
    {
        store.event_titled(title).await;
    }
    for (search, found) in [
        ("école", "École de danse"),
        ("ÉCOLE", "École de danse"),
        ("E\u{301}COLE", "École de danse"),
        ("DANSE", "École de danse"),
        ("STRASSE", "Straße der Musik"),
        ("strasse", "Straße der Musik"),
        ("straße", "Straße der Musik"),
        ("москва", "Москва ночью"),
        ("НОЧЬЮ", "Москва ночью"),
        ("χορος", "Ελληνικός ΧΟΡΟΣ"),
        ("χορός", ""),
        ("京ジ", "東京ジャズ"),
        ("i\u{307}stanbul", "İstanbul"),
    ] {
        let expected: Vec<&str> = if found.is_empty() { vec![] } else { vec![found] };
        assert_eq!(titles_found(&store, search).await, expected, "{search}");
    }
}

async fn both_ends_of_a_period_are_included_to_the_microsecond(store: Arc<Store>) {
    let starts = [
        "2030-05-01T23:59:59.999999Z",
        "2030-05-02T00:00:00Z",
        "2030-05-02T12:00:00.5Z",
        "2030-05-02T12:00:00.500001Z",
        "2030-05-02T23:59:59.999999Z",
        "2030-05-03T00:00:00Z",
    ];
    let mut ids = Vec::new();
    for start in starts {
        ids.push(event_at(&store, start).await);
    }
    let day = |raw| (Timestamp::parse_from(raw).ok(), Timestamp::parse_to(raw).ok());
    let exact = |raw| (Some(at(raw)), Some(at(raw)));
    for ((from, to), expected) in [
        (day("2030-05-02"), &ids[1..5]),
        (day("2030-05-01"), &ids[..1]),
        (day("2030-05-04"), &[]),
        (exact("2030-05-02T12:00:00.5Z"), &ids[2..3]),
        (exact("2030-05-02T14:00:00.500001+02:00"), &ids[3..4]),
        ((Some(at("2030-05-02T12:00:00.500001Z")), None), &ids[3..]),
        ((None, Some(at("2030-05-02T12:00:00.5Z"))), &ids[..3]),
        ((None, None), &ids[..]),
    ] {
        let filter = EventFilter { from, to, ..EventFilter::default() };
        assert_eq!(listed(&store, &filter).await, expected, "{from:?} to {to:?}");
    }
}

async fn only_events_with_a_free_seat_are_listed_if_asked_for(store: Arc<Store>) {
    let (full, free) = (store.event(1).await.id, store.event(1).await.id);
    let user = store.user().await.id;
    let available = EventFilter { available_only: true, ..EventFilter::default() };
    assert_eq!(listed(&store, &available).await, [full, free]);
    store.book(user, full).await.unwrap();
    assert_eq!(listed(&store, &available).await, [free]);
    assert_eq!(listed(&store, &EventFilter::default()).await, [full, free]);
    store.cancel(user, full).await.unwrap();
    assert_eq!(listed(&store, &available).await, [full, free]);
}

async fn each_order_runs_both_ways_and_ties_follow_by_id(store: Arc<Store>) {
    let mut ids = Vec::new();
    for (title, start, seats) in [
        ("Bach", "2030-05-02T10:00:00Z", 5),
        ("arias", "2030-05-01T10:00:00Z", 7),
        ("BACH", "2030-05-02T10:00:00Z", 5),
        ("Zen", "2030-05-03T10:00:00Z", 1),
    ] {
        let mut draft = store.draft(title, seats);
        draft.starts_at = StartsAt::new(at(start), store.now()).unwrap();
        ids.push(store.add_event(draft).await.id);
    }
    let [bach, arias, bach_again, zen] = ids[..] else { unreachable!() };
    for (order, expected) in [
        ("date", [arias, bach, bach_again, zen]),
        ("-date", [zen, bach, bach_again, arias]),
        ("title", [arias, bach, bach_again, zen]),
        ("-title", [zen, bach, bach_again, arias]),
        ("available_seats", [zen, bach, bach_again, arias]),
        ("-available_seats", [arias, bach, bach_again, zen]),
    ] {
        assert_eq!(listed(&store, &ordered(order)).await, expected, "{order}");
    }
}

async fn titles_are_sorted_by_code_point_of_their_folded_form(store: Arc<Store>) {
    // What a linguistic collation would put elsewhere: punctuation, accents, scripts, spaces.
    let sorted = ["!", "(a)", "10", "9", "_x", "a b", "a-b", "ab", "Z", "~", "Éa", "Ω", "Я", "東", "\u{1F3B6}"];
    let mut expected: Vec<&str> = sorted.to_vec();
    expected.sort_by_key(|title| domain::text::fold(title));
    for title in sorted.iter().rev() {
        store.event_titled(title).await;
    }
    let found: Vec<_> =
        store.listed(&ordered("title")).await.iter().map(|event| event.title.as_str().to_owned()).collect();
    assert_eq!(found, expected);
}

async fn a_list_shows_the_seats_that_are_free_by_now(store: Arc<Store>) {
    let (event, other) = (store.event(10).await.id, store.event(10).await.id);
    let [one, two] = store.users(2).await[..] else { unreachable!() };
    let everything = EventFilter::default();
    let concerts = EventFilter { search: TitleSearch::parse("concert").unwrap(), ..EventFilter::default() };
    store.listed(&everything).await;
    store.listed(&concerts).await;
    for step in 0..4 {
        match step {
            0 => drop(store.book(one, event).await.unwrap()),
            1 => drop(store.book(two, event).await.unwrap()),
            2 => drop(store.book(two, other).await.unwrap()),
            _ => drop(store.cancel(one, event).await.unwrap()),
        }
        let present = [store.found(event).await, store.found(other).await];
        assert_eq!(store.listed(&everything).await, present, "step {step}");
        assert_eq!(store.listed(&concerts).await, present, "step {step}");
        // The body in the cache is confirmed and answered again.
        assert_eq!(store.listed(&everything).await, present, "step {step}, again");
    }
}

async fn a_list_by_free_seats_follows_every_booking(store: Arc<Store>) {
    let (one, other) = (store.event(5).await.id, store.event(5).await.id);
    let most_free_first = ordered("-available_seats");
    assert_eq!(listed(&store, &most_free_first).await, [one, other]);
    let user = store.user().await.id;
    store.book(user, one).await.unwrap();
    assert_eq!(listed(&store, &most_free_first).await, [other, one]);
    store.cancel(user, one).await.unwrap();
    assert_eq!(listed(&store, &most_free_first).await, [one, other]);
}

async fn filters_narrow_each_other(store: Arc<Store>) {
    let mut jazz_in_may = store.draft("Jazz in May", 1);
    jazz_in_may.starts_at = StartsAt::new(at("2030-05-10T20:00:00Z"), store.now()).unwrap();
    let full = store.add_event(jazz_in_may.clone()).await.id;
    let wanted = store.add_event(jazz_in_may).await.id;
    store.event_titled("Jazz before").await;
    let mut opera = store.draft("Opera", 1);
    opera.starts_at = StartsAt::new(at("2030-05-10T20:00:00Z"), store.now()).unwrap();
    store.add_event(opera).await;
    store.book(store.user().await.id, full).await.unwrap();

    let filter = EventFilter {
        search: TitleSearch::parse("jazz").unwrap(),
        from: Timestamp::parse_from("2030-05-10").ok(),
        to: Timestamp::parse_to("2030-05-10").ok(),
        available_only: true,
        order: EventOrder::default(),
    };
    assert_eq!(listed(&store, &filter).await, [wanted]);
}

async fn a_page_past_the_end_is_empty_and_has_the_true_total(store: Arc<Store>) {
    let filter = EventFilter::default();
    let empty = store.events.list(&filter, page(1, 10)).await.unwrap();
    assert_eq!((empty.rows.len(), empty.total), (0, 0));
    for _ in 0..3 {
        store.event(1).await;
    }
    for past in [page(2, 3), page(4, 1), page(1_000_000, 100)] {
        let answer = store.events.list(&filter, past).await.unwrap();
        assert_eq!((answer.rows.len(), answer.total), (0, 3), "{past:?}");
    }
}

async fn pages_together_are_the_list(store: Arc<Store>) {
    for number in 0..7 {
        store.event_titled(&format!("Concert {}", number % 3)).await;
    }
    for order in ["date", "-date", "title", "-title", "available_seats", "-available_seats"] {
        let filter = ordered(order);
        let whole = store.listed(&filter).await;
        let mut pages = Vec::new();
        for number in 1..=4 {
            let part = store.events.list(&filter, page(number, 2)).await.unwrap();
            assert_eq!(part.total, 7);
            assert_eq!(part.rows.len(), if number == 4 { 1 } else { 2 });
            pages.extend(part.rows.iter().cloned());
        }
        assert_eq!(pages, whole, "{order}");
        assert_eq!(whole.iter().map(|event| event.id).collect::<BTreeSet<_>>().len(), 7);
    }
}

async fn a_page_fills_up_when_an_event_before_it_goes(store: Arc<Store>) {
    let mut ids = Vec::new();
    for day in 1..=3 {
        ids.push(event_at(&store, &format!("2030-05-0{day}T10:00:00Z")).await);
    }
    let second = page(2, 1);
    let filter = EventFilter::default();
    assert_eq!(store.events.list(&filter, second).await.unwrap().rows[0].id, ids[1]);
    store.delete(ids[0]).await;
    let after = store.events.list(&filter, second).await.unwrap();
    assert_eq!((after.rows[0].id, after.total), (ids[2], 2));
    let earlier = event_at(&store, "2030-04-01T10:00:00Z").await;
    assert_eq!(store.events.list(&filter, page(1, 1)).await.unwrap().rows[0].id, earlier);
    assert_eq!(store.events.list(&filter, second).await.unwrap().rows[0].id, ids[1]);
}

async fn event_at(store: &Store, start: &str) -> EventId {
    let mut draft = store.draft("Concert", 10);
    draft.starts_at = StartsAt::new(at(start), store.now()).unwrap();
    store.add_event(draft).await.id
}

fn ordered(order: &str) -> EventFilter {
    EventFilter { order: EventOrder::parse(order).unwrap(), ..EventFilter::default() }
}

async fn listed(store: &Store, filter: &EventFilter) -> Vec<EventId> {
    store.listed(filter).await.into_iter().map(|event| event.id).collect()
}

async fn titles_found(store: &Store, search: &str) -> Vec<String> {
    let filter = EventFilter { search: TitleSearch::parse(search).unwrap(), ..EventFilter::default() };
    store.listed(&filter).await.into_iter().map(|event| event.title.as_str().to_owned()).collect()
}

//! Lists: of events, of an event's registrations, of a user's own registrations.

use std::collections::BTreeMap;

use reqwest::Url;
use serde_json::{Value, json};

use crate::harness::server::{Answer, Instance, Person, Site};

/// The answer's `Link` header, each address by its relation.
fn links(answer: &Answer) -> BTreeMap<String, String> {
    let mut links = BTreeMap::new();
    for link in answer.header("link").split(", <") {
        let (address, relation) = link.split_once(">; rel=\"").unwrap_or_else(|| panic!("{link}"));
        let address = address.trim_start_matches('<').to_owned();
        links.insert(relation.trim_end_matches('"').to_owned(), address);
    }
    links
}

/// A path with these parameters, encoded.
fn query(path: &str, parameters: &[(&str, &str)]) -> String {
    let url = Url::parse_with_params(&format!("http://host{path}"), parameters).unwrap();
    format!("{}?{}", url.path(), url.query().unwrap())
}

fn titles(list: &Value) -> Vec<&str> {
    list["data"].as_array().unwrap().iter().map(|event| event["title"].as_str().unwrap()).collect()
}

fn ids(rows: &Value) -> Vec<u64> {
    rows.as_array().unwrap().iter().map(|row| row["id"].as_u64().unwrap()).collect()
}

fn keys(object: &Value) -> Vec<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

/// The titles that a list with these parameters has, in its order.
async fn listed(api: &Instance, parameters: &[(&str, &str)]) -> Vec<String> {
    let list = api.get(&query("/api/events", parameters)).send().await.expect(200).json();
    assert_eq!(list["total"], list["data"].as_array().unwrap().len(), "{parameters:?}");
    titles(&list).into_iter().map(str::to_owned).collect()
}

/// The fields that a list refuses.
async fn refused(api: &Instance, path: &str, person: Option<&Person>) -> Vec<String> {
    let request = api.get(path);
    let request = match person {
        Some(person) => request.by(person),
        None => request,
    };
    let problem = request.send().await.expect_problem(422, "validation_failed");
    problem.wrong_fields().into_iter().map(|(field, _)| field).collect()
}

async fn event_titled(api: &Instance, admin: &Person, title: &str) -> u64 {
    api.create(admin, json!({ "title": title })).await["id"].as_u64().unwrap()
}

const EVENT: [&str; 9] =
    ["available_seats", "created_at", "date", "description", "id", "title", "total_seats", "updated_at", "venue"];
const REGISTRATION: [&str; 6] = ["created_at", "event_id", "id", "registration_date", "status", "user_id"];

on_both_stacks!(
    a_list_of_events_is_a_page_with_its_place_in_the_whole,
    links_lead_through_the_whole_list_with_its_filters,
    a_page_past_the_end_has_no_rows_and_the_true_total,
    every_wrong_parameter_is_named_and_none_is_bent_into_range,
    a_search_finds_a_part_of_the_title_in_any_script_and_case,
    a_search_has_no_magic_characters,
    a_search_has_at_most_a_hundred_characters_and_none_that_control,
    a_bare_day_is_a_whole_one_and_an_instant_is_exact,
    the_first_and_the_last_day_of_the_calendar_are_days_like_others,
    sold_out_events_are_left_out_on_request,
    events_are_sorted_as_asked_and_ties_fall_by_id,
    ones_own_registrations_come_newest_first_with_their_events,
    admins_see_an_events_registrations_newest_first_with_their_users,
    registrations_of_other_users_are_not_shown,
    the_registrations_of_a_deleted_event_are_still_listed,
);

async fn a_list_of_events_is_a_page_with_its_place_in_the_whole(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;

    let empty = api.get("/api/events").send().await.expect(200);
    assert_eq!(empty.json(), json!({ "data": [], "total": 0, "page": 1, "limit": 10 }));
    assert_eq!(
        links(&empty).into_keys().collect::<Vec<_>>(),
        ["first", "last"],
        "an empty list is one page without neighbours"
    );

    for day in 10..22 {
        let (title, date) = (format!("Day {day}"), format!("2031-05-{day}T19:30:00Z"));
        api.create(&admin, json!({ "title": title, "date": date, "description": "Chopin" })).await;
    }
    let first = api.get("/api/events").send().await.expect(200);
    assert_eq!(first.header("content-type"), "application/json");
    let list = first.json();
    assert_eq!(keys(&list), ["data", "limit", "page", "total"]);
    assert_eq!((&list["total"], &list["page"], &list["limit"]), (&json!(12), &json!(1), &json!(10)));
    assert_eq!(list["data"].as_array().unwrap().len(), 10);
    assert_eq!(titles(&list)[..2], ["Day 10", "Day 11"]);
    let event = &list["data"][0];
    assert_eq!(keys(event), EVENT);
    assert_eq!(event["date"], "2031-05-10T19:30:00Z");
    assert_eq!(event["created_at"], "2030-01-15T12:00:00Z");
    assert_eq!(
        links(&first).into_keys().collect::<Vec<_>>(),
        ["first", "last", "next"],
        "nothing stands before the first page"
    );

    let second = api.get(&links(&first)["next"]).send().await.expect(200);
    assert_eq!(titles(&second.json()), ["Day 20", "Day 21"]);
    assert_eq!(second.json()["page"], 2);
    assert_eq!(links(&second).into_keys().collect::<Vec<_>>(), ["first", "last", "prev"]);
    api.stop().await;
}

async fn links_lead_through_the_whole_list_with_its_filters(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;
    let mut wanted = Vec::new();
    for number in 0..5 {
        wanted.push(event_titled(&api, &admin, &format!("Rock & Roll = École? {number}")).await);
        event_titled(&api, &admin, &format!("Something else {number}")).await;
    }
    let filters = [("search", "rock & roll = école?"), ("sort", "-title"), ("available_only", "true"), ("limit", "2")];

    let first = query("/api/events", &filters);
    let mut seen = Vec::new();
    let mut next = Some(first.clone());
    let mut last_seen = String::new();
    while let Some(path) = next {
        let answer = api.get(&path).send().await.expect(200);
        assert_eq!(answer.json()["total"], 5, "{path}");
        seen.extend(ids(&answer.json()["data"]));
        let links = links(&answer);
        next = links.get("next").cloned();
        last_seen.clone_from(&links["last"]);
    }
    wanted.reverse();
    assert_eq!(seen, wanted);

    // And back, from the end.
    let last = api.get(&last_seen).send().await.expect(200);
    assert_eq!(ids(&last.json()["data"]), wanted[4..]);
    let middle = api.get(&links(&last)["prev"]).send().await.expect(200);
    assert_eq!(ids(&middle.json()["data"]), wanted[2..4]);
    let begin = api.get(&links(&middle)["first"]).send().await.expect(200);
    assert_eq!(ids(&begin.json()["data"]), wanted[..2]);
    api.stop().await;
}

async fn a_page_past_the_end_has_no_rows_and_the_true_total(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;
    let ada = api.new_user().await;
    let event = api.event(&admin, 3).await;
    api.book(event, &ada).await.expect(201);

    for page in [2, 1_000_000] {
        let past = api.get(&format!("/api/events?page={page}")).send().await.expect(200);
        assert_eq!(past.json(), json!({ "data": [], "total": 1, "page": page, "limit": 10 }));
        let links = links(&past);
        assert!(links["prev"].contains("page=1&"), "the page before has the last rows: {links:?}");
        assert!(!links.contains_key("next"), "{links:?}");
    }
    let attendees = format!("/api/events/{event}/registrations?page=1000000&limit=1000");
    for (path, person) in [(attendees.as_str(), &admin), ("/api/users/me/registrations?page=2", &ada)] {
        let past = api.get(path).by(person).send().await.expect(200);
        assert_eq!(past.json(), json!([]), "{path}");
        assert_eq!(past.header("x-total-count"), "1", "{path}");
    }
    api.stop().await;
}

async fn every_wrong_parameter_is_named_and_none_is_bent_into_range(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;
    let ada = api.new_user().await;
    let event = api.event(&admin, 3).await;
    let attendees = format!("/api/events/{event}/registrations");
    let mine = "/api/users/me/registrations";

    let all = query(
        "/api/events",
        &[
            ("page", "0"),
            ("limit", "101"),
            ("search", &"x".repeat(101)),
            ("date_from", "someday"),
            ("date_to", "2031-02-30"),
            ("available_only", "yes"),
            ("sort", "id"),
        ],
    );
    assert_eq!(
        refused(&api, &all, None).await,
        ["available_only", "date_from", "date_to", "limit", "page", "search", "sort"]
    );
    for (path, person) in [(attendees.as_str(), &admin), (mine, &ada)] {
        let all = format!("{path}?page=x&limit=1001&status=waiting");
        assert_eq!(refused(&api, &all, Some(person)).await, ["limit", "page", "status"]);
    }

    let no_numbers = ["", "0", "-1", "+1", "1.5", "x", "1e1", "%00", "18446744073709551616"];
    for (path, person, too_large) in
        [("/api/events", None, "101"), (&attendees, Some(&admin), "1001"), (mine, Some(&ada), "1001")]
    {
        for limit in no_numbers.iter().chain([&too_large]) {
            assert_eq!(refused(&api, &format!("{path}?limit={limit}"), person).await, ["limit"], "{limit}");
        }
        for page in no_numbers.iter().chain([&"1000001"]) {
            assert_eq!(refused(&api, &format!("{path}?page={page}"), person).await, ["page"], "{page}");
        }
        assert_eq!(refused(&api, &format!("{path}?page=1&page=1"), person).await, ["page"], "twice");
        assert_eq!(refused(&api, &format!("{path}?limit=1&p%61ge=1&page=1"), person).await, ["page"], "twice");
    }
    for sort in ["", "-", "--date", "Date", "date,title", "id", "venue", "date%00"] {
        assert_eq!(refused(&api, &format!("/api/events?sort={sort}"), None).await, ["sort"], "{sort}");
    }
    for flag in ["", "1", "TRUE", "yes", "true%20"] {
        assert_eq!(refused(&api, &format!("/api/events?available_only={flag}"), None).await, ["available_only"]);
    }
    for status in ["", "CONFIRMED", "deleted", "confirmed,cancelled"] {
        assert_eq!(refused(&api, &format!("{mine}?status={status}"), Some(&ada)).await, ["status"], "{status}");
    }
    assert_eq!(refused(&api, "/api/events?search=%ff", None).await, ["search"]);

    api.get("/api/events?page=1000000&limit=100").send().await.expect(200);
    api.get(&format!("{attendees}?limit=1000")).by(&admin).send().await.expect(200);
    api.get(&format!("{mine}?limit=1000")).by(&ada).send().await.expect(200);
    api.stop().await;
}

async fn a_search_finds_a_part_of_the_title_in_any_script_and_case(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;
    for title in ["École de danse", "ΣΊΣΥΦΟΣ", "Große Straße", "Ночь музыки", "İstanbul", "日本の歌", "Plain"]
    {
        event_titled(&api, &admin, title).await;
    }
    for (search, found) in [
        ("école", "École de danse"),
        ("ÉCOLE", "École de danse"),
        ("e\u{301}cole", "École de danse"),
        ("DE DAN", "École de danse"),
        ("σίσυφος", "ΣΊΣΥΦΟΣ"),
        ("STRASSE", "Große Straße"),
        ("НОЧЬ", "Ночь музыки"),
        ("本の", "日本の歌"),
        ("  plain ", "Plain"),
    ] {
        assert_eq!(listed(&api, &[("search", search)]).await, [found], "{search}");
    }
    assert!(listed(&api, &[("search", "ecole")]).await.is_empty(), "another letter is another letter");
    for no_filter in ["", " ", " \u{3000} "] {
        assert_eq!(listed(&api, &[("search", no_filter)]).await.len(), 7, "{no_filter:?}");
    }
    api.stop().await;
}

async fn a_search_has_no_magic_characters(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;
    for title in ["100% jazz", "100 jazz", "a_b", "axb", r"back\slash", "backslash", "it's \"q\"", "a+b", "[a-z]*"] {
        event_titled(&api, &admin, title).await;
    }
    for (search, found) in [
        ("%", vec!["100% jazz"]),
        ("100%", vec!["100% jazz"]),
        ("_", vec!["a_b"]),
        ("a_b", vec!["a_b"]),
        (r"\", vec![r"back\slash"]),
        (r"k\s", vec![r"back\slash"]),
        (r"\%", vec![]),
        (r"\\", vec![]),
        ("%%", vec![]),
        ("'", vec!["it's \"q\""]),
        ("' OR 1=1 --", vec![]),
        ("+", vec!["a+b"]),
        ("[a-z]*", vec!["[a-z]*"]),
        ("*", vec!["[a-z]*"]),
    ] {
        assert_eq!(listed(&api, &[("search", search)]).await, found, "{search}");
    }
    api.stop().await;
}

async fn a_search_has_at_most_a_hundred_characters_and_none_that_control(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;
    let long = "🎷".repeat(100);
    event_titled(&api, &admin, &format!("{long} and more")).await;

    assert_eq!(listed(&api, &[("search", &long)]).await.len(), 1);
    assert_eq!(listed(&api, &[("search", &format!(" {long} "))]).await.len(), 1, "measured when trimmed");
    assert_eq!(refused(&api, &query("/api/events", &[("search", &format!("{long}a"))]), None).await, ["search"]);
    // Four links repeat it, without any parameter that the client did not send.
    for _ in 0..2 {
        event_titled(&api, &admin, &long).await;
    }
    let unasked = "x".repeat(4_000);
    let middle = query("/api/events", &[("search", &long), ("limit", "1"), ("page", "2"), ("x", &unasked)]);
    let links = links(&api.get(&middle).send().await.expect(200));
    assert_eq!(links.len(), 4);
    assert!(links.values().all(|link| link.contains("search=%F0%9F%8E%B7") && !link.contains("xxx")), "{links:?}");
    for control in ["%00", "a%00b", "a%07", "a%0Ab", "a%7Fb", "a%C2%85b", "a%1B"] {
        assert_eq!(refused(&api, &format!("/api/events?search={control}"), None).await, ["search"], "{control}");
    }
    api.stop().await;
}

async fn a_bare_day_is_a_whole_one_and_an_instant_is_exact(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;
    for (title, date) in [
        ("eve", "2031-04-30T23:59:59.999999Z"),
        ("midnight", "2031-05-01T00:00:00Z"),
        ("noon", "2031-05-01T14:00:00+02:00"),
        ("late", "2031-05-01T23:59:59.999999Z"),
        ("morrow", "2031-05-02T00:00:00Z"),
    ] {
        api.create(&admin, json!({ "title": title, "date": date })).await;
    }
    for (from, to, found) in [
        (Some("2031-05-01"), Some("2031-05-01"), vec!["midnight", "noon", "late"]),
        (Some("2031-05-01"), None, vec!["midnight", "noon", "late", "morrow"]),
        (None, Some("2031-05-01"), vec!["eve", "midnight", "noon", "late"]),
        (Some("2031-05-01T00:00:00Z"), Some("2031-05-01T12:00:00Z"), vec!["midnight", "noon"]),
        (Some("2031-05-01T00:00:00.000001Z"), Some("2031-05-01T11:59:59.999999Z"), vec![]),
        (Some("2031-05-01T12:00:00Z"), Some("2031-05-01T12:00:00Z"), vec!["noon"]),
        (Some("2031-05-01T14:00:00+02:00"), Some("2031-05-01"), vec!["noon", "late"]),
        (Some("2031-05-01"), Some("2031-05-01T00:00:00Z"), vec!["midnight"]),
        (Some("2031-05-01T23:59:59.999999Z"), None, vec!["late", "morrow"]),
        (Some("2040-01-01"), None, vec![]),
    ] {
        let parameters: Vec<_> =
            from.iter().map(|from| ("date_from", *from)).chain(to.iter().map(|to| ("date_to", *to))).collect();
        assert_eq!(listed(&api, &parameters).await, found, "{parameters:?}");
    }
    for (from, to) in [
        ("2031-05-02", "2031-05-01"),
        ("2031-05-02", "2031-05-01T23:59:59Z"),
        ("2031-05-01T12:00:00.000001Z", "2031-05-01T12:00:00Z"),
    ] {
        let upside_down = query("/api/events", &[("date_from", from), ("date_to", to)]);
        assert_eq!(refused(&api, &upside_down, None).await, ["date_to"], "{from} {to}");
    }
    for no_date in [
        "",
        "2031",
        "2031-5-1",
        "2031-02-29",
        "2031-05-01T12:00:00",
        "yesterday",
        "2031-05-01Z",
        "%00",
        "%2B203-05-01",
        "+203-05-01",
        "2031-05-%201",
        "2031-05-01%20",
        "-203-05-01",
        "0000-12-31",
        "10000-01-01",
        "2031-05-01T10:00:60Z",
        "2031-05-01%2010:00:00Z",
        "2031-05-01T10:00Z",
        "0001-01-01T00:00:00%2B00:01",
        "9999-12-31T23:59:59-00:01",
    ] {
        let path = format!("/api/events?date_from={no_date}&date_to={no_date}");
        assert_eq!(refused(&api, &path, None).await, ["date_from", "date_to"], "{no_date}");
    }
    api.stop().await;
}

async fn the_first_and_the_last_day_of_the_calendar_are_days_like_others(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;
    for (title, date) in [
        ("now", "2031-05-01T00:00:00.000001Z"),
        ("last night", "9999-12-31T00:00:00Z"),
        ("the end", "9999-12-31T23:59:59.999999Z"),
    ] {
        api.create(&admin, json!({ "title": title, "date": date })).await;
    }
    for (from, to, found) in [
        ("0001-01-01", "9999-12-31", vec!["now", "last night", "the end"]),
        ("9999-12-31", "9999-12-31", vec!["last night", "the end"]),
        ("0001-01-01", "0001-01-01", vec![]),
        ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z", vec!["the end"]),
        ("0001-01-01T00:00:00Z", "9999-12-30", vec!["now"]),
        // Between two microseconds: neither too much nor too little.
        ("2031-05-01T00:00:00.0000009Z", "2031-05-01T00:00:00.0000019Z", vec!["now"]),
        ("2031-05-01T00:00:00.0000011Z", "2031-05-02", vec![]),
    ] {
        assert_eq!(listed(&api, &[("date_from", from), ("date_to", to)]).await, found, "{from} {to}");
    }
    api.stop().await;
}

async fn sold_out_events_are_left_out_on_request(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;
    let ada = api.new_user().await;
    let event = api.create(&admin, json!({ "title": "Small", "total_seats": 1 })).await["id"].as_u64().unwrap();
    event_titled(&api, &admin, "Large").await;
    let free = [("available_only", "true"), ("sort", "title")];

    assert_eq!(listed(&api, &free).await, ["Large", "Small"]);
    api.book(event, &ada).await.expect(201);
    assert_eq!(listed(&api, &free).await, ["Large"]);
    assert_eq!(listed(&api, &[("available_only", "false"), ("sort", "title")]).await, ["Large", "Small"]);
    assert_eq!(listed(&api, &[("sort", "title")]).await, ["Large", "Small"]);
    api.cancel(event, &ada).await.expect(200);
    assert_eq!(listed(&api, &free).await, ["Large", "Small"]);
    api.stop().await;
}

async fn events_are_sorted_as_asked_and_ties_fall_by_id(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;
    let mut made = Vec::new();
    for (title, day, seats) in
        [("banana", 3, 5), ("Zebra", 1, 7), ("apple", 2, 5), ("Äpfel", 2, 1), ("Banana", 1, 9), ("école", 3, 5)]
    {
        let date = format!("2031-05-0{day}T19:30:00Z");
        let event = api.create(&admin, json!({ "title": title, "date": date, "total_seats": seats })).await;
        made.push(event["id"].as_u64().unwrap());
    }
    for (sort, order) in [
        ("date", [1, 4, 2, 3, 0, 5]),
        ("-date", [0, 5, 2, 3, 1, 4]),
        // By code point: what a linguistic order puts beside `a` and `e` comes after `z`.
        ("title", [2, 0, 4, 1, 3, 5]),
        ("-title", [5, 3, 1, 0, 4, 2]),
        ("available_seats", [3, 0, 2, 5, 1, 4]),
        ("-available_seats", [4, 1, 0, 2, 5, 3]),
    ] {
        let list = api.get(&format!("/api/events?sort={sort}")).send().await.expect(200).json();
        assert_eq!(ids(&list["data"]), order.map(|place| made[place]), "{sort}");
    }
    let by_default = api.get("/api/events").send().await.expect(200).json();
    assert_eq!(ids(&by_default["data"]), [1, 4, 2, 3, 0, 5].map(|place: usize| made[place]));
    api.stop().await;
}

async fn ones_own_registrations_come_newest_first_with_their_events(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;
    let ada = api.new_user().await;
    let mut events = Vec::new();
    for title in ["First", "Second", "Third"] {
        events.push(event_titled(&api, &admin, title).await);
    }
    api.book(events[0], &ada).await.expect(201);
    site.clock.advance_secs(60);
    // Two at the same instant: the later row first.
    api.book(events[2], &ada).await.expect(201);
    api.book(events[1], &ada).await.expect(201);

    let path = "/api/users/me/registrations";
    let mine = api.get(path).by(&ada).send().await.expect(200);
    assert_eq!(mine.header("x-total-count"), "3");
    assert_eq!(mine.header("content-type"), "application/json");
    let rows = mine.json();
    let order = |rows: &Value| -> Vec<u64> {
        rows.as_array().unwrap().iter().map(|row| row["event_id"].as_u64().unwrap()).collect()
    };
    assert_eq!(order(&rows), [events[1], events[2], events[0]]);
    let mut row: Vec<_> = REGISTRATION.to_vec();
    row.push("event");
    row.sort_unstable();
    assert_eq!(keys(&rows[0]), row);
    let mut event: Vec<_> = EVENT.to_vec();
    event.push("deleted_at");
    event.sort_unstable();
    assert_eq!(keys(&rows[0]["event"]), event);
    assert_eq!((&rows[0]["event"]["title"], &rows[0]["event"]["deleted_at"]), (&json!("Second"), &Value::Null));
    assert_eq!(rows[0]["event"]["available_seats"], 9);
    assert_eq!(rows[0]["user_id"], ada.id);

    // A registration that was booked again is the newest.
    site.clock.advance_secs(60);
    api.cancel(events[0], &ada).await.expect(200);
    let cancelled = api.get(&format!("{path}?status=cancelled")).by(&ada).send().await.expect(200);
    assert_eq!(order(&cancelled.json()), [events[0]]);
    assert_eq!(cancelled.header("x-total-count"), "1");
    let confirmed = api.get(&format!("{path}?status=confirmed")).by(&ada).send().await.expect(200);
    assert_eq!(order(&confirmed.json()), [events[1], events[2]]);
    api.book(events[0], &ada).await.expect(201);
    let mine = api.get(path).by(&ada).send().await.expect(200).json();
    assert_eq!(order(&mine), [events[0], events[1], events[2]]);

    // Page by page, the filter kept.
    let first = api.get(&format!("{path}?status=confirmed&limit=2")).by(&ada).send().await.expect(200);
    assert_eq!((order(&first.json()), first.header("x-total-count")), (vec![events[0], events[1]], "3"));
    let next = &links(&first)["next"];
    assert!(next.contains("status=confirmed"), "{next}");
    let second = api.get(next).by(&ada).send().await.expect(200);
    assert_eq!(order(&second.json()), [events[2]]);
    assert_eq!(links(&second).into_keys().collect::<Vec<_>>(), ["first", "last", "prev"]);
    api.stop().await;
}

async fn admins_see_an_events_registrations_newest_first_with_their_users(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;
    let [ada, bob, eve] = [api.new_user().await, api.new_user().await, api.new_user().await];
    let (event, other) = (api.event(&admin, 5).await, api.event(&admin, 5).await);
    api.book(event, &ada).await.expect(201);
    api.book(other, &eve).await.expect(201);
    site.clock.advance_secs(1);
    api.book(event, &bob).await.expect(201);
    api.book(event, &eve).await.expect(201);
    api.cancel(event, &bob).await.expect(200);

    let path = format!("/api/events/{event}/registrations");
    let answer = api.get(&path).by(&admin).send().await.expect(200);
    assert_eq!(answer.header("x-total-count"), "3");
    let rows = answer.json();
    let users = |rows: &Value| -> Vec<u64> {
        rows.as_array().unwrap().iter().map(|row| row["user_id"].as_u64().unwrap()).collect()
    };
    assert_eq!(users(&rows), [eve.id, bob.id, ada.id]);
    let mut row: Vec<_> = REGISTRATION.to_vec();
    row.push("user");
    row.sort_unstable();
    assert_eq!(keys(&rows[2]), row);
    assert_eq!(keys(&rows[2]["user"]), ["email", "id", "name"], "nothing else of a user");
    assert_eq!((&rows[2]["user"]["id"], &rows[2]["user"]["email"]), (&json!(ada.id), &json!(ada.email)));

    let of = |query: &str| api.get(&format!("{path}?{query}")).by(&admin);
    let confirmed = of("status=confirmed").send().await.expect(200);
    assert_eq!((users(&confirmed.json()), confirmed.header("x-total-count")), (vec![eve.id, ada.id], "2"));
    assert_eq!(users(&of("status=cancelled").send().await.expect(200).json()), [bob.id]);
    let first = of("limit=2").send().await.expect(200);
    assert_eq!(users(&first.json()), [eve.id, bob.id]);
    let second = api.get(&links(&first)["next"]).by(&admin).send().await.expect(200);
    assert_eq!(users(&second.json()), [ada.id]);
    api.stop().await;
}

async fn registrations_of_other_users_are_not_shown(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;
    let [ada, bob] = [api.new_user().await, api.new_user().await];
    let event = api.event(&admin, 5).await;
    api.book(event, &ada).await.expect(201);

    let mine = "/api/users/me/registrations";
    let attendees = format!("/api/events/{event}/registrations");
    for person in [&bob, &admin] {
        let theirs = api.get(mine).by(person).send().await.expect(200);
        assert_eq!((theirs.json(), theirs.header("x-total-count")), (json!([]), "0"));
    }
    api.get(&attendees).by(&ada).send().await.expect_problem(403, "forbidden");
    api.get(&attendees).send().await.expect_problem(401, "unauthenticated");
    api.get(mine).send().await.expect_problem(401, "unauthenticated");
    // The public answers about the event name no attendee.
    for path in [format!("/api/events/{event}"), "/api/events".to_owned()] {
        assert!(!api.get(&path).send().await.expect(200).text().contains(&ada.email));
    }
    for nothing in ["4000000", "0", "x"] {
        let path = format!("/api/events/{nothing}/registrations");
        api.get(&path).by(&admin).send().await.expect_problem(404, "not_found");
    }
    api.stop().await;
}

async fn the_registrations_of_a_deleted_event_are_still_listed(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;
    let ada = api.new_user().await;
    let event = api.create(&admin, json!({ "title": "Gone" })).await["id"].as_u64().unwrap();
    api.book(event, &ada).await.expect(201);
    site.clock.advance_secs(60);
    let deleted = api.delete(&format!("/api/events/{event}")).by(&admin).send().await.expect(200).json();
    assert_eq!(deleted["cancelled_registrations"], 1);

    let mine = api.get("/api/users/me/registrations").by(&ada).send().await.expect(200).json();
    assert_eq!(mine[0]["status"], "cancelled");
    assert_eq!(mine[0]["event"]["title"], "Gone");
    assert_eq!(mine[0]["event"]["deleted_at"], "2030-01-15T12:01:00Z");
    let attendees = api.get(&format!("/api/events/{event}/registrations")).by(&admin).send().await.expect(200);
    assert_eq!(attendees.json()[0]["user"]["id"], ada.id);
    assert_eq!(attendees.json()[0]["status"], "cancelled");
    assert_eq!(api.get("/api/events").send().await.expect(200).json()["total"], 0);
    api.stop().await;
}

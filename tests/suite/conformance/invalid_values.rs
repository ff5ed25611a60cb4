//! Values that the API would refuse: the tables refuse them too, and rows that have them from before are read, mended,
//! deleted and named.

use std::sync::Arc;

use domain::ports::{
    Audit, Bookings, Events, Inconsistency, InvalidValue, ProfilePatch, RegistrationFilter, Registrations, Users,
};
use domain::sample::{self, at, email, event_id, new_user, page, user_id};
use domain::{
    Author, BookSeat, Command, DeleteEvent, Description, EmailAddress, EventFilter, EventPatch, EventTitle, PersonName,
    Precondition, Role, UpdateEvent, UserId, Venue,
};
use sea_orm::ConnectionTrait;

use crate::harness::clock::MovableClock;
use crate::harness::store::{Home, Store, connect_past, undo};

/// The change that makes the tables refuse such values.
pub const MIGRATION: &str = "m20261130_000010_refuse_invalid_values";

on_both_databases!(
    the_tables_refuse_what_the_api_refuses,
    the_tables_and_the_domain_agree_on_texts,
    the_tables_and_the_domain_agree_on_addresses,
    an_address_that_is_taken_in_another_case_is_refused,
);

mod on_sqlite {
    #[tokio::test(flavor = "multi_thread")]
    async fn values_of_another_type_are_refused() {
        super::values_of_another_type_are_refused(super::Arc::new(super::Store::sqlite().await)).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn values_of_another_type_from_before_are_mended() {
        super::values_of_another_type_from_before_are_mended(super::Home::sqlite()).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn every_instant_is_written_in_one_form() {
        super::every_instant_is_written_in_one_form(super::Arc::new(super::Store::sqlite().await)).await;
    }
}

mod on_postgres {
    #[tokio::test(flavor = "multi_thread")]
    async fn instants_from_before_without_a_form_are_mended() {
        super::instants_from_before_without_a_form_are_mended(super::Home::empty_postgres().await).await;
    }
}

/// Runs each case on an empty database of each kind.
macro_rules! on_empty_databases {
    ($($case:ident),+ $(,)?) => {
        mod from_before {
            $(
                mod $case {
                    #[tokio::test(flavor = "multi_thread")]
                    async fn on_sqlite() {
                        super::super::$case(super::super::Home::sqlite()).await;
                    }

                    #[tokio::test(flavor = "multi_thread")]
                    async fn on_postgres() {
                        super::super::$case(super::super::Home::empty_postgres().await).await;
                    }
                }
            )+
        }
    };
}

on_empty_databases!(
    texts_are_read_mended_and_named,
    a_bad_row_can_be_booked_changed_elsewhere_and_deleted,
    addresses_get_lower_case_where_they_can,
    ids_out_of_range_are_named,
);

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn event_row(title: &str, description: &str, date: &str, venue: &str, seats: &str) -> String {
    format!(
        "INSERT INTO events (title, description, date, venue, total_seats, available_seats) \
         VALUES ({title}, {description}, {date}, {venue}, {seats}, {seats})"
    )
}

fn user_row(name: &str, email: &str) -> String {
    format!("INSERT INTO users (name, email, password, role) VALUES ({name}, {email}, 'x', 'user')")
}

async fn the_tables_refuse_what_the_api_refuses(store: Arc<Store>) {
    let (event, user) = (store.event(10).await.id, store.user().await.id);
    store.book(user, event).await.unwrap();
    let texts = |longest: usize| {
        [
            String::new(),
            "   ".into(),
            "\u{2003}\u{a0}".into(),
            "a\tb".into(),
            "a\nb".into(),
            "a\u{85}b".into(),
            "é".repeat(longest + 1),
        ]
    };
    let (soon, ok) = ("'2031-05-01T19:30:00+00:00'", "'Opera'");
    let mut refused = Vec::new();
    for text in texts(200).iter().map(|text| quoted(text)) {
        refused.push(event_row(&text, "NULL", soon, ok, "10"));
        refused.push(event_row(ok, "NULL", soon, &text, "10"));
        refused.push(format!("UPDATE events SET title = {text} WHERE id = {event}"));
        refused.push(format!("UPDATE events SET venue = {text} WHERE id = {event}"));
    }
    for text in texts(100).iter().map(|text| quoted(text)) {
        refused.push(user_row(&text, "'by-hand@example.com'"));
        refused.push(format!("UPDATE users SET name = {text} WHERE id = {user}"));
    }
    for text in [quoted("a\u{7}b"), quoted("\u{1b}[31m"), quoted(&"é".repeat(10_001))] {
        refused.push(event_row(ok, &text, soon, ok, "10"));
        refused.push(format!("UPDATE events SET description = {text} WHERE id = {event}"));
    }
    for instant in [
        "'0000-01-01T00:00:00+00:00'",
        "'0044-03-15 00:00:00+00 BC'",
        "'12030-01-01T00:00:00+00:00'",
        "'infinity'",
        "'-infinity'",
        "'tomorrow at noon'",
    ] {
        refused.push(event_row(ok, "NULL", instant, ok, "10"));
        for column in ["date", "created_at", "updated_at", "deleted_at"] {
            refused.push(format!("UPDATE events SET {column} = {instant} WHERE id = {event}"));
        }
        for column in ["registration_date", "created_at"] {
            refused.push(format!("UPDATE registrations SET {column} = {instant}"));
        }
        refused.push(format!("UPDATE users SET created_at = {instant}"));
        refused.push(format!("INSERT INTO sessions (user_id, expires_at) VALUES ({user}, {instant})"));
    }
    for seats in ["0", "1000001", "-1"] {
        refused.push(event_row(ok, "NULL", soon, ok, seats));
        refused.push(format!("UPDATE events SET total_seats = {seats}, available_seats = {seats} WHERE id = {event}"));
    }
    for email in [
        "'Ada@example.com'",
        "'ada@Example.com'",
        "''",
        "'ada'",
        "'a b@example.com'",
        "' ada@example.com'",
        "'a@b@c'",
        "'@example.com'",
        "'ada@'",
        "'é@example.com'",
    ] {
        refused.push(user_row("'Ada'", email));
        refused.push(format!("UPDATE users SET email = {email} WHERE id = {user}"));
    }
    refused.push(user_row("'Ada'", &quoted(&format!("{}@example.com", "a".repeat(250)))));
    for id in ["0", "-5", "9007199254740992"] {
        refused
            .push(format!("INSERT INTO users (id, name, email, password) VALUES ({id}, 'Ada', 'id@example.com', 'x')"));
        refused.push(format!("UPDATE users SET id = {id} WHERE email = 'admin@example.com'"));
        refused.push(format!("UPDATE registrations SET id = {id}"));
    }
    for statement in &refused {
        assert!(store.run_sql(statement).await.is_err(), "{statement}");
    }
    store.assert_consistent().await;

    let why = store.run_sql(&format!("UPDATE events SET title = '' WHERE id = {event}")).await.unwrap_err();
    assert!(why.to_string().contains("events.title must have 1 to 200 characters"), "{why}");
}

/// Texts without control characters at their ends, which the domain trims and the tables refuse, and with something to
/// see: the domain refuses a text of nothing but invisible characters, and the tables do not know these.
async fn the_tables_and_the_domain_agree_on_texts(store: Arc<Store>) {
    let mut samples: Vec<String> =
        ["", " ", "\u{a0}", "\u{3000}", "a", " a ", "\u{fffd}", "a\u{ad}b", "\u{1F3B6}", "[a]-^*?%_\\'\""]
            .map(str::to_owned)
            .into();
    samples.extend(
        [
            '\u{1}', '\u{8}', '\t', '\n', '\u{b}', '\u{c}', '\r', '\u{e}', '\u{1f}', '\u{7f}', '\u{80}', '\u{85}',
            '\u{9f}', '\u{a0}', '\u{2028}', '\u{2029}', '\u{200d}',
        ]
        .map(|odd| format!("a{odd}b")),
    );
    for longest in [100, 200, 10_000] {
        for letter in ["a", "é", "\u{1F3B6}", "e\u{301}"] {
            let letters = |number: usize| letter.repeat(number / letter.chars().count());
            samples.extend([letters(longest), letters(longest + 2), format!(" {} ", letters(longest))]);
        }
    }
    let (event, user) = (store.event(10).await.id, store.user().await.id);
    for text in &samples {
        for (what, valid) in [
            (format!("events SET title = {} WHERE id = {event}", quoted(text)), EventTitle::parse(text).is_ok()),
            (format!("events SET venue = {} WHERE id = {event}", quoted(text)), Venue::parse(text).is_ok()),
            (format!("events SET description = {} WHERE id = {event}", quoted(text)), Description::parse(text).is_ok()),
            (format!("users SET name = {} WHERE id = {user}", quoted(text)), PersonName::parse(text).is_ok()),
        ] {
            let written = store.run_sql(&format!("UPDATE {what}")).await;
            assert_eq!(written.is_ok(), valid, "{what}: {written:?}");
        }
    }
}

async fn the_tables_and_the_domain_agree_on_addresses(store: Arc<Store>) {
    let user = store.user().await.id;
    for email in [
        "ada@example.com",
        "a+b.c@localhost",
        "!#$%&*+/=?^_`{|}~-@example.com",
        "ada",
        "a@",
        "@b",
        "a@b@c",
        "a b@c",
        "a\u{7f}@b",
        "é@b",
        "\u{212a}@example.com",
    ] {
        let valid = EmailAddress::parse(email).is_ok();
        let written = store.run_sql(&format!("UPDATE users SET email = {} WHERE id = {user}", quoted(email))).await;
        assert_eq!(written.is_ok(), valid, "{email}: {written:?}");
    }
}

async fn an_address_that_is_taken_in_another_case_is_refused(store: Arc<Store>) {
    let user = store.user().await;
    assert!(store.run_sql(&user_row("'Ada'", &quoted(user.email.as_str()))).await.is_err());
    assert!(store.run_sql(&user_row("'Ada'", &quoted(&user.email.as_str().to_uppercase()))).await.is_err());
}

async fn values_of_another_type_are_refused(store: Arc<Store>) {
    let event = store.event(10).await.id;
    let (soon, ok) = ("'2031-05-01T19:30:00+00:00'", "'Opera'");
    for refused in [
        event_row("x'4f70657261'", "NULL", soon, ok, "10"),
        event_row("'a' || char(0) || 'b'", "NULL", soon, ok, "10"),
        event_row(ok, "x'ff'", soon, ok, "10"),
        event_row(ok, "char(0)", soon, ok, "10"),
        event_row(ok, "NULL", soon, ok, "2.5"),
        event_row(ok, "NULL", soon, ok, "'many'"),
        event_row(ok, "NULL", "x'ff'", ok, "10"),
        format!("UPDATE events SET available_seats = 2.5 WHERE id = {event}"),
        user_row("'Ada'", "x'616461406578616d706c652e636f6d'"),
        "INSERT INTO users (name, email, password) VALUES ('Ada', 'ada@example.com', x'ff')".to_owned(),
    ] {
        assert!(store.run_sql(&refused).await.is_err(), "{refused}");
    }
    store.assert_consistent().await;
}

async fn every_instant_is_written_in_one_form(store: Arc<Store>) {
    let (event, user) = (store.event(10).await.id, store.user().await.id);
    store.book(user, event).await.unwrap();
    for form in
        ["'2029-05-01 19:30:00'", "'2029-05-01T19:30:00Z'", "'2029-05-01T21:30:00.000+02:00'", "'2029-05-01 19:30'"]
    {
        let columns = [
            ("events", "created_at"),
            ("events", "updated_at"),
            ("users", "created_at"),
            ("registrations", "created_at"),
            ("registrations", "registration_date"),
        ];
        for (table, column) in columns {
            store.run_sql(&format!("UPDATE {table} SET {column} = {form}")).await.unwrap();
            // A division by zero is NULL, which the column may not be.
            let one_form = format!("UPDATE {table} SET version = 1 / ({column} = '2029-05-01T19:30:00+00:00')");
            if table != "users" {
                store.run_sql(&one_form).await.unwrap();
            }
        }
        let instant = at("2029-05-01T19:30:00Z");
        let found = store.found(event).await;
        assert_eq!((found.created_at, found.updated_at), (instant, instant));
        assert_eq!(store.users.find(user).await.unwrap().unwrap().created_at, instant);
        let mine = store.registrations.of_user(user, RegistrationFilter::default(), page(1, 10)).await.unwrap();
        assert_eq!((mine.rows[0].registration.created_at, mine.rows[0].registration.registered_at), (instant, instant));
    }
}

/// A database as it was before the tables refused anything, with these rows, and brought up to date.
async fn upgraded(home: &Home, rows: &[String]) -> adapter_sql::Sql {
    let sql = home.open(Arc::new(MovableClock::new())).await;
    sql.migrate_up().await.unwrap();
    undo(&sql, MIGRATION).await;
    let past = connect_past(&home.url()).await;
    for row in rows {
        past.execute_unprepared(row).await.unwrap_or_else(|error| panic!("{row}: {error}"));
    }
    past.close().await.unwrap();
    sql.migrate_up().await.unwrap();
    sql
}

fn wrong(table: &str, row: i64, column: &str, fault: &str) -> Inconsistency {
    let (table, column, fault) = (table.to_owned(), column.to_owned(), fault.to_owned());
    Inconsistency::Value(InvalidValue { table, row, column, fault })
}

const SOON: &str = "'2031-05-01T19:30:00+00:00'";

async fn texts_are_read_mended_and_named(home: Home) {
    let long = "é".repeat(300);
    let longer = "x".repeat(10_001);
    let rows = [
        event_row("'A' || chr(9) || 'tab'", "NULL", SOON, "'Opera'", "10"),
        event_row("''", "NULL", SOON, "'Opera'", "10"),
        event_row(&quoted(&long), "NULL", SOON, "' '", "10"),
        event_row("'Fine'", &quoted(&longer), SOON, "'a' || chr(10) || 'b'", "2000000"),
        event_row("' Trimmed '", "'a' || chr(9) || chr(10) || 'b'", SOON, "'Opera'", "10"),
        user_row("'Bell' || chr(7)", "'bell@example.com'"),
        user_row("''", "'no address'"),
    ]
    .map(|row| if matches!(home, Home::Sqlite(_)) { row.replace("chr(", "char(") } else { row });
    let sql = upgraded(&home, &rows).await;

    let listed = sql.list(&EventFilter::default(), page(1, 10)).await.unwrap();
    assert_eq!(listed.total, 5);
    let titles: Vec<_> = listed.rows.iter().map(|event| event.title.as_str()).collect();
    assert_eq!(titles, ["A\ttab", "", &long, "Fine", "Trimmed"]);
    for event in &listed.rows {
        assert_eq!(Events::find(&sql, event.id).await.unwrap().as_deref(), Some(event));
    }
    for (sort, first) in [("title", ""), ("-available_seats", "Fine")] {
        let filter = EventFilter { order: domain::EventOrder::parse(sort).unwrap(), ..EventFilter::default() };
        assert_eq!(sql.list(&filter, page(1, 10)).await.unwrap().rows[0].title.as_str(), first);
    }
    let filter = EventFilter { search: domain::TitleSearch::parse("TAB").unwrap(), ..EventFilter::default() };
    assert_eq!(sql.list(&filter, page(1, 10)).await.unwrap().total, 1);

    let found = sql.inconsistencies().await.unwrap();
    let expected = [
        wrong("events", 1, "title", "has a control character"),
        wrong("events", 2, "title", "is blank"),
        wrong("events", 3, "title", "is longer than 200 characters"),
        wrong("events", 3, "venue", "is blank"),
        wrong("events", 4, "description", "is longer than 10000 characters"),
        wrong("events", 4, "total_seats", "is not from 1 to 1000000"),
        wrong("events", 4, "venue", "has a control character"),
        wrong("users", 1, "name", "has a control character"),
        wrong("users", 2, "email", "is not an e-mail address"),
        wrong("users", 2, "name", "is blank"),
    ];
    assert_eq!(found, expected);
    assert_eq!(found[0].to_string(), "events 1: title has a control character");

    for (id, name) in [(1, "Bell\u{7}"), (2, "")] {
        let id = user_id(id);
        assert_eq!(Users::find(&sql, id).await.unwrap().unwrap().name.as_str(), name);
        let what = ProfilePatch { name: PersonName::parse("Ada").ok(), email: None, notifications: None };
        let renamed = Users::update(&sql, Command { by: id, once: None, what }).await.unwrap().outcome;
        assert_eq!(renamed.name.as_str(), "Ada");
    }
}

fn by_them<W>(by: UserId, what: W) -> Command<W, Author> {
    Command { by: by.into(), once: None, what }
}

async fn a_bad_row_can_be_booked_changed_elsewhere_and_deleted(home: Home) {
    let rows = [
        event_row(&quoted(&"x".repeat(300)), &quoted(&"y".repeat(10_001)), SOON, "''", "10"),
        user_row(&quoted(&"z".repeat(101)), "'ada@example.com'"),
    ];
    let sql = upgraded(&home, &rows).await;
    let (event, user) = (event_id(1), user_id(1));

    Bookings::book(&sql, by_them(user, BookSeat { event, user })).await.unwrap();
    let mine = sql.of_user(user, RegistrationFilter::default(), page(1, 10)).await.unwrap();
    assert_eq!(mine.rows[0].event.venue.as_str(), "");
    let theirs = sql.of_event(event, RegistrationFilter::default(), page(1, 10)).await.unwrap().unwrap();
    assert_eq!(theirs.rows[0].user.name.as_str().len(), 101);

    let update = async |patch| {
        let version = Events::find(&sql, event).await.unwrap().unwrap().version;
        let what = UpdateEvent { event, patch, precondition: Precondition::OneOf(vec![version]) };
        Events::update(&sql, Command { by: user.into(), once: None, what }).await.unwrap().outcome
    };
    let seats = domain::SeatCount::new(20).ok();
    let changed = update(EventPatch { total_seats: seats, ..EventPatch::default() }).await;
    assert_eq!((changed.seats.total(), changed.seats.available(), changed.title.as_str().len()), (20, 19, 300));
    let changed = update(EventPatch { title: EventTitle::parse("Mended").ok(), ..EventPatch::default() }).await;
    assert_eq!((changed.title.as_str(), changed.venue.as_str()), ("Mended", ""));
    assert_eq!(Events::find(&sql, event).await.unwrap().as_deref(), Some(&changed));
    let email = EmailAddress::parse("ada@example.org").ok();
    Users::update(
        &sql,
        Command { by: user, once: None, what: ProfilePatch { name: None, email, notifications: None } },
    )
    .await
    .unwrap();

    let what = DeleteEvent { event, precondition: Precondition::OneOf(vec![changed.version]) };
    assert_eq!(Events::delete(&sql, by_them(user, what)).await.unwrap().outcome.cancelled_registrations, 1);
    let mine = sql.of_user(user, RegistrationFilter::default(), page(1, 10)).await.unwrap();
    assert!(mine.rows[0].event.deleted_at.is_some());
}

async fn addresses_get_lower_case_where_they_can(home: Home) {
    let emails = [
        "Ada@Example.COM",
        "bob@example.com",
        "BOB@example.com",
        "Cyd@example.com",
        "CYD@example.com",
        " dan@example.com ",
    ];
    let rows = emails.map(|email| user_row("'Ada'", &quoted(email)));
    let sql = upgraded(&home, &rows).await;
    for (email, id) in [("ada@example.com", 1), ("bob@example.com", 2), ("cyd@example.com", 4), ("dan@example.com", 6)]
    {
        let found = sql.credentials(&sample::email(email)).await.unwrap().unwrap().user;
        assert_eq!((found.id.get(), found.email.as_str()), (id, email));
        let again = sql.add(new_user(email, Role::User, at("2030-01-01T00:00:00Z"))).await;
        assert!(matches!(again, Err(domain::ports::AddUserError::EmailTaken)), "{again:?}");
    }
    let expected = [3, 5].map(|id| wrong("users", id, "email", "is not in lower case"));
    assert_eq!(sql.inconsistencies().await.unwrap(), expected);

    // Account 2 gives the address up. It still belongs to account 3, which has it with capitals.
    let what = ProfilePatch { name: None, email: EmailAddress::parse("bob@example.org").ok(), notifications: None };
    Users::update(&sql, Command { by: user_id(2), once: None, what }).await.unwrap();
    let bob = email("bob@example.com");
    assert_eq!(sql.credentials(&bob).await.unwrap().unwrap().user.id.get(), 3);
    let again = sql.add(new_user("bob@example.com", Role::User, at("2030-01-01T00:00:00Z"))).await;
    assert!(matches!(again, Err(domain::ports::AddUserError::EmailTaken)), "{again:?}");
    let what = ProfilePatch { name: None, email: Some(bob.clone()), notifications: None };
    let taken = Users::update(&sql, Command { by: user_id(1), once: None, what: what.clone() }).await;
    assert!(matches!(taken, Err(domain::ports::UpdateUserError::EmailTaken)), "{taken:?}");
    Users::update(&sql, Command { by: user_id(3), once: None, what }).await.unwrap();
    assert_eq!(sql.inconsistencies().await.unwrap(), [wrong("users", 5, "email", "is not in lower case")]);
}

async fn ids_out_of_range_are_named(home: Home) {
    let rows = [format!(
        "INSERT INTO events (id, title, date, venue, total_seats, available_seats) \
         VALUES (-5, 'Opera', {SOON}, 'Opera', 1, 1), (7, 'Jazz', {SOON}, 'Opera', 1, 1)"
    )];
    let sql = upgraded(&home, &rows).await;
    let found = sql.inconsistencies().await.unwrap();
    assert_eq!(found, [wrong("events", -5, "id", "is not from 1 to 9007199254740991")]);
    let listed = sql.list(&EventFilter::default(), page(1, 10)).await.unwrap();
    let titles: Vec<_> = listed.rows.iter().map(|event| event.title.as_str()).collect();
    assert_eq!(titles, ["Jazz"], "an event without an id has no address");
}

async fn values_of_another_type_from_before_are_mended(home: Home) {
    let rows = [
        event_row("x'4f70657261'", "x'c3a9'", SOON, "'Opera'", "2.5"),
        event_row("'Opera'", "NULL", SOON, "'Opera'", "'many'"),
        event_row("CAST(x'e9' AS text)", "NULL", SOON, "'Opera'", "1"),
        user_row("'Ada'", "x'416461406578616d706c652e636f6d'"),
        "INSERT INTO registrations (user_id, event_id, created_at) VALUES (1, 1, 'once upon a time')".to_owned(),
        "UPDATE events SET available_seats = 1 WHERE id = 1".to_owned(),
        "UPDATE events SET created_at = '2029-05-01 19:30:00', deleted_at = '-0044-03-15' WHERE id = 1".to_owned(),
        "UPDATE events SET updated_at = '0000-01-01T00:00:00+00:00' WHERE id = 2".to_owned(),
    ];
    let sql = upgraded(&home, &rows).await;
    let listed = sql.list(&EventFilter::default(), page(1, 10)).await.unwrap();
    let seats: Vec<_> = listed.rows.iter().map(|event| (event.title.as_str(), event.seats.total())).collect();
    assert_eq!(seats, [("Opera", 0), ("\u{fffd}", 1)]);
    assert_eq!(listed.rows[0].updated_at, at("0001-01-01T00:00:00Z"));
    let ada = sql.credentials(&email("ada@example.com")).await.unwrap().unwrap().user.id;
    let mine = sql.of_user(ada, RegistrationFilter::default(), page(1, 10)).await.unwrap();
    let event = &mine.rows[0].event;
    assert_eq!((event.title.as_str(), event.seats.total(), event.seats.available()), ("Opera", 2, 1));
    assert_eq!(event.description.as_ref().map(Description::as_str), Some("é"));
    assert_eq!((event.created_at, event.deleted_at), (at("2029-05-01T19:30:00Z"), Some(at("0001-01-01T00:00:00Z"))));
}

async fn instants_from_before_without_a_form_are_mended(home: Home) {
    let instants = ["infinity", "-infinity", "20000-01-01 00:00:00+00", "0044-03-15 00:00:00+00 BC"];
    let mut rows: Vec<_> = instants.map(|date| event_row("'Opera'", "NULL", &quoted(date), "'Opera'", "10")).into();
    rows.push(user_row("'Ada'", "'ada@example.com'"));
    for (id, instant) in (1..).zip(instants) {
        rows.push(format!("UPDATE events SET created_at = '{instant}', updated_at = '{instant}' WHERE id = {id}"));
        rows.push(format!(
            "INSERT INTO registrations (user_id, event_id, status, registration_date) VALUES (1, {id}, 'cancelled', '{instant}')"
        ));
    }
    rows.push("UPDATE events SET deleted_at = 'infinity' WHERE id = 1".to_owned());
    rows.push("INSERT INTO sessions (user_id, expires_at) VALUES (1, 'infinity')".to_owned());
    let sql = upgraded(&home, &rows).await;
    let (first, last) = (at("0001-01-01T00:00:00Z"), at("9999-12-31T23:59:59.999999Z"));
    let listed = sql.list(&EventFilter::default(), page(1, 10)).await.unwrap();
    let dates: Vec<_> = listed.rows.iter().map(|event| (event.id.get(), event.starts_at, event.created_at)).collect();
    assert_eq!(dates, [(2, first, first), (4, first, first), (3, last, last)]);
    let mine = sql.of_user(user_id(1), RegistrationFilter::default(), page(1, 10)).await.unwrap();
    assert_eq!(mine.total, 4);
    assert_eq!(sql.inconsistencies().await.unwrap(), []);
}

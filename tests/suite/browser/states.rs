//! States of the page: errors, events that have begun, long texts, drafts. Each can be read and used by all.

use serde_json::{Value, json};

use super::window::Window;
use super::{event, sign_in};
use crate::harness::server::{PASSWORD, Site, Stack};

/// Refuses requests as long as the tab's storage says so: `dead` as if there were no server, a number
/// with 429 and that many seconds to wait. Notes when lists of events are asked for.
const TROUBLE: &str = "
    const ask = fetch;
    window.asked = [];
    fetch = async (path, options) => {
      const trouble = sessionStorage.getItem('trouble');
      if (path.startsWith('/api/events?')) window.asked.push(performance.now());
      if (trouble === 'dead') throw new TypeError('no answer');
      if (!trouble) return ask(path, options);
      const problem = { status: 429, code: 'rate_limited', title: 'Too many', detail: 'Too many.' };
      return new Response(JSON.stringify(problem), { status: 429, headers: { 'Retry-After': trouble } });
    };";

/// A clock that runs ahead by as much as a test wants.
const CLOCK: &str = "
    const Real = Date;
    window.ahead = 0;
    window.Date = class extends Real {
      constructor(...parts) {
        if (parts.length) super(...parts);
        else super(Real.now() + window.ahead);
      }
      static now() { return Real.now() + window.ahead; }
    };";

async fn set_trouble(window: &Window, trouble: &str) {
    window.eval(&format!("sessionStorage.setItem('trouble', '{trouble}')")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_limited_page_shows_it_waits_and_tries_again() {
    let site = Site::new(Stack::Embedded).await;
    let api = site.start().await;
    event(&api, "Nocturnes", 10).await;
    let ada = api.new_user().await;
    let window = Window::open_with(&api, "/", TROUBLE).await;
    sign_in(&window, &ada.email).await;
    let name = window.find("#who").await.text().await.unwrap();

    set_trouble(&window, "3").await;
    window.eval("sessionStorage.removeItem('boxoffice.access_token'); location.reload()").await;
    window.reads("#programme .trouble", "Too many requests came from your network.").await;
    window.reads("#programme .trouble small", "Trying again").await;
    window.reads("#found", "Not loaded.").await;
    window.reads("#who", &name).await;
    window.settles("return window.asked.length > 1", json!(true)).await;
    let waited = window.eval("return window.asked[1] - window.asked[0]").await.as_f64().unwrap();
    assert!(waited >= 2990.0, "asked again after {waited} ms");

    // The page recovers by itself, and the user is signed in as before.
    set_trouble(&window, "").await;
    window.counts("Nocturnes", "10 of 10 free").await;
    window.vanishes(".trouble").await;
    window.press_button("Book: Nocturnes").await;
    window.reads("#toast", "Booked").await;
    window.close().await;
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_without_a_server_offers_to_try_again() {
    let site = Site::new(Stack::Embedded).await;
    let api = site.start().await;
    event(&api, "Nocturnes", 10).await;
    let ada = api.new_user().await;
    let window = Window::open_with(&api, "/", TROUBLE).await;
    sign_in(&window, &ada.email).await;
    // `Retry-After` is longer than the test: only the button tries again.
    set_trouble(&window, "600").await;
    window.eval("sessionStorage.removeItem('boxoffice.access_token'); location.reload()").await;
    window.reads("#programme .trouble small", "Trying again in").await;
    window.picture("too-many-requests").await;
    window.click("a[href='#bookings']").await;
    window.reads("#bookings .trouble", "Too many requests").await;
    window.picture("bookings-not-loaded").await;
    set_trouble(&window, "").await;
    window.click("#bookings .trouble button").await;
    window.reads("#booked", "You have not booked anything yet.").await;
    assert_eq!(window.eval("return document.activeElement.id").await, "booking-list");
    // It is the same server for all.
    window.click("a[href='#programme']").await;
    window.counts("Nocturnes", "10 of 10 free").await;

    set_trouble(&window, "dead").await;
    window.reload().await;
    window.reads("#programme .trouble", "The server cannot be reached.").await;
    window.find("#log-out").await;
    set_trouble(&window, "").await;
    window.counts("Nocturnes", "10 of 10 free").await;
    window.close().await;
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_a_lost_server_vanish_when_it_is_back() {
    let site = Site::new(Stack::Embedded).await;
    let api = site.start().await;
    let window = Window::open_with(&api, "/", TROUBLE).await;
    window.reads("#found", "No events yet.").await;
    set_trouble(&window, "dead").await;
    window.fill("[name=search]", "a").await;
    window.reads("#programme .trouble", "cannot be reached").await;
    window.click("#sign-in").await;
    window.click("#sign-in-dialog [type=submit]").await;
    window.reads("#sign-in-dialog .wrong", "cannot be reached").await;
    window.picture("sign-in-without-server").await;

    set_trouble(&window, "").await;
    window.eval("window.dispatchEvent(new Event('online'))").await;
    window.vanishes(".wrong").await;
    window.vanishes(".trouble").await;
    window.close().await;
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_begins_while_the_page_is_open_is_marked() {
    let site = Site::new(Stack::Embedded).await;
    let api = site.start().await;
    let nocturnes = event(&api, "Nocturnes", 10).await;
    event(&api, "Preludes", 10).await;
    let full = event(&api, "Waltzes", 1).await;
    let (ada, bo) = (api.new_user().await, api.new_user().await);
    api.book(nocturnes, &ada).await.expect(201);
    api.book(full, &bo).await.expect(201);
    let window = Window::open_with(&api, "/", CLOCK).await;
    sign_in(&window, &ada.email).await;
    window.find("[aria-label='Give back: Nocturnes']").await;
    window.find("[aria-label='Book: Preludes']").await;
    // A sold-out event has no button to book.
    window.counts("Waltzes", "Sold out 1 seat").await;
    window.vanishes("[aria-label='Book: Waltzes']").await;
    window.picture("sold-out").await;
    window.eval("document.querySelector('[aria-label=\"Book: Preludes\"]').focus()").await;

    window.eval("window.ahead = new Date('2031-05-01T19:30:00Z') - Date.now()").await;
    window.reads(".row:nth-child(1) .status", "You have a seat · Has begun").await;
    window.reads(".row:nth-child(2) .status", "Has begun").await;
    window.vanishes(".book").await;
    assert_eq!(window.focus().await, "Preludes", "the focus has left the row");
    window.picture("begun").await;
    window.click("a[href='#bookings']").await;
    window.reads("#booking-list .status", "You have a seat · Has begun").await;
    window.vanishes("#booking-list .book").await;
    window.picture("bookings-begun").await;
    window.close().await;
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_the_server_refuses_as_begun_is_marked() {
    let site = Site::new(Stack::Embedded).await;
    let api = site.start().await;
    event(&api, "Nocturnes", 10).await;
    // Before the server's clock, and years after the browser's.
    site.run_sql("UPDATE events SET date = '2030-01-01T20:00:00+00:00'").await;
    let ada = api.new_user().await;
    let window = Window::open(&api, "/").await;
    sign_in(&window, &ada.email).await;
    window.press_button("Book: Nocturnes").await;
    window.reads("#toast", "Nocturnes: ").await;
    window.reads(".row.begun .status", "Has begun").await;
    window.vanishes(".book").await;
    window.close().await;
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_letters_without_a_blank_fit_the_smallest_screen() {
    let site = Site::new(Stack::Embedded).await;
    let api = site.start().await;
    let admin = api.admin().await;
    let long = |letter: &str, number: usize| letter.repeat(number);
    let fields = json!({
        "title": long("W", 200),
        "venue": long("M", 200),
        "description": long("Q", 5_000),
    });
    let event = api.create(&admin, fields).await["id"].as_u64().unwrap();
    let email = format!("{}@{}.{}.example.com", long("w", 64), long("m", 60), long("q", 60));
    let body = json!({ "name": long("N", 100), "email": email, "password": PASSWORD });
    let long_named = api.post("/api/auth/register", &body).send().await.expect(201).person();
    api.book(event, &long_named).await.expect(201);

    let window = Window::open(&api, "/").await;
    window.click("summary").await;
    window.picture("long-texts").await;
    sign_in(&window, &long_named.email).await;
    window.click(".book").await;
    window.find("#sure-dialog").await;
    window.picture("long-texts-sure").await;
    window.click("#sure-dialog [data-close]").await;
    window.click("a[href='#bookings']").await;
    window.find("#booking-list .row").await;
    window.picture("long-texts-bookings").await;
    window.click("#log-out").await;

    sign_in(&window, &admin.email).await;
    window.click("[data-do=attendees]").await;
    window.reads("#attending", "1 booking").await;
    window.picture("long-texts-attendees").await;
    window.click("#attendees-dialog [data-close]").await;
    // The message has the title of the event.
    window.click(".book").await;
    window.reads("#toast", "WWWW").await;
    window.picture("long-texts-toast").await;
    window.close().await;
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_written_event_is_there_until_it_is_saved_or_discarded() {
    let site = Site::new(Stack::Embedded).await;
    let api = site.start().await;
    event(&api, "Nocturnes", 10).await;
    let admin = api.admin().await;
    let window = Window::open(&api, "/").await;
    sign_in(&window, &admin.email).await;
    let title = "#event-dialog [name=title]";
    let typed = "return document.querySelector('#event-dialog [name=title]').value";

    window.click("#new-event").await;
    window.fill(title, "Half an ev").await;
    window.press(fantoccini::key::Key::Escape).await;
    window.vanishes("#event-dialog").await;
    window.reads("#toast", "Your draft is kept").await;
    // The draft of a new event does not show at another event.
    window.press_button("Edit: Nocturnes").await;
    window.find(title).await;
    assert_eq!(window.eval(typed).await, "Nocturnes");
    window.fill(title, "Nocturnes and").await;
    window.reload().await;
    window.click("#new-event").await;
    window.reads("#event-dialog .draft", "This is your draft").await;
    assert_eq!(window.eval(typed).await, "Half an ev");
    window.picture("draft").await;
    window.click("#event-dialog .draft button").await;
    assert_eq!(window.eval(typed).await, "");
    window.press(fantoccini::key::Key::Escape).await;

    window.press_button("Edit: Nocturnes").await;
    window.reads("#event-dialog .draft", "This is your draft").await;
    window.fill(title, "Nocturnes and more").await;
    window.click("#event-dialog [type=submit]").await;
    window.counts("Nocturnes and more", "10 of 10 free").await;
    window.press_button("Edit: Nocturnes and more").await;
    window.find(title).await;
    window.vanishes("#event-dialog .draft").await;
    // A log-out removes the drafts.
    window.fill(title, "Nocturnes and less").await;
    window.press(fantoccini::key::Key::Escape).await;
    window.click("#log-out").await;
    window.find("#sign-in").await;
    assert_eq!(window.eval("return sessionStorage.length + localStorage.length").await, 0);
    window.close().await;
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelled_bookings_are_counted_apart_and_times_name_their_zone() {
    let site = Site::new(Stack::Embedded).await;
    let api = site.start().await;
    let ada = api.new_user().await;
    let admin = api.admin().await;
    for number in 0..3 {
        let event = event(&api, &format!("Evening {number}"), 10).await;
        api.book(event, &ada).await.expect(201);
        match number {
            0 => drop(api.cancel(event, &ada).await.expect(200)),
            1 => drop(api.delete(&format!("/api/events/{event}")).by(&admin).send().await.expect(200)),
            _ => {}
        }
    }
    let window = Window::open(&api, "/").await;
    sign_in(&window, &ada.email).await;
    window.click("a[href='#bookings']").await;
    window.reads("#booked", "1 booking, 2 cancelled.").await;
    window.reads("#bookings .zone", "Times are those of Europe/Amsterdam.").await;
    window.reads("#booking-list .hour", "21:30 CEST").await;
    window.reads("#booking-list .when", "CET").await;
    let states = "return [...document.querySelectorAll('#booking-list .status')].map((state) => state.textContent)";
    let states = window.eval(states).await;
    for state in ["Given back", "Event taken off", "You have a seat"] {
        assert!(states.as_array().unwrap().contains(&Value::from(state)), "{states}");
    }
    window.picture("bookings-cancelled").await;
    window.close().await;
    api.stop().await;
}

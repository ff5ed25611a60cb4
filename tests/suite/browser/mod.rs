//! Users on the pages, in a real browser: clicks, keys, and texts.
//!
//! Pictures of the pages are kept in `target/screenshots`.

mod address;
mod session;
mod states;
mod window;

use fantoccini::key::Key;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::server::{Instance, PASSWORD, Person, Site, Stack};
use crate::harness::until;
use window::Window;

/// An event in the future of both the tests' clock and the browser's clock.
async fn event(api: &Instance, title: &str, seats: u32) -> u64 {
    let fields = json!({
        "title": title,
        "date": "2031-05-01T19:30:00Z",
        "venue": "Opera",
        "total_seats": seats,
        "description": "Chopin, on a piano of 1848.",
    });
    api.create(&api.admin().await, fields).await["id"].as_u64().unwrap()
}

/// Fills in the sign-in dialog.
async fn sign_in(window: &Window, email: &str) {
    window.click("#sign-in").await;
    window.fill("#sign-in-dialog [name=email]", email).await;
    window.fill("#sign-in-dialog [name=password]", PASSWORD).await;
    window.click("#sign-in-dialog [type=submit]").await;
    window.find("#log-out").await;
}

/// Leaves a mark that a page loses when it is loaded again.
async fn mark(window: &Window) {
    window.eval("window.mark = 'here'").await;
}

async fn assert_never_reloaded(window: &Window) {
    assert_eq!(window.eval("return window.mark").await, "here", "the page was loaded again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seat_booked_in_one_window_is_gone_in_another_on_another_instance() {
    let site = Site::migrated().await;
    let (first, second) = (site.start().await, site.start().await);
    let event = event(&first, "Nocturnes", 10).await;
    let here = Window::open(&first, "/").await;
    let there = Window::open(&second, "/").await;
    for window in [&here, &there] {
        window.reads("#live", "Live").await;
        window.counts("Nocturnes", "10 of 10 free").await;
        mark(window).await;
    }

    let ada = first.new_user().await;
    sign_in(&here, &ada.email).await;
    here.press_button("Book: Nocturnes").await;
    here.reads("#toast", "Booked").await;
    there.counts("Nocturnes", "9 of 10 free").await;
    here.counts("Nocturnes", "9 of 10 free").await;

    // A booking without a window moves the seats in both windows too.
    let bo = second.new_user().await;
    second.book(event, &bo).await.expect(201);
    here.counts("Nocturnes", "8 of 10 free").await;
    there.counts("Nocturnes", "8 of 10 free").await;

    here.press_button("Give back: Nocturnes").await;
    here.click("#sure-dialog [type=submit]").await;
    there.counts("Nocturnes", "9 of 10 free").await;

    let admin = first.admin().await;
    first.delete(&format!("/api/events/{event}")).by(&admin).send().await.expect(200);
    there.reads("#found", "No events yet.").await;
    assert_never_reloaded(&here).await;
    assert_never_reloaded(&there).await;
    here.close().await;
    there.close().await;
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_programs_in_the_documentation_run() {
    let site = Site::migrated().await;
    let api = site.start().await;
    let event = event(&api, "Nocturnes", 10).await;
    let guide = include_str!("../../../docs/live.md");
    let programs: Vec<_> =
        guide.split("```javascript\n").skip(1).map(|rest| rest.split_once("```").unwrap().0).collect();
    let [socket, stream] = programs[..] else { panic!("a program for each of the two ways") };
    let window = Window::open(&api, "/").await;
    window.eval("window.bySocket = []; window.byStream = []").await;
    let show = format!("connect([{event}], (seats) => window.bySocket.push(seats.available_seats));");
    window.eval(&format!("{socket}\n{show}")).await;
    let stream = stream.replace("/12/", &format!("/{event}/")).replace("console.log", "window.byStream.push");
    window.eval(&stream).await;

    let told = async |seats: Value| {
        until("both programs have been told", async || {
            window.eval("return [window.bySocket.at(-1), window.byStream.at(-1)]").await == seats
        })
        .await;
    };
    told(json!([10, 10])).await;
    api.book(event, &api.new_user().await).await.expect(201);
    told(json!([9, 9])).await;
    window.close().await;
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn seats_still_move_after_redis_was_restarted() {
    let mut site = Site::migrated().await;
    let (first, second) = (site.start().await, site.start().await);
    let event = event(&first, "Nocturnes", 10).await;
    let window = Window::open(&second, "/").await;
    window.counts("Nocturnes", "10 of 10 free").await;
    mark(&window).await;

    site.redis.as_mut().unwrap().kill();
    let people = first.people(3).await;
    first.book(event, &people[0]).await.expect(201);
    window.counts("Nocturnes", "9 of 10 free").await;

    site.redis.as_mut().unwrap().restart().await;
    first.book(event, &people[1]).await.expect(201);
    window.counts("Nocturnes", "8 of 10 free").await;
    second.book(event, &people[2]).await.expect(201);
    window.counts("Nocturnes", "7 of 10 free").await;

    // The connection to the page was never closed.
    window.reads("#live", "Live").await;
    assert_never_reloaded(&window).await;
    window.close().await;
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_comes_back_to_a_server_that_was_away() {
    let site = Site::new(Stack::Embedded).await;
    let first = site.start().await;
    let event = event(&first, "Nocturnes", 10).await;
    let ada = first.new_user().await;
    let window = Window::open(&first, "/").await;
    window.reads("#live", "Live").await;
    mark(&window).await;
    let port = first.base().rsplit_once(':').unwrap().1.to_owned();

    first.stop().await;
    window.reads("#live", "Reconnecting… counts may be old").await;
    let again = site.with("PORT", &port).start().await;
    window.reads("#live", "Live").await;
    again.book(event, &ada).await.expect(201);
    window.counts("Nocturnes", "9 of 10 free").await;
    assert_never_reloaded(&window).await;
    // The console has errors, because the server was away.
    window.close_after_trouble().await;
    again.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_signs_up_books_gives_back_and_sees_a_sold_out_event() {
    let site = Site::new(Stack::Embedded).await;
    let api = site.start().await;
    let few = event(&api, "Table for two", 1).await;
    event(&api, "Nocturnes", 10).await;
    let window = Window::open(&api, "/").await;
    window.counts("Nocturnes", "10 of 10 free").await;
    window.reads(".zone", "Europe/Amsterdam").await;
    window.reads(".hour", "21:30 CEST").await;
    window.picture("programme").await;

    // No user is signed in: the page asks for a sign-in, and then books.
    window.press_button("Book: Nocturnes").await;
    window.click("#other-way").await;
    window.click("#sign-in-dialog [type=submit]").await;
    for (field, said) in [("name", "Must not be blank"), ("email", "Must be an e-mail"), ("password", "at least 8")] {
        let place = format!("#sign-in-dialog [name={field}][aria-invalid=true] + .error");
        window.reads(&place, said).await;
    }
    assert_eq!(window.focus().await, "Name\nMust not be blank.");
    window.picture("sign-up").await;
    window.fill("#sign-in-dialog [name=name]", "Grace <b>Hopper</b>").await;
    window.fill("#sign-in-dialog [name=email]", "grace@example.com").await;
    window.fill("#sign-in-dialog [name=password]", PASSWORD).await;
    window.click("#sign-in-dialog [type=submit]").await;
    window.reads("#toast", "Booked: you have a seat at “Nocturnes”.").await;
    window.reads("#who", "Grace <b>Hopper</b>").await;
    window.counts("Nocturnes", "9 of 10 free").await;

    // Another user books the only seat of the other event.
    api.book(few, &api.new_user().await).await.expect(201);
    window.counts("Table for two", "Sold out 1 seat").await;
    window.vanishes("[aria-label='Book: Table for two']").await;

    // After a reload, the page still has the user and their bookings.
    window.eval("location.reload()").await;
    window.reads("#who", "Grace").await;
    window.click("a[href='#bookings']").await;
    window.reads("#booking-list", "Nocturnes").await;
    window.reads("#booked", "1 booking").await;
    window.picture("bookings").await;
    window.press_button("Give back: Nocturnes").await;
    window.reads("#sure-title", "Give back your seat at “Nocturnes”?").await;
    window.picture("sure").await;
    window.click("#sure-dialog [type=submit]").await;
    window.reads("#booking-list .status", "Given back").await;
    window.reads("#booked", "0 bookings, 1 cancelled").await;
    window.click("a[href='#programme']").await;
    window.counts("Nocturnes", "10 of 10 free").await;

    window.click("#log-out").await;
    window.find("#sign-in").await;
    assert_eq!(window.eval("return sessionStorage.length + localStorage.length").await, 0, "the storage is not empty");
    window.close().await;
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_found_by_title_date_and_free_seats() {
    let site = Site::new(Stack::Embedded).await;
    let api = site.start().await;
    let admin = api.admin().await;
    for number in 0..25 {
        let fields =
            json!({ "title": format!("École {number:02}"), "date": format!("2031-06-{:02}T22:30:00Z", number + 1) });
        api.create(&admin, fields).await;
    }
    let full = api.event(&admin, 1).await;
    api.book(full, &admin).await.expect(201);
    let window = Window::open(&api, "/").await;
    window.reads("#found", "26 events").await;
    window.reads("#event-pages", "Page 1 of 3").await;
    window.click("#event-pages [data-step='1']").await;
    window.reads("#event-pages", "Page 2 of 3").await;
    window.reads("#events", "École 12").await;

    window.click("[name=available_only]").await;
    window.reads("#found", "25 events").await;
    window.fill("[name=search]", "éCOLE 0").await;
    window.reads("#found", "10 events").await;
    // The reader's days, not the server's: 22:30 in Greenwich is the next day in Amsterdam.
    window
        .eval(
            "const to = document.querySelector('[name=date_to]'); to.value = '2031-06-03'; \
                 to.dispatchEvent(new Event('input', { bubbles: true }))",
        )
        .await;
    window.reads("#found", "2 events").await;
    window.eval("location.reload()").await;
    window.reads("#found", "2 events").await;
    window.fill("[name=search]", "nothing of the kind").await;
    window.reads("#found", "No event matches.").await;
    window.picture("no-match").await;
    window.click("#show-all").await;
    window.reads("#found", "26 events").await;
    window.close().await;
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_runs_an_event_from_the_page() {
    let site = Site::new(Stack::Embedded).await;
    let api = site.start().await;
    let admin = api.admin().await;
    let window = Window::open(&api, "/").await;
    window.reads("#found", "No events yet.").await;
    window.reads("#no-events", "boxoffice seed").await;
    window.reads("#no-events", "boxoffice create-admin").await;
    window.picture("no-events").await;
    sign_in(&window, &admin.email).await;
    window.reads("#no-events", "New event").await;

    let field = |name: &str| format!("#event-dialog [name={name}]");
    let save = "#event-dialog [type=submit]";
    window.click("#new-event").await;
    window.click(save).await;
    window.reads("#event-dialog [name=total_seats] + .error", "Is required").await;
    window.picture("new-event").await;
    window.fill(&field("title"), "Nocturnes").await;
    window.fill(&field("venue"), "Opera").await;
    window.set(&field("date"), "2031-05-01T21:30").await;
    window.fill(&field("total_seats"), "3").await;
    window.click(save).await;
    window.reads("#toast", "“Nocturnes” is on the programme.").await;
    window.counts("Nocturnes", "3 of 3 free").await;
    let made = api.get("/api/events").send().await.expect(200).json()["data"][0].clone();
    assert_eq!((&made["date"], &made["description"]), (&json!("2031-05-01T19:30:00Z"), &Value::Null));
    let event = made["id"].as_u64().unwrap();

    // Bookings in the meantime do not keep a new size from being saved.
    window.press_button("Edit: Nocturnes").await;
    window.find(save).await;
    let people = api.people(2).await;
    for person in &people {
        api.book(event, person).await.expect(201);
    }
    window.fill(&field("total_seats"), "20").await;
    window.click(save).await;
    window.counts("Nocturnes", "18 of 20 free").await;

    // A change by another admin in the meantime does.
    window.press_button("Edit: Nocturnes").await;
    window.find(save).await;
    let other = json!({ "title": "Nocturnes by candlelight", "venue": "Chapel" });
    api.put(&format!("/api/events/{event}"), &other).by(&admin).send().await.expect(200);
    window.fill(&field("venue"), "Crypt").await;
    window.click(save).await;
    window.reads("#event-dialog .wrong", "Nothing was saved: somebody else has changed this event").await;
    window.reads("#event-dialog .wrong", "Title: Nocturnes by candlelight. Venue: Chapel.").await;
    window.picture("conflict").await;
    assert_eq!(api.detail(event).await["venue"], "Chapel");
    window.click(save).await;
    window.reads(".venue", "Crypt").await;
    assert_eq!(api.detail(event).await["title"], "Nocturnes by candlelight");

    window.press_button("Edit: Nocturnes by candlelight").await;
    window.fill(&field("total_seats"), "1").await;
    window.click(save).await;
    window.reads("#event-dialog .wrong", "2").await;
    window.click("#event-dialog [data-close]").await;

    api.cancel(event, &people[0]).await.expect(200);
    window.press_button("Attendees: Nocturnes by candlelight").await;
    window.reads("#attending", "1 booking, 1 cancelled. Newest first.").await;
    for person in &people {
        window.reads("#attendees", &person.email).await;
    }
    window.reads("#attendees", "cancelled").await;
    window.picture("attendees").await;
    window.press(Key::Escape).await;
    window.vanishes("#attendees-dialog").await;
    assert_eq!(window.focus().await, "Attendees: Nocturnes by candlelight");

    window.press_button("Delete: Nocturnes by candlelight").await;
    window.reads("#sure-text", "1 booking will be cancelled").await;
    window.click("#sure-dialog [type=submit]").await;
    window.reads("#toast", "1 booking cancelled").await;
    window.reads("#found", "No events yet.").await;
    window.close().await;
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seat_is_booked_and_given_back_with_the_keyboard_alone() {
    let site = Site::new(Stack::Embedded).await;
    let api = site.start().await;
    event(&api, "Nocturnes", 10).await;
    let ada = api.new_user().await;
    let window = Window::open(&api, "/").await;
    window.counts("Nocturnes", "10 of 10 free").await;

    assert_eq!(window.tab_to("Skip to the content").await, 1);
    window.press(Key::Enter).await;
    window.tab_to("Book: Nocturnes").await;
    window.press(Key::Enter).await;
    window.find("#sign-in-dialog").await;
    assert_eq!(window.focus().await, "E-mail");
    window.keys(&ada.email).await;
    window.tab_to("Password").await;
    window.keys(PASSWORD).await;
    window.press(Key::Enter).await;
    window.reads("#toast", "Booked").await;

    // The focus is where it was; there the seat can be given back.
    assert_eq!(window.focus().await, "Give back: Nocturnes");
    window.press(Key::Enter).await;
    window.find("#sure-dialog").await;
    assert_eq!(window.focus().await, "Keep it", "nothing is given back by accident");
    window.press(Key::Escape).await;
    window.vanishes("#sure-dialog").await;
    assert_eq!(window.focus().await, "Give back: Nocturnes");
    window.press(Key::Enter).await;
    window.find("#sure-dialog").await;
    window.tab_to("Give back").await;
    window.press(Key::Enter).await;
    window.reads("#toast", "is free again").await;
    assert_eq!(window.focus().await, "Book: Nocturnes");
    window.close().await;
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_booking_whose_answer_was_lost_is_made_once() {
    let site = Site::new(Stack::Embedded).await;
    let api = site.start().await;
    let event = event(&api, "Nocturnes", 10).await;
    let ada = api.new_user().await;
    let window = Window::open(&api, "/").await;
    sign_in(&window, &ada.email).await;
    // The first two answers never arrive; the token of the third has run out.
    window
        .eval(
            "const ask = window.fetch; let asked = 0; window.keys = new Set();
             window.fetch = async (path, options) => {
               if (!path.endsWith('/register') || options.method !== 'POST') return ask(path, options);
               window.keys.add(options.headers['Idempotency-Key']);
               asked++;
               if (asked === 3) return new Response('{}', { status: 401 });
               const answer = await ask(path, options);
               if (asked < 3) throw new TypeError('the line went dead');
               return answer;
             };",
        )
        .await;
    window.press_button("Book: Nocturnes").await;
    window.reads("#toast", "Booked").await;
    assert_eq!(window.eval("return window.keys.size").await, 1);
    let detail = api.detail(event).await;
    assert_eq!(detail["registration_count"], 1);
    assert_eq!(bookings(&api, &ada).await, 1);
    window.close().await;
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_page_signs_a_user_in_and_books_a_seat() {
    let site = Site::new(Stack::Embedded).await;
    let api = site.start().await;
    let event = event(&api, "Nocturnes", 10).await;
    let ada = api.new_user().await;
    let window = Window::open(&api, "/api").await;
    window.click(".auth-wrapper .authorize").await;
    window.fill(".modal-ux input", &ada.token).await;
    window.click(".modal-ux .authorize").await;
    window.click(".modal-ux .btn-done").await;

    let operation = "#operations-registrations-registerForEvent";
    window.click(&format!("{operation} .opblock-summary-control")).await;
    window.fill(&format!("{operation} tr[data-param-name=id] input"), &event.to_string()).await;
    window.picture_as_it_is("api").await;
    window.click(&format!("{operation} .execute")).await;
    window.reads(&format!("{operation} .live-responses-table tbody .response-col_status"), "201").await;
    until("the booking", async || bookings(&api, &ada).await == 1).await;
    window.close().await;
    api.stop().await;
}

/// How many seats a user holds.
async fn bookings(api: &Instance, person: &Person) -> usize {
    let path = "/api/users/me/registrations?status=confirmed";
    let list = api.request(Method::GET, path).by(person).send().await.expect(200).json();
    list.as_array().unwrap().len()
}

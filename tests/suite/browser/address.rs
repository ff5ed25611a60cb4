//! The address in the browser: Back, Forward, a reload and a bookmark show the same view as before.

use serde_json::json;

use super::sign_in;
use super::window::Window;
use crate::harness::server::{Instance, Site, Stack};

/// The query of the address.
async fn query(window: &Window) -> String {
    window.eval("return location.search").await.as_str().unwrap().to_owned()
}

/// A site with so many evenings, one a day, each with a text about it.
async fn evenings(number: u8) -> (Site, Instance) {
    let site = Site::new(Stack::Embedded).await;
    let api = site.start().await;
    let admin = api.admin().await;
    for day in 1..=number {
        let title = format!("Evening {day:02}");
        let date = format!("2031-06-{day:02}T19:30:00Z");
        let fields = json!({ "title": title, "date": date, "description": format!("About evening {day}.") });
        api.create(&admin, fields).await;
    }
    (site, api)
}

#[tokio::test(flavor = "multi_thread")]
async fn back_goes_to_the_page_the_search_and_the_event_before() {
    let (_site, api) = evenings(25).await;
    let window = Window::open(&api, "/").await;
    window.reads("#found", "25 events").await;
    window.click("#event-pages [data-step='1']").await;
    window.reads("#event-pages", "Page 2 of 3").await;
    window.fill("[name=search]", "evening 1").await;
    window.reads("#found", "10 events").await;
    window.click("[name=available_only]").await;
    window.click(".row:nth-child(2) summary").await;
    window.reads(".about[open]", "About evening 11.").await;
    assert_eq!(query(&window).await, "?search=evening+1&available_only=true&event=11");

    // A reload and a bookmark show the same.
    window.reload().await;
    window.reads(".about[open]", "About evening 11.").await;
    window.reads("#found", "10 events").await;
    window.back().await;
    window.vanishes(".about[open]").await;
    assert_eq!(query(&window).await, "?search=evening+1&available_only=true");
    window.back().await;
    assert_eq!(query(&window).await, "?search=evening+1");
    assert_eq!(window.eval("return document.querySelector('[name=available_only]').checked").await, false);
    // All that was typed is one step.
    window.back().await;
    window.reads("#event-pages", "Page 2 of 3").await;
    assert_eq!(window.eval("return document.querySelector('[name=search]').value").await, "");
    window.back().await;
    window.reads("#event-pages", "Page 1 of 3").await;
    window.close().await;
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_page_of_a_list_begins_at_its_top() {
    let (_site, api) = evenings(25).await;
    let window = Window::open(&api, "/").await;
    window.look(1280, 500, "light").await;
    window.reads("#event-pages", "Page 1 of 3").await;
    window.click("#event-pages [data-step='1']").await;
    window.reads(".row .title", "Evening 11").await;
    window.settles("return document.activeElement.id", json!("events")).await;
    let top = "const { top } = document.querySelector('#events').getBoundingClientRect();
               return top >= 0 && top < innerHeight / 2";
    window.settles(top, json!(true)).await;
    // The keyboard goes on from there.
    window.tab_to("Book: Evening 11").await;
    window.close().await;
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn back_leaves_the_bookings_and_closes_a_dialog() {
    let (_site, api) = evenings(2).await;
    let ada = api.new_user().await;
    let window = Window::open(&api, "/").await;
    window.reads("#found", "2 events").await;
    window.click("a[href='#bookings']").await;
    window.find("#sign-in-dialog").await;
    window.back().await;
    window.vanishes("#sign-in-dialog").await;
    window.find("#programme").await;

    sign_in(&window, &ada.email).await;
    window.click("a[href='#bookings']").await;
    window.reads("#booked", "You have not booked anything yet.").await;
    assert_eq!(window.eval("return document.title").await, "My bookings · Box office");
    // The link past the header adds no step to the history, and stays in the view.
    window.tab_to("Skip to the content").await;
    window.press(fantoccini::key::Key::Enter).await;
    window.find("#bookings").await;
    window.back().await;
    window.find("#programme").await;
    window.vanishes("#bookings").await;
    window.close().await;
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_address_of_an_event_shows_it_wherever_it_stands_in_the_list() {
    let (_site, api) = evenings(12).await;
    let window = Window::open(&api, "/?event=12").await;
    window.reads(".about[open]", "About evening 12.").await;
    let admin = api.admin().await;
    api.delete("/api/events/12").by(&admin).send().await.expect(200);
    window.reads("#toast", "taken off the programme").await;
    window.reads("#found", "11 events").await;
    assert_eq!(query(&window).await, "");
    window.picture("event-taken-off").await;

    window.go(&format!("{}/?event=12&page=7", api.base())).await;
    window.reads("#toast", "This event is no longer on the programme.").await;
    window.reads("#event-pages", "Page 2 of 2").await;
    window.settles("return location.search", json!("?page=2")).await;
    window.close().await;
    api.stop().await;
}

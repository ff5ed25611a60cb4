//! Sessions of the page: in all tabs, and as long as the server keeps them.

use serde_json::json;

use super::window::Window;
use super::{event, sign_in};
use crate::harness::server::{Site, Stack};

/// Loads the page again without its access token when another tab says so, and keeps the answers to
/// an exchange of refresh tokens back for a while, so that exchanges of several tabs overlap.
const RELOAD_TOGETHER: &str = "
    const ask = fetch;
    fetch = async (path, options) => {
      const answer = await ask(path, options);
      if (path === '/api/auth/refresh') await new Promise((done) => setTimeout(done, 300));
      return answer;
    };
    new BroadcastChannel('together').onmessage = () => {
      sessionStorage.clear();
      location.reload();
    };";

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_shared_by_all_tabs() {
    let site = Site::new(Stack::Embedded).await;
    let api = site.start().await;
    event(&api, "Nocturnes", 10).await;
    let ada = api.new_user().await;
    let window = Window::open(&api, "/").await;
    let [first, second] = window.open_tab(&api, "").await;
    // A sign-in dialog that is open closes by itself.
    window.click("#sign-in").await;
    window.switch_to(&first).await;
    sign_in(&window, &ada.email).await;
    window.switch_to(&second).await;
    window.find("#log-out").await;
    window.vanishes("#sign-in-dialog").await;
    window.press_button("Book: Nocturnes").await;
    window.reads("#toast", "Booked").await;

    // A tab that is opened later is signed in as well.
    let [_, third] = window.open_tab(&api, "").await;
    window.find("[aria-label='Give back: Nocturnes']").await;
    window.click("#log-out").await;
    for tab in [&first, &second, &third] {
        window.switch_to(tab).await;
        window.find("#sign-in").await;
        window.find("[aria-label='Book: Nocturnes']").await;
        assert_eq!(window.eval("return sessionStorage.length + localStorage.length").await, 0);
    }
    window.close().await;
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tabs_that_renew_a_session_at_once_take_turns() {
    let site = Site::new(Stack::Embedded).await;
    let api = site.start().await;
    let ada = api.new_user().await;
    let window = Window::open_with(&api, "/", RELOAD_TOGETHER).await;
    sign_in(&window, &ada.email).await;
    let mut tabs = Vec::new();
    for _ in 0..3 {
        let [before, tab] = window.open_tab(&api, RELOAD_TOGETHER).await;
        // The tab shows who is signed in before it has renewed the session, which a reload would cut short.
        window.settles("return sessionStorage.getItem('boxoffice.access_token') !== null", json!(true)).await;
        window.find("#log-out").await;
        if tabs.is_empty() {
            tabs.push(before);
        }
        tabs.push(tab);
    }
    for _ in 0..3 {
        for tab in &tabs {
            window.switch_to(tab).await;
            window.eval("window.before = true").await;
        }
        window.eval("new BroadcastChannel('together').postMessage('now')").await;
        let renewed = "return !window.before && sessionStorage.getItem('boxoffice.access_token') !== null";
        for tab in &tabs {
            window.switch_to(tab).await;
            window.settles(renewed, json!(true)).await;
            window.find("#log-out").await;
        }
    }
    window.close().await;
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_the_server_has_ended_is_over() {
    let site = Site::new(Stack::Embedded).await;
    let api = site.start().await;
    let ada = api.new_user().await;
    let window = Window::open(&api, "/").await;
    sign_in(&window, &ada.email).await;
    site.run_sql("DELETE FROM sessions").await;
    window.eval("sessionStorage.clear(); location.reload()").await;
    window.find("#sign-in").await;
    assert_eq!(window.eval("return sessionStorage.length + localStorage.length").await, 0);
    window.close().await;
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_the_page_before_an_upgrade_goes_on() {
    let site = Site::new(Stack::Embedded).await;
    let api = site.start().await;
    let ada = api.new_user().await;
    let window = Window::open(&api, "/").await;
    // Where it used to be: in the tab.
    window
        .eval(&format!("sessionStorage.setItem('boxoffice.refresh_token', '{}'); location.reload()", ada.refresh_token))
        .await;
    window.find("#log-out").await;
    assert_eq!(window.eval("return sessionStorage.getItem('boxoffice.refresh_token')").await, json!(null));
    window.reload().await;
    window.find("#log-out").await;
    window.close().await;
    api.stop().await;
}

//! Mail to people about their seats.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::harness::mail_server::{MailServer, Taken};
use crate::harness::server::{Instance, Person, Site};
use crate::harness::until;

on_both_stacks!(
    people_are_told_of_their_seats_by_mail,
    who_wants_no_mail_gets_none,
    one_recipient_who_is_refused_delays_no_other,
    a_mail_that_is_put_off_is_sent_later,
    people_are_reminded_a_day_before,
);

async fn people_are_told_of_their_seats_by_mail(site: Site) {
    let server = MailServer::start().await;
    let site = to(site, &server);
    let api = site.start().await;
    let (admin, person) = (api.admin().await, api.new_user().await);
    let email = api.get("/api/users/me").by(&person).send().await.expect(200).json()["email"].clone();
    let event = api.create(&admin, json!({ "title": "Concert" })).await["id"].as_u64().unwrap();
    api.book(event, &person).await.expect(201);
    let mail = &server.expect(1).await[0];
    assert_eq!(json!(mail.to), email);
    for part in [
        "From: \"Box Office\" <tickets@example.com>",
        "multipart/alternative",
        "text/html",
        "text/calendar; charset=utf-8; method=PUBLISH",
        "Auto-Submitted: auto-generated",
        &format!("https://tickets.example.com/?event={event}"),
    ] {
        assert!(unfolded(mail).contains(part), "no {part:?} in {}", mail.text);
    }
    let path = format!("/api/events/{event}");
    api.put(&path, &json!({ "description": "Bring a coat." })).by(&admin).send().await.expect(200);
    api.put(&path, &json!({ "venue": "Arena" })).by(&admin).send().await.expect(200);
    server.expect(2).await;
    api.cancel(event, &person).await.expect(200);
    server.expect(3).await;
    api.book(event, &person).await.expect(201);
    server.expect(4).await;
    api.delete(&path).by(&admin).send().await.expect(200);
    let subjects: Vec<_> = server.expect(5).await.iter().map(subject).collect();
    let expected = ["Your seat for", "new details", "is cancelled", "Your seat for", "will not take place"];
    for (subject, part) in subjects.iter().zip(expected) {
        assert!(subject.contains(part), "{subjects:?}");
    }
    assert_eq!(server.taken().len(), 5);
    api.stop().await;
}

async fn who_wants_no_mail_gets_none(site: Site) {
    let server = MailServer::start().await;
    let site = to(site, &server);
    let api = site.start().await;
    let (admin, quiet, other) = (api.admin().await, api.new_user().await, api.new_user().await);
    assert_eq!(api.get("/api/users/me").by(&quiet).send().await.expect(200).json()["notifications"], true);
    let wanted = notifications(&api, &quiet, json!(false)).await.expect(200).json();
    assert_eq!(wanted["notifications"], false);
    let refused = notifications(&api, &quiet, json!("no")).await.expect_problem(422, "validation_failed");
    assert_eq!(refused.wrong_fields(), [("notifications".to_owned(), "wrong_type".to_owned())]);
    let event = api.event(&admin, 5).await;
    api.book(event, &quiet).await.expect(201);
    api.book(event, &other).await.expect(201);
    server.expect(1).await;
    let told = api.get("/api/users/me").by(&other).send().await.expect(200).json()["email"].clone();
    assert_eq!(json!(server.taken()[0].to), told);
    api.stop().await;
}

async fn one_recipient_who_is_refused_delays_no_other(site: Site) {
    let server = MailServer::start().await;
    let site = to(site, &server);
    let api = site.start().await;
    let (admin, unknown, other) = (api.admin().await, api.new_user().await, api.new_user().await);
    let address = api.get("/api/users/me").by(&unknown).send().await.expect(200).json()["email"].clone();
    server.refuse(address.as_str().unwrap());
    let event = api.event(&admin, 5).await;
    api.book(event, &unknown).await.expect(201);
    api.book(event, &other).await.expect(201);
    server.expect(1).await;
    until("the other was refused", async || server.turned_away() == 1).await;
    site.clock.advance_secs(600);
    api.book(event, &admin).await.expect(201);
    server.expect(2).await;
    assert_eq!(server.turned_away(), 1, "a refusal for good is not tried again");
    api.stop().await;
}

async fn a_mail_that_is_put_off_is_sent_later(site: Site) {
    let server = MailServer::start().await;
    let site = to(site, &server);
    let api = site.start().await;
    let (admin, person) = (api.admin().await, api.new_user().await);
    server.be_busy(true);
    let event = api.event(&admin, 5).await;
    api.book(event, &person).await.expect(201);
    until("it was tried", async || server.turned_away() == 1).await;
    server.be_busy(false);
    // The first pause is 10 s, a fifth more or less.
    until("it was sent", async || {
        site.clock.advance_secs(12);
        !server.taken().is_empty()
    })
    .await;
    api.stop().await;
}

async fn people_are_reminded_a_day_before(site: Site) {
    const DAY: u32 = 86_400;
    let server = MailServer::start().await;
    let site = to(site, &server);
    let api = site.start().await;
    let (admin, person) = (api.admin().await, api.new_user().await);
    let event = api.create(&admin, json!({ "date": "2030-03-01T12:00:00Z" })).await["id"].as_u64().unwrap();
    api.book(event, &person).await.expect(201);
    server.expect(1).await;
    site.clock.advance_secs(44 * DAY);
    let subjects: Vec<_> = server.expect(2).await.iter().map(subject).collect();
    assert!(subjects[1].contains("See you soon"), "{subjects:?}");
    api.stop().await;
}

/// In development, each mail is a file.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_server_mails_are_files() {
    let site = Site::new(crate::harness::server::Stack::Embedded).await;
    let api = site.start().await;
    let (admin, person) = (api.admin().await, api.new_user().await);
    let event = api.event(&admin, 5).await;
    api.book(event, &person).await.expect(201);
    let folder = site.folder().join("mail");
    until("the mail is there", async || letters(&folder).len() == 1).await;
    let letter = fs::read_to_string(&letters(&folder)[0]).unwrap();
    assert!(letter.contains(&format!("/?event={event}")), "{letter}");
    api.stop().await;
}

/// The finished files of a folder, which may not be there yet.
fn letters(folder: &Path) -> Vec<std::path::PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let files = entries.map(|entry| entry.unwrap().path());
    files.filter(|file| file.extension().is_some_and(|end| end == "eml")).collect()
}

fn to(site: Site, server: &MailServer) -> Site {
    site.with("SMTP_URL", &server.url())
        .with("MAIL_FROM", "Box Office <tickets@example.com>")
        .with("PUBLIC_URL", "https://tickets.example.com")
}

async fn notifications(api: &Instance, person: &Person, value: serde_json::Value) -> crate::harness::server::Answer {
    api.put("/api/users/me", &json!({ "notifications": value })).by(person).send().await
}

/// The text with the lines put together that quoted-printable and folded headers tore apart.
fn unfolded(mail: &Taken) -> String {
    mail.text.replace("=\n", "").replace("=3D", "=").replace("\n ", " ").replace("\n\t", " ")
}

fn subject(mail: &Taken) -> String {
    let text = unfolded(mail);
    text.lines().find_map(|line| line.strip_prefix("Subject: ")).unwrap().to_owned()
}

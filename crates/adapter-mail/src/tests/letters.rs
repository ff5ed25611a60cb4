use domain::{Event, EventTitle, Mail, MailKind, PersonName, Venue, sample};
use expect_test::expect_file;
use mail_parser::{Message, MessageParser, MimeHeaders as _};

use super::{letters, mail, options};
use crate::{Letters, MailOptions};

fn raw(mail: &Mail) -> String {
    String::from_utf8(letters().write(mail).unwrap().formatted()).unwrap()
}

fn parsed(raw: &str) -> Message<'_> {
    MessageParser::default().parse(raw).unwrap()
}

/// Subject, text and HTML.
fn shown(raw: &str) -> String {
    let letter = parsed(raw);
    let (text, html) = (letter.body_text(0).unwrap(), letter.body_html(0).unwrap());
    let shown = format!("Subject: {}\n\n{text}\n---\n{html}", letter.subject().unwrap());
    shown.replace("\r\n", "\n")
}

#[test]
fn every_kind_has_its_words() {
    for (kind, expected) in [
        (MailKind::SeatConfirmed, expect_file!["seat_confirmed.snap"]),
        (MailKind::SeatCancelled, expect_file!["seat_cancelled.snap"]),
        (MailKind::EventMoved, expect_file!["event_moved.snap"]),
        (MailKind::EventDeleted, expect_file!["event_deleted.snap"]),
        (MailKind::Reminder, expect_file!["reminder.snap"]),
    ] {
        expected.assert_eq(&shown(&raw(&mail(kind))));
    }
}

#[test]
fn a_letter_has_its_headers_and_its_parts() {
    let raw = raw(&mail(MailKind::SeatCancelled));
    let letter = parsed(&raw);
    assert!(raw.is_ascii() && raw.split("\r\n").all(|line| line.len() <= 998 && !line.contains(['\r', '\n'])));
    let from = letter.from().unwrap().first().unwrap();
    assert_eq!((from.name(), from.address()), (Some("Box Office"), Some("tickets@example.com")));
    let to = letter.to().unwrap().first().unwrap();
    assert_eq!((to.name(), to.address()), (Some("Ada Lovelace"), Some("ada@example.org")));
    assert_eq!(letter.message_id(), Some("0197a5b0-7d11@example.com"));
    assert_eq!(letter.date().unwrap().to_rfc3339(), sample::NOW);
    assert_eq!(letter.header_raw("Auto-Submitted").map(str::trim), Some("auto-generated"));
    assert_eq!(letter.header_raw("MIME-Version").map(str::trim), Some("1.0"));
    assert_eq!((letter.text_body_count(), letter.html_body_count(), letter.attachment_count()), (1, 1, 1));
    let file = letter.attachment(0).unwrap();
    let kind = file.content_type().unwrap();
    assert_eq!((kind.ctype(), kind.subtype(), kind.attribute("method")), ("text", Some("calendar"), Some("CANCEL")));
    assert_eq!(file.attachment_name(), Some("event-12.ics"));
    let ics = file.text_contents().unwrap();
    assert!(ics.contains("METHOD:CANCEL") && ics.contains("UID:event-12@tickets.example.com"), "{ics}");
}

#[test]
fn a_name_may_be_any_text_and_is_never_a_header() {
    for (name, read) in [
        ("Ada \"the Countess\" Lovelace", "Ada \"the Countess\" Lovelace"),
        ("Łukasz, 老虎 🎉", "Łukasz, 老虎 🎉"),
        ("ada@example.net", "ada@example.net"),
        ("Ada <eve@example.net>", "Ada <eve@example.net>"),
        ("=?utf-8?q?Eve?=", "=?utf-8?q?Eve?="),
        ("back\\slash", "back\\slash"),
        ("Ada\r\nBcc: eve@example.net", "Ada  Bcc: eve@example.net"),
        ("Ada\n\nThe end", "Ada  The end"),
        ("Ada\u{2028}\u{0}x", "Ada  x"),
    ] {
        let raw = raw(&Mail { name: PersonName::stored(name), ..mail(MailKind::Reminder) });
        let letter = parsed(&raw);
        let to = letter.to().unwrap();
        assert_eq!(to.iter().count(), 1, "{name:?}: {raw}");
        let to = to.first().unwrap();
        assert_eq!((to.name(), to.address()), (Some(read), Some("ada@example.org")), "{name:?}: {raw}");
        assert!(letter.bcc().is_none(), "{raw}");
        assert!(letter.body_text(0).unwrap().contains(&format!("Hello {read},")), "{raw}");
    }
}

#[test]
fn a_title_cannot_leave_the_subject_or_become_markup() {
    let event = Event {
        title: EventTitle::stored("Songs\nBcc: eve@example.net\n<script>alert(1)</script>"),
        venue: Venue::stored("\" onload=\"x"),
        ..sample::event(12)
    };
    let raw = raw(&Mail { event, ..mail(MailKind::SeatConfirmed) });
    let letter = parsed(&raw);
    assert_eq!(letter.subject(), Some("Your seat for Songs Bcc: eve@example.net <script>alert(1)</script>"));
    assert!(letter.bcc().is_none());
    let html = letter.body_html(0).unwrap();
    assert!(!html.contains("<script") && !html.contains("\" onload"), "{html}");
}

#[test]
fn without_a_public_address_there_is_no_link() {
    let options = MailOptions { public_url: None, ..options() };
    let letters = Letters::new(&options, sample::clock(sample::NOW)).unwrap();
    for kind in MailKind::ALL {
        let raw = String::from_utf8(letters.write(&mail(kind)).unwrap().formatted()).unwrap();
        let shown = shown(&raw);
        assert!(!shown.contains("http") && !shown.contains("href"), "{shown}");
        assert!(parsed(&raw).attachment(0).unwrap().text_contents().unwrap().contains("UID:event-12@example.com"));
    }
}

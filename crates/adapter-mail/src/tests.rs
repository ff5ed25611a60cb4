//! Letters, and what becomes of them: in a folder, and at mail servers on loopback.

mod calendar;
mod folder;
mod letters;
mod sending;
mod server;
mod templates;

use domain::{EventTitle, Mail, MailKind, PersonName, Venue, sample};

use crate::{Letters, MailOptions, PublicUrl, Sender};

fn options() -> MailOptions {
    MailOptions {
        from: Sender::parse("Box Office <tickets@example.com>").unwrap(),
        public_url: Some(PublicUrl::parse("https://tickets.example.com").unwrap()),
        templates: None,
    }
}

fn letters() -> Letters {
    Letters::new(&options(), sample::clock(sample::NOW)).unwrap()
}

fn mail(kind: MailKind) -> Mail {
    let event = domain::Event {
        title: EventTitle::parse("Lieder & <Songs>").unwrap(),
        venue: Venue::parse("Großer Saal; Graz").unwrap(),
        ..sample::event(12)
    };
    let name = PersonName::parse("Ada Lovelace").unwrap();
    Mail { id: "0197a5b0-7d11".to_owned(), at: sample::now(), to: sample::email("ada@example.org"), name, kind, event }
}

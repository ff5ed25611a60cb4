//! An event as an iCalendar file (RFC 5545), for a mail and for a client.
//!
//! The file is written here, and read back in the tests by the crate `icalendar`: that crate's writer does not end for
//! some titles that mix spaces with characters beyond ASCII, and leaves carriage returns as they are.

use std::fmt::Write as _;

use domain::{Event, Timestamp};

use crate::public_url::PublicUrl;
use crate::sender::Sender;

/// The greatest line, in octets, without its end.
const MAX_LINE: usize = 75;

/// How far each promotion of the database moves a sequence. A standby that lost fewer changes of an event than this
/// still counts on from above.
const PER_PROMOTION: u64 = 1 << 16;

/// Whether the recipient has a seat at the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It takes place, and its reader may go.
    Confirmed,
    /// It does not take place, or not for its reader: calendars take it off.
    Cancelled,
}

impl Standing {
    /// The `METHOD` of a calendar file, which is a parameter of its content type, too.
    pub fn method(self) -> &'static str {
        match self {
            Self::Confirmed => "PUBLISH",
            Self::Cancelled => "CANCEL",
        }
    }

    fn status(self) -> &'static str {
        match self {
            Self::Confirmed => "CONFIRMED",
            Self::Cancelled => "CANCELLED",
        }
    }
}

/// Writes calendar files of one installation's events.
///
/// The same event has the same `UID` and a growing `SEQUENCE` in each, so that a calendar replaces what it had.
#[derive(Debug, Clone)]
pub struct EventCalendar {
    host: String,
    public_url: Option<PublicUrl>,
    organizer: Option<Sender>,
}

impl EventCalendar {
    /// Files that name events after this host, `event-12@host`; it has to stay the same.
    pub fn new(host: &str) -> Self {
        Self { host: host.to_owned(), public_url: None, organizer: None }
    }

    /// The same, with links to the page.
    #[must_use]
    pub fn with_links(self, public_url: Option<PublicUrl>) -> Self {
        Self { public_url, ..self }
    }

    /// The same, with an organizer, which RFC 5546 asks for in what is mailed.
    #[must_use]
    pub fn with_organizer(self, organizer: Sender) -> Self {
        Self { organizer: Some(organizer), ..self }
    }

    /// The `.ics` of an event: UTF-8, lines of at most 75 octets that end with CR LF. Equal events have equal files.
    ///
    /// When an event ends is not known, so nothing is said about it.
    pub fn file(&self, event: &Event, standing: Standing) -> String {
        let mut lines = Lines::default();
        lines.add("BEGIN", "VCALENDAR");
        lines.add("VERSION", "2.0");
        lines.add("PRODID", "-//boxoffice//boxoffice//EN");
        lines.add("CALSCALE", "GREGORIAN");
        lines.add("METHOD", standing.method());
        lines.add("BEGIN", "VEVENT");
        lines.add("UID", &format!("event-{}@{}", event.id, text(&self.host)));
        lines.add("DTSTAMP", &instant(event.updated_at));
        lines.add("SEQUENCE", &sequence(event).to_string());
        lines.add("DTSTART", &instant(event.starts_at));
        lines.add("SUMMARY", &text(event.title.as_str()));
        lines.add("LOCATION", &text(event.venue.as_str()));
        if let Some(description) = &event.description {
            lines.add("DESCRIPTION", &text(description.as_str()));
        }
        if let Some(public_url) = &self.public_url {
            lines.add("URL", &public_url.event(event.id));
        }
        if let Some(organizer) = &self.organizer {
            let name = organizer.name().map(|name| format!(";CN=\"{}\"", name.replace('"', "'"))).unwrap_or_default();
            lines.add(&format!("ORGANIZER{name}"), &format!("mailto:{}", organizer.address()));
        }
        lines.add("STATUS", standing.status());
        lines.add("END", "VEVENT");
        lines.add("END", "VCALENDAR");
        lines.0
    }
}

/// Lines of a file so far.
#[derive(Default)]
struct Lines(String);

impl Lines {
    /// Adds a line, folded before the character that would make it too long: a line that begins with a space goes on
    /// with the one before (RFC 5545, 3.1).
    fn add(&mut self, name: &str, value: &str) {
        let mut octets = 0;
        for char in name.chars().chain([':']).chain(value.chars()) {
            if octets + char.len_utf8() > MAX_LINE {
                self.0.push_str("\r\n ");
                octets = 1;
            }
            self.0.push(char);
            octets += char.len_utf8();
        }
        self.0.push_str("\r\n");
    }
}

/// A value of the type TEXT (RFC 5545, 3.3.11). Of control characters it may hold tabs, and line breaks as `\n`.
fn text(raw: &str) -> String {
    let mut escaped = String::with_capacity(raw.len());
    let mut chars = raw.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '\\' | ';' | ',' => escaped.extend(['\\', char]),
            '\r' if chars.peek() == Some(&'\n') => {}
            '\n' | '\r' => escaped.push_str("\\n"),
            '\t' => escaped.push(char),
            char if char.is_control() => escaped.push(' '),
            char => escaped.push(char),
        }
    }
    escaped
}

fn instant(at: Timestamp) -> String {
    let mut written = String::new();
    // A `String` takes everything.
    let _ = write!(written, "{}", at.as_datetime().format("%Y%m%dT%H%M%SZ"));
    written
}

/// A version as a signed number of 32 bits, the greatest integer of a calendar: it never falls while the database has
/// its primary, and rises by more than a standby can usually have lost when another one is promoted.
fn sequence(event: &Event) -> i32 {
    let promotions = u64::from(event.version.timeline().get() - 1);
    let number = event.version.count().saturating_add(promotions.saturating_mul(PER_PROMOTION));
    i32::try_from(number).unwrap_or(i32::MAX)
}

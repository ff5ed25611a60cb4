//! A mail put into words: its headers, its parts, and the calendar file.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use domain::ports::{Clock, MailFailed};
use domain::{Mail, MailKind, Timestamp};
use lettre::Message;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Attachment, Mailbox, MultiPart};

use crate::calendar::{EventCalendar, Standing};
use crate::public_url::PublicUrl;
use crate::sender::{Sender, address};
use crate::templates::{TemplateError, Templates};
use crate::words::{Words, one_line};

/// What the settings say of mail.
#[derive(Debug, Clone)]
pub struct MailOptions {
    /// Who mails are from.
    pub from: Sender,
    /// Where people find the page; without it no mail has a link.
    pub public_url: Option<PublicUrl>,
    /// A folder whose files replace the templates of the same name.
    pub templates: Option<PathBuf>,
}

/// Puts mails into words.
pub struct Letters {
    from: Sender,
    public_url: Option<PublicUrl>,
    templates: Templates,
    calendar: EventCalendar,
    clock: Arc<dyn Clock>,
}

impl Letters {
    /// Reads the templates and tries each of them.
    pub fn new(options: &MailOptions, clock: Arc<dyn Clock>) -> Result<Self, TemplateError> {
        let MailOptions { from, public_url, templates } = options.clone();
        let host = public_url.as_ref().map_or(from.host(), PublicUrl::host);
        let calendar = EventCalendar::new(host).with_links(public_url.clone()).with_organizer(from.clone());
        Ok(Self { templates: Templates::read(templates.as_deref())?, from, public_url, calendar, clock })
    }

    /// The calendar files that its mails have, for clients that ask for one by other ways.
    pub fn calendar(&self) -> &EventCalendar {
        &self.calendar
    }

    /// The letter of a mail. One whose recipient has no address is refused; one that cannot be written waits for
    /// an operator to mend the template.
    pub(crate) fn write(&self, mail: &Mail) -> Result<Message, MailFailed> {
        let no_address = || MailFailed::Refused("the recipient's address is no e-mail address".to_owned());
        let to = address(&mail.to).ok_or_else(no_address)?;
        let unwritten = |problem: &dyn std::fmt::Display| {
            MailFailed::Later(one_line(&format!("the letter cannot be written: {problem}")))
        };
        let from = self.from.mailbox().ok_or_else(|| unwritten(&"its sender's address is no e-mail address"))?;
        let written = self
            .templates
            .write(mail.kind, &Words::of(mail, self.public_url.as_ref()))
            .map_err(|error| unwritten(&error))?;
        let standing = standing(mail.kind);
        let calendar_type = ContentType::parse(&format!("text/calendar; charset=utf-8; method={}", standing.method()))
            .map_err(|error| unwritten(&error))?;
        let calendar = Attachment::new(format!("event-{}.ics", mail.event.id))
            .body(self.calendar.file(&mail.event, standing), calendar_type);
        let name = one_line(mail.name.as_str()).trim().to_owned();
        Message::builder()
            .from(from)
            .to(Mailbox::new(Some(name).filter(|name| !name.is_empty()), to))
            .subject(one_line(&written.subject))
            .date(system_time(self.clock.now()))
            .message_id(Some(format!("<{}@{}>", file_safe(&mail.id), self.from.host())))
            // RFC 3834: nobody's absence is answered to a program.
            .raw_header(HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned()))
            .multipart(
                MultiPart::mixed()
                    .multipart(MultiPart::alternative_plain_html(written.text, written.html))
                    .singlepart(calendar),
            )
            .map_err(|error| unwritten(&error))
    }
}

/// What the calendar file of a kind says.
fn standing(kind: MailKind) -> Standing {
    match kind {
        MailKind::SeatConfirmed | MailKind::EventMoved | MailKind::Reminder => Standing::Confirmed,
        MailKind::SeatCancelled | MailKind::EventDeleted => Standing::Cancelled,
    }
}

/// A mail's id with what may neither stand in a `Message-ID` nor in a file's name replaced.
pub(crate) fn file_safe(id: &str) -> String {
    let safe = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_');
    id.chars().map(|char| if safe(char) { char } else { '-' }).collect()
}

fn system_time(at: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(at.unix_secs()).unwrap_or_default())
}

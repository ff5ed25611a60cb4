//! The variables of the templates.

use domain::{Mail, Timestamp};
use minijinja::{Value, context};

use crate::public_url::PublicUrl;

/// The variables of every template; `description` and `link` may be none.
pub(crate) const NAMES: [&str; 9] =
    ["date", "description", "event_id", "link", "name", "starts_at", "time", "title", "venue"];

/// The values of the variables of one mail.
#[derive(Debug, Clone)]
pub(crate) struct Words {
    name: String,
    title: String,
    venue: String,
    description: Option<String>,
    starts_at: Timestamp,
    event_id: u64,
    link: Option<String>,
}

impl Words {
    /// What a mail says.
    pub(crate) fn of(mail: &Mail, public_url: Option<&PublicUrl>) -> Self {
        let event = &mail.event;
        Self {
            name: one_line(mail.name.as_str()),
            title: one_line(event.title.as_str()),
            venue: one_line(event.venue.as_str()),
            description: event.description.as_ref().map(|text| text.as_str().to_owned()),
            starts_at: event.starts_at,
            event_id: event.id.get(),
            link: public_url.map(|url| url.event(event.id)),
        }
    }

    /// Values to try a template with: with all that may be missing, or without.
    pub(crate) fn sample(is_full: bool) -> Self {
        let maybe = |text: &str| is_full.then(|| text.to_owned());
        Self {
            name: "Ada".to_owned(),
            title: "Concert".to_owned(),
            venue: "Opera".to_owned(),
            description: maybe("An evening of songs."),
            starts_at: Timestamp::EPOCH,
            event_id: 1,
            link: maybe("https://tickets.example.com/?event=1"),
        }
    }

    /// The variables.
    pub(crate) fn context(&self) -> Value {
        let starts_at = self.starts_at.as_datetime();
        context! {
            name => self.name,
            title => self.title,
            venue => self.venue,
            description => self.description,
            date => starts_at.format("%A, %-d %B %Y").to_string(),
            time => starts_at.format("%H:%M UTC").to_string(),
            starts_at => self.starts_at.to_string(),
            event_id => self.event_id,
            // Made of nothing that has to be escaped: see `PublicUrl`.
            link => self.link.clone().map(Value::from_safe_string),
        }
    }
}

/// A text without line breaks, and so without a way out of a header: a store may hold what the domain's doors refuse.
pub(crate) fn one_line(text: &str) -> String {
    let is_break = |char: char| char.is_control() || matches!(char, '\u{2028}' | '\u{2029}');
    text.chars().map(|char| if is_break(char) { ' ' } else { char }).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_variable_has_a_value() {
        let context = Words::sample(true).context();
        let names: BTreeSet<_> = context.try_iter().unwrap().map(|name| name.to_string()).collect();
        assert_eq!(names, NAMES.map(str::to_owned).into());
    }
}

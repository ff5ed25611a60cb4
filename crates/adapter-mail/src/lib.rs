//! Mail: letters to people about their seats, over SMTP or into a folder.
//!
//! | module | what it holds |
//! |---|---|
//! | `smtp` | [`SmtpMailer`], the port `Mailer` over SMTP: connections, their pool, one conversation |
//! | `file` | [`FileMailer`], the same port over a folder of `.eml` files |
//! | `letters` | [`Letters`]: a mail put into words, with its headers, parts and attachment |
//! | `templates` | the texts, compiled in and replaced by files, all tried out at start |
//! | `words` | the variables of the templates |
//! | `calendar` | [`EventCalendar`]: an event as an iCalendar file |
//! | `smtp_url`, `sender`, `public_url` | what the settings say, read once |
//! | `failure` | what is said of a mail that was not taken, and whether that is for good |
//!
//! A new kind of mail is a `MailKind`, its line in `templates`, its two files in `templates/`, and what its calendar
//! file says. This room must not decide what is sent, to whom, or when it is tried again. No address and no secret goes
//! into a reason, and so no text of a mail server does.
//!
//! Why lettre, and what is ours: `docs/adr/0014-mail-goes-out-by-lettre.md`.

mod calendar;
mod failure;
mod file;
mod letters;
mod public_url;
mod sender;
mod smtp;
mod smtp_url;
mod templates;
#[cfg(test)]
mod tests;
mod words;

pub use calendar::{EventCalendar, Standing};
pub use file::FileMailer;
pub use letters::{Letters, MailOptions};
pub use public_url::{InvalidPublicUrl, PublicUrl};
pub use sender::{InvalidSender, Sender};
pub use smtp::SmtpMailer;
pub use smtp_url::{InvalidSmtpUrl, SmtpUrl};
pub use templates::TemplateError;

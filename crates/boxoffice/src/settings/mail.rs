//! The settings of mail.

use std::path::PathBuf;

use adapter_mail::{PublicUrl, Sender, SmtpUrl};

use super::declare::settings;
use super::parser::Parser;
use super::values::{secs_or_none, text};

settings! {
    /// Mail to people about their seats. Who wants none says so by `notifications` of their account.
    pub struct Mail {
        /// The server that takes mail: smtp: is port 587, with STARTTLS if the server has it, and smtps: port 465. Unset:
        /// in development each mail is a file in data/mail/, in production there is no mail.
        SMTP_URL => server: Option<SmtpUrl> = Parser::with_complaints(
            "must be smtp://<host> or smtps://<host>, with <user>:<password>@ before the host if it wants them",
            SmtpUrl::parse,
        )
        .optional()
        .example("smtps://boxoffice:password@mail.example.com")
        .or_in_file();

        /// Who mail is from. Needed with `SMTP_URL`.
        MAIL_FROM => from: Option<Sender> = Parser::with_complaints(
            "must be an address, or a name and an address",
            Sender::parse,
        )
        .optional()
        .example("tickets@example.com");

        /// What links in mails begin with: where people find the page. Needed with `SMTP_URL` in production. Unset: in
        /// development the address that the program serves, in production mails have no links.
        PUBLIC_URL => public_url: Option<PublicUrl> = Parser::with_complaints(
            "must be an http or https address without a query",
            PublicUrl::parse,
        )
        .optional()
        .example("https://tickets.example.com");

        /// A folder whose files replace the templates of the same name, such as `seat_confirmed.html`.
        MAIL_TEMPLATES => templates: Option<PathBuf> = text().optional_as(PathBuf::from).example("/etc/boxoffice/mail");

        /// How long before an event people are reminded of it; 0 for never. Who books later is not reminded.
        MAIL_REMINDER => remind_secs: u32 = secs_or_none().default_to("24h");
    }
}

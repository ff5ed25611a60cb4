//! What settings have to agree on that are right each for itself. Deadlines have rules of their own.

use super::environment::Environment;
use super::texts::Texts;

/// Refuses settings that contradict each other.
pub(super) fn check(texts: &mut Texts) {
    let port: Option<u16> = texts.number("PORT");
    if let Some(admin_port @ 1..) = texts.number("ADMIN_PORT")
        && port == Some(admin_port)
    {
        texts.complain("ADMIN_PORT", format!("must be another port than PORT, which is {admin_port} too"));
    }
}

/// Refuses settings with which the program cannot serve because another one is missing.
pub(super) fn check_complete(texts: &mut Texts) {
    let server = texts.text("DATABASE_URL").is_some_and(|url| url.starts_with("postgres"));
    let embedded = !server && texts.environment() == Environment::Development;
    if !embedded && !texts.is_set("JWT_SECRET") {
        texts.miss(
            "JWT_SECRET",
            "must be set (32 bytes or more, such as the output of `openssl rand -base64 48`); \
             only with SQLite in development is one made",
        );
    }
    if texts.is_set("SMTP_URL") {
        if !texts.is_set("MAIL_FROM") {
            texts.miss("MAIL_FROM", "must be set together with SMTP_URL");
        }
        if texts.environment() == Environment::Production && !texts.is_set("PUBLIC_URL") {
            texts.miss("PUBLIC_URL", "must be set together with SMTP_URL in production: links in mails begin with it");
        }
    }
    for (name, other) in [("ADMIN_PASSWORD", "ADMIN_EMAIL"), ("ADMIN_EMAIL", "ADMIN_PASSWORD")] {
        if texts.is_set(other) && !texts.is_set(name) {
            texts.miss(name, format!("must be set together with {other}"));
        }
    }
}

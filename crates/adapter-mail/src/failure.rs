//! What is said of a mail that was not taken, and whether that is for good.
//!
//! Only a server's code is told, never its text: servers repeat addresses and user names in it.

use std::error::Error as _;
use std::io::{self, ErrorKind};
use std::{fmt, iter};

use domain::ports::MailFailed;
use lettre::transport::smtp::Error;

use crate::words::one_line;

/// How much of a reason is kept, in characters.
const MAX_REASON: usize = 500;

/// How far the conversation with a server has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The connection, up to the server's greeting.
    Connect,
    /// The beginning of TLS within it.
    StartTls,
    /// The log-in.
    LogIn,
    /// `MAIL FROM`.
    Sender,
    /// `RCPT TO`.
    Recipient,
    /// `DATA`.
    Data,
    /// The letter, up to the reply that takes it.
    Letter,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "the connection",
            Self::StartTls => "STARTTLS",
            Self::LogIn => "the log-in",
            Self::Sender => "the sender's address",
            Self::Recipient => "the recipient's address",
            Self::Data => "DATA",
            Self::Letter => "the letter",
        })
    }
}

/// A step failed.
#[derive(Debug)]
pub(crate) struct Failed {
    /// What is said of it.
    pub(crate) why: MailFailed,
    /// Whether the server answered in order, and hears the next command.
    pub(crate) listens: bool,
}

/// A step failed with lettre's error.
pub(crate) fn failed(step: Step, error: &Error) -> Failed {
    let Some(status) = error.status() else {
        return Failed { why: later(&broken(step, error)), listens: false };
    };
    let code = status.to_string();
    let text = error.source().map(ToString::to_string).unwrap_or_default();
    let detail = enhanced(&text);
    let detailed = detail.map(|detail| format!(" {detail}")).unwrap_or_default();
    let reason = format!("the mail server answered {code}{detailed} to {step}");
    let for_good = error.is_permanent() && is_the_recipients(step, &code, detail);
    // 421: the server closes the connection.
    let listens = matches!(step, Step::Sender | Step::Recipient | Step::Data | Step::Letter) && code != "421";
    Failed { why: if for_good { MailFailed::Refused(reason) } else { MailFailed::Later(reason) }, listens }
}

/// A step took too long.
pub(crate) fn late(step: Step) -> Failed {
    Failed { why: later(&format!("the mail server did not answer to {step} in time")), listens: false }
}

/// It may be taken later.
pub(crate) fn later(reason: &str) -> MailFailed {
    MailFailed::Later(one_line(reason).chars().take(MAX_REASON).collect())
}

/// Whether a 5xx means the recipient, and not the sender, the policy of the server, or what we said to it.
///
/// The code alone says little (550 is also "relaying denied"), so the enhanced code of RFC 3463 decides where there is
/// one: 5.1 is addresses, of which 5.1.7 and 5.1.8 are the sender's; 5.2 is mailboxes, 5.4 is the way to them.
fn is_the_recipients(step: Step, code: &str, detail: Option<&str>) -> bool {
    if !matches!(step, Step::Recipient | Step::Letter) {
        return false;
    }
    match detail {
        Some("5.1.7" | "5.1.8") => false,
        Some(detail) if detail != "5.0.0" => ["5.1.", "5.2.", "5.4."].iter().any(|class| detail.starts_with(class)),
        _ if step == Step::Recipient => matches!(code, "550" | "551" | "552" | "553" | "554" | "556"),
        _ => matches!(code, "550" | "551" | "552" | "553"),
    }
}

/// The enhanced code that a reply's text begins with, as in `5.1.1 no such user`.
fn enhanced(text: &str) -> Option<&str> {
    let word = text.split_whitespace().next()?;
    let mut parts = word.split('.');
    let [class, subject, detail] = [parts.next()?, parts.next()?, parts.next()?];
    let is_number = |part: &str| (1..=3).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
    let is_code = matches!(class, "2" | "4" | "5") && is_number(subject) && is_number(detail) && parts.next().is_none();
    is_code.then_some(word)
}

/// Why the conversation broke off.
fn broken(step: Step, error: &Error) -> String {
    let causes = || iter::successors(error.source(), |error| (*error).source());
    let io = causes().find_map(|cause| cause.downcast_ref::<io::Error>());
    let deepest = || causes().last().map(ToString::to_string).unwrap_or_default();
    let kind = io.map(io::Error::kind);
    let what = match kind {
        Some(ErrorKind::ConnectionRefused) => "the connection was refused".to_owned(),
        Some(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted) => {
            "the connection was reset".to_owned()
        }
        Some(ErrorKind::UnexpectedEof) => "the connection was closed".to_owned(),
        Some(ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable) => "the address cannot be reached".to_owned(),
        Some(ErrorKind::TimedOut) => "no connection could be made in time".to_owned(),
        // What rustls refuses comes as one of these.
        Some(ErrorKind::InvalidData) => format!("TLS failed: {}", deepest()),
        _ if error.is_tls() => format!("TLS failed: {}", deepest()),
        Some(_) if step == Step::Connect => format!("no connection could be made: {}", deepest()),
        _ if error.is_client() && step == Step::LogIn => "it offers no way to log in that is known here".to_owned(),
        _ if error.is_response() => "the connection was closed, or what came is no SMTP".to_owned(),
        _ => "the exchange failed".to_owned(),
    };
    format!("the mail server failed at {step}: {what}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_wrong_with_the_recipient_is_for_good() {
        for (step, code, detail, expected) in [
            (Step::Recipient, "550", Some("5.1.1"), true),
            (Step::Recipient, "550", None, true),
            (Step::Recipient, "552", Some("5.2.2"), true),
            (Step::Recipient, "550", Some("5.4.1"), true),
            (Step::Recipient, "556", Some("5.1.10"), true),
            (Step::Letter, "550", Some("5.1.10"), true),
            (Step::Letter, "550", None, true),
            (Step::Letter, "554", None, false),
            (Step::Letter, "550", Some("5.7.26"), false),
            (Step::Recipient, "554", Some("5.7.1"), false),
            (Step::Recipient, "550", Some("5.1.8"), false),
            (Step::Recipient, "503", None, false),
            (Step::Recipient, "530", None, false),
            (Step::Sender, "550", Some("5.1.1"), false),
            (Step::LogIn, "535", Some("5.7.8"), false),
            (Step::Data, "554", None, false),
            (Step::Connect, "554", None, false),
        ] {
            assert_eq!(is_the_recipients(step, code, detail), expected, "{step} {code} {detail:?}");
        }
    }

    #[test]
    fn an_enhanced_code_begins_the_text() {
        assert_eq!(enhanced("5.1.1 <ada@example.com> unknown"), Some("5.1.1"));
        assert_eq!(enhanced("5.7.26 SPF\n5.7.26 failed"), Some("5.7.26"));
        for text in ["", "no such user", "5.1", "10.0.0.1 is blocked", "5.1.1.1 x", "5.1.x y", "9.1.1 z"] {
            assert_eq!(enhanced(text), None, "{text:?}");
        }
    }
}

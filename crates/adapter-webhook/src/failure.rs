//! What is said of a message that was not taken: one line for the log of deliveries.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::iter;
use std::time::Duration;

use domain::ports::SendFailed;
use reqwest::StatusCode;
use rustls::{CertificateError, Error as TlsError};

use crate::resolver::NoAddress;

/// The longest reason, in characters.
const MAX_REASON: usize = 500;

/// No answer came, for this reason.
pub(crate) fn unanswered(reason: &str) -> SendFailed {
    SendFailed { status: None, reason: one_line(reason), retry_after: None }
}

/// The answer was not 2xx.
pub(crate) fn refused(status: StatusCode, retry_after: Option<Duration>) -> SendFailed {
    let known = status.canonical_reason().map(|phrase| format!(" {phrase}")).unwrap_or_default();
    let hint = if status.is_redirection() { ", and redirects are not followed" } else { "" };
    let reason = format!("the receiver answered {}{known}{hint}", status.as_u16());
    SendFailed { status: Some(status.as_u16()), reason, retry_after }
}

/// Why the exchange failed. reqwest's own text is not used: it holds the URL, whose query may be a secret.
pub(crate) fn reason(error: &reqwest::Error) -> String {
    let causes = || iter::successors(error.source(), |error| (*error).source());
    if let Some(known) = causes().find_map(known) {
        return known;
    }
    if error.is_timeout() {
        return "no connection could be made in time".to_owned();
    }
    let deepest = causes().last().map(ToString::to_string);
    match (error.is_connect(), deepest) {
        (true, Some(deepest)) => format!("no connection could be made: {deepest}"),
        (false, Some(deepest)) => format!("the exchange failed: {deepest}"),
        (_, None) => "the exchange failed".to_owned(),
    }
}

fn known(error: &(dyn Error + 'static)) -> Option<String> {
    if let Some(no_address) = error.downcast_ref::<NoAddress>() {
        return Some(no_address.to_string());
    }
    if let Some(tls) = error.downcast_ref::<TlsError>() {
        return Some(of_tls(tls));
    }
    let io = error.downcast_ref::<io::Error>()?;
    // What an IO error wraps is no source of it.
    if let Some(wrapped) = io.get_ref().and_then(|wrapped| known(wrapped)) {
        return Some(wrapped);
    }
    let what = match io.kind() {
        ErrorKind::ConnectionRefused => "the connection was refused",
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted => "the connection was reset",
        ErrorKind::UnexpectedEof => "the connection was closed before an answer",
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => "the address cannot be reached",
        ErrorKind::TimedOut => "no connection could be made in time",
        _ => return None,
    };
    Some(what.to_owned())
}

fn of_tls(error: &TlsError) -> String {
    let TlsError::InvalidCertificate(certificate) = error else {
        return format!("TLS failed: {error}");
    };
    match certificate {
        CertificateError::UnknownIssuer => "the certificate is signed by no authority that is trusted".to_owned(),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "the certificate has expired".to_owned(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the certificate is not valid yet".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the certificate is for another name".to_owned()
        }
        other => format!("the certificate is not valid: {other}"),
    }
}

fn one_line(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { ' ' } else { char }).take(MAX_REASON).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_told_with_its_meaning() {
        for (status, reason) in [
            (404, "the receiver answered 404 Not Found"),
            (410, "the receiver answered 410 Gone"),
            (599, "the receiver answered 599"),
            (302, "the receiver answered 302 Found, and redirects are not followed"),
        ] {
            let failed = refused(StatusCode::from_u16(status).unwrap(), None);
            assert_eq!((failed.status, failed.reason.as_str()), (Some(status), reason));
        }
    }

    #[test]
    fn a_reason_is_one_line_of_500_characters() {
        let reason = unanswered(&"ä\n".repeat(1_000)).reason;
        assert_eq!(reason, "ä ".repeat(250));
    }
}

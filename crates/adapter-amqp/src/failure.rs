//! What is said of facts that were not confirmed: one line for the log.

use std::io;
use std::time::Duration;

use domain::ports::PublishFailed;
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::{Error, ErrorKind};

use crate::exchange::Exchange;

/// The longest line, in characters.
const MAX_LINE: usize = 500;

/// A failure of this text, made one line.
pub(crate) fn line(text: &str) -> PublishFailed {
    PublishFailed(text.chars().map(|char| if char.is_control() { ' ' } else { char }).take(MAX_LINE).collect())
}

/// No connection was made in time.
pub(crate) fn unconnected(patience: Duration) -> PublishFailed {
    line(&format!("no connection to the broker was made within {patience:?}"))
}

/// Not everything was confirmed in time.
pub(crate) fn unconfirmed(patience: Duration, is_blocked: bool) -> PublishFailed {
    let hint = if is_blocked { ": it is short of memory or of disk space, and takes no messages" } else { "" };
    line(&format!("the broker did not confirm within {patience:?}{hint}"))
}

/// The socket failed.
pub(crate) fn io(error: &io::Error) -> PublishFailed {
    use io::ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable, NetworkUnreachable,
        UnexpectedEof,
    };
    line(&match error.kind() {
        ConnectionRefused => "the broker is not there: the connection was refused".to_owned(),
        ConnectionReset | ConnectionAborted | BrokenPipe | UnexpectedEof => "the connection was closed".to_owned(),
        HostUnreachable | NetworkUnreachable => "the broker's address cannot be reached".to_owned(),
        _ => format!("the connection failed: {error}"),
    })
}

/// Connecting or logging in failed.
pub(crate) fn connecting(error: &Error) -> PublishFailed {
    match error.kind() {
        ErrorKind::ProtocolError(refused) if *refused.kind() == AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) => {
            line("the broker refused the user or the password")
        }
        _ => publishing(error),
    }
}

/// The exchange was not declared.
pub(crate) fn declaring(error: &Error, exchange: &Exchange) -> PublishFailed {
    match error.kind() {
        ErrorKind::ProtocolError(refused)
            if *refused.kind() == AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED) =>
        {
            let name = exchange.as_str();
            line(&format!("the exchange {name:?} is there with other properties: {}", refused.get_message()))
        }
        _ => publishing(error),
    }
}

/// Anything else failed.
pub(crate) fn publishing(error: &Error) -> PublishFailed {
    match error.kind() {
        ErrorKind::ProtocolError(said) => line(&format!("the broker answered {}", said.get_message())),
        ErrorKind::IOError(error) => io(error),
        ErrorKind::InvalidChannelState(..) | ErrorKind::InvalidConnectionState(_) => line("the connection was closed"),
        ErrorKind::MissingHeartbeatError => line("the broker was silent for too long"),
        _ => line(&format!("the exchange of messages failed: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_line_of_500_characters() {
        assert_eq!(line(&"ä\n".repeat(1_000)).0, "ä ".repeat(250));
    }

    #[test]
    fn a_broken_socket_is_told_in_words() {
        let of = |kind: io::ErrorKind| io(&kind.into()).0;
        assert_eq!(of(io::ErrorKind::ConnectionRefused), "the broker is not there: the connection was refused");
        assert_eq!(of(io::ErrorKind::BrokenPipe), "the connection was closed");
        assert_eq!(of(io::ErrorKind::PermissionDenied), "the connection failed: permission denied");
    }
}

//! WebSocket frames (RFC 6455): those of a client, put together into messages; and ours.

use actix_http::ws::{CloseCode, CloseReason, OpCode, Parser, ProtocolError};
use actix_web::dev::Payload;
use actix_web::web::{Bytes, BytesMut};
use futures_util::StreamExt;

/// The greatest message of a client, in bytes.
pub(super) const MAX_MESSAGE: usize = 64 << 10;

/// The greatest head of a frame.
const MAX_HEAD: usize = 14;

/// The greatest contents of a control frame.
const MAX_CONTROL: usize = 125;

/// What a client said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    Text(BytesMut),
    Binary,
    Ping(Bytes),
    Pong,
    Close,
    /// Something after which nothing of theirs can be understood any more.
    Nonsense(CloseCode, &'static str),
    /// They hung up.
    Gone,
}

/// What comes from a client.
pub(super) struct Incoming {
    payload: Payload,
    read: BytesMut,
    /// A message of which more is to come.
    begun: Option<(Kind, BytesMut)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Binary,
}

impl Incoming {
    pub(super) fn new(payload: Payload) -> Self {
        Self { payload, read: BytesMut::new(), begun: None }
    }

    /// Waits for what is said next. A caller that stops waiting misses nothing.
    pub(super) async fn next(&mut self) -> Said {
        loop {
            match self.parse() {
                Some(said) => return said,
                None => match self.payload.next().await {
                    Some(Ok(bytes)) => self.read.extend_from_slice(&bytes),
                    Some(Err(_)) | None => return Said::Gone,
                },
            }
        }
    }

    /// Waits until the client has hung up, whatever they still say.
    pub(super) async fn hang_up(&mut self) {
        self.read = BytesMut::new();
        while let Some(Ok(_)) = self.payload.next().await {}
    }

    /// What is said by the bytes that came already, if that is anything.
    fn parse(&mut self) -> Option<Said> {
        loop {
            let (finished, kind, contents) = match Parser::parse(&mut self.read, true, MAX_MESSAGE) {
                Ok(Some(frame)) => frame,
                // The parser waits for the whole of a frame, however long it says it is.
                Ok(None) if self.read.len() > MAX_MESSAGE + MAX_HEAD => return Some(too_large()),
                Ok(None) => {
                    if self.read.is_empty() {
                        self.read = BytesMut::new();
                    }
                    return None;
                }
                Err(ProtocolError::Overflow) => return Some(too_large()),
                Err(_) => return Some(broken("the frame is broken")),
            };
            let contents = contents.unwrap_or_default();
            let said = match kind {
                OpCode::Text => self.begin(Kind::Text, contents, finished),
                OpCode::Binary => self.begin(Kind::Binary, contents, finished),
                OpCode::Continue => self.go_on(&contents, finished),
                OpCode::Ping | OpCode::Pong | OpCode::Close if !finished || contents.len() > MAX_CONTROL => {
                    Some(broken("a control frame is short and in one piece"))
                }
                OpCode::Ping => Some(Said::Ping(contents.freeze())),
                OpCode::Pong => Some(Said::Pong),
                OpCode::Close => Some(Said::Close),
                OpCode::Bad => Some(broken("there is no such frame")),
            };
            if said.is_some() {
                return said;
            }
        }
    }

    fn begin(&mut self, kind: Kind, contents: BytesMut, finished: bool) -> Option<Said> {
        if self.begun.is_some() {
            return Some(broken("a message began within another"));
        }
        if finished {
            return Some(whole(kind, contents));
        }
        self.begun = Some((kind, contents));
        None
    }

    fn go_on(&mut self, contents: &[u8], finished: bool) -> Option<Said> {
        let Some((_, message)) = &mut self.begun else { return Some(broken("no message was begun")) };
        if message.len() + contents.len() > MAX_MESSAGE {
            return Some(too_large());
        }
        message.extend_from_slice(contents);
        if !finished {
            return None;
        }
        self.begun.take().map(|(kind, message)| whole(kind, message))
    }
}

fn whole(kind: Kind, message: BytesMut) -> Said {
    match kind {
        Kind::Binary => Said::Binary,
        Kind::Text if std::str::from_utf8(&message).is_ok() => Said::Text(message),
        Kind::Text => Said::Nonsense(CloseCode::Invalid, "a text is UTF-8"),
    }
}

fn broken(reason: &'static str) -> Said {
    Said::Nonsense(CloseCode::Protocol, reason)
}

fn too_large() -> Said {
    Said::Nonsense(CloseCode::Size, "a message has 64 KiB at most")
}

/// A text message.
pub(super) fn text(contents: &[u8]) -> Bytes {
    frame(OpCode::Text, contents)
}

/// A ping.
pub(super) fn ping() -> Bytes {
    frame(OpCode::Ping, &[])
}

/// The answer to a ping.
pub(super) fn pong(contents: &[u8]) -> Bytes {
    frame(OpCode::Pong, contents)
}

/// The end.
pub(super) fn close(code: CloseCode, reason: &str) -> Bytes {
    let mut bytes = BytesMut::new();
    Parser::write_close(&mut bytes, Some(CloseReason::from((code, reason))), false);
    bytes.freeze()
}

fn frame(kind: OpCode, contents: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(contents.len() + MAX_HEAD);
    Parser::write_message(&mut bytes, contents, kind, true, false);
    bytes.freeze()
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    /// What is said by these frames, as they come in pieces of so many bytes.
    async fn said(frames: &[(OpCode, bool, &[u8])], piece: usize) -> Vec<Said> {
        let mut bytes = BytesMut::new();
        for (kind, finished, contents) in frames {
            Parser::write_message(&mut bytes, *contents, *kind, *finished, true);
        }
        said_by(&bytes, piece).await
    }

    async fn said_by(bytes: &[u8], piece: usize) -> Vec<Said> {
        let pieces: Vec<_> = bytes.chunks(piece).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        let mut incoming = Incoming::new(Payload::Stream { payload: Box::pin(stream::iter(pieces)) });
        let mut said = Vec::new();
        loop {
            said.push(incoming.next().await);
            if matches!(said.last(), Some(Said::Gone | Said::Nonsense(..))) {
                return said;
            }
        }
    }

    #[tokio::test]
    async fn messages_are_put_together_however_they_come() {
        for piece in [1, 2, 7, 1000] {
            let frames: [(OpCode, bool, &[u8]); 7] = [
                (OpCode::Text, true, b"one"),
                (OpCode::Text, false, b"t"),
                (OpCode::Ping, true, b"in between"),
                (OpCode::Continue, false, b""),
                (OpCode::Continue, true, b"wo"),
                (OpCode::Binary, true, b"\xff"),
                (OpCode::Pong, true, b""),
            ];
            let expected = [
                Said::Text(BytesMut::from("one")),
                Said::Ping(Bytes::from("in between")),
                Said::Text(BytesMut::from("two")),
                Said::Binary,
                Said::Pong,
                Said::Gone,
            ];
            assert_eq!(said(&frames, piece).await, expected);
        }
    }

    #[tokio::test]
    async fn frames_that_break_the_protocol_are_nonsense() {
        let (text, more) = (OpCode::Text, OpCode::Continue);
        let long = vec![b'x'; 126];
        let broken: [&[(OpCode, bool, &[u8])]; 6] = [
            &[(more, true, b"x")],
            &[(text, false, b"x"), (text, true, b"x")],
            &[(text, false, b"x"), (OpCode::Binary, false, b"x")],
            &[(OpCode::Ping, false, b"x")],
            &[(OpCode::Ping, true, &long)],
            &[(OpCode::Close, true, &long)],
        ];
        for frames in broken {
            let said = said(frames, 3).await;
            assert!(matches!(said.last(), Some(Said::Nonsense(CloseCode::Protocol, _))), "{frames:?}: {said:?}");
        }
        assert!(matches!(said(&[(text, true, b"\xff")], 9).await[0], Said::Nonsense(CloseCode::Invalid, _)));
        // Not masked, and an opcode there is none of.
        for bytes in [[0x81, 0x01, b'x', 0, 0, 0, 0], [0x83, 0x81, 0, 0, 0, 0, b'x'], [0xf1, 0x81, 0, 0, 0, 0, b'x']] {
            assert!(matches!(said_by(&bytes, 9).await[0], Said::Nonsense(CloseCode::Protocol, _)), "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn a_message_that_is_too_large_is_not_waited_for() {
        let (least, half) = (vec![b'x'; MAX_MESSAGE], vec![b'x'; MAX_MESSAGE / 2 + 1]);
        assert!(matches!(&said(&[(OpCode::Text, true, &least)], 1000).await[0], Said::Text(_)));
        let more = [least.clone(), vec![b'x']].concat();
        assert!(matches!(said(&[(OpCode::Text, true, &more)], 1000).await[0], Said::Nonsense(CloseCode::Size, _)));
        let halves: [(OpCode, bool, &[u8]); 2] = [(OpCode::Text, false, &half), (OpCode::Continue, true, &half)];
        assert!(matches!(said(&halves, 1000).await[0], Said::Nonsense(CloseCode::Size, _)));
        // There are not so many bytes.
        let mut bytes = vec![0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];
        bytes.resize(1 << 20, b'x');
        let mut incoming = Incoming::new(Payload::Stream {
            payload: Box::pin(stream::iter(
                bytes.chunks(1000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect::<Vec<_>>(),
            )),
        });
        assert!(matches!(incoming.next().await, Said::Nonsense(CloseCode::Size, _)));
        assert!(incoming.read.len() <= MAX_MESSAGE + MAX_HEAD + 1000);
    }
}

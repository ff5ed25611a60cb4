//! Clients of live seats: one that reads Server-Sent Events, and one that talks over a WebSocket. Each
//! waits for a message for ten seconds at most.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use reqwest::Response;
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::Response as Handshake;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, client_async, connect_async};

use super::server::{Answer, Instance};

const PATIENCE: Duration = Duration::from_secs(10);

/// A stream of Server-Sent Events.
pub struct EventStream {
    response: Response,
    read: String,
}

/// One event of a stream, or a comment, which has no name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub name: String,
    pub id: Option<String>,
    pub data: Value,
}

impl EventStream {
    /// The stream of a response; or the whole answer, if it is no stream.
    pub async fn of(response: Response) -> Result<Self, Answer> {
        let kind = response.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
        if response.status() == 200 && kind.as_deref() == Some("text/event-stream") {
            Ok(Self { response, read: String::new() })
        } else {
            Err(Answer::read(response).await)
        }
    }

    /// A header of the answer, empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        self.response.headers().get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The next event; `None` if the stream came to its end as it should.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((event, rest)) = self.read.split_once("\n\n") {
                let event = Event::parse(event);
                self.read = rest.into();
                if event.name.is_empty() {
                    continue;
                }
                return Some(event);
            }
            let chunk = timeout(PATIENCE, self.response.chunk()).await.expect("nothing was sent for ten seconds");
            let Some(chunk) = chunk.expect("a stream that is not cut off") else {
                assert_eq!(self.read, "", "the stream ended within an event");
                return None;
            };
            self.read.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// The next message, which has to be a state of seats.
    pub async fn seats(&mut self) -> Value {
        let event = self.next().await.expect("an event");
        assert_eq!(event.name, "seats", "{event:?}");
        assert_eq!(event.id, Some(event.data["version"].to_string()), "{event:?}");
        assert_seats(&event.data);
        event.data
    }

    /// Reads until so many seats are free.
    pub async fn until_available(&mut self, seats: u64) -> Value {
        let mut version = 0;
        loop {
            let told = self.seats().await;
            assert!(told["version"].as_u64() > Some(version), "{told} after version {version}");
            version = told["version"].as_u64().unwrap();
            if told["available_seats"] == seats {
                return told;
            }
        }
    }

    /// Whether no event arrives within this time.
    pub async fn is_quiet_for(&mut self, time: Duration) -> bool {
        timeout(time, self.next()).await.is_err()
    }
}

impl Event {
    fn parse(text: &str) -> Self {
        let mut event = Self { name: String::new(), id: None, data: Value::Null };
        for line in text.split('\n') {
            match line.split_once(':').expect("a field or a comment") {
                ("", "") => {}
                ("event", name) => event.name = name.strip_prefix(' ').unwrap().into(),
                ("id", id) => event.id = Some(id.strip_prefix(' ').unwrap().to_owned()),
                ("data", data) => event.data = serde_json::from_str(data).unwrap(),
                _ => panic!("an unknown field: {line}"),
            }
        }
        event
    }
}

/// Fails if this is not a state of seats with exactly its fields.
#[track_caller]
pub fn assert_seats(told: &Value) {
    let mut fields: Vec<_> = told.as_object().unwrap().keys().map(String::as_str).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["available_seats", "event_id", "registration_count", "total_seats", "version"], "{told}");
    let number = |name: &str| told[name].as_u64().unwrap();
    assert_eq!(number("available_seats") + number("registration_count"), number("total_seats"), "{told}");
}

/// A client of a WebSocket.
pub struct Talk {
    pub socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Talk {
    /// Subscribes to events.
    pub async fn subscribe(&mut self, events: &[u64]) {
        self.say(&json!({ "subscribe": events })).await;
    }

    pub async fn unsubscribe(&mut self, events: &[u64]) {
        self.say(&json!({ "unsubscribe": events })).await;
    }

    pub async fn say(&mut self, message: &Value) {
        self.send(Message::text(message.to_string())).await;
    }

    pub async fn send(&mut self, message: Message) {
        self.socket.send(message).await.unwrap();
    }

    /// The next text message, of any kind.
    pub async fn told(&mut self) -> Value {
        loop {
            match self.frame().await {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("told nothing but {other:?}"),
            }
        }
    }

    /// The next message, which has to be a state of seats.
    pub async fn seats(&mut self) -> Value {
        let told = self.told().await;
        assert_seats(&told);
        told
    }

    /// The code of the next message, which has to be an error.
    pub async fn error(&mut self) -> String {
        let told = self.told().await;
        assert_eq!(told.as_object().unwrap().len(), 1, "{told}");
        assert!(told["error"]["detail"].is_string() && told["error"].as_object().unwrap().len() == 2, "{told}");
        told["error"]["code"].as_str().unwrap().to_owned()
    }

    /// Waits until the server closes, and returns its close code.
    pub async fn closed(&mut self) -> CloseCode {
        loop {
            match self.frame().await {
                Message::Close(reason) => {
                    let code = reason.expect("a reason").code;
                    while let Some(Ok(_)) = timeout(PATIENCE, self.socket.next()).await.expect("it closes") {}
                    return code;
                }
                Message::Text(_) | Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("not closed but {other:?}"),
            }
        }
    }

    pub async fn frame(&mut self) -> Message {
        let frame = timeout(PATIENCE, self.socket.next()).await.expect("no message for ten seconds");
        frame.expect("the socket is open").unwrap()
    }
}

impl Instance {
    /// Watches an event's seats as a stream.
    pub async fn watch(&self, event: u64) -> EventStream {
        self.try_watch(event, &[]).await.unwrap()
    }

    /// Watches an event's seats as a stream, with these headers; or the answer, if it is no stream.
    pub async fn try_watch(&self, event: u64, headers: &[(&str, &str)]) -> Result<EventStream, Answer> {
        let mut request = self.get(&format!("/api/events/{event}/seats/stream"));
        for (name, value) in headers {
            request = request.header(name, value);
        }
        EventStream::of(request.response().await).await
    }

    /// Opens a WebSocket.
    pub async fn talk(&self) -> Talk {
        self.try_talk(&[]).await.unwrap()
    }

    /// Opens a WebSocket over a connection with the smallest receive buffer.
    pub async fn talk_with_little_room(&self) -> Talk {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(2_048).unwrap();
        let stream = socket.connect(self.base().strip_prefix("http://").unwrap().parse().unwrap()).await.unwrap();
        let address = format!("{}/api/live", self.base().replacen("http", "ws", 1));
        Talk { socket: client_async(address, MaybeTlsStream::Plain(stream)).await.unwrap().0 }
    }

    /// Opens a WebSocket, with these headers; or the answer to that, if it is another.
    pub async fn try_talk(&self, headers: &[(&'static str, &str)]) -> Result<Talk, Handshake<Option<Vec<u8>>>> {
        let mut request = format!("{}/api/live", self.base().replacen("http", "ws", 1)).into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        match connect_async(request).await {
            Ok((socket, _)) => Ok(Talk { socket }),
            Err(tungstenite::Error::Http(answer)) => Err(*answer),
            Err(error) => panic!("{error}"),
        }
    }
}

//! A receiver of webhooks on loopback, which answers as a test tells it to and remembers what it was sent.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, Mac};
use serde_json::Value;
use sha2::Sha256;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::until;

/// How a receiver answers a message.
#[derive(Debug, Clone)]
pub enum Reply {
    /// With this status, and these header lines.
    Status(u16, &'static str),
    /// Not at all, while the connection stays open.
    Stall,
}

/// A message as it came.
#[derive(Debug, Clone)]
pub struct Message {
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

impl Message {
    /// The fact.
    pub fn fact(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The type of the fact.
    pub fn kind(&self) -> String {
        self.fact()["type"].as_str().unwrap().to_owned()
    }

    /// How many of the signatures are made with this secret.
    pub fn signatures_by(&self, secret: &str) -> usize {
        let key = BASE64_STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        mac.update(format!("{}.{}.", self.headers["webhook-id"], self.headers["webhook-timestamp"]).as_bytes());
        mac.update(&self.body);
        let expected = format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()));
        self.headers["webhook-signature"].split(' ').filter(|signature| *signature == expected).count()
    }
}

#[derive(Default)]
struct State {
    messages: Vec<Message>,
    replies: VecDeque<Reply>,
}

/// A receiver on loopback. It answers 200 unless it is told otherwise.
pub struct Receiver {
    url: String,
    state: Arc<Mutex<State>>,
    listening: JoinHandle<()>,
}

impl Receiver {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        let listening = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(serve(connection, Arc::clone(&shared)));
            }
        });
        Self { url, state, listening }
    }

    /// Where it listens.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Has the next messages answered so, one each.
    pub fn reply_with(&self, replies: impl IntoIterator<Item = Reply>) {
        self.state.lock().unwrap().replies.extend(replies);
    }

    /// What came by now.
    pub fn messages(&self) -> Vec<Message> {
        self.state.lock().unwrap().messages.clone()
    }

    /// Waits until so many messages came.
    pub async fn expect(&self, count: usize) -> Vec<Message> {
        until("the messages have come", async || self.messages().len() >= count).await;
        self.messages()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn serve(connection: TcpStream, state: Arc<Mutex<State>>) {
    let mut connection = BufStream::new(connection);
    while let Some(message) = read(&mut connection).await {
        let reply = {
            let mut state = state.lock().unwrap();
            state.messages.push(message);
            state.replies.pop_front().unwrap_or(Reply::Status(200, ""))
        };
        match reply {
            Reply::Stall => tokio::time::sleep(Duration::from_mins(10)).await,
            Reply::Status(status, headers) => {
                let answer = format!("HTTP/1.1 {status} Answer\r\n{headers}Content-Length: 0\r\n\r\n");
                if connection.write_all(answer.as_bytes()).await.is_err() || connection.flush().await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn read(connection: &mut BufStream<TcpStream>) -> Option<Message> {
    let mut line = String::new();
    connection.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
    let mut headers = HashMap::new();
    loop {
        line.clear();
        connection.read_line(&mut line).await.ok()?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) => headers.insert(name.to_ascii_lowercase(), value.to_owned()),
            None => break,
        };
    }
    let mut body = vec![0; headers.get("content-length")?.parse().ok()?];
    connection.read_exact(&mut body).await.ok()?;
    Some(Message { headers, body })
}

//! A receiver on loopback that answers as a test wants it to.

use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// A connection of a receiver.
pub(super) type Connection = BufStream<TcpStream>;

/// A request as it came.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) line: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// A listener on loopback.
pub(super) struct Receiver {
    pub(super) address: SocketAddr,
    pub(super) requests: UnboundedReceiver<Request>,
    connections: Arc<AtomicUsize>,
}

impl Receiver {
    /// Answers each request of a connection with these bytes, for as long as the client keeps it.
    pub(super) async fn answering(answer: impl Into<String>) -> Self {
        let answer: Arc<str> = answer.into().into();
        Self::serving("127.0.0.1:0", move |mut connection, requests| {
            let answer = Arc::clone(&answer);
            async move {
                while let Some(request) = read(&mut connection).await {
                    let _ = requests.send(request);
                    write(&mut connection, answer.as_bytes()).await;
                }
            }
        })
        .await
    }

    /// Reads one request of a connection, and leaves the connection to `then`.
    pub(super) async fn after_a_request<F: Future<Output = ()> + Send>(
        then: impl Fn(Connection) -> F + Copy + Send + Sync + 'static,
    ) -> Self {
        Self::serving("127.0.0.1:0", move |mut connection, requests| async move {
            if let Some(request) = read(&mut connection).await {
                let _ = requests.send(request);
                then(connection).await;
            }
        })
        .await
    }

    /// Leaves every connection to `serve`.
    pub(super) async fn serving<F: Future<Output = ()> + Send>(
        address: &str,
        serve: impl Fn(Connection, UnboundedSender<Request>) -> F + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, requests) = unbounded_channel();
        let connections = Arc::new(AtomicUsize::new(0));
        let (counted, serve) = (Arc::clone(&connections), Arc::new(serve));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                let (serve, sender) = (Arc::clone(&serve), sender.clone());
                tokio::spawn(async move { serve(BufStream::new(stream), sender).await });
            }
        });
        Self { address, requests, connections }
    }

    /// How many connections were made. The probe is one more: the listener takes them in their order.
    pub(super) async fn connections(&self) -> usize {
        let before = self.connections.load(Ordering::SeqCst);
        let _probe = TcpStream::connect(self.address).await.unwrap();
        while self.connections.load(Ordering::SeqCst) == before {
            tokio::task::yield_now().await;
        }
        // What came before the probe was counted before it.
        self.connections.load(Ordering::SeqCst) - 1
    }
}

/// The next request; `None` when the client closed the connection.
pub(super) async fn read(connection: &mut (impl AsyncRead + AsyncBufReadExt + Unpin)) -> Option<Request> {
    let line = read_line(connection).await?;
    let mut headers = HashMap::new();
    while let Some((name, value)) = read_line(connection).await?.split_once(": ") {
        let name: HeaderName = name.parse().unwrap();
        headers.insert(name, HeaderValue::from_str(value).unwrap());
    }
    let headers = HeaderMap::from_iter(headers);
    let length: usize = headers["content-length"].to_str().unwrap().parse().unwrap();
    let mut body = vec![0; length];
    connection.read_exact(&mut body).await.ok()?;
    Some(Request { line, headers, body })
}

async fn read_line(connection: &mut (impl AsyncBufReadExt + Unpin)) -> Option<String> {
    let mut line = String::new();
    let read = connection.read_line(&mut line).await.ok()?;
    (read > 0).then(|| line.trim_end().to_owned())
}

/// Whether the client was still there to be told.
pub(super) async fn write(connection: &mut (impl AsyncWriteExt + Unpin), bytes: &[u8]) -> bool {
    connection.write_all(bytes).await.is_ok() && connection.flush().await.is_ok()
}

//! A TCP proxy that spoils the connections between the program and a server.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;

/// The fault of the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Toxic {
    /// Nothing.
    None,
    /// All bytes, in either direction, arrive this much later.
    Latency(Duration),
    /// Connections are reset, and so is each new one.
    Reset,
    /// Nothing arrives, and neither end gets an error. The bytes sent meanwhile arrive when the line is mended.
    BlackHole,
    /// A connection is reset once the server has sent this many bytes more over it.
    CutAfter(usize),
    /// A connection is reset in place of the server's answer to a request that holds this text, which
    /// the server has got.
    LoseAnswerTo(&'static str),
    /// These words are overwritten with blanks in every request.
    Unsay(&'static [&'static str]),
    /// The server's bytes arrive in slices of so many bytes, with a pause after each.
    Slices(usize, Duration),
}

/// A TCP proxy before a server, whose line can be made bad and mended, or led to another server, while it runs.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    server: watch::Sender<SocketAddr>,
    toxic: watch::Sender<Toxic>,
}

impl Proxy {
    /// A good line to `host:port`.
    pub async fn before(server: &str) -> Self {
        let server: SocketAddr = server.parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (toxic, told) = watch::channel(Toxic::None);
        let (server, led_to) = watch::channel(server);
        tokio::spawn(accept(listener, led_to, told));
        Self { address, server, toxic }
    }

    /// Leads future connections to another `host:port`, as a name that is switched does. Present ones stay.
    pub fn lead_to(&self, server: &str) {
        self.server.send_replace(server.parse().unwrap());
    }

    /// A good line to the server of a URL, and the URL that leads over it.
    pub async fn on_the_way_to(url: &str) -> (Self, String) {
        let (before, rest) = url.split_once("://").unwrap();
        let (place, path) =
            rest.split_once('/').map_or((rest, String::new()), |(place, path)| (place, format!("/{path}")));
        let (who, server) =
            place.rsplit_once('@').map_or((String::new(), place), |(who, server)| (format!("{who}@"), server));
        let proxy = Self::before(server).await;
        let url = format!("{before}://{who}{}{path}", proxy.address);
        (proxy, url)
    }

    /// Makes the line bad, or good again, for present and future connections.
    pub fn set(&self, toxic: Toxic) {
        self.toxic.send_replace(toxic);
    }

    /// Mends the line.
    pub fn mend(&self) {
        self.set(Toxic::None);
    }
}

/// Takes connections until the proxy is dropped.
async fn accept(listener: TcpListener, server: watch::Receiver<SocketAddr>, mut toxic: watch::Receiver<Toxic>) {
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (client, _) = accepted.unwrap();
                tokio::spawn(connect(client, *server.borrow(), toxic.clone()));
            }
            () = dropped(&mut toxic) => return,
        }
    }
}

async fn dropped(toxic: &mut watch::Receiver<Toxic>) {
    while toxic.changed().await.is_ok() {}
}

async fn connect(mut client: TcpStream, server: SocketAddr, mut toxic: watch::Receiver<Toxic>) {
    if toxic.wait_for(|toxic| *toxic != Toxic::BlackHole).await.is_err() {
        return;
    }
    let server = TcpStream::connect(server).await;
    let Ok(mut server) = server else {
        client.set_zero_linger().unwrap();
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let line = Line { toxic: toxic.clone(), asked: AtomicBool::new(false), answered: AtomicUsize::new(0) };
    let cut = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        tokio::select! {
            cut = line.carry_requests(from_client, to_server) => cut,
            cut = line.carry_answers(from_server, to_client) => cut,
            // An error is the end of the proxy.
            _ = toxic.wait_for(|toxic| *toxic == Toxic::Reset) => true,
        }
    };
    if cut {
        // Closing without lingering throws unsent data away and sends a reset.
        let _ = (client.set_zero_linger(), server.set_zero_linger());
    }
}

/// One connection.
struct Line {
    toxic: watch::Receiver<Toxic>,
    /// Whether the request was sent whose answer is to be lost.
    asked: AtomicBool,
    /// How many bytes the server has said since the line was to be cut after some.
    answered: AtomicUsize,
}

impl Line {
    /// Answers whether the connection was cut; otherwise it was closed by one of its ends.
    async fn carry_requests(&self, mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> bool {
        let mut held = vec![0; 64 * 1024];
        loop {
            let Ok(length @ 1..) = from.read(&mut held).await else { return false };
            let said = &mut held[..length];
            let toxic = self.passable().await;
            if let Toxic::Unsay(words) = toxic {
                for word in words {
                    unsay(said, word);
                }
            }
            if let Toxic::Latency(latency) = toxic {
                sleep(latency).await;
            }
            if let Toxic::LoseAnswerTo(text) = toxic
                && said.windows(text.len()).any(|part| part == text.as_bytes())
            {
                self.asked.store(true, Ordering::SeqCst);
            }
            if to.write_all(said).await.is_err() {
                return false;
            }
        }
    }

    /// The same, the other way.
    async fn carry_answers(&self, mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> bool {
        let mut held = vec![0; 64 * 1024];
        loop {
            let Ok(length @ 1..) = from.read(&mut held).await else { return false };
            let mut said = &held[..length];
            let (mut slice, mut pause) = (length, Duration::ZERO);
            let mut cut = false;
            match self.passable().await {
                Toxic::Latency(latency) => sleep(latency).await,
                Toxic::CutAfter(bytes) => {
                    let before = self.answered.fetch_add(length, Ordering::SeqCst);
                    cut = before + length > bytes;
                    said = &said[..length.min(bytes.saturating_sub(before))];
                }
                Toxic::LoseAnswerTo(_) if self.asked.load(Ordering::SeqCst) => return true,
                Toxic::Slices(bytes, after_each) => (slice, pause) = (bytes, after_each),
                _ => {}
            }
            for slice in said.chunks(slice) {
                if to.write_all(slice).await.is_err() {
                    return false;
                }
                sleep(pause).await;
            }
            if cut {
                return true;
            }
        }
    }

    /// The fault of the line, once it is no black hole.
    async fn passable(&self) -> Toxic {
        let mut toxic = self.toxic.clone();
        match toxic.wait_for(|toxic| *toxic != Toxic::BlackHole).await {
            Ok(toxic) => *toxic,
            Err(_) => Toxic::None,
        }
    }
}

/// Overwrites a word with blanks, so that the count of bytes stays the same.
fn unsay(said: &mut [u8], word: &str) {
    while let Some(place) = said.windows(word.len()).position(|part| part == word.as_bytes()) {
        said[place..place + word.len()].fill(b' ');
    }
}

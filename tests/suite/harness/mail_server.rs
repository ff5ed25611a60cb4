//! A mail server on loopback that speaks SMTP, refuses whom a test tells it to, and remembers what it took.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::until;

/// A mail as it came.
#[derive(Debug, Clone)]
pub struct Taken {
    pub to: String,
    pub text: String,
}

#[derive(Default)]
struct State {
    taken: Vec<Taken>,
    unknown: HashSet<String>,
    is_busy: bool,
    turned_away: usize,
}

/// Runs until it is dropped.
pub struct MailServer {
    port: u16,
    state: Arc<Mutex<State>>,
    serving: JoinHandle<()>,
}

impl MailServer {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, state) = (listener.local_addr().unwrap().port(), Arc::<Mutex<State>>::default());
        let shared = Arc::clone(&state);
        let serving = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(converse(connection, Arc::clone(&shared)));
            }
        });
        Self { port, state, serving }
    }

    pub fn url(&self) -> String {
        format!("smtp://127.0.0.1:{}", self.port)
    }

    /// Refuses this recipient for good.
    pub fn refuse(&self, address: &str) {
        self.state.lock().unwrap().unknown.insert(address.to_owned());
    }

    /// Whether everybody is put off.
    pub fn be_busy(&self, is_busy: bool) {
        self.state.lock().unwrap().is_busy = is_busy;
    }

    /// How many recipients were refused or put off.
    pub fn turned_away(&self) -> usize {
        self.state.lock().unwrap().turned_away
    }

    pub fn taken(&self) -> Vec<Taken> {
        self.state.lock().unwrap().taken.clone()
    }

    /// Waits for so many mails.
    pub async fn expect(&self, count: usize) -> Vec<Taken> {
        until("the mail server has the mails", async || self.taken().len() >= count).await;
        self.taken()
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl State {
    fn answer(&mut self, recipient: &str) -> &'static str {
        if !self.is_busy && !self.unknown.contains(recipient) {
            return "250 2.1.5 fine";
        }
        self.turned_away += 1;
        if self.is_busy { "451 4.3.0 try again later" } else { "550 5.1.1 no such user" }
    }
}

/// One connection, to its end.
async fn converse(connection: TcpStream, state: Arc<Mutex<State>>) -> Option<()> {
    let mut stream = BufStream::new(connection);
    say(&mut stream, "220 mail.test ESMTP").await?;
    let mut to = String::new();
    loop {
        let line = hear(&mut stream).await?;
        let command = line.to_ascii_uppercase();
        let reply = if command.starts_with("EHLO") || command.starts_with("HELO") {
            "250 mail.test"
        } else if command.starts_with("RCPT TO:") {
            to = line.split(['<', '>']).nth(1)?.to_owned();
            state.lock().unwrap().answer(&to)
        } else if command == "DATA" {
            say(&mut stream, "354 go on").await?;
            let text = letter(&mut stream).await?;
            state.lock().unwrap().taken.push(Taken { to: to.clone(), text });
            "250 2.0.0 taken"
        } else if command == "QUIT" {
            say(&mut stream, "221 bye").await?;
            return Some(());
        } else {
            "250 2.0.0 fine"
        };
        say(&mut stream, reply).await?;
    }
}

async fn letter(stream: &mut BufStream<TcpStream>) -> Option<String> {
    let mut text = String::new();
    loop {
        let line = hear(stream).await?;
        if line == "." {
            return Some(text);
        }
        text.push_str(line.strip_prefix('.').unwrap_or(&line));
        text.push('\n');
    }
}

async fn hear(stream: &mut BufStream<TcpStream>) -> Option<String> {
    let mut line = String::new();
    let read = stream.read_line(&mut line).await.ok()?;
    (read > 0).then(|| line.trim_end().to_owned())
}

async fn say(stream: &mut BufStream<TcpStream>, line: &str) -> Option<()> {
    stream.write_all(format!("{line}\r\n").as_bytes()).await.ok()?;
    stream.flush().await.ok()
}

//! A mail server on loopback that does as it is told.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What the server does when a line comes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Does {
    /// Goes on as servers do.
    Usual,
    /// Answers this.
    Says(&'static str),
    /// Never answers.
    Stalls,
    /// Closes the connection.
    Closes,
}

/// What the server was told, a line each, and the letters it took.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) connections: usize,
    pub(super) lines: Vec<String>,
    pub(super) letters: Vec<String>,
}

/// A server whose reply to each line is decided by the number of the connection, from 1, and the line; `.` stands for
/// the end of a letter, `within` for each line of it, and the empty line for the connection itself.
pub(super) struct Server {
    pub(super) port: u16,
    seen: Arc<Mutex<Seen>>,
}

impl Server {
    pub(super) async fn start(does: impl Fn(usize, &str) -> Does + Clone + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let all = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let number = {
                    let mut seen = all.lock().unwrap();
                    seen.connections += 1;
                    seen.connections
                };
                let (does, seen) = (does.clone(), Arc::clone(&all));
                tokio::spawn(async move { serve(socket, seen, move |line| does(number, line)).await });
            }
        });
        Self { port, seen }
    }

    /// Looks at what it has seen.
    pub(super) fn seen<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.seen.lock().unwrap())
    }
}

async fn serve(socket: TcpStream, seen: Arc<Mutex<Seen>>, does: impl Fn(&str) -> Does) -> Option<()> {
    let mut socket = BufReader::new(socket);
    answer(&mut socket, does(""), "220 mail.test ESMTP").await?;
    let mut letter: Option<String> = None;
    loop {
        let mut line = String::new();
        if socket.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        if let Some(begun) = &mut letter {
            if line != ".\r\n" {
                begun.push_str(line.strip_prefix('.').unwrap_or(&line));
                if matches!(does("within"), Does::Closes) {
                    return None;
                }
                continue;
            }
            seen.lock().unwrap().letters.extend(letter.take());
            answer(&mut socket, does("."), "250 2.0.0 queued").await?;
            continue;
        }
        let line = line.trim_end();
        seen.lock().unwrap().lines.push(line.to_owned());
        let usual = match line.split(' ').next().unwrap_or_default() {
            "EHLO" => "250-mail.test\r\n250-8BITMIME\r\n250 AUTH PLAIN LOGIN",
            "AUTH" => "235 2.7.0 welcome",
            "DATA" => "354 go on",
            "QUIT" => "221 2.0.0 bye",
            _ => "250 2.0.0 ok",
        };
        let reply = does(line);
        if line == "DATA" && matches!(reply, Does::Usual) {
            letter = Some(String::new());
        }
        answer(&mut socket, reply, usual).await?;
    }
}

async fn answer(socket: &mut BufReader<TcpStream>, does: Does, usual: &str) -> Option<()> {
    let reply = match does {
        Does::Usual => usual,
        Does::Says(reply) => reply,
        Does::Stalls => std::future::pending().await,
        Does::Closes => return None,
    };
    socket.write_all(format!("{reply}\r\n").as_bytes()).await.ok()
}

//! What the load generators have in common: a connection over which requests are sent one after the other. They
//! share the machine with whom they measure, so it does no more than they need.

use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// A connection to the API.
pub struct Connection(BufReader<TcpStream>);

/// The head of an answer, as far as it is of interest here.
pub struct Head {
    /// The status.
    pub status: u16,
    /// How many bytes the body has, if it has an end that is known.
    pub length: Option<usize>,
    /// How long the client is asked to wait.
    pub retry_after: Option<Duration>,
}

impl Connection {
    /// Connects to `address`, a host and a port.
    ///
    /// # Errors
    ///
    /// If nobody listens there.
    pub async fn open(address: &str) -> anyhow::Result<Self> {
        Ok(Self(BufReader::with_capacity(1024, TcpStream::connect(address).await?)))
    }

    /// Sends a request, and reads the head of its answer.
    ///
    /// # Errors
    ///
    /// If the connection ends, or what comes is no answer.
    pub async fn ask(&mut self, request: &str) -> anyhow::Result<Head> {
        self.0.write_all(request.as_bytes()).await?;
        let mut line = String::new();
        self.read_line(&mut line).await?;
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no status")?;
        let mut head = Head { status, length: None, retry_after: None };
        loop {
            ensure!(self.read_line(&mut line).await?, "the connection ended within a head");
            let header = line.trim_end();
            if header.is_empty() {
                return Ok(head);
            }
            let (name, value) = header.split_once(':').context("a header without a value")?;
            if name.eq_ignore_ascii_case("content-length") {
                head.length = Some(value.trim().parse()?);
            } else if name.eq_ignore_ascii_case("retry-after") {
                head.retry_after = Some(Duration::from_secs(value.trim().parse()?));
            }
        }
    }

    /// Reads the body that comes after `head`.
    ///
    /// # Errors
    ///
    /// If the connection ends within it, or it is no text.
    pub async fn body(&mut self, head: &Head) -> anyhow::Result<String> {
        let mut body = vec![0; head.length.context("a body without an end")?];
        self.0.read_exact(&mut body).await?;
        Ok(String::from_utf8(body)?)
    }

    /// Reads the next line into `line`, in place of what it held; `false` once the connection has ended.
    ///
    /// # Errors
    ///
    /// If it breaks, or the line is no text.
    pub async fn read_line(&mut self, line: &mut String) -> anyhow::Result<bool> {
        line.clear();
        Ok(self.0.read_line(line).await? > 0)
    }
}

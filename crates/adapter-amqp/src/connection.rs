//! A connection that ends when it is dropped, whatever state it is in.

use std::io;
use std::net::{Shutdown, TcpStream as Handle};
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};

use async_compat::Compat;
use domain::ports::PublishFailed;
use lapin::auth::AuthProvider;
use lapin::tcp::AsyncTcpStream;
use lapin::types::{LongString, ShortString};
use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo};
use lapin::{Channel, ConnectionProperties, runtime};
use tokio::net::TcpStream;

use crate::failure;
use crate::url::AmqpUrl;

/// How often the two sides tell each other that they are there. A connection is given up after twice this time.
const HEARTBEAT_SECS: u16 = 10;

/// An open connection.
#[derive(Debug)]
pub(crate) struct Connection {
    lapin: lapin::Connection,
    _socket: Socket,
}

impl Connection {
    /// Connects and logs in. A call that is dropped leaves nothing behind.
    pub(crate) async fn open(url: &AmqpUrl) -> Result<Self, PublishFailed> {
        let stream = TcpStream::connect((url.host.as_str(), url.port)).await.map_err(|error| failure::io(&error))?;
        let socket = Socket::of(&stream).map_err(|error| failure::io(&error))?;
        let stream = Mutex::new(Some(stream));
        // The socket is made here and not by lapin, whose thread would go on after the call is dropped. lapin asks
        // for a second one if the first ends early; there is none.
        let connect = async move |_, _| {
            let stream = stream.lock().unwrap_or_else(PoisonError::into_inner).take();
            let stream = stream.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
            Ok(AsyncTcpStream::Plain(Compat::new(stream)))
        };
        let login = Login { user: url.user.clone(), password: url.password.clone() };
        let properties = ConnectionProperties::default()
            .with_connection_name(concat!("boxoffice ", env!("CARGO_PKG_VERSION")).into())
            .with_auth_provider(login);
        let runtime = runtime::default_runtime().map_err(|error| failure::connecting(&error))?;
        let lapin = lapin::Connection::connector(uri(url), runtime, connect, properties);
        let lapin = lapin.await.map_err(|error| failure::connecting(&error))?;
        Ok(Self { lapin, _socket: socket })
    }

    pub(crate) fn is_open(&self) -> bool {
        self.lapin.status().connected()
    }

    /// Whether the broker has said that it takes no messages at present.
    pub(crate) fn is_blocked(&self) -> bool {
        self.lapin.status().blocked()
    }

    pub(crate) async fn channel(&self) -> lapin::Result<Channel> {
        self.lapin.create_channel().await
    }
}

/// A second handle of the connection's socket. lapin reads the socket in a thread that ends only when the broker answers
/// or the socket ends: without this a broker that accepts and keeps silent would cost a thread for every attempt.
#[derive(Debug)]
struct Socket(Handle);

impl Socket {
    fn of(stream: &TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self(Handle::from(stream.as_fd().try_clone_to_owned()?)))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // It fails when the other side has ended it already.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

/// Logs in with user and password (SASL PLAIN). lapin's own way has the password in its URL, which it shows in `Debug`.
struct Login {
    user: String,
    password: String,
}

impl AuthProvider for Login {
    fn mechanism(&self) -> ShortString {
        "PLAIN".into()
    }

    fn auth_starter(&self) -> Result<LongString, String> {
        Ok(format!("\0{}\0{}", self.user, self.password).into())
    }
}

/// What lapin has to know of a URL: it neither connects to it nor logs in with it.
fn uri(url: &AmqpUrl) -> AMQPUri {
    AMQPUri {
        scheme: AMQPScheme::AMQP,
        authority: AMQPAuthority {
            userinfo: AMQPUserInfo { username: url.user.clone(), password: String::new() },
            host: url.host.clone(),
            port: url.port,
        },
        vhost: url.vhost.clone(),
        query: AMQPQueryString { heartbeat: Some(HEARTBEAT_SECS), ..AMQPQueryString::default() },
    }
}

//! The port `Mailer` over SMTP: connections, their pool, and one conversation at a time on each.
//!
//! The conversation is held command by command, and not by lettre's transport: that transport waits for a reply without
//! limit, and does not tell whether a 5xx was the log-in's, the sender's or the recipient's.

use std::future::Future;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use domain::Mail;
use domain::ports::{Cause, MailFailed, Mailer};
use lettre::Message;
use lettre::transport::smtp::authentication::DEFAULT_MECHANISMS;
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{self, Data, Rcpt, Rset};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::{Error, response::Response};
use tokio::time::{Instant, sleep, timeout};

use crate::failure::{Failed, Step, failed, late, later};
use crate::letters::Letters;
use crate::smtp_url::{Security, SmtpUrl};

/// How long a server may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// To be connected to, and to answer each command.
    pub(crate) command: Duration,
    /// To take the letter: it is looked through meanwhile, and a letter that is given up here may arrive all the same,
    /// and again with the next attempt.
    pub(crate) letter: Duration,
    /// For everything together.
    pub(crate) whole: Duration,
}

impl Patience {
    pub(crate) const USUAL: Self =
        Self { command: Duration::from_secs(10), letter: Duration::from_secs(30), whole: Duration::from_secs(50) };
}

/// How long a connection is kept for the next letter.
const IDLE: Duration = Duration::from_secs(30);

/// Connections that are kept.
const MAX_IDLE: usize = 4;

/// How long a server has to say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

/// Hands mails to a mail server.
pub struct SmtpMailer {
    server: SmtpUrl,
    tls: Option<TlsParameters>,
    hello: ClientId,
    patience: Patience,
    idle: Arc<Mutex<Vec<Idle>>>,
    letters: Letters,
}

struct Idle {
    connection: AsyncSmtpConnection,
    since: Instant,
}

impl SmtpMailer {
    /// A mailer that trusts the authorities that Mozilla trusts. Nothing is connected to before the first mail.
    pub fn new(server: SmtpUrl, letters: Letters) -> Result<Self, Cause> {
        Self::patient(server, letters, Patience::USUAL)
    }

    /// The same with another patience, for tests.
    pub(crate) fn patient(server: SmtpUrl, letters: Letters, patience: Patience) -> Result<Self, Cause> {
        let tls = match server.security {
            Security::Plain => None,
            Security::WhenOffered | Security::Required | Security::FromTheStart => {
                Some(TlsParameters::new(server.host.clone()).map_err(Cause::new)?)
            }
        };
        Ok(Self { server, tls, hello: ClientId::default(), patience, idle: Arc::default(), letters })
    }

    async fn deliver(&self, letter: &Message) -> Result<(), MailFailed> {
        let mut connection = match self.resumed(letter).await {
            Some(connection) => connection,
            None => self.opened(letter).await.map_err(|failed| failed.why)?,
        };
        match self.hand_over(&mut connection, letter).await {
            Ok(()) => {
                self.keep(connection);
                Ok(())
            }
            Err(Failed { why, listens }) => {
                if listens && self.step(Step::Sender, connection.command(Rset)).await.is_ok() {
                    self.keep(connection);
                }
                Err(why)
            }
        }
    }

    /// A kept connection that has taken the sender's address. A server closes what was idle, and refuses one letter too
    /// many on the same connection; both are no failure, and a new connection is tried instead.
    async fn resumed(&self, letter: &Message) -> Option<AsyncSmtpConnection> {
        let Idle { mut connection, .. } = self.idle().pop()?;
        self.step(Step::Sender, connection.command(Rset)).await.ok()?;
        self.sender(&mut connection, letter).await.ok()?;
        Some(connection)
    }

    /// A new connection that has taken the sender's address.
    async fn opened(&self, letter: &Message) -> Result<AsyncSmtpConnection, Failed> {
        let wrapped = self.tls.clone().filter(|_| self.server.security == Security::FromTheStart);
        let address = (self.server.host.as_str(), self.server.port);
        let connect =
            AsyncSmtpConnection::connect_tokio1(address, Some(self.patience.command), &self.hello, wrapped, None);
        // Its own limit is for each address of the host; the greeting has to come as well.
        let mut connection = within(self.patience.command * 2, Step::Connect, connect).await?;
        self.encrypt(&mut connection).await?;
        if let Some(credentials) = &self.server.credentials {
            self.step(Step::LogIn, connection.auth(DEFAULT_MECHANISMS, credentials)).await?;
        }
        self.sender(&mut connection, letter).await?;
        Ok(connection)
    }

    async fn encrypt(&self, connection: &mut AsyncSmtpConnection) -> Result<(), Failed> {
        let is_required = match self.server.security {
            Security::Plain | Security::FromTheStart => return Ok(()),
            Security::WhenOffered => false,
            Security::Required => true,
        };
        match &self.tls {
            Some(tls) if connection.can_starttls() => {
                self.step(Step::StartTls, connection.starttls(tls.clone(), &self.hello)).await
            }
            _ if is_required => {
                let why = later("the mail server offers no TLS, and the password is not sent without it");
                Err(Failed { why, listens: false })
            }
            _ => Ok(()),
        }
    }

    async fn sender(&self, connection: &mut AsyncSmtpConnection, letter: &Message) -> Result<Response, Failed> {
        let sender = commands::Mail::new(letter.envelope().from().cloned(), Vec::new());
        self.step(Step::Sender, connection.command(sender)).await
    }

    async fn hand_over(&self, connection: &mut AsyncSmtpConnection, letter: &Message) -> Result<(), Failed> {
        for recipient in letter.envelope().to() {
            self.step(Step::Recipient, connection.command(Rcpt::new(recipient.clone(), Vec::new()))).await?;
        }
        self.step(Step::Data, connection.command(Data)).await?;
        within(self.patience.letter, Step::Letter, connection.message(&letter.formatted())).await?;
        Ok(())
    }

    async fn step<T>(&self, step: Step, work: impl Future<Output = Result<T, Error>>) -> Result<T, Failed> {
        within(self.patience.command, step, work).await
    }

    /// Keeps a connection for the next letter, and closes it if none comes.
    fn keep(&self, connection: AsyncSmtpConnection) {
        {
            let mut idle = self.idle();
            if idle.len() >= MAX_IDLE {
                return;
            }
            idle.push(Idle { connection, since: Instant::now() });
        }
        let idle = Arc::downgrade(&self.idle);
        tokio::spawn(async move {
            sleep(IDLE).await;
            let Some(idle) = idle.upgrade() else { return };
            for Idle { mut connection, .. } in take_old(&idle) {
                // It is closed whatever the server says.
                let _ = timeout(GOODBYE, connection.quit()).await;
            }
        });
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        locked(&self.idle)
    }
}

#[async_trait]
impl Mailer for SmtpMailer {
    async fn send(&self, mail: &Mail) -> Result<(), MailFailed> {
        let letter = self.letters.write(mail)?;
        let delivered = timeout(self.patience.whole, self.deliver(&letter)).await;
        delivered.unwrap_or_else(|_| Err(later("the mail server took too long")))
    }
}

async fn within<T>(patience: Duration, step: Step, work: impl Future<Output = Result<T, Error>>) -> Result<T, Failed> {
    match timeout(patience, work).await {
        Ok(done) => done.map_err(|error| failed(step, &error)),
        Err(_) => Err(late(step)),
    }
}

fn take_old(idle: &Mutex<Vec<Idle>>) -> Vec<Idle> {
    let mut idle = locked(idle);
    let (old, young) = mem::take(&mut *idle).into_iter().partition(|idle| idle.since.elapsed() >= IDLE);
    *idle = young;
    old
}

fn locked(idle: &Mutex<Vec<Idle>>) -> MutexGuard<'_, Vec<Idle>> {
    // Nothing is half done in there.
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}

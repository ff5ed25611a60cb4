//! How mail leaves the program.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use adapter_mail::{FileMailer, Letters, MailOptions, PublicUrl, Sender, SmtpMailer};
use anyhow::{Context, anyhow};
use domain::ports::{Clock, Mailer};

use crate::settings::{Environment, Settings};

/// Who mail is from that only goes into files.
const NOBODY: &str = "Box Office <boxoffice@localhost>";

/// What sends mail, if there is to be any: a server, or in development files.
pub(crate) fn mailer(
    settings: &Settings,
    address: SocketAddr,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<Option<Arc<dyn Mailer>>> {
    let mail = &settings.mail;
    let in_development = settings.environment == Environment::Development;
    if mail.server.is_none() && !in_development {
        tracing::info!("no mail is sent: SMTP_URL is not set");
        return Ok(None);
    }
    let from = mail.from.clone().map_or_else(|| Sender::parse(NOBODY), Ok)?;
    let served = || PublicUrl::parse(&format!("http://{address}")).ok().filter(|_| in_development);
    let options =
        MailOptions { from, public_url: mail.public_url.clone().or_else(served), templates: mail.templates.clone() };
    let letters = Letters::new(&options, clock).context("MAIL_TEMPLATES")?;
    Ok(Some(match mail.server.clone() {
        Some(smtp) => {
            let mailer = SmtpMailer::new(smtp, letters);
            Arc::new(mailer.map_err(|cause| anyhow!("mail cannot be sent: {cause}"))?)
        }
        None => Arc::new(FileMailer::new(folder(settings), letters)),
    }))
}

/// Where mail lies in development: beside the embedded database, or where that would be.
fn folder(settings: &Settings) -> PathBuf {
    let file = settings.database.url.sqlite_file();
    let beside = file.as_deref().and_then(Path::parent).map(Path::to_owned);
    beside.unwrap_or_else(|| settings.directory.join("data")).join("mail")
}

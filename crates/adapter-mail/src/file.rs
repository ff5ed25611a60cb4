//! The port `Mailer` over a folder: for trying things out, and for tests of whole programs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use domain::Mail;
use domain::ports::{MailFailed, Mailer};
use tokio::task::spawn_blocking;

use crate::failure::later;
use crate::letters::{Letters, file_safe};

/// Writes each mail into a file of its own, `20300115T120000Z-seat_confirmed-<id>.eml`, named by when there was something
/// to say. A mail that is sent again replaces its file.
pub struct FileMailer {
    folder: PathBuf,
    letters: Letters,
}

impl FileMailer {
    /// Mails go into this folder, which is made with the first one.
    pub fn new(folder: PathBuf, letters: Letters) -> Self {
        Self { folder, letters }
    }
}

#[async_trait]
impl Mailer for FileMailer {
    async fn send(&self, mail: &Mail) -> Result<(), MailFailed> {
        let letter = self.letters.write(mail)?.formatted();
        let instant = mail.at.as_datetime().format("%Y%m%dT%H%M%SZ");
        let name = format!("{instant}-{}-{}.eml", mail.kind.as_str(), file_safe(&mail.id));
        let folder = self.folder.clone();
        let written = spawn_blocking(move || write(&folder, &name, &letter)).await;
        let written = written.unwrap_or_else(|_| Err(io::Error::other("the thread that wrote it ended")));
        written.map_err(|error| later(&format!("the mail cannot be written into its folder: {}", error.kind())))
    }
}

/// Writes a file whole: a reader of the folder finds all of it or nothing.
fn write(folder: &Path, name: &str, letter: &[u8]) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let path = folder.join(name);
    let unfinished = folder.join(format!(".{name}.tmp"));
    let written = fs::write(&unfinished, letter).and_then(|()| fs::rename(&unfinished, &path));
    if written.is_err() {
        // It may not be there; and of the two failures the first is told.
        let _ = fs::remove_file(&unfinished);
    }
    written
}

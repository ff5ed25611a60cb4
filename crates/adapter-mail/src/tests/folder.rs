use std::fs;
use std::path::Path;

use domain::ports::{MailFailed, Mailer as _};
use domain::{EmailAddress, Mail, MailKind, sample};
use tempfile::tempdir;

use super::{letters, mail, options};
use crate::{FileMailer, Letters};

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn each_mail_is_a_file_and_is_replaced_when_it_is_sent_again() {
    let folder = tempdir().unwrap();
    let within = folder.path().join("a/mails");
    let first = mail(MailKind::SeatConfirmed);
    FileMailer::new(within.clone(), letters()).send(&first).await.unwrap();
    assert_eq!(files(&within), ["20300115T120000Z-seat_confirmed-0197a5b0-7d11.eml"]);

    let later =
        FileMailer::new(within.clone(), Letters::new(&options(), sample::clock("2030-01-16T08:00:00Z")).unwrap());
    later.send(&first).await.unwrap();
    later.send(&Mail { id: "../../7d11".to_owned(), ..mail(MailKind::Reminder) }).await.unwrap();
    assert_eq!(
        files(&within),
        ["20300115T120000Z-reminder-------7d11.eml", "20300115T120000Z-seat_confirmed-0197a5b0-7d11.eml"]
    );
    let written = fs::read_to_string(within.join("20300115T120000Z-seat_confirmed-0197a5b0-7d11.eml")).unwrap();
    assert!(written.contains("Date: Wed, 16 Jan 2030 08:00:00 +0000\r\n"), "{written}");
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_to_is_no_reason_to_give_up_a_mail() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let failed = FileMailer::new(file, letters()).send(&mail(MailKind::Reminder)).await.unwrap_err();
    assert!(matches!(&failed, MailFailed::Later(why) if why.starts_with("the mail cannot be written")), "{failed:?}");
}

#[tokio::test]
async fn an_address_that_is_none_is_refused_for_good() {
    let folder = tempdir().unwrap();
    for address in
        ["", "ada", "ada@", "ada@example.org\r\nBcc: eve@example.org", "a b@example.org", "<ada@example.org>"]
    {
        let mail = Mail { to: EmailAddress::stored(address), ..mail(MailKind::Reminder) };
        let failed = FileMailer::new(folder.path().to_owned(), letters()).send(&mail).await.unwrap_err();
        assert!(matches!(failed, MailFailed::Refused(_)), "{address:?}: {failed:?}");
    }
    assert!(files(folder.path()).is_empty());
}

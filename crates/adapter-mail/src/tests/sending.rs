use std::time::Duration;

use domain::MailKind;
use domain::ports::{MailFailed, Mailer as _};
use mail_parser::MessageParser;

use super::server::{Does, Server};
use super::{letters, mail};
use crate::smtp::Patience;
use crate::smtp_url::Security;
use crate::{SmtpMailer, SmtpUrl};

const SHORT: Duration = Duration::from_millis(200);

fn url(server: &Server, credentials: &str) -> SmtpUrl {
    SmtpUrl::parse(&format!("smtp://{credentials}127.0.0.1:{}", server.port)).unwrap()
}

fn mailer(server: &Server) -> SmtpMailer {
    SmtpMailer::new(url(server, "user:hunter2@"), letters()).unwrap()
}

/// What becomes of one mail at a server that answers one line in this way.
async fn sent(begins: &'static str, does: Does) -> Result<(), MailFailed> {
    let server = Server::start(move |_, line| if is(line, begins) { does } else { Does::Usual }).await;
    mailer(&server).send(&mail(MailKind::Reminder)).await
}

fn is(line: &str, begins: &str) -> bool {
    line == begins || !begins.is_empty() && line.starts_with(begins)
}

#[tokio::test]
async fn a_letter_arrives_as_it_was_written() {
    let server = Server::start(|_, _| Does::Usual).await;
    let mailer = mailer(&server);
    mailer.send(&mail(MailKind::SeatConfirmed)).await.unwrap();
    server.seen(|seen| {
        assert!(seen.lines[0].starts_with("EHLO "));
        assert_eq!(seen.lines[1], "AUTH PLAIN AHVzZXIAaHVudGVyMg==");
        assert_eq!(seen.lines[2..], ["MAIL FROM:<tickets@example.com>", "RCPT TO:<ada@example.org>", "DATA"]);
        let letter = MessageParser::default().parse(&seen.letters[0]).unwrap();
        assert_eq!(letter.subject(), Some("Your seat for Lieder & <Songs>"));
        assert!(letter.body_text(0).unwrap().contains("Großer Saal; Graz"));
        assert_eq!((letter.text_body_count(), letter.html_body_count(), letter.attachment_count()), (1, 1, 1));
    });
}

#[tokio::test]
async fn a_connection_is_used_again_and_replaced_when_it_is_gone() {
    let server = Server::start(|connection, line| match (connection, line) {
        (1, "RSET") => Does::Closes,
        _ => Does::Usual,
    })
    .await;
    let mailer = mailer(&server);
    for _ in 0..3 {
        mailer.send(&mail(MailKind::Reminder)).await.unwrap();
    }
    server.seen(|seen| assert_eq!((seen.connections, seen.letters.len()), (2, 3)));
}

#[tokio::test]
async fn a_connection_that_has_carried_enough_is_replaced() {
    let server = Server::start(|_, line| Does::Usual.or_after_reset(line)).await;
    let mailer = mailer(&server);
    mailer.send(&mail(MailKind::Reminder)).await.unwrap();
    mailer.send(&mail(MailKind::Reminder)).await.unwrap();
    server.seen(|seen| assert_eq!((seen.connections, seen.letters.len()), (2, 2)));
}

impl Does {
    fn or_after_reset(self, line: &str) -> Self {
        if line == "RSET" { Self::Says("421 4.7.0 too many messages") } else { self }
    }
}

#[tokio::test]
async fn an_unknown_recipient_is_refused_and_the_connection_goes_on() {
    let server = Server::start(|_, line| match line {
        "RCPT TO:<ada@example.org>" => Does::Says("550 5.1.1 <ada@example.org>: user unknown"),
        _ => Does::Usual,
    })
    .await;
    let mailer = mailer(&server);
    for _ in 0..2 {
        let failed = mailer.send(&mail(MailKind::Reminder)).await.unwrap_err();
        let why = "the mail server answered 550 5.1.1 to the recipient's address".to_owned();
        assert_eq!(failed, MailFailed::Refused(why));
    }
    server.seen(|seen| assert_eq!((seen.connections, seen.letters.len()), (1, 0)));
}

#[tokio::test]
async fn what_is_not_the_recipients_fault_is_tried_again() {
    for (line, reply, told) in [
        ("RCPT", "451 4.7.1 <ada@example.org> greylisted", "451 4.7.1 to the recipient's address"),
        ("RCPT", "554 5.7.1 <ada@example.org>: relay access denied", "554 5.7.1 to the recipient's address"),
        ("AUTH", "535 5.7.8 hunter2 is wrong for user", "535 5.7.8 to the log-in"),
        ("MAIL", "550 5.1.8 tickets@example.com rejected", "550 5.1.8 to the sender's address"),
        ("MAIL", "550 who are you", "550 to the sender's address"),
        ("DATA", "554 no", "554 to DATA"),
        (".", "554 5.7.1 spam", "554 5.7.1 to the letter"),
        (".", "452 4.3.1 disk full", "452 4.3.1 to the letter"),
        ("", "554 go away", "554 to the connection"),
        ("EHLO", "421-busy\r\n421 tickets@example.com", "421 to the connection"),
    ] {
        let failed = sent(line, Does::Says(reply)).await.unwrap_err();
        assert_eq!(failed, MailFailed::Later(format!("the mail server answered {told}")), "{line} {reply}");
    }
}

#[tokio::test]
async fn a_mailbox_that_is_refused_with_the_letter_is_refused_for_good() {
    let failed = sent(".", Does::Says("552 5.2.2 ada@example.org is over quota")).await.unwrap_err();
    assert_eq!(failed, MailFailed::Refused("the mail server answered 552 5.2.2 to the letter".to_owned()));
}

#[tokio::test]
async fn a_connection_that_ends_early_is_tried_again() {
    for line in ["", "EHLO", "AUTH", "MAIL", "RCPT", "DATA", "within", "."] {
        let failed = sent(line, Does::Closes).await.unwrap_err();
        let MailFailed::Later(why) = failed else { panic!("{line:?}: {failed:?}") };
        assert!(why.contains("the connection was "), "{line:?}: {why}");
    }
}

#[tokio::test]
async fn a_server_that_stalls_is_given_up() {
    for line in ["", "EHLO", "AUTH", "MAIL", "RCPT", "DATA", "."] {
        let server = Server::start(move |_, told| if is(told, line) { Does::Stalls } else { Does::Usual }).await;
        let patience = Patience { command: SHORT, letter: SHORT, whole: Duration::from_mins(1) };
        let mailer = SmtpMailer::patient(url(&server, "user:hunter2@"), letters(), patience).unwrap();
        let failed = mailer.send(&mail(MailKind::Reminder)).await.unwrap_err();
        assert!(matches!(&failed, MailFailed::Later(why) if why.ends_with("in time")), "{line:?}: {failed:?}");
    }
}

#[tokio::test]
async fn nothing_takes_longer_than_the_whole_may() {
    let server = Server::start(|_, line| if line == "DATA" { Does::Stalls } else { Does::Usual }).await;
    let patience = Patience { whole: SHORT, ..Patience::USUAL };
    let mailer = SmtpMailer::patient(url(&server, ""), letters(), patience).unwrap();
    let failed = mailer.send(&mail(MailKind::Reminder)).await;
    assert_eq!(failed, Err(MailFailed::Later("the mail server took too long".to_owned())));
}

#[tokio::test]
async fn a_password_is_not_sent_without_tls() {
    let server = Server::start(|_, _| Does::Usual).await;
    let url = SmtpUrl { security: Security::Required, ..url(&server, "user:hunter2@") };
    let failed = SmtpMailer::new(url, letters()).unwrap().send(&mail(MailKind::Reminder)).await.unwrap_err();
    assert!(matches!(&failed, MailFailed::Later(why) if why.contains("offers no TLS")), "{failed:?}");
    server.seen(|seen| assert!(!seen.lines.iter().any(|line| line.starts_with("AUTH")), "{:?}", seen.lines));
}

#[tokio::test]
async fn tls_that_was_offered_has_to_work() {
    let server = Server::start(|_, line| match line.split(' ').next() {
        Some("EHLO") => Does::Says("250-mail.test\r\n250 STARTTLS"),
        Some("STARTTLS") => Does::Says("220 go on\r\nthis is no TLS"),
        _ => Does::Usual,
    })
    .await;
    let url = SmtpUrl { security: Security::WhenOffered, ..url(&server, "") };
    let failed = SmtpMailer::new(url, letters()).unwrap().send(&mail(MailKind::Reminder)).await.unwrap_err();
    assert!(matches!(failed, MailFailed::Later(_)), "{failed:?}");
    server.seen(|seen| assert!(!seen.lines.iter().any(|line| line.starts_with("MAIL")), "{:?}", seen.lines));
}

#[tokio::test]
async fn a_server_without_tls_is_talked_to_if_there_is_no_password() {
    let server = Server::start(|_, _| Does::Usual).await;
    let url = SmtpUrl { security: Security::WhenOffered, ..url(&server, "") };
    SmtpMailer::new(url, letters()).unwrap().send(&mail(MailKind::Reminder)).await.unwrap();
    server.seen(|seen| assert_eq!(seen.letters.len(), 1));
}

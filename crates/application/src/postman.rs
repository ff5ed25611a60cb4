//! Sending mail: by one process at a time, a few at once, and to each person one after the other.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use domain::ports::{AfterMail, Clock, DueMail, Job, Leases, MailAttempt, MailFailed, Mailer, Mails};
use domain::{Timestamp, UserId};
use futures_util::{StreamExt, stream};
use tokio::time::{sleep, timeout};

use crate::leader::Leader;
use crate::outage::Outage;
use crate::retries::Schedule;

/// How many mails are taken together, and to how many people they are sent at once.
const TAKEN: u32 = 100;
const AT_ONCE: usize = 4;

/// How many results are remembered together, and how long they wait for others.
const SETTLED: usize = 50;
const SETTLE_WITHIN: Duration = Duration::from_millis(100);

/// How long a store that failed is left alone.
const PAUSE: Duration = Duration::from_secs(1);

/// When a mail is tried again: at last every 12 hours.
const RETRIES: Schedule = Schedule(&[10, 60, 5 * 60, 30 * 60, 2 * 3_600, 5 * 3_600, 10 * 3_600, 12 * 3_600]);

/// How long a mail is tried, in seconds.
const TRIED_SECS: i64 = 3 * 24 * 3_600;

/// Sends what is due, for as long as the program runs.
pub struct Postman {
    leader: Leader,
    mails: Arc<dyn Mails>,
    mailer: Arc<dyn Mailer>,
    clock: Arc<dyn Clock>,
    /// How long before an event people are reminded of it, in seconds; 0 for never.
    remind_secs: u32,
    /// The minute for which people were reminded last.
    reminded: Option<i64>,
    outage: Outage,
}

impl Postman {
    /// Sends what is due in `mails` by `mailer`, while `leases` give it to this process to do, and has people reminded so
    /// many seconds before their events; 0 for never.
    pub fn new(
        leases: Arc<dyn Leases>,
        mails: Arc<dyn Mails>,
        mailer: Arc<dyn Mailer>,
        clock: Arc<dyn Clock>,
        remind_secs: u32,
    ) -> Self {
        let outage = Outage::none("due mail cannot be taken");
        Self { leader: Leader::new(leases, Job::Mail), mails, mailer, clock, remind_secs, reminded: None, outage }
    }

    /// Never ends by itself.
    pub async fn run(mut self) {
        loop {
            if !self.leader.leads().await {
                self.leader.follow().await;
                continue;
            }
            self.remind().await;
            match self.mails.claim(TAKEN).await {
                Ok(due) => {
                    self.outage.ended();
                    if due.is_empty() {
                        self.mails.wait().await;
                    } else {
                        self.send(due).await;
                    }
                }
                Err(error) => {
                    self.outage.failed(&error);
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Has people reminded, once a minute.
    async fn remind(&mut self) {
        const MINUTE: i64 = 60;
        let minute = self.clock.now().unix_secs().div_euclid(MINUTE);
        if self.remind_secs == 0 || self.reminded == Some(minute) {
            return;
        }
        match self.mails.remind(self.remind_secs).await {
            Ok(_) => self.reminded = Some(minute),
            Err(error) => self.outage.failed(&error),
        }
    }

    /// Sends mails, those to one person in their order.
    async fn send(&self, due: Vec<DueMail>) {
        let mut by_user: HashMap<UserId, Vec<DueMail>> = HashMap::new();
        for mail in due {
            by_user.entry(mail.user).or_default().push(mail);
        }
        let sending = by_user.into_values().map(|mails| self.send_in_order(mails));
        let mut sent = stream::iter(sending).buffer_unordered(AT_ONCE);
        let mut results = Vec::new();
        loop {
            match timeout(SETTLE_WITHIN, sent.next()).await {
                Ok(Some(attempts)) => {
                    results.extend(attempts);
                    if results.len() < SETTLED {
                        continue;
                    }
                }
                Ok(None) => return self.settle(results).await,
                Err(_) => {}
            }
            self.settle(std::mem::take(&mut results)).await;
        }
    }

    /// Remembers results. If that fails, their mails are due again after their lease: one may arrive twice, with one
    /// `Message-ID`.
    async fn settle(&self, results: Vec<MailAttempt>) {
        if results.is_empty() {
            return;
        }
        if let Err(error) = self.mails.settle(results).await {
            tracing::warn!(%error, "what became of mail could not be remembered; it may be sent again");
            sleep(PAUSE).await;
        }
    }

    async fn send_in_order(&self, mails: Vec<DueMail>) -> Vec<MailAttempt> {
        let mut attempts = Vec::with_capacity(mails.len());
        for due in mails {
            let next = match self.mailer.send(&due.mail).await {
                Ok(()) => AfterMail::Sent,
                Err(failed) => judge(&due, failed, self.clock.now(), fastrand::f64()),
            };
            if let AfterMail::Failed(error) = &next {
                tracing::warn!(user = due.user.get(), kind = due.mail.kind.as_str(), error, "a mail could not be sent");
            }
            attempts.push(MailAttempt { mail: due.id, next });
        }
        attempts
    }
}

/// What follows a failure. `random` is from 0 to 1.
fn judge(due: &DueMail, failed: MailFailed, now: Timestamp, random: f64) -> AfterMail {
    match failed {
        MailFailed::Refused(reason) => AfterMail::Failed(reason),
        MailFailed::Later(reason) => {
            let next = now.plus_secs(RETRIES.pause_secs(due.attempts + 1, None, random));
            if next.unix_secs() - due.mail.at.unix_secs() > TRIED_SECS {
                AfterMail::Failed(reason)
            } else {
                AfterMail::Retry(next, reason)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::ports::{MockClock, MockLeases, MockMailer, MockMails};
    use domain::sample::{self, now};
    use domain::{Mail, MailId, MailKind};

    use super::*;

    fn due(number: u64, user: u64, attempts: u32) -> DueMail {
        let recipient = sample::user(user);
        let mail = Mail {
            id: format!("f-{number}"),
            at: now(),
            to: recipient.email,
            name: recipient.name,
            kind: MailKind::SeatConfirmed,
            event: sample::event(1),
        };
        DueMail { id: MailId::new(number).unwrap(), user: recipient.id, attempts, mail }
    }

    fn later() -> MailFailed {
        MailFailed::Later("no".to_owned())
    }

    #[test]
    fn a_mail_is_tried_again_on_schedule_for_three_days() {
        for (attempts, secs) in [(0, 10), (1, 60), (2, 300), (3, 1_800), (7, 43_200)] {
            let expected = AfterMail::Retry(now().plus_secs(secs), "no".to_owned());
            assert_eq!(judge(&due(1, 7, attempts), later(), now(), 0.5), expected, "after {attempts}");
        }
        let (two, three) = (now().plus_secs(2 * 24 * 3_600), now().plus_secs(3 * 24 * 3_600));
        assert!(matches!(judge(&due(1, 7, 9), later(), two, 0.5), AfterMail::Retry(..)));
        assert_eq!(judge(&due(1, 7, 11), later(), three, 0.5), AfterMail::Failed("no".to_owned()));
    }

    #[test]
    fn a_recipient_that_is_refused_is_not_tried_again() {
        let refused = MailFailed::Refused("550 no such user".to_owned());
        assert_eq!(judge(&due(1, 7, 0), refused, now(), 0.5), AfterMail::Failed("550 no such user".to_owned()));
    }

    fn clock() -> Arc<dyn Clock> {
        let mut clock = MockClock::new();
        clock.expect_now().returning(now);
        Arc::new(clock)
    }

    #[tokio::test]
    async fn mails_to_one_person_are_sent_in_order() {
        let mut mailer = MockMailer::new();
        let mut order = mockall::Sequence::new();
        for id in ["f-1", "f-2", "f-3"] {
            mailer
                .expect_send()
                .withf(move |mail| mail.id == id)
                .times(1)
                .in_sequence(&mut order)
                .returning(|_| Ok(()));
        }
        let mut mails = MockMails::new();
        mails.expect_settle().withf(|attempts| attempts.len() == 3).times(1).returning(|_| Ok(()));
        let (leases, mails, mailer) = (Arc::new(MockLeases::new()), Arc::new(mails), Arc::new(mailer));
        let postman = Postman::new(leases, mails, mailer, clock(), 0);
        postman.send(vec![due(1, 7, 0), due(2, 7, 0), due(3, 7, 0)]).await;
    }

    #[tokio::test]
    async fn people_are_reminded_once_a_minute() {
        let mut mails = MockMails::new();
        mails.expect_remind().withf(|ahead| *ahead == 60).times(1).returning(|_| Ok(2));
        let (leases, mailer) = (Arc::new(MockLeases::new()), Arc::new(MockMailer::new()));
        let mut postman = Postman::new(leases, Arc::new(mails), mailer, clock(), 60);
        postman.remind().await;
        postman.remind().await;
    }
}

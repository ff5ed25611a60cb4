//! Sending facts to webhooks: taken by one process at a time, a few under way for each receiver.
//!
//! Facts of one event are sent one after the other, in the order of their commits. A failed one is put off and holds no
//! other back: the order is that of first attempts. A slow receiver fills its own few places and no one else's.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use domain::ports::{
    AfterAttempt, Attempt, Clock, Deliveries, DueDelivery, Job, Leases, SendFailed, WebhookAccepted, WebhookMessage,
    WebhookSender,
};
use domain::{EventId, Timestamp, WebhookId};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::leader::Leader;
use crate::outage::Outage;
use crate::retries::Schedule;

/// How many deliveries may be under way for one webhook.
const UNDER_WAY: usize = 4;

/// How many are taken for a webhook at once.
const TAKEN: u32 = 100;

/// What was taken and not begun for this long is left to be taken again: its lease ends soon.
const KEPT: Duration = Duration::from_secs(30);

/// How many results are remembered together, and how long the first of them waits for others.
const SETTLED: usize = 200;
const SETTLE_WITHIN: Duration = Duration::from_millis(50);

/// How long a store that failed is left alone.
const PAUSE: Duration = Duration::from_secs(1);

/// When a delivery is tried again: at last every 12 hours.
const RETRIES: Schedule = Schedule(&[5, 60, 5 * 60, 30 * 60, 2 * 3_600, 5 * 3_600, 10 * 3_600, 12 * 3_600]);

/// How often a delivery is tried.
const ATTEMPTS: u32 = 14;

/// A webhook that has failed for so long is disabled, in seconds.
const FAILING_SECS: i64 = 5 * 24 * 3_600;

/// Sends what is due, for as long as the program runs.
pub struct Courier {
    leader: Leader,
    deliveries: Arc<dyn Deliveries>,
    sender: Arc<dyn WebhookSender>,
    clock: Arc<dyn Clock>,
    queues: HashMap<WebhookId, Queue>,
    sending: JoinSet<(DueDelivery, Result<WebhookAccepted, SendFailed>)>,
    results: Vec<Attempt>,
    outage: Outage,
}

/// What was taken for one webhook.
#[derive(Default)]
struct Queue {
    waiting: VecDeque<(DueDelivery, Option<Instant>)>,
    under_way: usize,
    /// Events of which a fact is under way.
    events: HashSet<EventId>,
}

impl Courier {
    /// Sends what is due in `deliveries` by `sender`, while `leases` give it to this process to do.
    pub fn new(
        leases: Arc<dyn Leases>,
        deliveries: Arc<dyn Deliveries>,
        sender: Arc<dyn WebhookSender>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (queues, sending, results) = (HashMap::new(), JoinSet::new(), Vec::new());
        let leader = Leader::new(leases, Job::Webhooks);
        let outage = Outage::none("due deliveries cannot be taken");
        Self { leader, deliveries, sender, clock, queues, sending, results, outage }
    }

    /// Never ends by itself.
    pub async fn run(mut self) {
        loop {
            if self.leader.leads().await {
                self.claim().await;
            } else {
                self.queues.values_mut().for_each(|queue| queue.waiting.clear());
                if self.sending.is_empty() {
                    self.settle().await;
                    self.leader.follow().await;
                    continue;
                }
            }
            self.start();
            self.advance().await;
        }
    }

    /// Takes what is due for webhooks of which nothing waits.
    async fn claim(&mut self) {
        self.queues.retain(|_, queue| queue.under_way > 0 || !queue.waiting.is_empty());
        let busy: Vec<_> =
            self.queues.iter().filter(|(_, queue)| !queue.waiting.is_empty()).map(|(id, _)| *id).collect();
        match self.deliveries.claim(TAKEN, &busy).await {
            Ok(due) => {
                self.outage.ended();
                for delivery in due {
                    let queue = self.queues.entry(delivery.webhook).or_default();
                    queue.waiting.push_back((delivery, Some(Instant::now())));
                }
            }
            Err(error) => {
                self.outage.failed(&error);
                sleep(PAUSE).await;
            }
        }
    }

    /// Begins as many as may be under way.
    fn start(&mut self) {
        for queue in self.queues.values_mut() {
            while queue.under_way < UNDER_WAY {
                let Some(delivery) = queue.next() else { break };
                if delivery.body.is_empty() {
                    self.results.push(attempt(&delivery, self.clock.now(), None, Some(NOT_KEPT), AfterAttempt::Failed));
                    continue;
                }
                queue.under_way += 1;
                queue.events.extend(delivery.event);
                let (sender, message) = (Arc::clone(&self.sender), message(&delivery, self.clock.now()));
                self.sending.spawn(async move {
                    let sent = sender.send(&message).await;
                    (delivery, sent)
                });
            }
        }
    }

    /// Waits for a result, or for something to do, and remembers results when there are enough.
    async fn advance(&mut self) {
        if self.sending.is_empty() {
            self.settle().await;
            self.deliveries.wait().await;
            return;
        }
        let until = Instant::now() + SETTLE_WITHIN;
        tokio::select! {
            ended = self.sending.join_next() => if let Some(Ok((delivery, sent))) = ended {
                self.ended(&delivery, sent);
            },
            () = self.deliveries.wait() => {}
            () = tokio::time::sleep_until(until) => {}
        }
        while let Some(ended) = self.sending.try_join_next() {
            if let Ok((delivery, sent)) = ended {
                self.ended(&delivery, sent);
            }
        }
        let is_idle = self.queues.values().all(|queue| queue.waiting.is_empty());
        if self.results.len() >= SETTLED || is_idle || Instant::now() >= until {
            self.settle().await;
        }
    }

    fn ended(&mut self, delivery: &DueDelivery, sent: Result<WebhookAccepted, SendFailed>) {
        if let Some(queue) = self.queues.get_mut(&delivery.webhook) {
            queue.under_way -= 1;
            if let Some(event) = delivery.event {
                queue.events.remove(&event);
            }
        }
        self.results.push(judge(delivery, sent, self.clock.now(), fastrand::f64()));
    }

    /// Remembers the results. If the store fails, they are remembered later; the deliveries are theirs for a minute.
    async fn settle(&mut self) {
        if self.results.is_empty() {
            return;
        }
        let results = std::mem::take(&mut self.results);
        if let Err(error) = self.deliveries.settle(results.clone()).await {
            tracing::warn!(%error, "what became of deliveries could not be remembered; it is tried again");
            self.results = results;
            sleep(PAUSE).await;
        }
    }
}

impl Queue {
    /// The first that waits and may be sent: of an event of which nothing is under way.
    fn next(&mut self) -> Option<DueDelivery> {
        self.waiting.retain(|(_, taken)| taken.is_none_or(|taken| taken.elapsed() < KEPT));
        let mut passed = HashSet::new();
        let place = self.waiting.iter().position(|(delivery, _)| match delivery.event {
            None => true,
            Some(event) => !self.events.contains(&event) && passed.insert(event),
        })?;
        self.waiting.remove(place).map(|(delivery, _)| delivery)
    }
}

const NOT_KEPT: &str = "the fact is not kept any more";

fn message(delivery: &DueDelivery, at: Timestamp) -> WebhookMessage {
    WebhookMessage {
        url: delivery.url.clone(),
        id: delivery.fact.clone(),
        at,
        secrets: delivery.secrets.clone(),
        body: Arc::clone(&delivery.body),
    }
}

fn attempt(
    delivery: &DueDelivery,
    at: Timestamp,
    status: Option<u16>,
    error: Option<&str>,
    next: AfterAttempt,
) -> Attempt {
    let error = error.map(str::to_owned);
    Attempt { delivery: delivery.id, webhook: delivery.webhook, at, status, error, next }
}

/// What follows an attempt. `random` is between 0 and 1.
fn judge(delivery: &DueDelivery, sent: Result<WebhookAccepted, SendFailed>, now: Timestamp, random: f64) -> Attempt {
    const GONE: u16 = 410;
    let failed = match sent {
        Ok(WebhookAccepted { status }) => {
            return attempt(delivery, now, Some(status), None, AfterAttempt::Delivered);
        }
        Err(failed) => failed,
    };
    let tried = delivery.attempts + 1;
    let since = delivery.failing_since.unwrap_or(now);
    let next = if failed.status == Some(GONE) || now.unix_secs() - since.unix_secs() >= FAILING_SECS {
        AfterAttempt::Disable
    } else if tried >= ATTEMPTS {
        AfterAttempt::Failed
    } else {
        AfterAttempt::Retry(now.plus_secs(RETRIES.pause_secs(tried, failed.retry_after, random)))
    };
    attempt(delivery, now, failed.status, Some(&failed.reason), next)
}

#[cfg(test)]
mod tests {
    use domain::{DeliveryId, FactId, WebhookSecret, WebhookUrl};

    use super::*;

    fn now() -> Timestamp {
        Timestamp::parse("2030-01-15T12:00:00Z").unwrap()
    }

    fn delivery(id: u64, event: Option<u64>, attempts: u32) -> DueDelivery {
        DueDelivery {
            id: DeliveryId::new(id).unwrap(),
            webhook: WebhookId::new(1).unwrap(),
            url: WebhookUrl::parse("https://example.com/hook").unwrap(),
            secrets: vec![WebhookSecret::new("whsec_".to_owned())],
            fact: FactId::new(format!("f-{id}")),
            event: event.and_then(EventId::new),
            attempts,
            failing_since: None,
            body: "{}".into(),
        }
    }

    fn refused(status: u16, retry_after: Option<u64>) -> Result<WebhookAccepted, SendFailed> {
        let retry_after = retry_after.map(Duration::from_secs);
        Err(SendFailed { status: Some(status), reason: "no".to_owned(), retry_after })
    }

    fn next(attempts: u32, sent: Result<WebhookAccepted, SendFailed>, random: f64) -> AfterAttempt {
        judge(&delivery(1, None, attempts), sent, now(), random).next
    }

    #[test]
    fn a_failed_delivery_is_tried_again_on_schedule_and_at_last_given_up() {
        let after = |secs| AfterAttempt::Retry(now().plus_secs(secs));
        for (attempts, secs) in [(0, 5), (1, 60), (2, 300), (3, 1_800), (6, 36_000), (7, 43_200), (12, 43_200)] {
            assert_eq!(next(attempts, refused(500, None), 0.5), after(secs), "after {attempts}");
        }
        assert_eq!(next(13, refused(500, None), 0.5), AfterAttempt::Failed);
        assert_eq!((next(1, refused(500, None), 0.0), next(1, refused(500, None), 1.0)), (after(48), after(72)));
    }

    #[test]
    fn a_longer_retry_after_is_heeded() {
        let after = |secs| AfterAttempt::Retry(now().plus_secs(secs));
        assert_eq!(next(0, refused(429, Some(100)), 0.5), after(100));
        assert_eq!(next(1, refused(429, Some(10)), 0.5), after(60));
    }

    #[test]
    fn a_webhook_is_disabled_by_410_or_after_five_days_of_failures() {
        assert_eq!(next(0, refused(410, None), 0.5), AfterAttempt::Disable);
        let since = |days: u32| DueDelivery { failing_since: Some(now()), ..delivery(u64::from(days), None, 3) };
        let judged = |days: u32| {
            let later = now().plus_secs(days * 24 * 3_600);
            judge(&since(days), refused(500, None), later, 0.5).next
        };
        assert!(matches!(judged(4), AfterAttempt::Retry(_)));
        assert_eq!(judged(5), AfterAttempt::Disable);
    }

    #[test]
    fn facts_of_one_event_go_one_after_the_other() {
        let mut queue = Queue::default();
        for (id, event) in [(1, Some(7)), (2, Some(7)), (3, Some(8)), (4, None)] {
            queue.waiting.push_back((delivery(id, event, 0), None));
        }
        let mut taken = Vec::new();
        while let Some(next) = queue.next() {
            queue.events.extend(next.event);
            taken.push(next.id.get());
        }
        assert_eq!(taken, [1, 3, 4]);
        queue.events.clear();
        assert_eq!(queue.next().map(|next| next.id.get()), Some(2));
    }
}

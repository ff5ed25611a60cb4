//! How far channels are behind, as gauges.

use std::sync::Arc;
use std::time::Duration;

use domain::Timestamp;
use domain::ports::{Clock, FactLag};
use metrics::{counter, gauge};
use tokio::time::{MissedTickBehavior, interval};

/// How often it is looked at.
const EVERY: Duration = Duration::from_secs(5);

/// Sets `fact_lag_seconds` of each channel that there is, for as long as the program runs.
pub(crate) async fn watch_lag(lag: Arc<dyn FactLag>, clock: Arc<dyn Clock>, has_broker: bool, has_mail: bool) {
    // A counter that begins with its first event is one whose first event Prometheus misses.
    for channel in [Some("webhook"), has_broker.then_some("broker"), has_mail.then_some("mail")].into_iter().flatten() {
        for outcome in ["delivered", "retried", "failed"] {
            counter!("deliveries_total", "channel" => channel, "outcome" => outcome).increment(0);
        }
    }
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Ok(untold) = lag.oldest_untold().await else { continue };
        let now = clock.now();
        set("webhook", untold.webhook, now);
        if has_broker {
            set("broker", untold.broker, now);
        }
        if has_mail {
            set("mail", untold.mail, now);
        }
    }
}

fn set(channel: &'static str, oldest: Option<Timestamp>, now: Timestamp) {
    let lag = oldest.map_or(0.0, |oldest| (now.as_datetime() - oldest.as_datetime()).as_seconds_f64().max(0.0));
    gauge!("fact_lag_seconds", "channel" => channel).set(lag);
}

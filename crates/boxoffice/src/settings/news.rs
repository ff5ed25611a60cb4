//! The settings of the history and of those who are told of what happens.

use std::time::Duration;

use ipnet::IpNet;

use super::addresses::network;
use super::declare::settings;
use super::values::{duration, list};

settings! {
    /// What happened, and who is told.
    pub struct News {
        /// How long facts can be read in the history. Older ones are dropped, and a cursor from before them is refused.
        HISTORY_KEPT => history_kept: Duration = duration().default_to("400d");

        /// Networks that webhooks may lead to besides public addresses, and over http too. Unset: in development
        /// those of this machine, in production none.
        WEBHOOK_ALLOWED_NETWORKS => webhook_allowed_networks: Option<Vec<IpNet>> = list(network())
            .optional()
            .example("10.20.0.0/16");
    }
}

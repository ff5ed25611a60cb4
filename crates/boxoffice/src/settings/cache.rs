//! The settings of the cache.

use std::time::Duration;

use super::declare::settings;
use super::values::duration;

settings! {
    /// What is answered without asking the database.
    pub struct Cache {
        /// How old an answer from the cache may be without asking the database whether it still holds.
        /// 0ms: every answer is confirmed, and no reader ever sees a state older than the last acknowledged write.
        CACHE_MAX_STALENESS => max_staleness: Duration = duration().default_to("0ms");
    }
}

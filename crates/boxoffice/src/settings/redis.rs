//! The settings of Redis.

use super::declare::settings;
use super::parser::Parser;
use crate::url::RedisUrl;

settings! {
    /// A second home for cached answers, and the way several instances tell each other of changed seats.
    /// Losing Redis costs speed, never a wrong answer.
    pub struct Redis {
        /// The address of the server. Unset: answers and messages stay in the process. TLS (rediss:) is not supported.
        REDIS_URL => url: Option<RedisUrl> = Parser::with_complaints(RedisUrl::MUST, RedisUrl::parse)
            .optional()
            .example("redis://127.0.0.1:6379")
            .or_in_file();
    }
}

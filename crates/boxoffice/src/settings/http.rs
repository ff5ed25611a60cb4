//! The settings of the server.

use ipnet::IpNet;

use super::addresses::{host, network, origin};
use super::declare::settings;
use super::values::{list, whole};

settings! {
    /// Where the program listens, and to whom.
    pub struct Http {
        /// The address to listen on. 0.0.0.0 or :: means every one the machine has.
        HOST => host: String = host().default_to("127.0.0.1");

        /// The port to listen on. 0 takes a free one; the start-up line in the log names it.
        PORT => port: u16 = whole(0..=u16::MAX).default_to("3000");

        /// A second port on the same address, for operators and their machines alone: /metrics, /health/live, and a
        /// /health/ready that tells all it knows. It has a thread of its own, answers while the API is overloaded, and
        /// stops last. 0 takes a free one. Unset: there is none; the port above has /metrics and /health either way.
        ADMIN_PORT => admin_port: Option<u16> = whole(0..=u16::MAX).optional().example("9100");

        /// Requests a minute for each client address, counted by each instance for itself. 0 turns every limiter off.
        RATE_LIMIT_PER_MINUTE => rate_limit_per_minute: u32 = whole(0..=u32::MAX).default_to("100");

        /// Log-ins a minute that may fail: from each client address, and for each account from addresses that it was
        /// not logged in from lately. Counted by each instance for itself. 0 is no limit; with
        /// `RATE_LIMIT_PER_MINUTE` = 0 there is none either.
        LOGIN_ATTEMPTS_PER_MINUTE => login_attempts_per_minute: u32 = whole(0..=u32::MAX).default_to("10");

        /// The proxies whose X-Forwarded-For is believed.
        TRUSTED_PROXIES => trusted_proxies: Vec<IpNet> = list(network())
            .or_empty()
            .example("10.0.0.0/8,192.168.1.7,fd00::/8");

        /// The web pages elsewhere that may call the API from a browser, as browsers write their origins.
        /// In development, every origin on localhost may as well.
        CORS_ALLOWED_ORIGINS => cors_allowed_origins: Vec<String> = list(origin())
            .or_empty()
            .example("https://tickets.example.com,https://admin.example.com:8443");

        /// How many live streams (Server-Sent Events and WebSockets) may be open at once.
        LIVE_MAX_CONNECTIONS => live_max_connections: u32 = whole(1..=u32::MAX).default_to("10000");
    }
}

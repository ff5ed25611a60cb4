//! Identifiers: whole numbers from 1 to 2^53 − 1, so that every JSON reader keeps them exact.

use std::fmt;

/// The greatest identifier: 2^53 − 1, the last integer an IEEE 754 double counts up to exactly.
pub const MAX_ID: u64 = (1 << 53) - 1;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u64);

        impl $name {
            /// The identifier of this number, if it is one.
            pub fn new(number: u64) -> Option<Self> {
                (1..=MAX_ID).contains(&number).then_some(Self(number))
            }

            /// Reads plain decimal digits without sign or leading zero.
            pub fn parse(raw: &str) -> Option<Self> {
                let plain = raw.bytes().all(|byte| byte.is_ascii_digit()) && !raw.starts_with('0');
                plain.then(|| raw.parse().ok().and_then(Self::new))?
            }

            /// The number itself.
            pub fn get(self) -> u64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// Names an event.
    EventId
);
id!(
    /// Names a user.
    UserId
);
id!(
    /// Names a registration.
    RegistrationId
);
id!(
    /// Names a log-in session, the family of its refresh tokens.
    SessionId
);
id!(
    /// Names a webhook.
    WebhookId
);
id!(
    /// Names a delivery to a webhook.
    DeliveryId
);
id!(
    /// Names a mail that is to be sent.
    MailId
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_digits_in_range_are_an_id() {
        assert_eq!(EventId::parse("17").map(EventId::get), Some(17));
        assert_eq!(EventId::parse("9007199254740991").map(EventId::get), Some(MAX_ID));
        for raw in ["", "0", "-1", "+1", "01", "1.0", "1e3", "9007199254740992", "99999999999999999999", "x", "１"] {
            assert_eq!(EventId::parse(raw), None, "{raw:?}");
        }
    }
}

//! The settings of logging in.

use domain::{EmailAddress, Password};
use secrecy::SecretString;

use super::declare::settings;
use super::parser::Parser;
use super::values::{secret, whole, whole_secs};

settings! {
    /// Who may log in, and for how long.
    pub struct Access {
        /// What access tokens are signed with. The same for all instances. Unset with SQLite in development: made once
        /// and kept beside the database file. Unset otherwise: the program does not start.
        JWT_SECRET => jwt_secret: Option<SecretString> = secret().optional().or_in_file();

        /// The secret before the present one: tokens signed with it are still accepted. To rotate, move `JWT_SECRET`
        /// here, and remove it after `ACCESS_TOKEN_TTL`.
        JWT_PREVIOUS_SECRET => jwt_previous_secret: Option<SecretString> = secret().optional().or_in_file();

        /// How long an access token is valid.
        ACCESS_TOKEN_TTL => access_token_ttl_secs: u32 = whole_secs().default_to("24h");

        /// How long a log-in lasts, however often it is refreshed.
        REFRESH_TOKEN_TTL => refresh_token_ttl_secs: u32 = whole_secs().default_to("30d");

        /// The first admin: made at start if no account has this address. Set together with `ADMIN_PASSWORD`. An admin
        /// who exists is left alone, password included; an ordinary account of this address stops the start.
        ADMIN_EMAIL => admin_email: Option<EmailAddress> = domain_value(EmailAddress::parse)
            .optional()
            .example("admin@example.com")
            .or_in_file();

        /// The password of the first admin.
        ADMIN_PASSWORD => admin_password: Option<Password> = domain_value(Password::parse).optional().or_in_file();

        /// How slow a password hash is: 2^cost rounds. Each step doubles the time; 10 takes about 60 ms of one core.
        BCRYPT_COST => bcrypt_cost: u32 = whole(4..=31).default_to("10").at_least_in_production(10);
    }
}

/// A value of the domain. What its text must be is what the domain says of an empty one.
fn domain_value<T: 'static, E: ToString + 'static>(parse: fn(&str) -> Result<T, E>) -> Parser<T> {
    let must = parse("").err().map_or_else(String::new, |error| error.to_string());
    Parser::with_complaints(must, parse)
}

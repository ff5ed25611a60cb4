//! Writes access tokens for the users 1 to N to standard output, one a line, for a load generator.
//!
//! `mint-tokens <secret> <users> <unix seconds>`: the time is given, so that nothing here reads a clock.

use std::io::{BufWriter, Write, stdout};

use adapter_crypto::Hs256Tokens;
use anyhow::{Context, bail};
use chrono::DateTime;
use domain::ports::Tokens;
use domain::{EmailAddress, PersonName, Role, Timestamp, User, UserId};
use secrecy::SecretString;

/// Longer than any benchmark takes.
const TTL_SECS: u32 = 24 * 60 * 60;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [secret, users, now] = arguments.as_slice() else {
        bail!("usage: mint-tokens <secret> <users> <unix seconds>");
    };
    let now = DateTime::from_timestamp(now.parse()?, 0).map(Timestamp::new).context("no such time")?;
    let tokens = Hs256Tokens::new(&SecretString::from(secret.as_str()), None, TTL_SECS)?;
    let mut out = BufWriter::new(stdout());
    for id in 1..=users.parse()? {
        let user = User {
            id: UserId::new(id).context("no such user")?,
            name: PersonName::parse("Load")?,
            email: EmailAddress::parse(&format!("load-{id}@example.com"))?,
            role: Role::User,
            notifications: true,
            created_at: now,
        };
        let token = tokens.issue(&user, now).map_err(|cause| anyhow::anyhow!("{cause}"))?;
        writeln!(out, "{}", token.text)?;
    }
    out.flush()?;
    Ok(())
}

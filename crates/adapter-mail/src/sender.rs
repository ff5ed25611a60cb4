//! Who a mail is from.

use domain::{EmailAddress, PersonName};
use lettre::Address;
use lettre::message::Mailbox;
use thiserror::Error;

/// Who a mail is from: an address and perhaps a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    name: Option<String>,
    address: EmailAddress,
}

/// The text names no sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "must be an address, as in tickets@example.com, or a name and an address, as in Box Office <tickets@example.com>"
)]
pub struct InvalidSender;

impl Sender {
    /// Reads `tickets@example.com`, `Box Office <tickets@example.com>` or `"Box Office" <tickets@example.com>`.
    pub fn parse(raw: &str) -> Result<Self, InvalidSender> {
        let text = raw.trim();
        let (name, address) = match text.strip_suffix('>') {
            Some(named) => named.rsplit_once('<').ok_or(InvalidSender)?,
            None => ("", text),
        };
        let name = name.trim();
        let name = name.strip_prefix('"').and_then(|name| name.strip_suffix('"')).unwrap_or(name);
        let name = match name {
            "" => None,
            name => Some(PersonName::parse(name).map_err(|_| InvalidSender)?.as_str().to_owned()),
        };
        Ok(Self { name, address: EmailAddress::parse(address).map_err(|_| InvalidSender)? })
    }

    /// Its name.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Its address.
    pub fn address(&self) -> &EmailAddress {
        &self.address
    }

    /// What stands behind the `@`.
    pub(crate) fn host(&self) -> &str {
        self.address.as_str().rsplit('@').next().unwrap_or_default()
    }

    /// It as a header's value.
    pub(crate) fn mailbox(&self) -> Option<Mailbox> {
        Some(Mailbox::new(self.name.clone(), address(&self.address)?))
    }
}

/// An address as lettre has it; `None` for what a store holds and is no address.
///
/// lettre's own check refuses some that the domain's door takes, as two dots in a row. What that door takes is ASCII
/// without spaces and brackets, so that it can stand in a command and in a header as it is.
pub(crate) fn address(address: &EmailAddress) -> Option<Address> {
    let parsed = EmailAddress::parse(address.as_str()).ok()?;
    let (local, host) = parsed.as_str().split_once('@')?;
    Some(Address::new_dangerous(local, host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_is_an_address_with_or_without_a_name() {
        let parsed = |raw| Sender::parse(raw).map(|sender| (sender.name, sender.address.as_str().to_owned()));
        let tickets = || "tickets@example.com".to_owned();
        assert_eq!(parsed(" tickets@example.com "), Ok((None, tickets())));
        assert_eq!(parsed("<Tickets@example.com>"), Ok((None, tickets())));
        assert_eq!(parsed("Box Office <tickets@example.com>"), Ok((Some("Box Office".to_owned()), tickets())));
        assert_eq!(parsed("\"Bühne, Graz\" <tickets@example.com>"), Ok((Some("Bühne, Graz".to_owned()), tickets())));
        assert_eq!(Sender::parse("tickets@example.com").unwrap().host(), "example.com");
        for odd in ["", "Box Office", "Box <tickets@example.com", "a\nb <a@b.c>", "a@b <>", "a@b.c, d@e.f"] {
            assert_eq!(parsed(odd), Err(InvalidSender), "{odd:?}");
        }
    }
}

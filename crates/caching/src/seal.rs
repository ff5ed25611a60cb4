//! Proof that a body from a shared store is ours, whole, and in its place.

use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::{Key, Snapshot};

/// Seals bodies that leave the process, and opens those that come back.
///
/// A sealed body is a format byte, an HMAC-SHA256, and the contents. The MAC covers the format, the
/// database, the key's name, and the contents with their versions; so a body that was altered, put
/// under another key, or written for another database is not opened. An *older* body of ours is:
/// that is what confirming its versions is for.
#[derive(Clone)]
pub struct Seal {
    /// Keyed, and fed with the format and the database.
    begun: Hmac<Sha256>,
}

impl Seal {
    /// The greatest number of bytes that are looked at: 1 MiB.
    pub const MAX_BYTES: usize = 1 << 20;

    /// Of the contents' shape; a body of another format is not opened.
    const FORMAT: u8 = 1;
    const TAG_BYTES: usize = 32;

    /// A seal for bodies made from the database of this id, known to every holder of the secret.
    #[expect(clippy::missing_panics_doc, reason = "HMAC takes keys of any length (RFC 2104)")]
    pub fn new(secret: &[u8], database_id: &str) -> Self {
        let mut begun = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
        // The purpose first: the secret may sign other things too.
        for part in [b"boxoffice cached body".as_slice(), &[Self::FORMAT], database_id.as_bytes()] {
            feed(&mut begun, part);
        }
        Self { begun }
    }

    /// The body, sealed under its key.
    pub fn wrap(&self, key: &Key, body: &Snapshot) -> Vec<u8> {
        let contents = body.encode();
        let tag = self.mac(key, &contents).finalize().into_bytes();
        let mut sealed = Vec::with_capacity(1 + Self::TAG_BYTES + contents.len());
        sealed.push(Self::FORMAT);
        sealed.extend_from_slice(&tag);
        sealed.extend_from_slice(&contents);
        sealed
    }

    /// The body, if it was sealed under this key by a holder of the secret. The MAC is
    /// compared in constant time, and nothing is parsed before.
    pub fn open(&self, key: &Key, sealed: &[u8]) -> Option<Snapshot> {
        if sealed.len() > Self::MAX_BYTES {
            return None;
        }
        let (&[format], rest) = sealed.split_first_chunk::<1>()?;
        let (tag, contents) = rest.split_first_chunk::<{ Self::TAG_BYTES }>()?;
        if format != Self::FORMAT || self.mac(key, contents).verify_slice(tag).is_err() {
            return None;
        }
        Snapshot::decode(contents).filter(|body| key.fits(body))
    }

    /// A message to other instances, sealed for its channel.
    pub fn wrap_message(&self, channel: &str, contents: &[u8]) -> Vec<u8> {
        let mut sealed = self.message_mac(channel, contents).finalize().into_bytes().to_vec();
        sealed.extend_from_slice(contents);
        sealed
    }

    /// The contents of a message, if a holder of the secret sealed it for this channel. It may be
    /// one that was sent before: its reader has to know what is newer.
    pub fn open_message<'a>(&self, channel: &str, sealed: &'a [u8]) -> Option<&'a [u8]> {
        if sealed.len() > Self::MAX_BYTES {
            return None;
        }
        let (tag, contents) = sealed.split_first_chunk::<{ Self::TAG_BYTES }>()?;
        self.message_mac(channel, contents).verify_slice(tag).ok().map(|()| contents)
    }

    /// Of three parts, where that of a body has two: neither can stand for the other.
    fn message_mac(&self, channel: &str, contents: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.begun.clone();
        for part in [b"message", channel.as_bytes(), contents] {
            feed(&mut mac, part);
        }
        mac
    }

    fn mac(&self, key: &Key, contents: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.begun.clone();
        feed(&mut mac, key.to_string().as_bytes());
        feed(&mut mac, contents);
        mac
    }
}

/// Each part with its length before it, so that no two lists of parts are the same bytes.
fn feed(mac: &mut Hmac<Sha256>, part: &[u8]) {
    mac.update(&(part.len() as u64).to_be_bytes());
    mac.update(part);
}

#[cfg(test)]
mod tests {
    use domain::sample::{self, event_id, user_id};
    use domain::{EventFilter, Page, PageRequest, RegistrationWithEvent, Version};

    use super::*;

    const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

    fn key(id: u64) -> Key {
        Key::Event(event_id(id))
    }

    fn sealed() -> Vec<u8> {
        Seal::new(SECRET, "a").wrap(&key(1), &Snapshot::Event(sample::event(1).into()))
    }

    #[test]
    fn a_sealed_body_is_opened() {
        let body = Snapshot::Event(sample::event(1).into());
        assert_eq!(Seal::new(SECRET, "a").open(&key(1), &sealed()), Some(body));
    }

    #[test]
    fn a_body_altered_in_any_byte_is_refused() {
        let seal = Seal::new(SECRET, "a");
        for at in 0..sealed().len() {
            let mut altered = sealed();
            altered[at] ^= 1;
            assert_eq!(seal.open(&key(1), &altered), None, "byte {at}");
            assert_eq!(seal.open(&key(1), &sealed()[..at]), None, "cut at {at}");
        }
        assert_eq!(seal.open(&key(1), &[sealed(), vec![b' ']].concat()), None);
    }

    #[test]
    fn a_body_under_another_key_is_refused() {
        assert_eq!(Seal::new(SECRET, "a").open(&key(2), &sealed()), None);
        assert_eq!(Seal::new(SECRET, "a").open(&Key::Registrations(user_id(1)), &sealed()), None);
    }

    #[test]
    fn a_page_under_the_key_of_another_page_is_refused() {
        let seal = Seal::new(SECRET, "a");
        let key = |number| Key::EventPage { filter: EventFilter::default(), page: PageRequest { number, size: 10 } };
        let page = Page { rows: vec![sample::event(1)], total: 1 }.into();
        let body = Snapshot::EventPage { catalogue: Version::FIRST, page };
        let sealed = seal.wrap(&key(1), &body);
        assert!(key(2).fits(&body), "nothing but the seal tells them apart");
        assert_eq!(seal.open(&key(2), &sealed), None);
        assert_eq!(seal.open(&key(1), &sealed), Some(body));
    }

    #[test]
    fn a_body_of_another_database_or_secret_is_refused() {
        assert_eq!(Seal::new(SECRET, "b").open(&key(1), &sealed()), None);
        assert_eq!(Seal::new(b"another", "a").open(&key(1), &sealed()), None);
        assert_eq!(Seal::new(b"", "a").open(&key(1), &sealed()), None);
    }

    #[test]
    fn a_body_that_does_not_fit_its_key_is_refused() {
        let seal = Seal::new(SECRET, "a");
        let row = RegistrationWithEvent { registration: sample::registration(3, 9, 1), event: sample::event(1) };
        let page = Page { rows: vec![row], total: 1 };
        let body = Snapshot::Registrations { version: Some(Version::FIRST), page };
        let theirs = Key::Registrations(user_id(8));
        assert_eq!(seal.open(&theirs, &seal.wrap(&theirs, &body)), None);
        assert_eq!(seal.open(&key(1), &seal.wrap(&key(1), &body)), None);
    }

    #[test]
    fn a_message_is_opened_only_with_its_secret_and_channel() {
        let seal = Seal::new(SECRET, "a");
        let sealed = seal.wrap_message("seats", b"contents");
        assert_eq!(seal.open_message("seats", &sealed), Some(b"contents".as_slice()));
        assert_eq!(seal.open_message("other", &sealed), None);
        assert_eq!(Seal::new(SECRET, "b").open_message("seats", &sealed), None);
        assert_eq!(Seal::new(b"another", "a").open_message("seats", &sealed), None);
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert_eq!(seal.open_message("seats", &altered), None, "byte {at}");
            assert_eq!(seal.open_message("seats", &sealed[..at]), None, "cut at {at}");
        }
    }

    #[test]
    fn rubbish_of_any_length_is_refused() {
        let seal = Seal::new(SECRET, "a");
        for length in [0, 1, 32, 33, 34, 1000, Seal::MAX_BYTES, Seal::MAX_BYTES + 1] {
            assert_eq!(seal.open(&key(1), &vec![Seal::FORMAT; length]), None);
        }
    }
}

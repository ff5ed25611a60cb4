//! Texts with a door: trimmed, measured in Unicode scalar values, and free of control characters.
//!
//! `parse` is the door for what clients send. `stored` is for what a store holds already: it trims and checks nothing,
//! because a row that breaks a rule is still a row to be shown, mended and deleted.

use std::fmt;

use caseless::Caseless;
use icu_properties::props::{DefaultIgnorableCodePoint, GeneralCategory, WhiteSpace};
use icu_properties::{CodePointMapData, CodePointSetData};
use unicode_normalization::UnicodeNormalization;

use crate::Invalid;

/// A user's name: trimmed, 1–100 characters, something to see among them, no control characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonName(String);

impl PersonName {
    /// The greatest number of characters.
    pub const MAX_CHARS: usize = 100;

    /// Reads a name.
    pub fn parse(raw: &str) -> Result<Self, Invalid> {
        line(raw, Self::MAX_CHARS).map(Self)
    }

    /// The name that a store holds, which may break the rules of [`Self::parse`].
    pub fn stored(text: &str) -> Self {
        Self(text.trim().to_owned())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An event's name as attendees read it: trimmed, 1–200 characters, something to see among them, no control characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventTitle(String);

impl EventTitle {
    /// The greatest number of characters.
    pub const MAX_CHARS: usize = 200;

    /// Reads a title.
    pub fn parse(raw: &str) -> Result<Self, Invalid> {
        line(raw, Self::MAX_CHARS).map(Self)
    }

    /// The title that a store holds, which may break the rules of [`Self::parse`].
    pub fn stored(text: &str) -> Self {
        Self(text.trim().to_owned())
    }

    /// The title.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The title as it is searched and sorted by: see [`fold`].
    pub fn folded(&self) -> String {
        fold(&self.0)
    }
}

/// Where an event takes place: trimmed, 1–200 characters, something to see among them, no control characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Venue(String);

impl Venue {
    /// The greatest number of characters.
    pub const MAX_CHARS: usize = 200;

    /// Reads a venue.
    pub fn parse(raw: &str) -> Result<Self, Invalid> {
        line(raw, Self::MAX_CHARS).map(Self)
    }

    /// The venue that a store holds, which may break the rules of [`Self::parse`].
    pub fn stored(text: &str) -> Self {
        Self(text.trim().to_owned())
    }

    /// The venue.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What an event is about: trimmed, up to 10,000 characters, with tabs and line ends but no other
/// control characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description(String);

impl Description {
    /// The greatest number of characters.
    pub const MAX_CHARS: usize = 10_000;

    /// Reads a description.
    pub fn parse(raw: &str) -> Result<Self, Invalid> {
        let text = raw.trim();
        if text.chars().any(|c| c.is_control() && !matches!(c, '\t' | '\n' | '\r')) {
            return Err(Invalid::ControlCharacter);
        }
        at_most(text, Self::MAX_CHARS)?;
        Ok(Self(text.to_owned()))
    }

    /// The description that a store holds, which may break the rules of [`Self::parse`].
    pub fn stored(text: &str) -> Self {
        Self(text.trim().to_owned())
    }

    /// The description.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An e-mail address: trimmed, lower-cased, at most 254 characters, and of the form that browsers
/// accept in `<input type=email>` (WHATWG HTML, "valid e-mail address").
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EmailAddress(String);

impl EmailAddress {
    /// The greatest number of characters: the longest path SMTP can carry (RFC 5321, 4.5.3.1.3).
    pub const MAX_CHARS: usize = 254;

    /// Reads an address.
    pub fn parse(raw: &str) -> Result<Self, Invalid> {
        const MALFORMED: Invalid = Invalid::Malformed { expected: "an e-mail address such as ada@example.com" };
        let text = raw.trim();
        at_most(text, Self::MAX_CHARS)?;
        let (local, domain) = text.split_once('@').ok_or(MALFORMED)?;
        let local_ok = !local.is_empty()
            && local.bytes().all(|b| b.is_ascii_alphanumeric() || b".!#$%&'*+/=?^_`{|}~-".contains(&b));
        let domain_ok = domain.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        });
        // Lower case comes last: that of the Kelvin sign is a `k`, which is another address.
        if local_ok && domain_ok { Ok(Self(text.to_ascii_lowercase())) } else { Err(MALFORMED) }
    }

    /// The address that a store holds, in lower case. It may be none by the rules of [`Self::parse`]: then its other
    /// letters stay, because that of the Kelvin sign is a `k`, which is another address.
    pub fn stored(text: &str) -> Self {
        Self(text.trim().to_ascii_lowercase())
    }

    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A password as it was chosen: 8 characters to 71 bytes, taken as it is, without NUL.
///
/// bcrypt hashes 72 bytes of which the last is a NUL; a longer password is refused here because
/// the algorithm would cut it silently.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// The least number of characters.
    pub const MIN_CHARS: usize = 8;
    /// The greatest number of bytes in UTF-8.
    pub const MAX_BYTES: usize = 71;

    /// Reads a password.
    pub fn parse(raw: &str) -> Result<Self, Invalid> {
        if raw.chars().count() < Self::MIN_CHARS {
            return Err(Invalid::TooShort { min: Self::MIN_CHARS });
        }
        if raw.len() > Self::MAX_BYTES {
            return Err(Invalid::TooManyBytes { max: Self::MAX_BYTES });
        }
        if raw.contains('\0') {
            return Err(Invalid::ControlCharacter);
        }
        Ok(Self(raw.to_owned()))
    }

    /// The password in clear, for the hasher alone.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// What is kept of a password.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// A hash as the hasher wrote it.
    pub fn new(encoded: String) -> Self {
        Self(encoded)
    }

    /// The hash, for the hasher and the users' table alone.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

/// The form in which texts are compared without regard to case, in any script: full Unicode case
/// folding between canonical decomposition and composition (Unicode Standard 3.13, D145).
///
/// It is made here and not in the database, so that every engine finds and sorts alike.
pub fn fold(text: &str) -> String {
    text.nfd().default_case_fold().nfc().collect()
}

/// One line of text.
fn line(raw: &str, max_chars: usize) -> Result<String, Invalid> {
    let text = raw.trim();
    if text.chars().any(char::is_control) {
        return Err(Invalid::ControlCharacter);
    }
    if text.chars().all(is_invisible) {
        return Err(Invalid::Blank);
    }
    at_most(text, max_chars)?;
    Ok(text.to_owned())
}

/// Whether a character by itself shows nothing. Within a text it may matter: an emoji is often joined by one.
fn is_invisible(c: char) -> bool {
    /// A pattern without dots.
    const BRAILLE_BLANK: char = '\u{2800}';
    c == BRAILLE_BLANK
        || CodePointSetData::new::<WhiteSpace>().contains(c)
        || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
        || CodePointMapData::<GeneralCategory>::new().get(c) == GeneralCategory::Format
}

fn at_most(text: &str, max: usize) -> Result<(), Invalid> {
    if text.chars().count() > max { Err(Invalid::TooLong { max }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_trimmed_and_measured_in_characters() {
        assert_eq!(EventTitle::parse("  Été  ").map(|title| title.0), Ok("Été".to_owned()));
        assert!(EventTitle::parse(&"é".repeat(200)).is_ok());
        assert_eq!(EventTitle::parse(&"é".repeat(201)), Err(Invalid::TooLong { max: 200 }));
        assert_eq!(EventTitle::parse(" \n "), Err(Invalid::Blank));
        assert_eq!(EventTitle::parse("a\0b"), Err(Invalid::ControlCharacter));
        assert_eq!(EventTitle::parse("a\tb"), Err(Invalid::ControlCharacter));
    }

    #[test]
    fn a_text_without_anything_to_see_is_blank() {
        for invisible in [
            '\u{ad}',
            '\u{34f}',
            '\u{61c}',
            '\u{115f}',
            '\u{1160}',
            '\u{17b4}',
            '\u{180e}',
            '\u{200b}',
            '\u{200d}',
            '\u{200e}',
            '\u{202e}',
            '\u{2028}',
            '\u{2060}',
            '\u{2063}',
            '\u{2069}',
            '\u{2800}',
            '\u{3000}',
            '\u{3164}',
            '\u{fe0f}',
            '\u{feff}',
            '\u{ffa0}',
            '\u{fff9}',
            '\u{1d173}',
            '\u{e0001}',
            '\u{e0041}',
            '\u{e01ef}',
        ] {
            let alone = format!("{invisible} {invisible}");
            assert_eq!(EventTitle::parse(&alone), Err(Invalid::Blank), "{invisible:?}");
            assert_eq!(Venue::parse(&alone), Err(Invalid::Blank), "{invisible:?}");
            assert_eq!(PersonName::parse(&alone), Err(Invalid::Blank), "{invisible:?}");
            // Beside something to see, it is part of the text.
            let beside = format!("a{invisible}b");
            assert_eq!(EventTitle::parse(&beside).map(|title| title.0), Ok(beside));
        }
        for visible in ["👩\u{200d}🚀", "❤\u{fe0f}", "می\u{200c}خواهم", "🏴\u{e0067}\u{e0062}\u{e007f}", "ㅤ가"]
        {
            assert!(EventTitle::parse(visible).is_ok(), "{visible:?}");
        }
    }

    #[test]
    fn a_description_may_have_lines_and_be_empty() {
        assert!(Description::parse("one\r\n\ttwo").is_ok());
        assert!(Description::parse("").is_ok());
        assert_eq!(Description::parse("a\u{7}"), Err(Invalid::ControlCharacter));
    }

    #[test]
    fn an_address_is_one_whatever_its_case() {
        assert_eq!(EmailAddress::parse(" Ada@Example.COM ").map(|email| email.0), Ok("ada@example.com".to_owned()));
        assert!(EmailAddress::parse("admin@localhost").is_ok());
        for raw in ["", "ada", "@example.com", "ada@", "a b@example.com", "a@b@c", "a@-b.com", "a@b..com", "a\0@b.com"]
        {
            assert!(EmailAddress::parse(raw).is_err(), "{raw:?}");
        }
    }

    #[test]
    fn a_letter_that_only_folds_to_ascii_is_in_no_address() {
        for raw in
            ["\u{212a}@example.com", "ada@\u{212a}.com", "\u{17f}@example.com", "İ@example.com", "ada@exampl\u{e9}.com"]
        {
            assert!(EmailAddress::parse(raw).is_err(), "{raw:?}");
        }
    }

    #[test]
    fn stored_texts_are_trimmed_and_otherwise_kept() {
        let long = "é".repeat(300);
        for (stored, shown) in [(" a\tb\n", "a\tb"), ("", ""), ("a\0b", "a\0b"), (long.as_str(), long.as_str())] {
            assert_eq!(EventTitle::stored(stored).as_str(), shown);
            assert_eq!(Venue::stored(stored).as_str(), shown);
            assert_eq!(PersonName::stored(stored).as_str(), shown);
            assert_eq!(Description::stored(stored).as_str(), shown);
        }
        assert_eq!(EmailAddress::stored(" Ada@Example.COM").as_str(), "ada@example.com");
        assert_eq!(EmailAddress::stored("Ada").as_str(), "ada");
        assert_eq!(EmailAddress::stored("\u{212a}@Example.com").as_str(), "\u{212a}@example.com");
    }

    #[test]
    fn a_password_is_never_cut_nor_shown() {
        assert!(Password::parse(&"x".repeat(71)).is_ok());
        assert_eq!(Password::parse(&"x".repeat(72)), Err(Invalid::TooManyBytes { max: 71 }));
        assert_eq!(Password::parse("ééééééé"), Err(Invalid::TooShort { min: 8 }));
        assert_eq!(format!("{:?}", Password::parse("correct horse")), "Ok(Password(…))");
    }

    #[test]
    fn folding_knows_every_script() {
        for (a, b) in [
            ("École", "éCOLE"),
            ("STRASSE", "straße"),
            ("ΟΔΟΣ", "οδος"),
            ("e\u{301}cole", "ÉCOLE"),
            ("МОСКВА", "москва"),
        ] {
            assert_eq!(fold(a), fold(b), "{a} and {b}");
        }
    }
}

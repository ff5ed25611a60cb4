//! Which history of a database a version belongs to.

use std::fmt;

/// The number of a database's timeline: it grows with every promotion of a standby.
///
/// A primary that is lost takes its last commits with it, and the standby that is promoted raises the same
/// rows to the same versions with other contents. So an equal version is an equal row on one timeline only.
/// An embedded database has one timeline for ever, the [first](Self::FIRST).
///
/// Source: [Postgres, "Timelines"](https://www.postgresql.org/docs/current/continuous-archiving.html#BACKUP-TIMELINES).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timeline(u32);

impl Timeline {
    /// The timeline of a database that was never promoted.
    pub const FIRST: Self = Self(1);

    /// A timeline by its number, which begins at 1.
    pub const fn new(number: u32) -> Option<Self> {
        if number == 0 { None } else { Some(Self(number)) }
    }

    /// A timeline as the name of a WAL file begins: eight hexadecimal digits.
    pub fn parse_hex(digits: &str) -> Option<Self> {
        let plain = digits.len() == 8 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        u32::from_str_radix(digits, 16).ok().filter(|_| plain).and_then(Self::new)
    }

    /// Its number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl Default for Timeline {
    fn default() -> Self {
        Self::FIRST
    }
}

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wal_file_name_begins_with_its_timeline() {
        assert_eq!(Timeline::parse_hex("00000001"), Some(Timeline::FIRST));
        assert_eq!(Timeline::parse_hex("0000001A").map(Timeline::get), Some(26));
        for odd in ["", "1", "00000000", "0000000g", "000000001", "+0000001"] {
            assert_eq!(Timeline::parse_hex(odd), None, "{odd}");
        }
    }
}

//! Cursors: places in the history, which clients give back as they got them.

use std::fmt;

use domain::Invalid;
use domain::ports::Position;

use crate::field::QueryDoor;

/// A place in the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cursor(pub(crate) Position);

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "h{:x}", self.0.get())
    }
}

impl QueryDoor for Cursor {
    fn open_text(text: &str) -> Result<Self, Invalid> {
        let digits = text.strip_prefix('h').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let number = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
        let known = number.filter(|number| i64::try_from(*number).is_ok());
        known
            .map(|number| Self(Position::new(number)))
            .ok_or(Invalid::Malformed { expected: "a cursor from `next` of an earlier answer" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        for number in [0, 1, 1 << 40, i64::MAX as u64] {
            let cursor = Cursor(Position::new(number));
            assert_eq!(Cursor::open_text(&cursor.to_string()), Ok(cursor));
        }
        for text in ["", "h", "42", "h-1", "h+1", "hg", "H1", "h1 ", "h8000000000000000", "hffffffffffffffffff"] {
            assert!(Cursor::open_text(text).is_err(), "{text:?}");
        }
    }
}

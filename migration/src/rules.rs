//! What the tables refuse to be written, in the SQL of both databases.
//!
//! These are the rules of the API for what clients send: a text that is blank or too long, a control character, an
//! instant that has no RFC 3339 form. The API also refuses a text of nothing but invisible characters, for which the
//! databases have no table. A conformance test of `tests/` compares them with the domain's own.

use crate::dialect::Dialect;

/// What the values of a column may be. A column that may be NULL may be NULL under every rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// One line of text, with so many characters at most.
    Line(u32),
    /// Lines of text, with so many characters at most.
    Lines(u32),
    /// An e-mail address in lower case.
    Email,
    /// A text. `SQLite` takes bytes for one.
    Text,
    /// A whole number between these two.
    Number(u64, u64),
    /// A whole number. `SQLite` takes everything for one.
    Whole,
    /// An instant in the years 0001 to 9999.
    Instant,
}

/// The greatest id that the API can name: 2^53 − 1.
pub(crate) const GREATEST_ID: u64 = 9_007_199_254_740_991;

const ID: Rule = Rule::Number(1, GREATEST_ID);

/// The columns that people write, by table.
pub(crate) const RULES: [(&str, &str, Rule); 21] = [
    ("users", "id", ID),
    ("users", "name", Rule::Line(100)),
    ("users", "email", Rule::Email),
    ("users", "password", Rule::Text),
    ("users", "created_at", Rule::Instant),
    ("events", "id", ID),
    ("events", "title", Rule::Line(200)),
    ("events", "description", Rule::Lines(10_000)),
    ("events", "date", Rule::Instant),
    ("events", "venue", Rule::Line(200)),
    ("events", "total_seats", Rule::Number(1, 1_000_000)),
    ("events", "available_seats", Rule::Whole),
    ("events", "created_at", Rule::Instant),
    ("events", "updated_at", Rule::Instant),
    ("events", "deleted_at", Rule::Instant),
    ("registrations", "id", ID),
    ("registrations", "registration_date", Rule::Instant),
    ("registrations", "created_at", Rule::Instant),
    ("sessions", "expires_at", Rule::Instant),
    ("sessions", "revoked_at", Rule::Instant),
    ("sessions", "created_at", Rule::Instant),
];

/// The first instant that has an RFC 3339 form, and the last.
pub(crate) const FIRST_INSTANT: &str = "0001-01-01T00:00:00+00:00";
pub(crate) const LAST_INSTANT: &str = "9999-12-31T23:59:59.999999+00:00";

/// The code points of `White_Space` (Unicode Character Database, PropList.txt), which are trimmed from texts.
const WHITE_SPACE: [u32; 25] = [
    0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x20, 0x85, 0xa0, 0x1680, 0x2000, 0x2001, 0x2002, 0x2003, 0x2004, 0x2005, 0x2006,
    0x2007, 0x2008, 0x2009, 0x200a, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000,
];

/// The control characters (general category Cc), and those of them that lines of text may not have, as ranges.
const CONTROLS: &[(u32, u32)] = &[(0x01, 0x1f), (0x7f, 0x9f)];
const CONTROLS_IN_LINES: &[(u32, u32)] = &[(0x01, 0x08), (0x0b, 0x0c), (0x0e, 0x1f), (0x7f, 0x9f)];

impl Rule {
    /// What is said to those who write another value, after the name of the column.
    pub(crate) fn demand(self) -> String {
        match self {
            Self::Line(longest) => format!("must have 1 to {longest} characters and no control characters"),
            Self::Lines(longest) => {
                format!("must have at most {longest} characters and no control characters but tabs and line ends")
            }
            Self::Email => "must be an e-mail address in lower case".to_owned(),
            Self::Text => "must be a text".to_owned(),
            Self::Number(least, greatest) => format!("must be a whole number from {least} to {greatest}"),
            Self::Whole => "must be a whole number".to_owned(),
            Self::Instant => "must be an instant in the years 0001 to 9999".to_owned(),
        }
    }

    /// An expression for what is wrong with a value, as a text after the name of the column: NULL if nothing is. There is
    /// none where the type of the column leaves nothing to be checked.
    pub(crate) fn fault(self, dialect: Dialect, value: &str) -> Option<String> {
        let cases = match dialect {
            Dialect::Postgres => self.postgres(value),
            Dialect::Sqlite => self.sqlite(value),
        };
        let cases: Vec<_> = cases.iter().map(|(when, fault)| format!("WHEN {when} THEN '{fault}'")).collect();
        (!cases.is_empty()).then(|| format!("CASE WHEN {value} IS NULL THEN NULL {} END", cases.join(" ")))
    }

    fn postgres(self, value: &str) -> Vec<(String, String)> {
        let trimmed = format!("btrim({value}, {})", postgres_text(&WHITE_SPACE));
        let matches = |ranges| format!(r#"({value} COLLATE "C") ~ '[{}]'"#, postgres_ranges(ranges));
        match self {
            Self::Line(longest) => {
                vec![blank(&trimmed), control(matches(CONTROLS)), too_long(&format!("char_length({trimmed})"), longest)]
            }
            Self::Lines(longest) => {
                vec![control(matches(CONTROLS_IN_LINES)), too_long(&format!("char_length({trimmed})"), longest)]
            }
            Self::Email => vec![
                no_address(format!(r#"({value} COLLATE "C") !~ '^[!-?A-~]+@[!-?A-~]+$'"#)),
                too_long(&format!("char_length({value})"), 254),
                not_lower(format!("{value} <> {}", lower(Dialect::Postgres, value))),
            ],
            Self::Number(least, greatest) => vec![outside(value, least, greatest)],
            Self::Instant => vec![no_instant(format!(
                "NOT {value} BETWEEN timestamptz '{FIRST_INSTANT}' AND timestamptz '{LAST_INSTANT}'"
            ))],
            Self::Text | Self::Whole => Vec::new(),
        }
    }

    /// Columns of `SQLite` take values of any type, and a text may have a NUL.
    fn sqlite(self, value: &str) -> Vec<(String, String)> {
        let not_text = (format!("typeof({value}) <> 'text'"), "is not a text".to_owned());
        let not_whole = (format!("typeof({value}) <> 'integer'"), "is not a whole number".to_owned());
        let has_nul = format!("instr(CAST({value} AS blob), x'00') > 0");
        let trimmed = format!("trim({value}, {})", sqlite_text(&WHITE_SPACE));
        let matches = |ranges| format!("{value} GLOB {} OR {has_nul}", sqlite_glob(ranges));
        match self {
            Self::Line(longest) => vec![
                not_text,
                control(matches(CONTROLS)),
                blank(&trimmed),
                too_long(&format!("length({trimmed})"), longest),
            ],
            Self::Lines(longest) => {
                vec![not_text, control(matches(CONTROLS_IN_LINES)), too_long(&format!("length({trimmed})"), longest)]
            }
            Self::Email => vec![
                not_text,
                no_address(format!(
                    "{value} GLOB '*[^!-~]*' OR {value} NOT LIKE '_%@%_' OR {value} LIKE '%@%@%' OR {has_nul}"
                )),
                too_long(&format!("length({value})"), 254),
                not_lower(format!("{value} <> {}", lower(Dialect::Sqlite, value))),
            ],
            Self::Text => vec![not_text],
            Self::Number(least, greatest) => vec![not_whole, outside(value, least, greatest)],
            Self::Whole => vec![not_whole],
            Self::Instant => vec![no_instant(sqlite_outside_calendar(value))],
        }
    }
}

/// The expression for an e-mail address in lower case. Only ASCII letters have one: an address has no others.
pub(crate) fn lower(dialect: Dialect, value: &str) -> String {
    match dialect {
        Dialect::Postgres => format!(r#"lower({value} COLLATE "C")"#),
        Dialect::Sqlite => format!("lower({value})"),
    }
}

/// The expression for a text without the white space around it.
pub(crate) fn trimmed(dialect: Dialect, value: &str) -> String {
    match dialect {
        Dialect::Postgres => format!("btrim({value}, {})", postgres_text(&WHITE_SPACE)),
        Dialect::Sqlite => format!("trim({value}, {})", sqlite_text(&WHITE_SPACE)),
    }
}

/// The condition that a value is no instant, or one outside the calendar.
pub(crate) fn sqlite_outside_calendar(value: &str) -> String {
    format!("coalesce(strftime('%Y', {value}) NOT BETWEEN '0001' AND '9999', true)")
}

fn blank(trimmed: &str) -> (String, String) {
    (format!("{trimmed} = ''"), "is blank".to_owned())
}

fn control(when: String) -> (String, String) {
    (when, "has a control character".to_owned())
}

fn too_long(length: &str, longest: u32) -> (String, String) {
    (format!("{length} > {longest}"), format!("is longer than {longest} characters"))
}

fn no_address(when: String) -> (String, String) {
    (when, "is not an e-mail address".to_owned())
}

fn not_lower(when: String) -> (String, String) {
    (when, "is not in lower case".to_owned())
}

fn no_instant(when: String) -> (String, String) {
    (when, "is not in the years 0001 to 9999".to_owned())
}

fn outside(value: &str, least: u64, greatest: u64) -> (String, String) {
    (format!("{value} NOT BETWEEN {least} AND {greatest}"), format!("is not from {least} to {greatest}"))
}

fn postgres_text(characters: &[u32]) -> String {
    let escapes = characters.iter().map(|character| format!(r"\u{character:04X}")).collect::<Vec<_>>().concat();
    format!("E'{escapes}'")
}

/// The inside of a bracket expression.
fn postgres_ranges(ranges: &[(u32, u32)]) -> String {
    ranges.iter().map(|(first, last)| format!(r"\u{first:04X}-\u{last:04X}")).collect::<Vec<_>>().concat()
}

fn sqlite_text(characters: &[u32]) -> String {
    let numbers: Vec<_> = characters.iter().map(u32::to_string).collect();
    format!("char({})", numbers.join(", "))
}

/// The pattern of texts with one of these characters.
fn sqlite_glob(ranges: &[(u32, u32)]) -> String {
    let ranges: Vec<_> = ranges.iter().map(|(first, last)| format!("char({first}) || '-' || char({last})")).collect();
    format!("('*[' || {} || ']*')", ranges.join(" || "))
}

//! Names that were probably meant to be others.

use strsim::osa_distance;

/// The name that `written` probably misspells; `None` if it is one of them or unlike them all.
///
/// One edit in six letters counts as a slip, two in ten. Of shorter names only letters that changed places do: `POST`
/// is a word of its own, `PROT` is `PORT`.
pub(super) fn meant<'a>(written: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let written_low = written.to_lowercase();
    let mut nearest: Option<(usize, &str)> = None;
    for name in names {
        if name == written {
            return None;
        }
        let name_low = name.to_lowercase();
        let edits = osa_distance(&written_low, &name_low);
        let slip = match name.len() {
            0..=5 => edits == 0 || sorted(&written_low) == sorted(&name_low),
            6..=9 => edits <= 1,
            _ => edits <= 2,
        };
        if slip && nearest.is_none_or(|(fewest, _)| edits < fewest) {
            nearest = Some((edits, name));
        }
    }
    nearest.map(|(_, name)| name)
}

fn sorted(word: &str) -> Vec<char> {
    let mut letters: Vec<_> = word.chars().collect();
    letters.sort_unstable();
    letters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_keyboard_is_traced_to_its_name() {
        let names = ["HOST", "PORT", "DATABASE_URL", "RATE_LIMIT_PER_MINUTE", "RUST_LOG", "REDIS_URL"];
        for (written, name) in [
            ("DATABSE_URL", Some("DATABASE_URL")),
            ("database_url", Some("DATABASE_URL")),
            ("RATE_LIMIT_PER_MINTUE", Some("RATE_LIMIT_PER_MINUTE")),
            ("REDIS_URI", Some("REDIS_URL")),
            ("PROT", Some("PORT")),
            ("port", Some("PORT")),
            ("PORT", None),
            ("POST", None),
            ("PGHOST", None),
            ("HOSTNAME", None),
            ("DATABASE", None),
            ("POSTGRES_URL", None),
            ("NODE_ENV", None),
        ] {
            assert_eq!(meant(written, names), name, "{written}");
        }
    }
}

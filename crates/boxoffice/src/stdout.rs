//! The one way to standard output. Logs go to standard error.

use std::io::{self, Write};

/// Writes a line that the caller of a command asked for. A reader who went away is an error, not
/// the panic that `println!` makes of it.
pub(crate) fn say(line: &str) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{line}")
}

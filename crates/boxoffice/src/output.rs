//! The one way to standard output, and the one for complaints. Logs go to standard error as well.

use std::io::{self, Write};

/// Writes a line that the caller of a command asked for. A reader who has closed the pipe, as `head` does, has read
/// enough: the command goes on, and its exit status still says how it went.
pub(crate) fn say(line: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{line}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Writes to standard error. A closed pipe is ignored; `eprintln!` would panic.
pub(crate) fn complain(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

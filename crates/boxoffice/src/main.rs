//! `boxoffice`: see `boxoffice help`.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    boxoffice::cli::run().await
}

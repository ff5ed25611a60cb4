//! The commands of the program.

use std::env;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::{Parser, Subcommand};
use domain::Password;
use domain::ports::{Audit, Clock};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::app::{self, UseCases};
use crate::clock::SystemClock;
use crate::create_admin::CreateAdmin;
use crate::misused::Misused;
use crate::output::{complain, say};
use crate::settings::{Environment, Purpose, Settings, WrongSettings};
use crate::{descriptors, seed, telemetry};

/// Something went wrong.
const FAILED: u8 = 1;
/// The settings or the command line cannot be used; clap exits with it too.
const MISUSED: u8 = 2;

/// Books seats at events, over HTTP.
///
/// Settings come from the environment and from config/; config/default.toml explains them all.
#[derive(Debug, Parser)]
#[command(name = "boxoffice", version)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the API (the default)
    Serve,
    /// Bring the database up to date, or show where it is
    Migrate {
        #[command(subcommand)]
        direction: Option<Direction>,
    },
    /// Fill the database with the people and events of a demonstration; safe to repeat
    Seed {
        /// The password of all users of the demonstration; in production there is no default
        #[arg(long)]
        password: Option<String>,
    },
    /// Make an admin: a new account, or one that exists
    CreateAdmin(CreateAdmin),
    /// Print the OpenAPI document, and nothing else
    Openapi,
    /// Verify that seats and registrations agree in the database, and that every value is one that the API takes
    Check,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum Direction {
    /// Run the pending migrations (the default)
    Up,
    /// Take the last migration back, with the data only it has room for
    Down,
    /// Show every migration and whether it was run
    Status,
}

/// Runs the command of the process's command line, and answers with what to exit.
pub async fn run() -> ExitCode {
    match execute(Cli::parse().command.unwrap_or(Command::Serve)).await {
        Ok(code) => code,
        Err(error) => {
            if let Some(wrong) = error.downcast_ref::<WrongSettings>() {
                complain(&wrong.to_string());
                return ExitCode::from(MISUSED);
            }
            complain(&format!("boxoffice: {error:#}"));
            ExitCode::from(if error.is::<Misused>() { MISUSED } else { FAILED })
        }
    }
}

async fn execute(command: Command) -> anyhow::Result<ExitCode> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    match command {
        Command::Serve => {
            let settings = Settings::load(Purpose::Serve, env::vars_os(), Path::new(""))?;
            let traces = telemetry::log_and_trace(&settings)?;
            warn_of(&settings);
            let served = serve(settings, clock).await;
            if let Some(traces) = traces {
                traces.flush().await;
            }
            served
        }
        Command::Migrate { direction } => migrate(&load()?, direction.unwrap_or(Direction::Up), clock).await,
        Command::Seed { password } => fill(&load()?, password, clock).await,
        Command::CreateAdmin(command) => command.run(&load()?, clock).await,
        Command::Openapi => {
            say(&api::openapi_json())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Check => check(&load()?, clock).await,
    }
}

/// The settings of a command that looks after the database, with a log and without traces.
fn load() -> Result<Settings, WrongSettings> {
    let settings = Settings::load(Purpose::Operate, env::vars_os(), Path::new(""))?;
    telemetry::log_to_stderr(&settings);
    warn_of(&settings);
    Ok(settings)
}

fn warn_of(settings: &Settings) {
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
}

async fn serve(settings: Settings, clock: Arc<dyn Clock>) -> anyhow::Result<ExitCode> {
    let mut wish = StopWish::listen()?;
    descriptors::make_room(&settings);
    let mut running = tokio::select! {
        started = app::start(settings, clock) => started?,
        () = wish.heard() => return Ok(ExitCode::SUCCESS),
    };
    running.announce();
    tokio::select! {
        error = running.ended() => return Err(error),
        () = wish.heard() => tracing::info!("stopping; a second signal stops at once"),
    }
    tokio::select! {
        () = running.stop() => {
            tracing::info!("stopped");
            Ok(ExitCode::SUCCESS)
        }
        () = wish.heard() => {
            tracing::warn!("stopped at once: requests in flight were cut off");
            std::process::exit(i32::from(FAILED))
        }
    }
}

/// The signals by which an operator stops a program.
struct StopWish {
    terminate: Signal,
    interrupt: Signal,
}

impl StopWish {
    fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for one of them.
    async fn heard(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

async fn migrate(settings: &Settings, direction: Direction, clock: Arc<dyn Clock>) -> anyhow::Result<ExitCode> {
    if matches!(direction, Direction::Up) {
        app::prepare(settings)?;
    } else {
        refuse_missing(settings)?;
    }
    let sql = app::connect_for_a_command(settings, clock).await?;
    match direction {
        Direction::Up => app::migrate(&sql).await?,
        Direction::Down => sql.migrate_down().await.context("the last migration could not be taken back")?,
        Direction::Status => {}
    }
    let status = sql.migration_status().await.context("the state of the database could not be read")?;
    sql.close().await;
    for (name, applied) in status {
        say(&format!("{}  {name}", if applied { "applied" } else { "pending" }))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn fill(settings: &Settings, password: Option<String>, clock: Arc<dyn Clock>) -> anyhow::Result<ExitCode> {
    let password = match (password, settings.environment) {
        (Some(password), _) => password,
        (None, Environment::Development) => seed::PASSWORD.to_owned(),
        (None, Environment::Production) => {
            return Err(Misused("--password is needed in production: the default one is public".to_owned()).into());
        }
    };
    let password = Password::parse(&password).map_err(|invalid| Misused(format!("--password: {invalid}")))?;
    app::prepare(settings)?;
    let sql = app::connect_for_a_command(settings, Arc::clone(&clock)).await?;
    app::ensure_migrated(settings, &sql).await?;
    let use_cases = UseCases::for_operator(settings, &sql, Arc::clone(&clock))?;
    let planted = seed::plant(&use_cases, &password, clock.as_ref()).await?;
    sql.close().await;
    say("Log in as:")?;
    for (user, proved) in &planted.people {
        let password = if *proved { password.expose() } else { "(a password of their own)" };
        say(&format!("  {:<22} {password}  ({})", user.email.as_str(), user.role.as_str()))?;
    }
    say(&format!("New: {} events, {} bookings", planted.new_events, planted.new_bookings))?;
    Ok(ExitCode::SUCCESS)
}

async fn check(settings: &Settings, clock: Arc<dyn Clock>) -> anyhow::Result<ExitCode> {
    refuse_missing(settings)?;
    let sql = app::connect_for_a_command(settings, clock).await?;
    app::refuse_behind(&sql).await?;
    let found = sql.inconsistencies().await?;
    let astray = sql.facts_astray().await?;
    sql.close().await;
    for inconsistency in &found {
        say(&inconsistency.to_string())?;
    }
    for fact in &astray {
        say(&fact.to_string())?;
    }
    if found.is_empty() && astray.is_empty() {
        say("consistent: every event's seats agree with its registrations, the programme with its events, \
             the history with both, and every value with the rules of the API")?;
        Ok(ExitCode::SUCCESS)
    } else {
        Ok(ExitCode::from(FAILED))
    }
}

/// Says that there is no `SQLite` file, for a command that looks at a database and must not make one.
fn refuse_missing(settings: &Settings) -> anyhow::Result<()> {
    match settings.database.url.sqlite_file() {
        Some(file) if !file.exists() => {
            bail!("DATABASE_URL: there is no database at {}: `boxoffice migrate` makes one", file.display())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn serving_is_the_default_command() {
        assert!(Cli::try_parse_from(["boxoffice"]).unwrap().command.is_none());
        assert!(Cli::try_parse_from(["boxoffice", "sevre"]).is_err());
        let migrate = Cli::try_parse_from(["boxoffice", "migrate"]).unwrap();
        assert!(matches!(migrate.command, Some(Command::Migrate { direction: None })));
    }
}

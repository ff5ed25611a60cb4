//! The commands of the program.

use std::env;
use std::io::{self, BufRead};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use application::{EnsureAdminError, SignUp};
use clap::{Parser, Subcommand};
use domain::ports::{Audit, Clock};
use domain::{EmailAddress, Invalid, Password, PersonName};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::app::{self, ADMIN_NAME, UseCases};
use crate::clock::SystemClock;
use crate::settings::{Environment, Purpose, Settings, WrongSettings};
use crate::stdout::say;
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
        /// The password of everybody in the demonstration; in production there is no default
        #[arg(long)]
        password: Option<String>,
    },
    /// Make an admin's account
    CreateAdmin {
        /// How they log in (default: `ADMIN_EMAIL`)
        #[arg(long)]
        email: Option<String>,
        /// How they are called
        #[arg(long, default_value = ADMIN_NAME)]
        name: String,
        /// Their password, or - to read it from standard input (default: `ADMIN_PASSWORD`)
        #[arg(long)]
        password: Option<String>,
    },
    /// Print the OpenAPI document, and nothing else
    Openapi,
    /// Verify that seats and registrations agree in the database
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
                eprintln!("{wrong}");
                return ExitCode::from(MISUSED);
            }
            eprintln!("boxoffice: {error:#}");
            ExitCode::from(FAILED)
        }
    }
}

async fn execute(command: Command) -> anyhow::Result<ExitCode> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    match command {
        Command::Serve => {
            let settings = Settings::load(Purpose::Serve, env::vars_os(), Path::new(""))?;
            let traces = telemetry::log_and_trace(&settings)?;
            let served = serve(settings, clock).await;
            if let Some(traces) = traces {
                traces.flush().await;
            }
            served
        }
        Command::Migrate { direction } => migrate(&load()?, direction.unwrap_or(Direction::Up), clock).await,
        Command::Seed { password } => fill(&load()?, password, clock).await,
        Command::CreateAdmin { email, name, password } => create_admin(&load()?, email, &name, password, clock).await,
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
    Ok(settings)
}

async fn serve(settings: Settings, clock: Arc<dyn Clock>) -> anyhow::Result<ExitCode> {
    let mut wish = StopWish::listen()?;
    descriptors::make_room(&settings);
    let mut running = tokio::select! {
        started = app::start(settings, clock) => started?,
        () = wish.heard() => return Ok(ExitCode::SUCCESS),
    };
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
    let sql = app::connect(settings, clock).await?;
    match direction {
        Direction::Up => sql.migrate_up().await.context("the database could not be migrated")?,
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
            bail!("seed: --password is needed in production, where everybody knows the default one")
        }
    };
    let password = Password::parse(&password).map_err(|invalid| refused("--password", invalid))?;
    let sql = app::connect(settings, Arc::clone(&clock)).await?;
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

async fn create_admin(
    settings: &Settings,
    email: Option<String>,
    name: &str,
    password: Option<String>,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<ExitCode> {
    let email = match email {
        Some(raw) => Some(EmailAddress::parse(&raw).map_err(|invalid| refused("--email", invalid))?),
        None => settings.admin_email.clone(),
    };
    let password = match password.as_deref() {
        Some("-") => Some(first_line_of_stdin()?),
        Some(raw) => Some(raw.to_owned()),
        None => None,
    };
    let password = match password {
        Some(raw) => Some(Password::parse(&raw).map_err(|invalid| refused("--password", invalid))?),
        None => settings.admin_password.clone(),
    };
    let email = email.context("create-admin: --email or ADMIN_EMAIL is needed")?;
    let password = password.context("create-admin: --password or ADMIN_PASSWORD is needed")?;
    let name = PersonName::parse(name).map_err(|invalid| refused("--name", invalid))?;

    let sql = app::connect(settings, Arc::clone(&clock)).await?;
    app::ensure_migrated(settings, &sql).await?;
    let use_cases = UseCases::for_operator(settings, &sql, clock)?;
    let before = use_cases.users.credentials(&email).await?;
    let ensured = use_cases.accounts.ensure_admin(SignUp { name, email: email.clone(), password }).await;
    sql.close().await;
    match ensured {
        Ok(_) if before.is_some() => {
            say(&format!("{email} is an admin already; nothing was changed"))?;
            Ok(ExitCode::SUCCESS)
        }
        Ok(admin) => {
            say(&format!("{email} is an admin now (user {})", admin.id))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(EnsureAdminError::OrdinaryAccount) => {
            bail!("{email} belongs to an ordinary account, which is not raised: choose another address")
        }
        Err(error) => Err(error.into()),
    }
}

async fn check(settings: &Settings, clock: Arc<dyn Clock>) -> anyhow::Result<ExitCode> {
    let sql = app::connect(settings, clock).await?;
    app::refuse_behind(&sql).await?;
    let found = sql.inconsistencies().await?;
    sql.close().await;
    for inconsistency in &found {
        say(&inconsistency.to_string())?;
    }
    if found.is_empty() {
        say("consistent: every event's seats agree with its registrations, and the programme with its events")?;
        Ok(ExitCode::SUCCESS)
    } else {
        Ok(ExitCode::from(FAILED))
    }
}

fn first_line_of_stdin() -> anyhow::Result<String> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).context("the password could not be read from standard input")?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

fn refused(argument: &str, invalid: Invalid) -> anyhow::Error {
    anyhow::anyhow!("{argument}: {invalid}")
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
    fn serving_is_what_happens_by_default() {
        assert!(Cli::try_parse_from(["boxoffice"]).unwrap().command.is_none());
        assert!(Cli::try_parse_from(["boxoffice", "sevre"]).is_err());
        let migrate = Cli::try_parse_from(["boxoffice", "migrate"]).unwrap();
        assert!(matches!(migrate.command, Some(Command::Migrate { direction: None })));
    }
}

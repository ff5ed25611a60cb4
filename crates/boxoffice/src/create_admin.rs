//! The command that makes an admin: a new account, or one that exists.

use std::io::{self, BufRead, IsTerminal};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use application::{EnsureAdminError, SignUp};
use clap::Args;
use domain::ports::{Clock, Credentials};
use domain::{EmailAddress, Password, PersonName, Role};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::app::{self, ADMIN_NAME, UseCases};
use crate::misused::Misused;
use crate::output::{complain, say};
use crate::settings::Settings;

/// The arguments of the command. A password that stands among them can be read by every user of the machine, so there
/// are three other ways to give one.
#[derive(Debug, Args)]
pub(crate) struct CreateAdmin {
    /// How they log in (default: `ADMIN_EMAIL`)
    #[arg(long)]
    email: Option<String>,
    /// How they are called, if the account is new
    #[arg(long, default_value = ADMIN_NAME)]
    name: String,
    /// Their password; - reads it from standard input (default: `ADMIN_PASSWORD`, or a question at the terminal)
    #[arg(long)]
    password: Option<String>,
    /// If the account exists and is an ordinary one, make it an admin's
    #[arg(long)]
    promote: bool,
    /// If the account exists, give it the new password, and end all its log-ins
    #[arg(long)]
    reset_password: bool,
}

impl CreateAdmin {
    pub(crate) async fn run(self, settings: &Settings, clock: Arc<dyn Clock>) -> anyhow::Result<ExitCode> {
        let email = match &self.email {
            Some(raw) => EmailAddress::parse(raw).map_err(|invalid| Misused(format!("--email: {invalid}")))?,
            None => {
                settings.access.admin_email.clone().ok_or_else(|| Misused("--email or ADMIN_EMAIL is needed".into()))?
            }
        };
        let name = PersonName::parse(&self.name).map_err(|invalid| Misused(format!("--name: {invalid}")))?;
        let given = match self.password.as_deref() {
            Some("-") => Some(parsed("--password", &first_line_of_stdin()?)?),
            Some(raw) => Some(parsed("--password", raw)?),
            None => settings.access.admin_password.clone(),
        };

        app::prepare(settings)?;
        let sql = app::connect_for_a_command(settings, Arc::clone(&clock)).await?;
        app::ensure_migrated(settings, &sql).await?;
        let use_cases = UseCases::for_operator(settings, &sql, clock)?;
        let made = self.ensure(&use_cases, email, name, given).await;
        sql.close().await;
        say(&made?)?;
        Ok(ExitCode::SUCCESS)
    }

    /// What was done, in a line.
    async fn ensure(
        &self,
        use_cases: &UseCases,
        email: EmailAddress,
        name: PersonName,
        given: Option<Password>,
    ) -> anyhow::Result<String> {
        let Some(Credentials { user, .. }) = use_cases.users.credentials(&email).await? else {
            let password = given.map_or_else(|| ask(&email), Ok)?;
            return make(use_cases, SignUp { name, email, password }).await;
        };
        let role = match (user.role, self.promote) {
            (Role::Admin, _) => None,
            (Role::User, true) => Some(Role::Admin),
            (Role::User, false) => return Err(ordinary(&email)),
        };
        let password = if self.reset_password { Some(given.map_or_else(|| ask(&email), Ok)?) } else { None };
        reissue(use_cases, &email, role, password).await
    }
}

fn ordinary(email: &EmailAddress) -> anyhow::Error {
    anyhow!("{email} belongs to an ordinary account: --promote makes it an admin's")
}

async fn make(use_cases: &UseCases, person: SignUp) -> anyhow::Result<String> {
    let email = person.email.clone();
    match use_cases.accounts.ensure_admin(person).await {
        Ok(admin) => Ok(format!("{email} is an admin now (user {})", admin.id)),
        // They signed up after the look.
        Err(EnsureAdminError::OrdinaryAccount) => Err(ordinary(&email)),
        Err(error) => Err(error.into()),
    }
}

async fn reissue(
    use_cases: &UseCases,
    email: &EmailAddress,
    role: Option<Role>,
    password: Option<Password>,
) -> anyhow::Result<String> {
    let news = match (role, &password) {
        (None, None) => {
            return Ok(format!(
                "{email} is an admin already; nothing was changed (--reset-password sets a new password)"
            ));
        }
        (Some(_), None) => "is an admin now; the password is as it was",
        (None, Some(_)) => "has a new password, and has to log in again",
        (Some(_), Some(_)) => "is an admin now with a new password, and has to log in again",
    };
    let user = use_cases.accounts.reissue(email, role, password).await?;
    let user = user.with_context(|| format!("{email} has no account any more"))?;
    Ok(format!("{email} {news} (user {})", user.id))
}

fn parsed(source: &str, raw: &str) -> Result<Password, Misused> {
    Password::parse(raw).map_err(|invalid| Misused(format!("{source}: {invalid}")))
}

fn first_line_of_stdin() -> anyhow::Result<String> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).context("the password could not be read from standard input")?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

/// Asks for a password at the terminal, twice, without showing it.
fn ask(email: &EmailAddress) -> anyhow::Result<Password> {
    if !io::stdin().is_terminal() {
        let sources = "--password - with the password on standard input, or ADMIN_PASSWORD, is needed";
        return Err(Misused(sources.to_owned()).into());
    }
    let _silence = Silence::begin()?;
    complain(&format!("Password for {email}:"));
    let password = parsed("the password", &first_line_of_stdin()?)?;
    complain("The same again:");
    if first_line_of_stdin()? != password.expose() {
        return Err(anyhow!("the two passwords are not the same: nothing was changed"));
    }
    Ok(password)
}

/// A terminal that shows nothing of what is typed, as long as this value lives.
struct Silence(Termios);

impl Silence {
    fn begin() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &silent)?;
        Ok(Self(before))
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

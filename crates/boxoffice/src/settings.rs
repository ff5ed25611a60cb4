//! Every setting of the program, read once and trusted afterwards.
//!
//! `config/default.toml` explains them all; it is compiled in. Nothing else in the workspace reads
//! the environment.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use config::{Config, ConfigError, File, FileFormat, Map, Source, Value};
use domain::{EmailAddress, Password};
use ipnet::IpNet;
use secrecy::SecretString;
use thiserror::Error;
use tracing_subscriber::EnvFilter;

use crate::deadlines::{Contradiction, Deadlines};
use crate::secret_file;
use crate::url::{DatabaseUrl, OtlpUrl, RedisUrl};

const DEFAULT: &str = include_str!("../../../config/default.toml");

/// Chooses the file of settings, and so is in none.
const ENVIRONMENT: &str = "BOXOFFICE_ENV";

/// The names of all other settings. In files they are written in lower case.
const NAMES: [&str; 39] = [
    "DATABASE_URL",
    "DATABASE_POOL_SIZE",
    "DATABASE_MIGRATE",
    "REDIS_URL",
    "JWT_SECRET",
    "JWT_PREVIOUS_SECRET",
    "ACCESS_TOKEN_TTL",
    "REFRESH_TOKEN_TTL",
    "ADMIN_EMAIL",
    "ADMIN_PASSWORD",
    "BCRYPT_COST",
    "HOST",
    "PORT",
    "ADMIN_PORT",
    "RATE_LIMIT_PER_MINUTE",
    "LOGIN_ATTEMPTS_PER_MINUTE",
    "TRUSTED_PROXIES",
    "CORS_ALLOWED_ORIGINS",
    "LIVE_MAX_CONNECTIONS",
    "HEAD_TIMEOUT",
    "BODY_TIMEOUT",
    "REQUEST_TIMEOUT",
    "BOOKING_QUEUE_TIMEOUT",
    "PASSWORD_QUEUE_TIMEOUT",
    "DATABASE_ACQUIRE_TIMEOUT",
    "DATABASE_STATEMENT_TIMEOUT",
    "DATABASE_LOCK_TIMEOUT",
    "DATABASE_IDLE_IN_TRANSACTION_TIMEOUT",
    "REDIS_TIMEOUT",
    "PROBE_TIMEOUT",
    "SHUTDOWN_GRACE",
    "CACHE_MAX_STALENESS",
    "LOG_FORMAT",
    "RUST_LOG",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_SERVICE_NAME",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
    ENVIRONMENT,
];

/// The least length of a signing secret: that of the hash it keys.
pub(crate) const MIN_SECRET_BYTES: usize = 32;

/// How short and how long each deadline may be. Within the longest ones every request is answered within
/// 10 s, nobody waits for a row longer than 5 s or for Redis longer than 100 ms, readiness is told within 2 s,
/// and whatever is in flight has 10 of the 30 seconds in which the program ends.
mod bounds {
    use std::ops::RangeInclusive;
    use std::time::Duration;

    const fn range(shortest_ms: u64, longest_ms: u64) -> RangeInclusive<Duration> {
        Duration::from_millis(shortest_ms)..=Duration::from_millis(longest_ms)
    }

    pub(super) const ARRIVAL: RangeInclusive<Duration> = range(1_000, 60_000);
    pub(super) const REQUEST: RangeInclusive<Duration> = range(2_000, 9_800);
    pub(super) const QUEUE: RangeInclusive<Duration> = range(100, 4_500);
    pub(super) const ACQUIRE: RangeInclusive<Duration> = range(100, 5_000);
    pub(super) const STATEMENT: RangeInclusive<Duration> = range(100, 4_800);
    pub(super) const LOCK: RangeInclusive<Duration> = range(50, 4_500);
    pub(super) const IDLE_IN_TRANSACTION: RangeInclusive<Duration> = range(1_000, 60_000);
    pub(super) const REDIS: RangeInclusive<Duration> = range(1, 80);
    pub(super) const PROBE: RangeInclusive<Duration> = range(100, 1_500);
    pub(super) const SHUTDOWN_GRACE: RangeInclusive<Duration> = range(0, 20_000);
}

/// What the settings are needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To serve: all of them, and they have to be complete.
    Serve,
    /// To look after the database: nobody logs in, so the secrets of logging in may be missing.
    Operate,
}

/// Where the program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    /// On somebody's own machine.
    Development,
    /// Where it counts.
    Production,
}

impl Environment {
    /// The environment's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Development => "development",
            Self::Production => "production",
        }
    }
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Pretty,
}

/// Which requests are traced that nobody else has decided about.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Whether a caller's own decision (W3C Trace Context) holds.
    pub by_parent: bool,
    /// The share of the others: 0.0–1.0.
    pub ratio: f64,
}

/// The settings. Printing them shows no secret.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `BOXOFFICE_ENV`
    pub environment: Environment,
    /// `DATABASE_URL`
    pub database_url: DatabaseUrl,
    /// `DATABASE_POOL_SIZE`: connections, at least 1.
    pub database_pool_size: u32,
    /// `DATABASE_MIGRATE`: whether pending migrations are run at start.
    pub database_migrate: bool,
    /// `REDIS_URL`
    pub redis_url: Option<RedisUrl>,
    /// `JWT_SECRET`: 32 bytes or more. `None` in development with `SQLite`: then it is kept beside the database.
    pub jwt_secret: Option<SecretString>,
    /// `JWT_PREVIOUS_SECRET`: 32 bytes or more.
    pub jwt_previous_secret: Option<SecretString>,
    /// `ACCESS_TOKEN_TTL`: at least 1.
    pub access_token_ttl_secs: u32,
    /// `REFRESH_TOKEN_TTL`: at least 1.
    pub refresh_token_ttl_secs: u32,
    /// `ADMIN_EMAIL`
    pub admin_email: Option<EmailAddress>,
    /// `ADMIN_PASSWORD`
    pub admin_password: Option<Password>,
    /// `BCRYPT_COST`: 4–31.
    pub bcrypt_cost: u32,
    /// `HOST`: an address or a name, without brackets.
    pub host: String,
    /// `PORT`: 0 for a free one.
    pub port: u16,
    /// `ADMIN_PORT`: 0 for a free one; never the same as `PORT`.
    pub admin_port: Option<u16>,
    /// `RATE_LIMIT_PER_MINUTE`: 0 for no limit.
    pub rate_limit_per_minute: u32,
    /// `LOGIN_ATTEMPTS_PER_MINUTE`: 0 for no limit.
    pub login_attempts_per_minute: u32,
    /// `TRUSTED_PROXIES`
    pub trusted_proxies: Vec<IpNet>,
    /// `CORS_ALLOWED_ORIGINS`: as browsers write them.
    pub cors_allowed_origins: Vec<String>,
    /// `LIVE_MAX_CONNECTIONS`: at least 1.
    pub live_max_connections: u32,
    /// How long each hop may take.
    pub deadlines: Deadlines,
    /// `CACHE_MAX_STALENESS`: zero if every answer is confirmed.
    pub cache_max_staleness: Duration,
    /// `LOG_FORMAT`
    pub log_format: LogFormat,
    /// `RUST_LOG`: directives that can be parsed.
    pub log_filter: String,
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`: `None` if nothing is traced.
    pub otlp_endpoint: Option<OtlpUrl>,
    /// `OTEL_SERVICE_NAME`
    pub service_name: String,
    /// `OTEL_TRACES_SAMPLER`, `OTEL_TRACES_SAMPLER_ARG`
    pub sampling: Sampling,
}

impl Settings {
    /// Reads the settings from these variables, and from `.env` and `config/` in this directory.
    pub fn load(
        purpose: Purpose,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
        directory: &Path,
    ) -> Result<Self, WrongSettings> {
        let mut layers = Layers::read(variables, directory)?;
        let settings = layers.settings();
        if purpose == Purpose::Serve {
            layers.check_complete();
        }
        match settings {
            Some(settings) if layers.wrong.is_empty() => Ok(settings),
            _ => Err(WrongSettings(layers.wrong)),
        }
    }

    /// What tokens are signed with: `JWT_SECRET`, or a secret kept beside the database file.
    pub(crate) fn signing_secret(&self) -> anyhow::Result<SecretString> {
        if let Some(secret) = &self.jwt_secret {
            return Ok(secret.clone());
        }
        let file = self.database_url.sqlite_file().context("JWT_SECRET: is needed with this database")?;
        secret_file::read_or_make(&secret_file::beside(&file))
    }
}

/// Settings that cannot be used: all of them, one a line.
#[derive(Debug, Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct WrongSettings(Vec<WrongSetting>);

/// A setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongSetting {
    name: String,
    /// The file it is in; `None` if it is in the environment or nowhere.
    file: Option<String>,
    problem: String,
}

impl WrongSetting {
    fn new(name: impl Into<String>, file: Option<&str>, problem: impl Into<String>) -> Self {
        Self { name: name.into(), file: file.map(str::to_owned), problem: problem.into() }
    }
}

impl fmt::Display for WrongSetting {
    /// One line: the setting, where it was found if that is a file, what is wrong and what to write.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, file, problem } = self;
        match file {
            Some(file) => write!(f, "{name} (in {file}): {problem}"),
            None => write!(f, "{name}: {problem}"),
        }
    }
}

/// The settings as texts, each from the first layer that has it.
struct Layers {
    environment: Environment,
    values: Map<String, Value>,
    wrong: Vec<WrongSetting>,
}

impl Layers {
    fn read(
        variables: impl IntoIterator<Item = (OsString, OsString)>,
        directory: &Path,
    ) -> Result<Self, WrongSettings> {
        let mut wrong = Vec::new();
        let mut variables = Layer::from_environment(variables, &mut wrong);
        let environment = variables.0.remove(&ENVIRONMENT.to_lowercase()).and_then(|value| value.into_string().ok());
        let environment = match environment.as_deref() {
            None | Some("development") => Environment::Development,
            Some("production") => Environment::Production,
            Some(other) => {
                let problem = format!("must be development or production, not {other:?}");
                wrong.push(WrongSetting::new(ENVIRONMENT, None, problem));
                return Err(WrongSettings(wrong));
            }
        };
        let dotenv = match environment {
            Environment::Development => Layer::from_dotenv(&directory.join(".env"), &mut wrong),
            Environment::Production => Layer::default(),
        };
        let file = directory.join("config").join(environment.as_str()).with_extension("toml");
        let layered = Config::builder()
            .add_source(File::from_str(DEFAULT, FileFormat::Toml))
            .add_source(Layer::from_toml(&file, &mut wrong))
            .add_source(dotenv)
            .add_source(variables)
            .build()
            .and_then(|layered| layered.collect());
        match layered {
            Ok(values) => {
                let mut layers = Self { environment, values, wrong };
                layers.refuse_unknown();
                Ok(layers)
            }
            Err(error) => {
                wrong.push(WrongSetting::new("settings", None, first_line(&error)));
                Err(WrongSettings(wrong))
            }
        }
    }

    fn refuse_unknown(&mut self) {
        for (key, value) in &self.values {
            let known = NAMES.iter().any(|name| *name != ENVIRONMENT && name.to_lowercase() == *key);
            if !known {
                let problem = if key.eq_ignore_ascii_case(ENVIRONMENT) {
                    "chooses the file and cannot be in it: set it in the environment"
                } else {
                    "is no setting: config/default.toml lists them all, in lower case"
                };
                self.wrong.push(WrongSetting::new(key, value.origin(), problem));
            }
        }
        self.wrong.sort_by(|a, b| a.name.cmp(&b.name));
    }

    /// Reads each setting; `None` if one that has to be there is missing or wrong.
    fn settings(&mut self) -> Option<Settings> {
        let production = self.environment == Environment::Production;
        let (default_format, default_filter) = match self.environment {
            Environment::Development => (LogFormat::Pretty, "info"),
            Environment::Production => (LogFormat::Json, "info,access=warn"),
        };
        let database_url = self.required("DATABASE_URL", |raw| DatabaseUrl::parse(raw).map_err(str::to_owned));
        let database_pool_size = self.required("DATABASE_POOL_SIZE", |raw| whole(raw, 1, u16::MAX.into()));
        let database_migrate = self.required("DATABASE_MIGRATE", boolean);
        let redis_url = self.optional("REDIS_URL", |raw| RedisUrl::parse(raw).map_err(str::to_owned));
        let jwt_secret = self.optional("JWT_SECRET", secret);
        let jwt_previous_secret = self.optional("JWT_PREVIOUS_SECRET", secret);
        let access_token_ttl_secs = self.required("ACCESS_TOKEN_TTL", ttl_secs);
        let refresh_token_ttl_secs = self.required("REFRESH_TOKEN_TTL", ttl_secs);
        let admin_email = self.optional("ADMIN_EMAIL", |raw| EmailAddress::parse(raw).map_err(|e| e.to_string()));
        let admin_password = self.optional("ADMIN_PASSWORD", |raw| Password::parse(raw).map_err(|e| e.to_string()));
        let bcrypt_cost = self.required("BCRYPT_COST", |raw| bcrypt_cost(raw, production));
        let host = self.required("HOST", host);
        let port = self.required("PORT", |raw| whole(raw, 0, u16::MAX));
        let admin_port = self.optional("ADMIN_PORT", |raw| {
            let admin_port = whole(raw, 0, u16::MAX)?;
            let same = admin_port != 0 && port == Some(admin_port);
            if same {
                Err(format!("must be another port than PORT, which is {admin_port} too"))
            } else {
                Ok(admin_port)
            }
        });
        let rate_limit_per_minute = self.required("RATE_LIMIT_PER_MINUTE", |raw| whole(raw, 0, u32::MAX));
        let login_attempts_per_minute = self.required("LOGIN_ATTEMPTS_PER_MINUTE", |raw| whole(raw, 0, u32::MAX));
        let trusted_proxies = self.optional("TRUSTED_PROXIES", |raw| list(raw, network));
        let cors_allowed_origins = self.optional("CORS_ALLOWED_ORIGINS", |raw| list(raw, origin));
        let live_max_connections = self.required("LIVE_MAX_CONNECTIONS", |raw| whole(raw, 1, u32::MAX));
        let deadlines = self.deadlines();
        let cache_max_staleness = self.required("CACHE_MAX_STALENESS", duration);
        let log_format = self.optional("LOG_FORMAT", log_format);
        let log_filter = self.optional("RUST_LOG", log_filter);
        let otlp_endpoint =
            self.optional("OTEL_EXPORTER_OTLP_ENDPOINT", |raw| OtlpUrl::parse(raw).map_err(str::to_owned));
        let service_name = self.required("OTEL_SERVICE_NAME", |raw| Ok(raw.trim().to_owned()));
        let ratio = self.optional("OTEL_TRACES_SAMPLER_ARG", ratio).unwrap_or(1.0);
        let sampling = self.required("OTEL_TRACES_SAMPLER", |raw| sampling(raw, ratio));
        Some(Settings {
            environment: self.environment,
            database_url: database_url?,
            database_pool_size: database_pool_size?,
            database_migrate: database_migrate?,
            redis_url,
            jwt_secret,
            jwt_previous_secret,
            access_token_ttl_secs: access_token_ttl_secs?,
            refresh_token_ttl_secs: refresh_token_ttl_secs?,
            admin_email,
            admin_password,
            bcrypt_cost: bcrypt_cost?,
            host: host?,
            port: port?,
            admin_port,
            rate_limit_per_minute: rate_limit_per_minute?,
            login_attempts_per_minute: login_attempts_per_minute?,
            trusted_proxies: trusted_proxies.unwrap_or_default(),
            cors_allowed_origins: cors_allowed_origins.unwrap_or_default(),
            live_max_connections: live_max_connections?,
            deadlines: deadlines?,
            cache_max_staleness: cache_max_staleness?,
            log_format: log_format.unwrap_or(default_format),
            log_filter: log_filter.unwrap_or_else(|| default_filter.to_owned()),
            otlp_endpoint,
            service_name: service_name?,
            sampling: sampling?,
        })
    }

    /// Reads the deadlines; those that are right each for itself have to agree with each other as well.
    fn deadlines(&mut self) -> Option<Deadlines> {
        let mut read = |name, bounds| self.required(name, |raw| bounded(raw, &bounds));
        let head = read("HEAD_TIMEOUT", bounds::ARRIVAL);
        let body = read("BODY_TIMEOUT", bounds::ARRIVAL);
        let request = read("REQUEST_TIMEOUT", bounds::REQUEST);
        let booking_queue = read("BOOKING_QUEUE_TIMEOUT", bounds::QUEUE);
        let password_queue = read("PASSWORD_QUEUE_TIMEOUT", bounds::QUEUE);
        let acquire = read("DATABASE_ACQUIRE_TIMEOUT", bounds::ACQUIRE);
        let statement = read("DATABASE_STATEMENT_TIMEOUT", bounds::STATEMENT);
        let lock = read("DATABASE_LOCK_TIMEOUT", bounds::LOCK);
        let idle_in_transaction = read("DATABASE_IDLE_IN_TRANSACTION_TIMEOUT", bounds::IDLE_IN_TRANSACTION);
        let redis = read("REDIS_TIMEOUT", bounds::REDIS);
        let probe = read("PROBE_TIMEOUT", bounds::PROBE);
        let shutdown_grace = read("SHUTDOWN_GRACE", bounds::SHUTDOWN_GRACE);
        let deadlines = Deadlines {
            head: head?,
            body: body?,
            request: request?,
            booking_queue: booking_queue?,
            password_queue: password_queue?,
            acquire: acquire?,
            statement: statement?,
            lock: lock?,
            idle_in_transaction: idle_in_transaction?,
            redis: redis?,
            probe: probe?,
            shutdown_grace: shutdown_grace?,
        };
        for Contradiction { name, problem } in deadlines.contradictions() {
            self.wrong.push(WrongSetting::new(name, self.file(name), problem));
        }
        Some(deadlines)
    }

    /// What serving needs on top of settings that are right each for itself.
    fn check_complete(&mut self) {
        let server = matches!(self.text("DATABASE_URL"), Some(Ok(url)) if url.starts_with("postgres"));
        let embedded = !server && self.environment == Environment::Development;
        let is_set = |name| self.text(name).is_some();
        let mut missing = Vec::new();
        if !is_set("JWT_SECRET") && !embedded {
            missing.push((
                "JWT_SECRET",
                "must be set (32 bytes or more, such as the output of `openssl rand -base64 48`); \
                 only with SQLite in development is one made",
            ));
        }
        if is_set("ADMIN_EMAIL") && !is_set("ADMIN_PASSWORD") {
            missing.push(("ADMIN_PASSWORD", "must be set together with ADMIN_EMAIL"));
        }
        if is_set("ADMIN_PASSWORD") && !is_set("ADMIN_EMAIL") {
            missing.push(("ADMIN_EMAIL", "must be set together with ADMIN_PASSWORD"));
        }
        self.wrong.extend(missing.into_iter().map(|(name, problem)| WrongSetting::new(name, None, problem)));
    }

    fn required<T>(&mut self, name: &str, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        if self.text(name).is_none() {
            self.wrong.push(WrongSetting::new(name, self.file(name), "must not be empty"));
        }
        self.optional(name, read)
    }

    fn optional<T>(&mut self, name: &str, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let text = self.text(name)?;
        match text.and_then(|text| read(&text)) {
            Ok(value) => Some(value),
            Err(problem) => {
                self.wrong.push(WrongSetting::new(name, self.file(name), problem));
                None
            }
        }
    }

    /// The setting's text; `None` if there is none or it is empty.
    fn text(&self, name: &str) -> Option<Result<String, String>> {
        let value = self.values.get(&name.to_lowercase())?;
        match value.clone().into_string() {
            Ok(text) if text.trim().is_empty() => None,
            Ok(text) => Some(Ok(text)),
            Err(_) => Some(Err("must be one value, not a list or a table; lists are texts with commas".to_owned())),
        }
    }

    fn file(&self, name: &str) -> Option<&str> {
        self.values.get(&name.to_lowercase())?.origin()
    }
}

/// A layer of settings, by the key they have in files: the environment, `.env`, or a file.
#[derive(Debug, Clone, Default)]
struct Layer(Map<String, Value>);

impl Layer {
    /// The variables that are settings and not empty.
    fn from_environment(
        variables: impl IntoIterator<Item = (OsString, OsString)>,
        wrong: &mut Vec<WrongSetting>,
    ) -> Self {
        let mut layer = Self::default();
        for (name, value) in variables {
            let Some(name) = NAMES.iter().find(|known| name == **known) else { continue };
            match value.into_string() {
                Ok(value) => layer.insert(name, value, None),
                Err(_) => wrong.push(WrongSetting::new(*name, None, "must be UTF-8")),
            }
        }
        layer
    }

    fn from_dotenv(path: &Path, wrong: &mut Vec<WrongSetting>) -> Self {
        let file = path.display().to_string();
        let mut layer = Self::default();
        let lines = match dotenvy::from_path_iter(path) {
            Ok(lines) => lines,
            Err(error) if error.not_found() => return layer,
            Err(error) => {
                wrong.push(WrongSetting::new(file, None, format!("cannot be read: {error}")));
                return layer;
            }
        };
        let mut place = "its beginning".to_owned();
        for line in lines {
            match line {
                Ok((name, _)) if name == ENVIRONMENT => {
                    wrong.push(WrongSetting::new(name, Some(&file), "must be set in the environment, not here"));
                }
                Ok((name, value)) => {
                    if NAMES.contains(&name.as_str()) {
                        layer.insert(&name, value, Some(&file));
                    }
                    place = name;
                }
                // What the error says may be a secret: only where it is is told.
                Err(dotenvy::Error::LineParse(..)) => wrong.push(WrongSetting::new(
                    &file,
                    None,
                    format!("a line after {place} cannot be read: write NAME=value, with quotes around spaces"),
                )),
                Err(error) => {
                    wrong.push(WrongSetting::new(file, None, format!("cannot be read: {error}")));
                    return layer;
                }
            }
        }
        layer
    }

    fn from_toml(path: &Path, wrong: &mut Vec<WrongSetting>) -> Self {
        let file = path.display().to_string();
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Self::default(),
            Err(error) => {
                wrong.push(WrongSetting::new(file, None, format!("cannot be read: {error}")));
                return Self::default();
            }
        };
        match File::from_str(&text, FileFormat::Toml).collect() {
            Ok(values) => {
                Self(values.into_iter().map(|(key, value)| (key, Value::new(Some(&file), value.kind))).collect())
            }
            Err(error) => {
                wrong.push(WrongSetting::new(file, None, first_line(&error)));
                Self::default()
            }
        }
    }

    fn insert(&mut self, name: &str, value: String, file: Option<&String>) {
        if !value.trim().is_empty() {
            self.0.insert(name.to_lowercase(), Value::new(file, value));
        }
    }
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self.0.clone())
    }
}

/// The gist of an error about a file. The rest of it quotes the file, where secrets may be.
fn first_line(error: &ConfigError) -> String {
    let text = match error {
        ConfigError::FileParse { cause, .. } => cause.to_string(),
        other => other.to_string(),
    };
    format!("cannot be read: {}", text.lines().next().unwrap_or_default())
}

fn whole<T: TryFrom<u64> + Into<u64> + Copy>(raw: &str, min: T, max: T) -> Result<T, String> {
    let number = raw.trim().parse::<u64>().ok().filter(|number| (min.into()..=max.into()).contains(number));
    number
        .and_then(|number| T::try_from(number).ok())
        .ok_or_else(|| format!("must be a whole number from {} to {}, not {:?}", min.into(), max.into(), raw.trim()))
}

fn boolean(raw: &str) -> Result<bool, String> {
    match raw.trim() {
        "true" => Ok(true),
        "false" => Ok(false),
        other => Err(format!("must be true or false, not {other:?}")),
    }
}

fn duration(raw: &str) -> Result<Duration, String> {
    humantime::parse_duration(raw.trim())
        .map_err(|_| format!("must be a duration such as 500ms, 30s, 5m or 24h, not {:?}", raw.trim()))
}

fn ttl_secs(raw: &str) -> Result<u32, String> {
    let ttl = duration(raw)?;
    match u32::try_from(ttl.as_secs()) {
        Ok(secs) if secs >= 1 && ttl.subsec_nanos() == 0 => Ok(secs),
        _ => Err(format!("must be whole seconds, at least 1s and at most {}s, not {:?}", u32::MAX, raw.trim())),
    }
}

fn bounded(raw: &str, bounds: &RangeInclusive<Duration>) -> Result<Duration, String> {
    let duration = duration(raw)?;
    if bounds.contains(&duration) {
        return Ok(duration);
    }
    let [shortest, longest] = [bounds.start(), bounds.end()].map(|bound| humantime::format_duration(*bound));
    Err(format!("must be from {shortest} to {longest}, not {:?}", raw.trim()))
}

fn bcrypt_cost(raw: &str, production: bool) -> Result<u32, String> {
    let cost = whole(raw, 4, 31)?;
    if production && cost < 10 {
        return Err(format!("must be at least 10 in production, not {cost}"));
    }
    Ok(cost)
}

fn secret(raw: &str) -> Result<SecretString, String> {
    if raw.len() < MIN_SECRET_BYTES {
        return Err(format!(
            "must have at least {MIN_SECRET_BYTES} bytes, not {}: write the output of `openssl rand -base64 48`",
            raw.len()
        ));
    }
    Ok(raw.into())
}

fn host(raw: &str) -> Result<String, String> {
    let raw = raw.trim();
    let host = raw.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(raw);
    let name = host
        .split('.')
        .all(|label| !label.is_empty() && label.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')));
    if name || host.parse::<IpAddr>().is_ok() {
        Ok(host.to_owned())
    } else {
        Err(format!("must be an address such as 127.0.0.1, 0.0.0.0 or ::, or a host name, not {raw:?}"))
    }
}

fn log_format(raw: &str) -> Result<LogFormat, String> {
    match raw.trim() {
        "json" => Ok(LogFormat::Json),
        "pretty" => Ok(LogFormat::Pretty),
        other => Err(format!("must be json or pretty, not {other:?}")),
    }
}

fn log_filter(raw: &str) -> Result<String, String> {
    match EnvFilter::try_new(raw) {
        Ok(_) => Ok(raw.to_owned()),
        Err(error) => Err(format!("must be directives such as info,access=warn, not {raw:?} ({error})")),
    }
}

fn ratio(raw: &str) -> Result<f64, String> {
    let ratio = raw.trim().parse::<f64>().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
    ratio.ok_or_else(|| format!("must be a number from 0 to 1, not {:?}", raw.trim()))
}

/// The samplers of the OpenTelemetry specification that need nobody else.
fn sampling(raw: &str, ratio: f64) -> Result<Sampling, String> {
    let (by_parent, name) = match raw.trim().strip_prefix("parentbased_") {
        Some(name) => (true, name),
        None => (false, raw.trim()),
    };
    let ratio = match name {
        "always_on" => 1.0,
        "always_off" => 0.0,
        "traceidratio" => ratio,
        _ => {
            return Err(format!(
                "must be always_on, always_off or traceidratio, perhaps after parentbased_, not {:?}",
                raw.trim()
            ));
        }
    };
    Ok(Sampling { by_parent, ratio })
}

fn list<T>(raw: &str, item: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    raw.split(',').map(str::trim).filter(|part| !part.is_empty()).map(item).collect()
}

fn network(raw: &str) -> Result<IpNet, String> {
    raw.parse::<IpNet>()
        .or_else(|_| raw.parse::<IpAddr>().map(IpNet::from))
        .map(|network| network.trunc())
        .map_err(|_| format!("must be addresses or networks such as 10.0.0.0/8, separated by commas, not {raw:?}"))
}

/// An origin as browsers send it: lower case, without the scheme's own port (Fetch, "serializing an origin").
fn origin(raw: &str) -> Result<String, String> {
    let form = || format!("must be origins such as https://tickets.example.com, separated by commas, not {raw:?}");
    if raw == "*" {
        return Err("must name each origin, such as https://tickets.example.com: * is not supported".to_owned());
    }
    let lower = raw.to_ascii_lowercase();
    let (scheme, authority) = lower.split_once("://").ok_or_else(form)?;
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port.parse::<u16>().map_err(|_| form())?)),
        _ => (authority, None),
    };
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host_ok = match bracketed {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.contains(':') && self::host(host).is_ok(),
    };
    if !matches!(scheme, "http" | "https") || !host_ok {
        return Err(form());
    }
    Ok(match (scheme, port) {
        ("http", Some(80)) | ("https", Some(443)) | (_, None) => format!("{scheme}://{host}"),
        (_, Some(port)) => format!("{scheme}://{host}:{port}"),
    })
}

#[cfg(test)]
mod tests;

//! Every setting of the program, read once and trusted afterwards. Nothing else in the workspace reads the environment.
//!
//! | module | what it holds |
//! |---|---|
//! | `database`, `redis`, `access`, `http`, `deadlines`, `cache`, `news`, `broker`, `mail`, `log`, `traces` | the settings, each declared once |
//! | `declare` | what a declaration is, and what is made of it |
//! | `parser`, `values`, `addresses`, `log_filter` | how a text becomes a value |
//! | `layers`, `layer`, `dotenv`, `toml_file` | where texts are from |
//! | `names`, `spelling` | which names are known, and which was meant |
//! | `texts`, `rules`, `wrong` | what is read, what has to agree, what is said of it |
//! | `document` | `config/default.toml` and `.env.example`, which are written from the declarations |
//!
//! A new setting is a declaration in the section that it belongs to, and `just settings` for the two documents. A new
//! section is a file with a `settings!`, and a line for each mention of another section below.

mod access;
mod addresses;
mod broker;
mod cache;
mod database;
pub(crate) mod deadlines;
mod declare;
mod document;
mod dotenv;
mod environment;
mod http;
mod layer;
mod layers;
mod log;
mod log_filter;
mod mail;
mod names;
mod news;
mod parser;
mod redis;
mod rules;
mod spelling;
mod texts;
mod toml_file;
mod traces;
mod values;
mod wrong;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Context;
use secrecy::SecretString;

use crate::deadlines::Contradiction;
use crate::secret_file;
use crate::settings::declare::Section;
use crate::settings::texts::Texts;

pub use access::Access;
pub use broker::Broker;
pub use cache::Cache;
pub use database::Database;
pub use deadlines::Deadlines;
pub use environment::Environment;
pub use http::Http;
pub use log::{Log, LogFormat};
pub(crate) use log_filter::level as log_level;
pub use mail::Mail;
pub use news::News;
pub use redis::Redis;
pub use traces::{Sampler, Sampling, Traces};
pub use wrong::WrongSettings;

/// What the settings are needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To serve: all of them, and they have to be complete.
    Serve,
    /// To look after the database: there are no log-ins, so the secrets of logging in may be missing.
    Operate,
}

/// The settings. Printing them shows no secret.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `BOXOFFICE_ENV`
    pub environment: Environment,
    /// Where everything is kept.
    pub database: Database,
    /// A second home for cached answers.
    pub redis: Redis,
    /// Who may log in, and for how long.
    pub access: Access,
    /// Where the program listens, and to whom.
    pub http: Http,
    /// How long each hop may take.
    pub deadlines: Deadlines,
    /// What is answered without asking the database.
    pub cache: Cache,
    /// What happened, and who is told.
    pub news: News,
    /// Who is told of everything that happens.
    pub broker: Broker,
    /// What people are told by mail.
    pub mail: Mail,
    /// What is logged, and how.
    pub log: Log,
    /// What is traced, and where traces are sent.
    pub traces: Traces,
    /// Where the files of the settings are looked for, and files are put that have no other place.
    pub directory: PathBuf,
    /// What an operator should look at, though it stops nothing: a line each.
    pub warnings: Vec<String>,
}

/// Every declaration, in the order of the documents.
fn sections() -> [Section; 11] {
    [
        Database::section(),
        Redis::section(),
        Access::section(),
        Http::section(),
        Deadlines::section(),
        Cache::section(),
        News::section(),
        Broker::section(),
        Mail::section(),
        Log::section(),
        Traces::section(),
    ]
}

impl Settings {
    /// Reads the settings from these variables, and from `.env` and `config/` in this directory.
    pub fn load(
        purpose: Purpose,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
        directory: &Path,
    ) -> Result<Self, WrongSettings> {
        let mut texts = layers::merge(&sections(), variables, directory)?;
        let settings = Self::read(&mut texts, directory);
        rules::check(&mut texts);
        if purpose == Purpose::Serve {
            rules::check_complete(&mut texts);
        }
        texts.finish(settings)
    }

    /// Reads every section, so that all complaints are made at once; `None` if there was one.
    fn read(texts: &mut Texts, directory: &Path) -> Option<Self> {
        let database = Database::read(texts);
        let redis = Redis::read(texts);
        let access = Access::read(texts);
        let http = Http::read(texts);
        let deadlines = Deadlines::read(texts);
        for Contradiction { name, problem } in deadlines.iter().flat_map(Deadlines::contradictions) {
            texts.complain(name, problem);
        }
        let cache = Cache::read(texts);
        let news = News::read(texts);
        let broker = Broker::read(texts);
        let mail = Mail::read(texts);
        let log = Log::read(texts);
        let traces = Traces::read(texts);
        Some(Self {
            environment: texts.environment(),
            database: database?,
            redis: redis?,
            access: access?,
            http: http?,
            deadlines: deadlines?,
            cache: cache?,
            news: news?,
            broker: broker?,
            mail: mail?,
            log: log?,
            traces: traces?,
            directory: directory.to_owned(),
            warnings: texts.warnings().to_vec(),
        })
    }

    /// What tokens are signed with: `JWT_SECRET`, or a secret kept beside the database file.
    pub(crate) fn signing_secret(&self) -> anyhow::Result<SecretString> {
        if let Some(secret) = &self.access.jwt_secret {
            return Ok(secret.clone());
        }
        let file = self.database.url.sqlite_file().context("JWT_SECRET: is needed with this database")?;
        secret_file::read_or_make(&secret_file::beside(&file))
    }

    /// The text of `config/default.toml`: every setting with its default and what it is for.
    pub fn default_toml() -> String {
        document::default_toml(&sections())
    }

    /// The text of `.env.example`: every setting, commented out.
    pub fn env_example() -> String {
        document::env_example(&sections())
    }
}

#[cfg(test)]
mod tests;

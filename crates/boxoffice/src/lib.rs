//! The program: settings, telemetry, wiring, command line. The only crate that sees all the others.
//!
//! | module | what it holds |
//! |---|---|
//! | [`settings`] | every setting, declared once; from the environment and `config/` |
//! | [`deadlines`] | what follows from how long each hop of a request may take |
//! | [`app`] | adapters behind ports, use cases over ports, the server on top |
//! | `channels`, `broker`, `mail` | who is told of what happens, and by what |
//! | `jobs` | what goes on beside requests |
//! | [`cli`] | the commands |
//! | `create_admin` | the command that makes an admin |
//! | `seed` | the people and events of a demonstration |
//! | `welcome` | what a start says last |
//! | [`telemetry`], [`clock`] | logs, metrics, the time of day |
//!
//! This room holds no rule and no query: it decides only who works with whom. It is a library so
//! that tests can start the program within their own process, with a clock that they move.

pub mod app;
mod broker;
mod channels;
pub mod cli;
pub mod clock;
mod create_admin;
mod data_folder;
pub mod deadlines;
mod descriptors;
mod jobs;
mod mail;
mod misused;
mod output;
mod secret_file;
mod seed;
pub mod settings;
pub mod telemetry;
pub mod url;
mod welcome;

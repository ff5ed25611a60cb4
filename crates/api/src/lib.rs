//! The HTTP face of `boxoffice`: routes, extractors, the problem table and the OpenAPI document.
//!
//! This room turns requests into calls of the use cases and their outcomes into answers. It must
//! not hold a rule about events or seats, nor know any adapter.
//!
//! | module | what it holds |
//! |---|---|
//! | [`server`] | the server and what it is made of |
//! | [`admin`] | the port for operators |
//! | `routes` | one file a noun; each begins with `configure` |
//! | `wire` | the shapes clients see, with their conversions from the domain's |
//! | `caller`, `body`, `query`, `field`, `period`, `cursor`, `conditional` | parsing: who asks, and for what |
//! | `reply`, `problem` | answering: the shapes of success, the one table of errors |
//! | `attempts` | how often a log-in may fail |
//! | `rendered` | bodies kept with the values they were rendered from |
//! | `live` | streams that stay open: Server-Sent Events and WebSockets |
//! | `middleware` | what happens around every request |
//! | `trace` | the span of a request, for collectors of traces |
//! | `openapi` | the document, collected from the routes and completed from the problem table |

mod addresses;
pub mod admin;
mod attempts;
mod body;
mod caller;
mod conditional;
mod cursor;
mod deadlines;
mod draining;
mod field;
#[cfg(fuzzing)]
pub mod fuzzing;
mod headers;
mod live;
mod members;
mod metrics;
mod middleware;
mod openapi;
mod period;
mod problem;
mod query;
mod rendered;
mod reply;
mod routes;
pub mod server;
mod services;
mod trace;
mod traces;
mod violation;
mod wire;

pub use deadlines::HttpDeadlines;
pub use draining::Draining;
pub use metrics::Metrics;
pub use openapi::openapi_json;
pub use server::{HttpOptions, serve};
pub use services::Services;
pub use traces::Traces;

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
//! | `caller`, `body`, `query`, `field`, `conditional` | parsing: who asks, and for what |
//! | `reply`, `problem` | answering: the shapes of success, the one table of errors |
//! | `attempts` | how often somebody may try to log in |
//! | `rendered` | bodies kept with the values they were rendered from |
//! | `live` | streams that stay open: Server-Sent Events and WebSockets |
//! | `middleware` | what happens around every request |
//! | `trace` | the span of a request, for whoever collects traces |
//! | `openapi` | the document, collected from the routes and completed from the problem table |

pub mod admin;
mod attempts;
mod body;
mod caller;
mod conditional;
mod field;
#[cfg(fuzzing)]
pub mod fuzzing;
mod live;
mod metrics;
mod middleware;
mod openapi;
mod problem;
mod query;
mod rendered;
mod reply;
mod routes;
pub mod server;
mod trace;
mod wire;

pub use metrics::Metrics;
pub use openapi::openapi_json;
pub use server::{Draining, HttpDeadlines, HttpOptions, Services, serve};
pub use trace::Traces;

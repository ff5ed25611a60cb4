//! How the database is reached.
//!
//! | module | what it holds |
//! |---|---|
//! | `connect` | what every connection is told |
//! | `engine` | which database it is, and what the two spell differently |
//! | `pools` | the connections in use, and how they are replaced |
//! | `bond` | what the connections of a pool have in common |
//! | `pool_wait` | the wait for a connection of a pool |
//! | `hosts` | the servers that a URL names |
//! | `server` | what a Postgres server says of itself |
//! | `survey`, `watch` | which server writes, found out without traffic |
//! | `timeline`, `timelines` | which history of the database an answer is from |
//! | `operation` | tasks, their deadlines, and what becomes of a write that misses one |
//! | `using` | the pool that an operation uses: another one once the first was retired |
//! | `commit_gate` | what keeps a write that was given up from being committed |
//! | `transaction` | transactions, and where the two engines differ in them |
//! | `statement` | statements, with spans for collectors of traces |
//! | `retry` | what failed and is done again |
//! | `deadlines` | how long anything may take |
//! | `list_limiter` | how many lists are read at once |
//! | `migrate` | running the migrations, alone |
//! | `probe` | whether the database answers |
//! | `error` | what a driver's error means |

pub(crate) mod bond;
pub(crate) mod bulk_rows;
pub(crate) mod commit_gate;
pub(crate) mod connect;
pub(crate) mod deadlines;
pub(crate) mod engine;
pub(crate) mod error;
pub(crate) mod hosts;
pub(crate) mod list_limiter;
pub(crate) mod migrate;
pub(crate) mod operation;
pub(crate) mod pool_wait;
pub(crate) mod pools;
pub(crate) mod probe;
pub(crate) mod raw;
pub(crate) mod retry;
pub(crate) mod server;
pub(crate) mod statement;
pub(crate) mod survey;
pub(crate) mod timeline;
pub(crate) mod timelines;
pub(crate) mod transaction;
pub(crate) mod using;
pub(crate) mod watch;

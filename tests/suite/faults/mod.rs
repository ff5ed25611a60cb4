//! The answers to clients while everything around the program fails, and a check that they are true.
//!
//! | module | what it holds |
//! |---|---|
//! | `ledger` | all requests with their answers, and the check whether all of them can be true |
//! | `crowd` | clients that book, cancel and read, and keep their answers |
//! | `service` | instances and their crowd, from the first fault to the check of the ledger |
//! | `sabotage` | faults that the check of the ledger has to find |
//! | `postgres`, `redis` | faults of what the program needs |
//! | `lost_commits` | commits that were lost with a primary are not shown, confirmed or continued |
//! | `retries` | failures that the program hides by a retry |
//! | `program` | the program's own end, by SIGKILL or SIGTERM |
//! | `clients` | clients that hang up, send slowly or flood |
//! | `failover` | a primary that is lost, and the standby that takes its place |
//! | `hosts` | which server is written to, while servers, names and sessions change |
//! | `overload` | more requests than the program can serve |
//! | `matrix` | the answers and their times, for each state of Postgres and Redis |
//! | `news` | facts told while whoever tells and is told is killed |
//! | `schedule` | faults in a random order |
//! | `upgrade` | a newer release that moves the schema ahead |

mod clients;
mod crowd;
mod failover;
mod hosts;
mod ledger;
mod lost_commits;
mod matrix;
mod news;
mod overload;
mod postgres;
mod program;
mod redis;
mod retries;
mod sabotage;
mod schedule;
mod service;
mod upgrade;

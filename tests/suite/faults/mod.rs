//! What clients are told while everything around the program fails, and that it is true.
//!
//! | module | what it holds |
//! |---|---|
//! | `ledger` | what clients asked for and were told, and whether all of it can be true |
//! | `crowd` | clients who book, cancel and look, and write down what they are told |
//! | `service` | instances and their crowd, from the first fault to the reckoning |
//! | `sabotage` | that the reckoning finds what is wrong |
//! | `postgres`, `redis` | faults of what the program needs |
//! | `retries` | failures of which clients hear nothing |
//! | `program` | the program's own end, by force or in good order |
//! | `clients` | those who hang up, dribble or flood |
//! | `overload` | more than can be done |
//! | `matrix` | what is answered, and how soon, for each state of Postgres and Redis |
//! | `schedule` | faults in a random order |
//! | `upgrade` | a newer release that moves the schema ahead |

mod clients;
mod crowd;
mod ledger;
mod matrix;
mod overload;
mod postgres;
mod program;
mod redis;
mod retries;
mod sabotage;
mod schedule;
mod service;
mod upgrade;

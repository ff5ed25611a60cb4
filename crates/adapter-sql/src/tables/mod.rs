//! Rows, and the ports that read and write them.
//!
//! | module | what it holds |
//! |---|---|
//! | `rows` | rows as the tables have them, and their conversions from and to the domain's types |
//! | `events`, `bookings`, `registrations`, `users`, `sessions`, `versions`, `audit` | one port each |
//! | `account` | a user's account, as other tables' transactions read it |
//! | `programme` | lists of events, whatever their number |
//! | `page` | one page of registrations with the total, in one statement |
//! | `idempotency` | keys, kept in the transaction of their effect |
//! | `outcome` | what a key stands for, in shapes that later releases read |
//! | `cancellations` | the registrations of a deleted event |
//! | `facts` | what a transaction did, as it writes it down |
//! | `outbox` | facts made into history, in order, by one process |
//! | `history` | pages of the history |
//! | `webhooks`, `deliveries` | receivers of facts, and what is sent to each |
//! | `mails` | mail that is to be sent |
//! | `unpublished` | how far the broker was told the history |
//! | `fact_lag` | the oldest fact that each channel has not told |
//! | `leases` | which process does what one process at a time may do |
//! | `contents` | whether there is anything yet |

pub(crate) mod account;
pub(crate) mod audit;
pub(crate) mod bookings;
pub(crate) mod cancellations;
pub(crate) mod contents;
pub(crate) mod deliveries;
pub(crate) mod events;
pub(crate) mod fact_lag;
pub(crate) mod facts;
pub(crate) mod history;
pub(crate) mod idempotency;
pub(crate) mod leases;
pub(crate) mod mails;
pub(crate) mod outbox;
pub(crate) mod outcome;
pub(crate) mod page;
pub(crate) mod programme;
pub(crate) mod registrations;
pub(crate) mod rows;
pub(crate) mod sessions;
pub(crate) mod unpublished;
pub(crate) mod users;
pub(crate) mod versions;
pub(crate) mod webhooks;

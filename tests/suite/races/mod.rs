//! Requests at the same instant, on two instances of one service: each seat, address and token goes
//! to exactly one of them.
//!
//! | module | what it holds |
//! |---|---|
//! | `service` | two instances of one service, and requests at the same instant |
//! | `seats` | bookings, cancellations and new numbers of seats |
//! | `deletions` | bookings of an event that is being deleted |
//! | `accounts` | addresses and refresh tokens |
//! | `keys` | idempotency keys |
//! | `hang_ups` | clients that hang up |

mod accounts;
mod deletions;
mod hang_ups;
mod keys;
mod seats;
mod service;

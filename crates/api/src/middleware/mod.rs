//! What happens around every request, from the outside in: [`envelope`], [`cors`],
//! [`representation`], [`room`], [`due`], [`rate_limit`].

pub(crate) mod client_address;
pub(crate) mod cors;
pub(crate) mod due;
pub(crate) mod envelope;
pub(crate) mod rate_limit;
pub(crate) mod representation;
pub(crate) mod room;

//! What happens around every request, from the outside in: [`envelope`], [`cors`],
//! [`representation`], [`admission`], [`deadline`], [`rate_limit`].

pub(crate) mod admission;
pub(crate) mod client_address;
pub(crate) mod cors;
pub(crate) mod deadline;
pub(crate) mod envelope;
pub(crate) mod rate_limit;
pub(crate) mod representation;

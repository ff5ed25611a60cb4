//! What the routes call.

use std::sync::Arc;

use actix_web::HttpRequest;
use actix_web::web::Data;
use application::{Access, Accounts, Catalogue, HistoryReader, LiveSeats, Profile, SeatBookings, WebhookRegistry};
use domain::ports::{Clock, Probe};

use crate::metrics::Metrics;
use crate::problem::{Code, Problem};
use crate::traces::Traces;

/// What the routes call.
#[derive(Clone)]
pub struct Services {
    /// Who is asking.
    pub access: Arc<Access>,
    /// Signing up and logging in.
    pub accounts: Arc<Accounts>,
    /// The programme of events.
    pub catalogue: Arc<Catalogue>,
    /// Booking and cancelling.
    pub bookings: Arc<SeatBookings>,
    /// What happened.
    pub history: Arc<HistoryReader>,
    /// Who is told of it.
    pub webhooks: Arc<WebhookRegistry>,
    /// Watching seats.
    pub live: Arc<LiveSeats>,
    /// A user's own account.
    pub profile: Arc<Profile>,
    /// The database, to be asked whether it answers.
    pub database: Arc<dyn Probe>,
    /// Redis, if there is one, to be asked whether it answers.
    pub redis: Option<Arc<dyn Probe>>,
    /// The broker that is told of what happens, if there is one, to be asked whether it answers.
    pub broker: Option<Arc<dyn Probe>>,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
    /// What has been counted.
    pub metrics: Arc<dyn Metrics>,
    /// Traces that requests belong to, if there is a collector.
    pub traces: Option<Arc<dyn Traces>>,
}

/// The services of the server that a request came to.
pub(crate) fn services(request: &HttpRequest) -> Result<&Data<Services>, Problem> {
    request.app_data().ok_or_else(|| Code::InternalError.into())
}

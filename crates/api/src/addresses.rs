//! What addresses name.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use domain::{DeliveryId, EventId, WebhookId};
use utoipa::IntoParams;

use crate::problem::{Code, Problem};

macro_rules! paths {
    ($($(#[$doc:meta])* $path:ident: $id:ty = $name:literal;)+) => {$(
        $(#[$doc])*
        pub(crate) struct $path(Option<$id>);

        impl $path {
            /// What is no id names nothing.
            pub(crate) fn id(&self) -> Result<$id, Problem> {
                self.0.ok_or_else(|| Code::NotFound.into())
            }
        }

        impl FromRequest for $path {
            type Error = Problem;
            type Future = Ready<Result<Self, Problem>>;

            fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
                ready(Ok(Self(request.match_info().get($name).and_then(<$id>::parse))))
            }
        }
    )+};
}

paths! {
    /// The event of an address.
    EventPath: EventId = "id";
    /// The webhook of an address.
    WebhookPath: WebhookId = "id";
    /// The delivery of an address.
    DeliveryPath: DeliveryId = "delivery";
}

/// The event of an address, for the document.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes a parameter that `EventPath` reads")]
pub(crate) struct EventIdParameter {
    /// The event's id.
    #[param(minimum = 1, maximum = 9_007_199_254_740_991_i64, example = 12)]
    id: u64,
}

/// The webhook of an address, for the document.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes a parameter that `WebhookPath` reads")]
pub(crate) struct WebhookIdParameter {
    /// The webhook's id.
    #[param(minimum = 1, maximum = 9_007_199_254_740_991_i64, example = 3)]
    id: u64,
}

/// The delivery of an address, for the document.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes a parameter that `DeliveryPath` reads")]
pub(crate) struct DeliveryIdParameter {
    /// The delivery's id.
    #[param(minimum = 1, maximum = 9_007_199_254_740_991_i64, example = 1)]
    delivery: u64,
}

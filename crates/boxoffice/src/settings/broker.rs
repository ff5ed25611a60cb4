//! The settings of the broker.

use adapter_amqp::{AmqpUrl, Exchange};

use super::declare::settings;
use super::parser::Parser;

settings! {
    /// A broker that is told of everything that happens, which has to be `RabbitMQ`. While it is away facts wait, and nothing else does.
    pub struct Broker {
        /// The address of the server. Unset: there is none. TLS (amqps:) is not supported: name a broker nearby.
        AMQP_URL => url: Option<AmqpUrl> =
            Parser::with_complaints("must be amqp://<user>:<password>@<host>:<port>/<vhost>", AmqpUrl::parse)
                .optional()
                .example("amqp://boxoffice:password@127.0.0.1:5672/%2f")
                .or_in_file();

        /// The durable topic exchange that facts go to, with their type as the routing key. It is declared at need.
        AMQP_EXCHANGE => exchange: Exchange = Parser::with_complaints(
            "must be 1 to 127 letters, digits, '-', '_', '.' or ':', and not begin with amq.",
            Exchange::parse,
        )
        .default_to("boxoffice");
    }
}

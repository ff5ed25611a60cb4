//! The query of a request: parameters by name, each at most once.

use std::collections::HashMap;

use actix_web::HttpRequest;
use percent_encoding::percent_decode;

use crate::field::{Given, QueryDoor};
use crate::violation::Violation;

/// A request's parameters, decoded.
pub(crate) struct Query(HashMap<String, Parameter>);

enum Parameter {
    Text(String),
    Repeated,
    NotUtf8,
}

impl Query {
    /// The parameters of a request. Unknown ones are ignored.
    pub(crate) fn of(request: &HttpRequest) -> Self {
        let mut parameters = HashMap::new();
        for pair in request.query_string().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let Some(name) = decode(name) else { continue };
            let value = decode(value).map_or(Parameter::NotUtf8, Parameter::Text);
            parameters.entry(name).and_modify(|given| *given = Parameter::Repeated).or_insert(value);
        }
        Self(parameters)
    }

    /// The parameter of this name.
    pub(crate) fn field<T: QueryDoor>(&self, name: &str) -> Given<T> {
        match self.0.get(name) {
            None => Given::Missing,
            Some(Parameter::Text(text)) => Given::from_query(text),
            Some(Parameter::Repeated) => Given::Wrong(Violation::new("repeated", "must be given once")),
            Some(Parameter::NotUtf8) => Given::Wrong(Violation::new("malformed", "must be UTF-8")),
        }
    }
}

fn decode(encoded: &str) -> Option<String> {
    let spaced = encoded.replace('+', " ");
    percent_decode(spaced.as_bytes()).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;
    use domain::{PageNumber, TitleSearch};

    use super::*;

    fn query(uri: &str) -> Query {
        Query::of(&TestRequest::with_uri(uri).to_http_request())
    }

    #[test]
    fn a_parameter_is_decoded_once() {
        let search = query("/?search=%C3%A9cole+%2541").field::<Option<TitleSearch>>("search");
        assert_eq!(search, Given::Value(TitleSearch::parse("école %41").unwrap()));
    }

    #[test]
    fn a_parameter_is_given_once_and_in_utf8() {
        assert!(matches!(query("/?page=1&page=2").field::<PageNumber>("page"), Given::Wrong(_)));
        assert!(matches!(query("/?search=%ff").field::<Option<TitleSearch>>("search"), Given::Wrong(_)));
        assert_eq!(query("/?x=1&&=&").field::<PageNumber>("page"), Given::Missing);
    }
}

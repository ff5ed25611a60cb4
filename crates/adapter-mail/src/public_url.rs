//! Where people find the program.

use std::fmt;

use domain::EventId;
use thiserror::Error;
use url::Url;

/// Where people find the page of the program, as in `https://tickets.example.com`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl(Url);

/// The text is no such address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("must be an http or https address without a query, as in https://tickets.example.com")]
pub struct InvalidPublicUrl;

impl PublicUrl {
    /// Reads an address. It may have a path, with or without a slash at its end.
    pub fn parse(raw: &str) -> Result<Self, InvalidPublicUrl> {
        let mut url = Url::parse(raw.trim()).map_err(|_| InvalidPublicUrl)?;
        let plain = matches!(url.scheme(), "http" | "https")
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        if !plain {
            return Err(InvalidPublicUrl);
        }
        // The only characters with a meaning in HTML that a path may hold as they are.
        let path = url.path().replace('&', "%26").replace('\'', "%27");
        url.set_path(&format!("{}/", path.trim_end_matches('/')));
        Ok(Self(url))
    }

    /// Its host.
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// The page with this event opened.
    pub(crate) fn event(&self, event: EventId) -> String {
        format!("{}?event={event}", self.0)
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_a_query_of_the_page() {
        let link = |raw| PublicUrl::parse(raw).map(|url| url.event(EventId::new(12).unwrap()));
        assert_eq!(link("https://tickets.example.com"), Ok("https://tickets.example.com/?event=12".to_owned()));
        assert_eq!(link("http://example.com:8080/box"), Ok("http://example.com:8080/box/?event=12".to_owned()));
        assert_eq!(link("https://a.b/o'x&<y>/"), Ok("https://a.b/o%27x%26%3Cy%3E/?event=12".to_owned()));
        for odd in ["", "tickets.example.com", "ftp://a.b", "https://u:p@a.b", "https://a.b/?x", "https://a.b/#x"] {
            assert_eq!(link(odd), Err(InvalidPublicUrl), "{odd:?}");
        }
    }
}

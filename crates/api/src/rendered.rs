//! Bodies of answers, rendered once for all who are given the same value.
//!
//! What the use cases answer to readers is shared and cannot change, so the bytes made from a value
//! stay right for as long as that very value is the answer. Nothing here knows how old a value is:
//! whether it is still the present one was decided before it came here.

use std::hash::Hash;
use std::io::Write;
use std::sync::{Arc, OnceLock};

use actix_web::http::header::HeaderValue;
use actix_web::web::Bytes;
use domain::{Event, EventId, Page};
use flate2::Compression;
use flate2::write::GzEncoder;
use moka::sync::Cache;
use serde::Serialize;

use crate::conditional::{body_tag, compressed_tag, version_tag};
use crate::wire;

/// Bodies under this many bytes are sent as they are: compressing them saves no packet.
const MIN_COMPRESSED: usize = 1024;

/// A body in the forms it can be sent in.
pub(crate) struct Rendered {
    plain: Form,
    gzip: OnceLock<Form>,
    /// The addresses of the neighbouring pages, if it is a page.
    pub(crate) link: Option<HeaderValue>,
}

/// A body as it is sent, and the tag of these bytes.
#[derive(Clone)]
pub(crate) struct Form {
    pub(crate) body: Bytes,
    pub(crate) tag: Option<HeaderValue>,
}

impl Rendered {
    /// A body and the tag it has while it is not compressed.
    pub(crate) fn new(body: Bytes, tag: Option<HeaderValue>) -> Self {
        Self { plain: Form { body, tag }, gzip: OnceLock::new(), link: None }
    }

    /// The body as it is.
    pub(crate) fn plain(&self) -> &Form {
        &self.plain
    }

    /// Whether it is long enough to be worth compressing.
    pub(crate) fn is_long(&self) -> bool {
        self.plain.body.len() >= MIN_COMPRESSED
    }

    /// The body compressed, which is done when it is first asked for.
    pub(crate) fn gzip(&self) -> std::io::Result<&Form> {
        if let Some(form) = self.gzip.get() {
            return Ok(form);
        }
        let tag = self.plain.tag.as_ref().and_then(|tag| tag.to_str().ok()).map(compressed_tag);
        let form = Form { body: gzip(&self.plain.body)?, tag: tag.and_then(|tag| tag.try_into().ok()) };
        Ok(self.gzip.get_or_init(|| form))
    }

    fn json<T: Serialize>(body: &T, tag: impl FnOnce(&[u8]) -> String) -> Self {
        let bytes = render(body);
        let tag = tag(&bytes).try_into().ok();
        Self::new(bytes.into(), tag)
    }
}

/// Rendered answers to readers.
pub(crate) struct Renderings {
    events: Kept<EventId, Event>,
    pages: Kept<String, Page<Event>>,
}

impl Renderings {
    /// Room for events, and as much again for pages of them.
    const MAX_BYTES: u64 = 8 << 20;

    pub(crate) fn new() -> Self {
        Self { events: Kept::new(Self::MAX_BYTES, |_| 0), pages: Kept::new(Self::MAX_BYTES, String::len) }
    }

    /// An event by itself.
    pub(crate) fn event(&self, event: &Arc<Event>) -> Arc<Rendered> {
        self.events.rendered(&event.id, event, || {
            Rendered::json(&wire::EventDetail::from(&**event), |_| version_tag(event.version))
        })
    }

    /// A page of events, which was asked for by this address; `links` names its neighbours.
    pub(crate) fn page(
        &self,
        address: &str,
        page: &Arc<Page<Event>>,
        list: impl FnOnce(&Page<Event>) -> wire::EventList,
        links: impl FnOnce() -> String,
    ) -> Arc<Rendered> {
        self.pages.rendered(address, page, || Rendered {
            link: links().try_into().ok(),
            ..Rendered::json(&list(page), body_tag)
        })
    }
}

/// Answers with the values they were rendered from, those that are asked for most.
struct Kept<K, T>(Cache<K, (Arc<T>, Arc<Rendered>)>);

impl<K, T> Kept<K, T>
where
    K: Hash + Eq + Send + Sync + 'static,
    T: Send + Sync + 'static,
{
    /// What an entry takes beside its bytes: the value's fixed parts, and the cache's own books. Roughly.
    const OVERHEAD_BYTES: usize = 1024;

    /// `key_bytes` are those that a key holds on the heap.
    fn new(max_bytes: u64, key_bytes: fn(&K) -> usize) -> Self {
        let weigh = move |key: &K, (_, rendered): &(Arc<T>, Arc<Rendered>)| {
            // The texts of the value, the bytes made of it, and those compressed, which are no more.
            let bytes = 3 * rendered.plain.body.len() + key_bytes(key) + Self::OVERHEAD_BYTES;
            u32::try_from(bytes).unwrap_or(u32::MAX)
        };
        Self(Cache::builder().max_capacity(max_bytes).weigher(weigh).build())
    }

    /// What was rendered from this very value, or is now.
    fn rendered<Q>(&self, key: &Q, value: &Arc<T>, render: impl FnOnce() -> Rendered) -> Arc<Rendered>
    where
        K: std::borrow::Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        match self.0.get(key) {
            Some((of, rendered)) if Arc::ptr_eq(&of, value) => rendered,
            _ => {
                let rendered = Arc::new(render());
                self.0.insert(key.to_owned(), (Arc::clone(value), Arc::clone(&rendered)));
                rendered
            }
        }
    }
}

fn gzip(body: &Bytes) -> std::io::Result<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 3), Compression::fast());
    encoder.write_all(body)?;
    Ok(encoder.finish()?.into())
}

/// A body of the API's making. Its types hold nothing that JSON cannot.
pub(crate) fn render<T: Serialize>(body: &T) -> Vec<u8> {
    serde_json::to_vec(body).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use domain::sample::{self, seats};
    use domain::{Description, PageRequest, Version};

    use super::*;

    fn event(available: u32, version: u64) -> Arc<Event> {
        Arc::new(Event {
            description: Description::parse(&"la ".repeat(500)).ok(),
            seats: seats(10, available),
            version: Version::new(version),
            ..sample::event(1)
        })
    }

    fn text(rendered: &Rendered) -> &str {
        std::str::from_utf8(&rendered.plain().body).unwrap()
    }

    #[test]
    fn a_value_is_rendered_once_and_another_one_anew() {
        let renderings = Renderings::new();
        let first = event(7, 3);
        let rendered = renderings.event(&first);
        assert!(Arc::ptr_eq(&rendered, &renderings.event(&first)));
        // Of the same id and version even: what counts is the value itself.
        let second = renderings.event(&event(6, 3));
        assert!(text(&rendered).contains("\"available_seats\":7") && text(&second).contains("\"available_seats\":6"));
        assert!(text(&renderings.event(&first)).contains("\"available_seats\":7"));
    }

    #[test]
    fn a_page_is_rendered_for_the_address_that_its_links_repeat() {
        let renderings = Renderings::new();
        let page = Arc::new(Page { rows: vec![(*event(7, 3)).clone()], total: 1 });
        let of = |address: &str| {
            let list = |page: &Page<Event>| wire::EventList::new(page, PageRequest { number: 1, size: 10 });
            renderings.page(address, &page, list, || format!("<{address}>"))
        };
        let (one, other) = (of("/api/events"), of("/api/events?page=1"));
        assert_eq!(one.link.as_ref().unwrap(), "</api/events>");
        assert_eq!(other.link.as_ref().unwrap(), "</api/events?page=1>");
        assert_eq!(text(&one), text(&other));
        assert!(Arc::ptr_eq(&one, &of("/api/events")));
    }

    #[test]
    fn a_body_is_compressed_once_and_has_another_tag() {
        let rendered = Renderings::new().event(&event(7, 3));
        let gzip = rendered.gzip().unwrap();
        assert_eq!(gzip.tag.as_ref().unwrap(), "\"3-gzip\"");
        assert_eq!(rendered.plain().tag.as_ref().unwrap(), "\"3\"");
        assert!(gzip.body.len() < rendered.plain().body.len());
        assert!(std::ptr::eq(gzip, rendered.gzip().unwrap()));
    }
}

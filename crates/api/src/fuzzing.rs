//! What the fuzz targets call: parsers of what any client can send.

use actix_web::test::TestRequest;

use crate::reply::page_links;
use crate::routes::EventListQuery;

/// Reads a query of the list of events. The links of a page that it asks for ask for their neighbours, and for
/// nothing else.
#[expect(clippy::missing_panics_doc, reason = "a panic is what the fuzzer looks for")]
pub fn list_query(query: &str) {
    let Ok(uri) = format!("/api/events?{query}").parse::<actix_web::http::Uri>() else { return };
    let request = TestRequest::default().uri(&uri.to_string()).to_http_request();
    let Ok((filter, page)) = EventListQuery::of(&request).map(EventListQuery::into_parts) else { return };
    let links = page_links(&request, page, 1_000_000);
    for link in links.split(", ") {
        let uri = link.trim_start_matches('<').split_once('>').expect("a link stands in brackets").0;
        let neighbour = TestRequest::default().uri(uri).to_http_request();
        let (same, neighbour) = EventListQuery::of(&neighbour).expect("a link can be followed").into_parts();
        assert_eq!((same, neighbour.size), (filter.clone(), page.size));
    }
}

//! Lists of events: the query, the filter and the order of each.

use std::cmp::Ordering as Order;

use serde_json::Value;

/// A list of events: its query, its filter and its order.
pub struct Listing {
    pub query: &'static str,
    pub holds: fn(&Value) -> bool,
    pub order: fn(&Value, &Value) -> Order,
    pub page: usize,
    pub limit: usize,
}

const ALL: usize = 100;

pub const LISTINGS: [Listing; 10] = [
    Listing { query: "", holds: |_| true, order: by_date, page: 1, limit: 10 },
    Listing { query: "limit=100", holds: |_| true, order: by_date, page: 1, limit: ALL },
    Listing { query: "limit=100&available_only=true", holds: is_available, order: by_date, page: 1, limit: ALL },
    Listing { query: "limit=100&sort=available_seats", holds: |_| true, order: by_seats, page: 1, limit: ALL },
    Listing {
        query: "limit=100&sort=-available_seats&available_only=true",
        holds: is_available,
        order: |a, b| by_seats(b, a),
        page: 1,
        limit: ALL,
    },
    Listing { query: "limit=100&sort=title", holds: |_| true, order: by_title, page: 1, limit: ALL },
    Listing { query: "limit=2&page=2&sort=-title", holds: |_| true, order: |a, b| by_title(b, a), page: 2, limit: 2 },
    Listing { query: "search=JAZZ&limit=50", holds: is_jazz, order: by_date, page: 1, limit: 50 },
    Listing {
        query: "limit=100&date_from=2031-06-01&date_to=2031-12-24&sort=-date",
        holds: |event| {
            let date = event["date"].as_str().unwrap();
            ("2031-06-01T00:00:00Z".."2031-12-25T00:00:00Z").contains(&date)
        },
        order: |a, b| by_date(b, a),
        page: 1,
        limit: ALL,
    },
    Listing {
        query: "limit=3&search=jazz&available_only=true&sort=available_seats",
        holds: |event| is_jazz(event) && is_available(event),
        order: by_seats,
        page: 1,
        limit: 3,
    },
];

pub fn is_available(event: &Value) -> bool {
    event["available_seats"] != 0
}

fn is_jazz(event: &Value) -> bool {
    event["title"].as_str().unwrap().to_lowercase().contains("jazz")
}

fn by_date(a: &Value, b: &Value) -> Order {
    a["date"].as_str().cmp(&b["date"].as_str())
}

fn by_seats(a: &Value, b: &Value) -> Order {
    a["available_seats"].as_u64().cmp(&b["available_seats"].as_u64())
}

fn by_title(a: &Value, b: &Value) -> Order {
    let folded = |event: &Value| event["title"].as_str().unwrap().to_lowercase();
    folded(a).cmp(&folded(b))
}

//! The live box-office page, from the binary. It uses only what any client can.

use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::web::Path;
use actix_web::{HttpResponse, get};
use utoipa_actix_web::service_config::ServiceConfig;

use super::docs::asset;
use crate::problem::Code;
use crate::reply::Reply;

/// What the page may load and do: its own files, and calls to where it came from. Scripts can make no
/// markup out of text (Trusted Types).
const POLICY: &str = "default-src 'none'; base-uri 'none'; connect-src 'self'; form-action 'none'; \
                      frame-ancestors 'none'; img-src 'self'; script-src 'self'; style-src 'self'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

/// The page itself.
const PAGE: &[u8] = include_bytes!("../../page/index.html");

/// The files it loads: their names, their types and what is in them.
const FILES: [(&str, &str, &[u8]); 7] = [
    ("style.css", "text/css; charset=utf-8", include_bytes!("../../page/style.css")),
    ("app.js", "text/javascript; charset=utf-8", include_bytes!("../../page/app.js")),
    ("api.js", "text/javascript; charset=utf-8", include_bytes!("../../page/api.js")),
    ("dialogs.js", "text/javascript; charset=utf-8", include_bytes!("../../page/dialogs.js")),
    ("live.js", "text/javascript; charset=utf-8", include_bytes!("../../page/live.js")),
    ("words.js", "text/javascript; charset=utf-8", include_bytes!("../../page/words.js")),
    ("icon.svg", "image/svg+xml", include_bytes!("../../page/icon.svg")),
];

pub(crate) fn configure(config: &mut ServiceConfig) {
    config.service(live_page).service(live_page_file);
}

/// The box office
///
/// A page over this API: what is on, seat counts that move by themselves, booking, and what admins do.
#[utoipa::path(
    tag = "documentation",
    operation_id = "showBoxOfficePage",
    responses((status = 200, description = "The page.", body = String, content_type = "text/html")),
)]
#[get("/")]
async fn live_page() -> HttpResponse {
    file("text/html; charset=utf-8", PAGE)
}

/// A file of the box office
///
/// Scripts, styles and pictures that the page at `/` loads.
#[utoipa::path(
    tag = "page files",
    operation_id = "getBoxOfficePageFile",
    params(("file" = String, Path, description = "The file's name.", max_length = 100, example = "style.css")),
    responses(
        (status = 200, description = "The file.", content(
            (Vec<u8> = "text/css"), (Vec<u8> = "text/javascript"), (Vec<u8> = "image/svg+xml"),
        )),
    ),
    extensions(("x-problems" = json!(["not_found"]))),
)]
#[get("/page/{file}")]
async fn live_page_file(name: Path<String>) -> Reply {
    let (_, content_type, bytes) = FILES.iter().find(|(known, ..)| *known == *name).ok_or(Code::NotFound)?;
    Ok(file(content_type, bytes))
}

fn file(content_type: &str, bytes: &[u8]) -> HttpResponse {
    let mut response = asset(content_type, bytes.to_vec());
    let policy = HeaderName::from_static("content-security-policy");
    response.headers_mut().insert(policy, HeaderValue::from_static(POLICY));
    response
}

//! The document, the interactive page over it, and the pages about errors.

use std::sync::{Arc, LazyLock};

use actix_web::web::Path;
use actix_web::{HttpResponse, get, web};
use utoipa_actix_web::service_config::ServiceConfig;
use utoipa_swagger_ui::Config;

use crate::conditional::body_tag;
use crate::openapi::openapi_json;
use crate::problem::{Code, Problem};
use crate::reply::Reply;

/// Where the page's files are: outside `/api`, so that the rate limit does not count them.
const FILES: &str = "/swagger-ui/";

/// The API page as people type its address who think of it as a folder.
pub(crate) const SLASHED: &str = "/api/";

pub(crate) fn configure(config: &mut ServiceConfig) {
    config
        .service(api_page)
        .route(SLASHED, web::get().to(async || swagger_ui()))
        .service(api_page_file)
        .service(openapi_document)
        .service(problem_page);
}

/// The API page
///
/// Swagger UI over this document. "Authorize" takes an access token, "Try it out" calls this server.
#[utoipa::path(
    tag = "documentation",
    operation_id = "showApiPage",
    responses((status = 200, description = "The page.", body = String, content_type = "text/html")),
)]
#[get("/api")]
async fn api_page() -> Reply {
    swagger_ui()
}

fn swagger_ui() -> Reply {
    static PAGE: LazyLock<Option<Vec<u8>>> = LazyLock::new(|| {
        let page = String::from_utf8(file("index.html")?.bytes).ok()?;
        let page = page.replace("<title>Swagger UI</title>", "<title>boxoffice API</title>");
        // The page is one level above its files.
        Some(
            page.replace("\"./", &format!("\"{FILES}"))
                .replace("\"index.css\"", &format!("\"{FILES}index.css\""))
                .into(),
        )
    });
    PAGE.as_ref().map(|page| asset("text/html; charset=utf-8", page.clone())).ok_or(Code::NotFound.into())
}

/// A file of the API page
///
/// Scripts, styles and pictures that the page at `/api` loads.
#[utoipa::path(
    tag = "page files",
    operation_id = "getApiPageFile",
    params(("file" = String, Path, description = "The file's name.", max_length = 100, example = "swagger-ui.css")),
    responses(
        (status = 200, description = "The file.", content(
            (Vec<u8> = "text/css"), (Vec<u8> = "text/javascript"), (Vec<u8> = "text/html"), (Vec<u8> = "image/png"),
        )),
    ),
    extensions(("x-problems" = json!(["not_found"]))),
)]
#[get("/swagger-ui/{file}")]
async fn api_page_file(name: Path<String>) -> Reply {
    let file = file(&name).ok_or(Code::NotFound)?;
    Ok(asset(&file.content_type, file.bytes))
}

/// This document
///
/// OpenAPI 3.1.
#[utoipa::path(
    tag = "documentation",
    operation_id = "getOpenApiDocument",
    responses((status = 200, description = "The document.", body = Object, content_type = "application/json")),
)]
#[get("/api/openapi.json")]
async fn openapi_document() -> HttpResponse {
    static DOCUMENT: LazyLock<String> = LazyLock::new(openapi_json);
    asset("application/json", DOCUMENT.clone().into_bytes())
}

/// About an error
///
/// What the problem type of an error means, and what to do about it.
#[utoipa::path(
    tag = "documentation",
    operation_id = "showProblemPage",
    params(("code" = String, Path, description = "The error's code.", max_length = 64, example = "sold_out")),
    responses((status = 200, description = "A short page.", body = String, content_type = "text/html")),
    extensions(("x-problems" = json!(["not_found"]))),
)]
#[get("/problems/{code}")]
async fn problem_page(code: Path<String>) -> Reply {
    let code = Code::ALL.iter().find(|known| known.as_str() == *code).ok_or(Problem::new(Code::NotFound))?;
    let (name, title, status, about) = (code.as_str(), code.title(), code.status().as_u16(), code.about());
    let page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>{title}</title>\n\
         <h1>{title}</h1>\n<p><code>{name}</code>, status {status}</p>\n<p>{}</p>\n</html>\n",
        escape(about)
    );
    Ok(asset("text/html; charset=utf-8", page.into_bytes()))
}

struct File {
    content_type: String,
    bytes: Vec<u8>,
}

/// A file of Swagger UI, from the binary.
fn file(name: &str) -> Option<File> {
    static CONFIG: LazyLock<Arc<Config<'static>>> = LazyLock::new(|| {
        let config = Config::from("/api/openapi.json").display_request_duration(true).try_it_out_enabled(true);
        Arc::new(config.persist_authorization(true).validator_url("none"))
    });
    let file = utoipa_swagger_ui::serve(name, CONFIG.clone()).ok()??;
    let content_type = match file.content_type.as_str() {
        text if text.starts_with("text/") => format!("{text}; charset=utf-8"),
        other => other.to_owned(),
    };
    Some(File { content_type, bytes: file.bytes.into_owned() })
}

/// A file of a page: kept by browsers, but asked for again, so that a new version shows at once.
pub(super) fn asset(content_type: &str, bytes: Vec<u8>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type(content_type)
        .insert_header(("Cache-Control", "no-cache"))
        .insert_header(("ETag", body_tag(&bytes)))
        .body(bytes)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

//! The box-office page, as the server answers it. The tests of the page in a browser are in `browser`.

use std::path::Path;

use crate::harness::server::{Site, Stack};

/// All that a browser loads for the page.
const FILES: [&str; 8] = [
    "/",
    "/page/style.css",
    "/page/app.js",
    "/page/api.js",
    "/page/dialogs.js",
    "/page/live.js",
    "/page/words.js",
    "/page/icon.svg",
];
/// The most that a telephone on a slow line loads in a short time.
const MOST_BYTES: usize = 60 * 1024;

/// The addresses that a page or a script of ours loads.
fn loaded(text: &str) -> Vec<String> {
    let marks = ["src=\"", "href=\"", "from \"./", "url("];
    let named = marks.into_iter().flat_map(|mark| text.split(mark).skip(1).map(move |rest| (mark, rest)));
    let files = named.map(|(mark, rest)| {
        let name = rest.split(['"', ')']).next().unwrap();
        if mark.starts_with("from") { format!("/page/{name}") } else { name.to_owned() }
    });
    files.filter(|name| !name.starts_with('#')).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_loads_all_it_needs_from_the_server_itself() {
    let api = Site::new(Stack::Embedded).await.start().await;
    let page = api.get("/").send().await.expect(200);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");

    let mut files = loaded(&page.text());
    for script in FILES.iter().filter(|file| Path::new(file).extension().is_some_and(|ending| ending == "js")) {
        files.extend(loaded(&api.get(script).send().await.expect(200).text()));
    }
    for name in FILES {
        assert!(files.iter().any(|file| file == name), "no file loads {name}: {files:?}");
    }
    for file in &files {
        assert!(file.starts_with('/') && !file.starts_with("//"), "{file} is elsewhere");
        let answer = api.get(file).send().await.expect(200);
        let kind = match file.rsplit_once('.').map(|(_, ending)| ending) {
            Some("css") => "text/css; charset=utf-8",
            Some("js") => "text/javascript; charset=utf-8",
            Some("svg") => "image/svg+xml",
            _ => "text/html; charset=utf-8",
        };
        // With `nosniff`, a browser refuses a file with a wrong type.
        assert_eq!(answer.header("content-type"), kind, "{file}");
    }
    api.get("/page/index.html").send().await.expect_problem(404, "not_found");
    api.get("/page/").send().await.expect_problem(404, "not_found");
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_files_of_the_page_together_are_small() {
    let api = Site::new(Stack::Embedded).await.start().await;
    let mut bytes = 0;
    for file in FILES {
        bytes += api.get(file).send().await.expect(200).body.len();
    }
    assert!(bytes <= MOST_BYTES, "{bytes} bytes");
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_within_the_page_runs_and_no_text_becomes_markup() {
    let api = Site::new(Stack::Embedded).await.start().await;
    let page = api.get("/").send().await.expect(200);
    let policy = page.header("content-security-policy");
    for rule in ["default-src 'none'", "script-src 'self'", "style-src 'self'", "require-trusted-types-for 'script'"] {
        assert!(policy.split("; ").any(|one| one == rule), "{policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains("data:") && !policy.contains('*'), "{policy}");
    // The API's own page needs more, and keeps it.
    assert!(
        api.get("/api").send().await.header("content-security-policy").contains("style-src 'self' 'unsafe-inline'")
    );
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_version_of_the_page_shows_at_once() {
    let site = Site::new(Stack::Embedded).await.with("RATE_LIMIT_PER_MINUTE", "1");
    let api = site.start().await;
    for file in FILES {
        let first = api.get(file).send().await.expect(200);
        assert_eq!(first.header("cache-control"), "no-cache", "{file}");
        let tag = first.header("etag");
        assert!(tag.starts_with('"'), "{file}: {tag}");
        let again = api.get(file).header("If-None-Match", tag).send().await.expect(304);
        assert!(again.body.is_empty(), "{file}");
        assert_eq!(again.header("ratelimit-limit"), "", "{file} is counted");
    }
    api.post("/", &serde_json::json!({})).send().await.expect_problem(405, "method_not_allowed");
    api.stop().await;
}

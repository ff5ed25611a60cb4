//! The pages around the document: the API page, and one for each code of a problem.

use super::document::document;
use crate::harness::server::{Site, Stack};

#[tokio::test(flavor = "multi_thread")]
async fn the_api_page_loads_all_it_needs_from_the_server_itself() {
    let site = Site::new(Stack::Embedded).await;
    let api = site.start().await;
    let page = api.get("/api").send().await.expect(200);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    let html = page.text();

    let attributes = html.split("src=\"").skip(1).chain(html.split("href=\"").skip(1));
    let files: Vec<_> = attributes.map(|rest| rest.split('"').next().unwrap()).collect();
    assert!(
        files.iter().any(|file| file.contains(".js")) && files.iter().any(|file| file.contains(".css")),
        "{files:?}"
    );
    let mut scripts = String::new();
    for file in &files {
        assert!(file.starts_with('/') && !file.starts_with("//"), "{file} is elsewhere");
        let answer = api.get(file).send().await.expect(200);
        let kind = match file.rsplit('.').next().unwrap() {
            "js" => "text/javascript; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "png" => "image/png",
            other => panic!("{other}"),
        };
        // With `nosniff`, a browser refuses a file with a wrong type.
        assert_eq!(answer.header("content-type"), kind, "{file}");
        assert!(!answer.body.is_empty(), "{file}");
        if file.ends_with("initializer.js") {
            scripts.push_str(&answer.text());
        }
    }
    assert!(scripts.contains("/api/openapi.json"), "the page does not know the document");
    // The policy of the page forbids inline scripts, and files of other servers.
    assert!(page.header("content-security-policy").contains("script-src 'self';"));
    for script in html.split("<script").skip(1) {
        let (tag, rest) = script.split_once('>').unwrap();
        assert!(tag.contains("src=") && rest.trim_start().starts_with("</script>"), "a script within the page: {tag}");
    }
    assert!(!html.contains("http://") && !html.contains("https://") && !html.contains(" onload="));
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_code_has_a_page_about_it() {
    let site = Site::new(Stack::Embedded).await;
    let api = site.start().await;
    let document = document();
    for code in document["components"]["schemas"]["ProblemCode"]["enum"].as_array().unwrap() {
        let code = code.as_str().unwrap();
        let page = api.get(&format!("/problems/{code}")).send().await.expect(200);
        assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
        assert!(page.text().contains(&format!("<code>{code}</code>")), "{code}: {}", page.text());
    }
    for unknown in ["", "nothing", "SOLD_OUT", "sold_out/", "%3Cscript%3E"] {
        let answer = api.get(&format!("/problems/{unknown}")).send().await.expect_problem(404, "not_found");
        assert!(!answer.text().contains("<script>"));
    }
    api.stop().await;
}

//! A new user's first start of the program: at a terminal, with the commands of the README, and with mistakes.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write, pipe};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use migration::{Migrator, MigratorTrait};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::spawn_blocking;

use crate::harness::program::built;
use crate::harness::server::{Instance, PASSWORD, Site, Stack};
use crate::harness::until;

const README: &str = include_str!("../../README.md");
const JUSTFILE: &str = include_str!("../../justfile");

/// A site without an admin in its settings: users and events come from commands.
async fn bare_site() -> Site {
    Site::new(Stack::Embedded).await.without("ADMIN_EMAIL").without("ADMIN_PASSWORD")
}

/// Runs a command of the program to its end.
async fn run(settings: &BTreeMap<String, String>, arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(built().await);
    let home = TempDir::new().unwrap();
    command.args(arguments).env_clear().envs(settings).current_dir(home.path());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let input = input.to_owned();
    let ran = spawn_blocking(move || {
        let mut process = command.spawn().unwrap();
        // It may end before it reads its input.
        let _ = process.stdin.take().unwrap().write_all(input.as_bytes());
        process.wait_with_output().unwrap()
    });
    let output = ran.await.unwrap();
    drop(home);
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_setting_stops_the_start_with_one_line_that_names_it() {
    for (name, value, status, told) in [
        (
            "RUST_LOG",
            "verbose",
            2,
            r#"RUST_LOG: must be levels or target=level, as in info,access=warn, not "verbose""#,
        ),
        ("RUST_LOG", "info,access:warn", 2, "RUST_LOG: must be levels"),
        ("LOG_FORMAT", "xml", 2, r#"LOG_FORMAT: must be json or pretty, not "xml""#),
        ("PORT", "http", 2, "PORT: must be a whole number"),
        (
            "DATABASE_URL",
            "sqlite:///proc/none/box.db",
            1,
            "boxoffice: DATABASE_URL: the folder /proc/none cannot be made: ",
        ),
    ] {
        // Few streams need no higher limit of files, which would be warned of.
        let settings = BTreeMap::from([("PORT", "0"), ("LIVE_MAX_CONNECTIONS", "10"), (name, value)]);
        let settings = settings.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let output = run(&settings, &[], "").await;
        let line = text(&output.stderr);
        assert_eq!((output.status.code(), line.lines().count()), (Some(status), 1), "{line}");
        assert!(line.starts_with(told), "{line}");
        assert!(!line.contains("JWT_SECRET"), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_start_says_what_there_is_and_what_is_missing() {
    let site = bare_site().await;
    let log = log_of_a_start(&site).await;
    let changes = format!("schema: {} changes made", Migrator::migrations().len());
    for part in [&changes, "Page ", "API ", "Document ", "Database ", "No events yet", "No admin yet"] {
        assert!(log.contains(part), "{part:?} is not in {log}");
    }
    assert_no_chatter(&log);

    run(site.settings(), &["seed"], "").await;
    let log = log_of_a_start(&site).await;
    for part in ["schema:", "No events yet", "No admin yet"] {
        assert!(!log.contains(part), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_in_json_is_lines_of_json_the_last_with_all_addresses() {
    let site = bare_site().await.with("LOG_FORMAT", "json");
    let log = log_of_a_start(&site).await;
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let last = lines.iter().find(|line| line["message"].as_str().unwrap().starts_with("serving http://")).unwrap();
    let page = last["page"].as_str().unwrap();
    assert_eq!(last["message"], format!("serving {page}"));
    assert_eq!(
        (&last["api"], &last["document"]),
        (&json!(format!("{page}/api")), &json!(format!("{page}/api/openapi.json")))
    );
    assert_eq!((&last["has_events"], &last["has_admin"]), (&json!(false), &json!(false)));
    assert_no_chatter(&log);
}

/// The log of a program until it serves.
async fn log_of_a_start(site: &Site) -> String {
    let program = site.start_process().await;
    // It logs the last line after it listens.
    until("the end of the start", async || program.log().contains("serving http://")).await;
    program.log()
}

pub fn assert_no_chatter(log: &str) {
    for chatter in ["sea_orm_migration", "actix_server", "already exists, skipping"] {
        assert!(!log.contains(chatter), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_who_closes_the_pipe_is_no_error() {
    let site = bare_site().await;
    for arguments in [&["migrate"][..], &["seed"], &["openapi"], &["check"], &["migrate", "status"], &["--help"]] {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let mut command = Command::new(built().await);
        command.args(arguments).env_clear().envs(site.settings()).env("RUST_LOG", "warn").stdout(writer);
        let output = spawn_blocking(move || command.output().unwrap()).await.unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{arguments:?}: {}", text(&output.stderr));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_log_is_closed_goes_on_answering() {
    let site = Site::new(Stack::Embedded).await.with("RUST_LOG", "info");
    let (reader, writer) = pipe().unwrap();
    let mut command = Command::new(built().await);
    command.env_clear().envs(site.settings()).current_dir(site.folder()).stderr(writer);
    let mut server = command.spawn().unwrap();
    let address = spawn_blocking(move || {
        let mut lines = BufReader::new(reader).lines().map(Result::unwrap);
        let line = lines.find(|line| line.contains("serving http://")).unwrap();
        // With this end the log is closed.
        drop(lines);
        line.split_whitespace().find(|word| word.starts_with("http://")).unwrap().to_owned()
    });
    let instance = Instance::at(address.await.unwrap());
    for _ in 0..3 {
        instance.get("/api/events").send().await.expect(200);
    }
    assert!(server.try_wait().unwrap().is_none());
    server.kill().unwrap();
    server.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_is_made_raised_and_given_a_new_password() {
    let site = bare_site().await;
    let server = site.start().await;
    let create = async |arguments: &[&str], input: &str| {
        let mut all = vec!["create-admin"];
        all.extend(arguments);
        let output = run(site.settings(), &all, input).await;
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    };

    // A missing or wrong argument is named; no account is made.
    for (arguments, told) in [
        (&[][..], "--email or ADMIN_EMAIL is needed"),
        (&["--email", "ada"], "--email: "),
        (&["--email", "ada@example.com"], "ADMIN_PASSWORD, is needed"),
        (&["--email", "ada@example.com", "--password", "-"], "--password: must be at least 8 characters long"),
    ] {
        let (status, out, line) = create(arguments, "").await;
        assert_eq!((status, out.as_str()), (2, ""), "{line}");
        assert!(line.starts_with("boxoffice: ") && line.contains(told), "{line}");
    }

    let of_ada = ["--email", "ada@example.com", "--password", "-"];
    let (status, line, _) = create(&of_ada, "correct horse\n").await;
    assert!(status == 0 && line.starts_with("ada@example.com is an admin now (user "), "{line}");
    let ada = server.log_in("ada@example.com", "correct horse").await.expect(200).person();
    let (status, line, _) = create(&of_ada, "battery staple\n").await;
    assert!(status == 0 && line.contains("already; nothing was changed"), "{line}");
    let (status, line, _) =
        create(&["--email", "ada@example.com", "--password", "-", "--reset-password"], "battery staple\n").await;
    assert!(status == 0 && line.contains("has a new password"), "{line}");
    server.log_in("ada@example.com", "correct horse").await.expect_problem(401, "invalid_credentials");
    server.refresh(&ada.refresh_token).await.expect_problem(401, "invalid_refresh_token");
    server.log_in("ada@example.com", "battery staple").await.expect(200);

    let grace = server.new_user().await;
    let (status, _, line) = create(&["--email", &grace.email, "--password", "-"], "correct horse\n").await;
    assert!(status == 1 && line.contains("belongs to an ordinary account: --promote"), "{line}");
    assert_eq!(server.get("/api/users/me").by(&grace).send().await.expect(200).json()["role"], "user");
    let (status, line, _) = create(&["--email", &grace.email, "--promote"], "").await;
    assert!(status == 0 && line.contains("is an admin now; the password is as it was"), "{line}");
    let again = server.log_in(&grace.email, PASSWORD).await.expect(200).json();
    assert_eq!(again["user"]["role"], "admin");
    server.stop().await;
}

/// Every block of commands but the one that runs these tests, twice, as it is written.
#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_readme_can_be_pasted_twice() {
    let site = bare_site().await.with("RATE_LIMIT_PER_MINUTE", "100");
    let blocks = blocks_of(README, "sh");
    assert_eq!((blocks[0], blocks[1]), ("cargo run\n", "cargo run -- seed\n"));
    let server = site.start_process().await;
    let tools = TempDir::new().unwrap();
    stand_in_for_cargo(tools.path()).await;
    for turn in 0..2 {
        let mut booked = 0;
        for block in &blocks[1..] {
            if block.starts_with("tests/run") {
                continue;
            }
            let mut shell = Command::new("sh");
            shell.args(["-c", block]).current_dir(tools.path()).env_clear().envs(site.settings());
            shell.env("PATH", format!("{}:{}", tools.path().display(), std::env::var("PATH").unwrap()));
            shell.env("API", format!("{}/api", server.instance().base())).env("ADMIN_PASSWORD", PASSWORD);
            let output = spawn_blocking(move || shell.stdin(Stdio::null()).output().unwrap()).await.unwrap();
            let (out, complaints) = (text(&output.stdout), text(&output.stderr));
            assert!(output.status.success(), "turn {turn}: {block}\n{out}\n{complaints}");
            if block.contains("curl") {
                assert_eq!(complaints, "", "turn {turn}");
                let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
                let [events, booking, mine, event, cancelled] = &lines[..] else { panic!("turn {turn}: {out}") };
                let id = &events["data"][0]["id"];
                assert_eq!((&booking["event_id"], &booking["status"]), (id, &json!("confirmed")), "turn {turn}: {out}");
                assert_eq!(&mine[0]["event"]["id"], id);
                let free = events["data"][0]["available_seats"].as_u64().unwrap();
                assert_eq!((&event["id"], &event["available_seats"]), (id, &json!(free - 1)));
                assert!(cancelled["message"].is_string(), "{cancelled}");
                booked += 1;
            }
        }
        assert_eq!(booked, 1);
    }
}

/// The blocks of a language in a document.
fn blocks_of<'a>(document: &'a str, language: &str) -> Vec<&'a str> {
    let begin = format!("```{language}\n");
    document.split(begin.as_str()).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

/// `cargo run -- seed` runs the program that was built for these tests.
async fn stand_in_for_cargo(folder: &Path) {
    let script =
        format!("#!/bin/sh\nshift\n[ \"${{1:-}}\" != -- ] || shift\nexec {} \"$@\"\n", built().await.display());
    let path = folder.join("cargo");
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn every_recipe_has_a_comment_and_every_command_a_recipe() {
    let lines: Vec<_> = JUSTFILE.lines().collect();
    let mut recipes = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        let is_recipe = line.starts_with(|c: char| c.is_ascii_lowercase()) && line.ends_with(':');
        if is_recipe {
            assert!(number > 0 && lines[number - 1].starts_with("# "), "{line} has no comment");
            recipes.push(line.split([' ', ':']).next().unwrap());
        }
    }
    for recipe in
        ["run", "dev", "test", "test-quick", "lint", "migrate", "seed", "create-admin", "check", "openapi", "ci"]
    {
        assert!(recipes.contains(&recipe), "{recipe} is not in {recipes:?}");
    }
}

#[tokio::test]
async fn a_failing_step_hides_no_later_one_and_the_worst_status_counts() {
    let script = r#"
        set -euo pipefail
        source tests/steps.sh
        trap 'rm -f "$STEPS_LOG"' EXIT
        counts='1 ignored; 0 measured; 2 filtered out; finished in 1.50s'
        step first printf 'test a::slow ... ok <2.500s>\ntest a::quick ... ok <0.001s>\ntest result: ok. 2 passed; 0 failed; %s\n' "$counts"
        step second sh -c 'exit 3'
        step third sh -c 'exit 1'
        step fourth printf 'test result: ok. 4 passed; 0 failed; %s\n' "$counts"
        steps_slowest
        steps_table
        steps_counts
        exit "$STEPS_STATUS"
    "#;
    let mut bash = Command::new("bash");
    bash.args(["-c", script]).current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let output = spawn_blocking(move || bash.output().unwrap()).await.unwrap();
    let out = text(&output.stdout);
    assert_eq!(output.status.code(), Some(3), "{out}");
    assert!(out.contains("test a::slow ... ok\n"), "cargo's lines are as they were: {out}");
    let (_, end) = out.split_once("the slowest tests:\n").unwrap();
    let steps: Vec<_> = end.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
    assert_eq!(steps[0], ["2.5", "s", "a::slow"]);
    for (name, status) in [("first", "ok"), ("second", "FAILED"), ("third", "FAILED"), ("fourth", "ok")] {
        assert!(steps.iter().any(|line| line.first() == Some(&status) && line.last() == Some(&name)), "{name}: {out}");
    }
    let last = out.lines().last().unwrap();
    let sum = "test result: FAILED. 6 passed; 0 failed; 2 ignored; 0 measured; 4 filtered out; finished in 3.00s";
    assert_eq!(last, sum);
}

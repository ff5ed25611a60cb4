//! The allowed dependencies between crates. The arrows are those of `ARCHITECTURE.md`; a test names each
//! dependency that is not drawn there.

mod circles;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::process::Command;
use std::{env, fs};

use serde_json::Value;

/// Our crates, and which of ours each may use.
const ARROWS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("application", &["domain"]),
    ("caching", &["domain"]),
    ("migration", &[]),
    ("adapter-amqp", &["domain"]),
    ("adapter-crypto", &["domain"]),
    ("adapter-mail", &["domain"]),
    ("adapter-memory", &["domain", "caching"]),
    ("adapter-redis", &["domain", "caching"]),
    ("adapter-sql", &["domain", "migration"]),
    ("adapter-webhook", &["domain"]),
    ("api", &["domain", "application"]),
    ("boxoffice", ALL_ROOMS),
    // Prepares a load: tokens, and nothing that serves.
    ("boxoffice-bench", &["adapter-crypto", "domain"]),
    ("boxoffice-tests", ALL),
];

const ALL_ROOMS: &[&str] = &[
    "domain",
    "application",
    "caching",
    "migration",
    "adapter-amqp",
    "adapter-crypto",
    "adapter-mail",
    "adapter-memory",
    "adapter-redis",
    "adapter-sql",
    "adapter-webhook",
    "api",
];

const ALL: &[&str] = &[
    "domain",
    "application",
    "caching",
    "migration",
    "adapter-amqp",
    "adapter-crypto",
    "adapter-mail",
    "adapter-memory",
    "adapter-redis",
    "adapter-sql",
    "adapter-webhook",
    "api",
    "boxoffice",
];

/// Packages that one of our crates must not depend on; `x*` stands for every name that begins with `x`.
const NEVER_SEES: &[(&str, &[&str])] = &[
    (
        "domain",
        &[
            "serde*", "sea-orm*", "sqlx*", "actix*", "tokio*", "futures*", "redis", "bb8*", "tracing*", "garde*",
            "utoipa*", AMQP,
        ],
    ),
    (
        "application",
        &["actix*", "serde*", "garde*", "utoipa*", SQL, "sqlx*", "redis", "bb8*", "jsonwebtoken", "bcrypt", HTTP, AMQP],
    ),
    ("caching", &["actix*", "garde*", "utoipa*", SQL, "sqlx*", "redis", "bb8*", HTTP, AMQP]),
    ("adapter-amqp", &["actix*", "garde*", "utoipa*", SQL, "sqlx*", "redis", "bb8*", HTTP]),
    ("adapter-crypto", &["actix*", "garde*", "utoipa*", SQL, "sqlx*", "redis", "bb8*", HTTP, AMQP]),
    ("adapter-mail", &["actix*", "garde*", "utoipa*", SQL, "sqlx*", "redis", "bb8*", HTTP, AMQP]),
    ("adapter-memory", &["actix*", "garde*", "utoipa*", SQL, "sqlx*", "redis", "bb8*", HTTP, AMQP]),
    ("adapter-redis", &["actix*", "garde*", "utoipa*", SQL, "sqlx*", HTTP, AMQP]),
    ("adapter-sql", &["actix*", "garde*", "utoipa*", "redis", "bb8*", HTTP, AMQP]),
    ("adapter-webhook", &["actix*", "garde*", "utoipa*", SQL, "sqlx*", "redis", "bb8*", AMQP]),
    ("migration", &["actix*", "garde*", "utoipa*", "redis", "bb8*", AMQP]),
    ("api", &[SQL, "sqlx*", "redis", "bb8*", "jsonwebtoken", "bcrypt", HTTP, AMQP]),
];

const SQL: &str = "sea-orm*";

const HTTP: &str = "reqwest";

const AMQP: &str = "lapin";

/// The packages that the design names; each has to be a direct dependency of one of our crates.
const CHOSEN: &[&str] = &[
    "actix-cors",
    "actix-governor",
    "actix-web",
    "async-trait",
    "bb8",
    "bb8-redis",
    "bcrypt",
    "chrono",
    "clap",
    "config",
    "garde",
    "jsonwebtoken",
    "lapin",
    "lettre",
    "metrics",
    "metrics-exporter-prometheus",
    "minijinja",
    "mockall",
    "moka",
    "redis",
    "reqwest",
    "sea-orm",
    "sea-orm-migration",
    "secrecy",
    "serde",
    "serde_json",
    "standardwebhooks",
    "thiserror",
    "tokio",
    "tracing",
    "tracing-subscriber",
    "utoipa",
    "utoipa-actix-web",
    "utoipa-swagger-ui",
];

/// Name, beginning of the version, and what is wrong with it.
const BANNED: &[(&str, &str, &str)] = &[
    ("h2", "0.3.", "RUSTSEC-2026-0258: a client can exhaust the server"),
    ("rsa", "", "RUSTSEC-2023-0071: its timing tells the key"),
];

#[test]
fn our_crates_depend_on_each_other_only_along_the_arrows() {
    let workspace = Workspace::read(&["--no-deps"]);
    let allowed: BTreeMap<_, _> = ARROWS.iter().copied().collect();
    assert_eq!(
        workspace.members.keys().map(String::as_str).collect::<BTreeSet<_>>(),
        allowed.keys().copied().collect(),
        "a crate came or went: draw its arrows"
    );
    let mut forbidden = Vec::new();
    for (name, package) in &workspace.members {
        for dependency in direct_dependencies(package) {
            let ours = workspace.members.contains_key(dependency.name);
            if ours && !allowed[name.as_str()].contains(&dependency.name) {
                forbidden.push(format!("{name} → {}", dependency.name));
            }
        }
    }
    assert!(forbidden.is_empty(), "forbidden: {forbidden:#?}");
}

#[test]
fn no_room_sees_a_technology_that_is_another_rooms_business() {
    let workspace = Workspace::read(&["--no-deps"]);
    let mut forbidden = Vec::new();
    for (name, never) in NEVER_SEES {
        for dependency in direct_dependencies(&workspace.members[*name]).filter(|dependency| !dependency.dev) {
            let matches = |pattern: &&str| match pattern.strip_suffix('*') {
                Some(start) => dependency.name.starts_with(start),
                None => dependency.name == *pattern,
            };
            if never.iter().any(matches) {
                forbidden.push(format!("{name} → {}", dependency.name));
            }
        }
    }
    assert!(forbidden.is_empty(), "forbidden: {forbidden:#?}");
}

#[test]
fn every_package_that_the_design_names_is_used() {
    let workspace = Workspace::read(&["--no-deps"]);
    let used: BTreeSet<_> =
        workspace.members.values().flat_map(direct_dependencies).map(|dependency| dependency.name).collect();
    let idle: Vec<_> = CHOSEN.iter().filter(|name| !used.contains(*name)).collect();
    assert!(idle.is_empty(), "no crate depends on {idle:?}");
}

#[test]
fn no_dependency_however_far_is_one_with_an_open_advisory() {
    let workspace = Workspace::read(&["--filter-platform", &host()]);
    let paths = workspace.paths_to_shipped_packages();
    let found: Vec<_> = paths
        .iter()
        .filter_map(|(package, path)| {
            let (_, _, why) =
                BANNED.iter().find(|(name, version, _)| package.0 == *name && package.1.starts_with(version))?;
            Some(format!("{} ({why})", path.join(" → ")))
        })
        .collect();
    assert!(paths.len() > 100, "the graph was not read: {} packages", paths.len());
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn every_crate_opens_with_a_doc_comment() {
    let workspace = Workspace::read(&["--no-deps"]);
    for (name, package) in &workspace.members {
        let programs = array(package, "targets").iter().filter(|target| target["kind"][0] != "example");
        for target in programs {
            let source = text(target, "src_path");
            let code = fs::read_to_string(Path::new(source)).expect("a source file");
            assert!(code.starts_with("//! "), "{name}: {source} does not begin with //!");
        }
    }
}

/// A prepared `SELECT *` returns more columns once a newer release has added one: Postgres refuses the
/// statement for ever, and the driver of `SQLite` panics.
#[test]
fn no_statement_selects_all_columns_of_a_table() {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/adapter-sql/src")];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let code = fs::read_to_string(&path).expect("a source file");
            let asks = ["SELECT *", "RETURNING *", "events.*", "registrations.*", "users.*", "sessions.*", "tokens.*"];
            found.extend(asks.iter().filter(|ask| code.contains(*ask)).map(|ask| format!("{}: {ask}", path.display())));
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

struct Workspace {
    /// Our packages by name.
    members: BTreeMap<String, Value>,
    metadata: Value,
}

struct Dependency<'a> {
    name: &'a str,
    dev: bool,
}

impl Workspace {
    fn read(arguments: &[&str]) -> Self {
        let output = cargo(&[&["metadata", "--format-version", "1", "--locked"], arguments].concat());
        let metadata: Value = serde_json::from_str(&output).expect("JSON from cargo metadata");
        let ours: BTreeSet<_> = array(&metadata, "workspace_members").iter().filter_map(Value::as_str).collect();
        let members = array(&metadata, "packages")
            .iter()
            .filter(|package| ours.contains(text(package, "id")))
            .map(|package| (text(package, "name").to_owned(), package.clone()))
            .collect();
        Self { members, metadata }
    }

    /// Each package (name, version) the binary is built from, with the shortest way to it.
    fn paths_to_shipped_packages(&self) -> BTreeMap<(String, String), Vec<String>> {
        let packages: BTreeMap<_, _> = array(&self.metadata, "packages")
            .iter()
            .map(|package| (text(package, "id"), (text(package, "name"), text(package, "version"))))
            .collect();
        let nodes: BTreeMap<_, _> =
            array(&self.metadata["resolve"], "nodes").iter().map(|node| (text(node, "id"), node)).collect();

        let mut paths: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
        let mut queue: VecDeque<(&str, Vec<String>)> =
            self.members.values().map(|package| (text(package, "id"), Vec::new())).collect();
        while let Some((id, mut path)) = queue.pop_front() {
            let (name, version) = packages[id];
            let key = (name.to_owned(), version.to_owned());
            if paths.contains_key(&key) {
                continue;
            }
            path.push(format!("{name} {version}"));
            let shipped = |kind: &Value| kind["kind"].as_str() != Some("dev");
            let next = array(nodes[id], "deps").iter().filter(|dep| array(dep, "dep_kinds").iter().any(shipped));
            queue.extend(next.map(|dep| (text(dep, "pkg"), path.clone())));
            paths.insert(key, path);
        }
        paths
    }
}

fn direct_dependencies(package: &Value) -> impl Iterator<Item = Dependency<'_>> {
    array(package, "dependencies").iter().map(|dependency| Dependency {
        name: text(dependency, "name"),
        dev: dependency["kind"].as_str() == Some("dev"),
    })
}

/// The platform we run on: cargo would fetch the packages of every other one as well.
fn host() -> String {
    let version = cargo(&["-vV"]);
    version.lines().find_map(|line| line.strip_prefix("host: ")).expect("a host in cargo -vV").to_owned()
}

fn cargo(arguments: &[&str]) -> String {
    let program = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(program)
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo can be started");
    assert!(output.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8 from cargo")
}

fn array<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} in {value}"))
}

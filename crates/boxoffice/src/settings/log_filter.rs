//! What `RUST_LOG` may say. `EnvFilter` takes any word for the target of a module that may exist, so that a
//! misspelt level would silence everything else.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::spelling;

/// The targets of the program's own lines: requests, and the crates of the workspace.
const TARGETS: [&str; 14] = [
    "access",
    "adapter_amqp",
    "adapter_crypto",
    "adapter_mail",
    "adapter_memory",
    "adapter_redis",
    "adapter_sql",
    "adapter_webhook",
    "api",
    "application",
    "boxoffice",
    "caching",
    "domain",
    "migration",
];

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// What a filter must be.
pub(super) const MUST: &str = "must be levels or target=level, as in info,access=warn";

/// Reads directives, and gives them back as `EnvFilter` understands them: without spaces around them.
pub(super) fn parse(raw: &str) -> Result<String, String> {
    let directives: Vec<_> = raw.split(',').map(str::trim).filter(|directive| !directive.is_empty()).collect();
    if directives.is_empty() {
        return Err(form(raw, "there is no directive in it"));
    }
    for directive in &directives {
        check(directive).map_err(|problem| form(raw, &problem))?;
    }
    let filter = directives.join(",");
    EnvFilter::try_new(&filter).map_err(|error| form(raw, &error.to_string()))?;
    Ok(filter)
}

/// The level of everything that the filter names no level of its own for.
pub(crate) fn level(filter: &str) -> Option<LevelFilter> {
    filter.rsplit(',').find_map(|directive| directive.parse().ok())
}

fn form(raw: &str, problem: &str) -> String {
    format!("{MUST}, not {raw:?}: {problem}")
}

fn check(directive: &str) -> Result<(), String> {
    if directive.contains('[') {
        // Spans and their fields are left to the parser.
        return Ok(());
    }
    let (target, level) = match directive.split_once('=') {
        Some((target, level)) => (target, Some(level)),
        None => (directive, None),
    };
    match level {
        None if target.parse::<LevelFilter>().is_ok() => return Ok(()),
        None if ours(target) => return Ok(()),
        None => return Err(neither(target)),
        Some(level) if level.is_empty() || level.parse::<LevelFilter>().is_err() => {
            return Err(format!("{level:?} is no level; the levels are {}", LEVELS.join(", ")));
        }
        Some(_) => {}
    }
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | ':' | '-');
    if !target.chars().all(plain) {
        return Err(format!("{target:?} is no target"));
    }
    match spelling::meant(target, TARGETS) {
        Some(meant) => Err(format!("there is no target {target:?}; did you mean {meant}?")),
        None => Ok(()),
    }
}

/// Whether lines of the program have this target, or one within it.
fn ours(target: &str) -> bool {
    let room = target.split("::").next().unwrap_or(target);
    TARGETS.contains(&room)
}

fn neither(word: &str) -> String {
    let meant = spelling::meant(word, TARGETS.into_iter().chain(LEVELS));
    let hint =
        meant.map_or_else(|| format!("the levels are {}", LEVELS.join(", ")), |meant| format!("did you mean {meant}?"));
    format!("{word:?} is neither a level nor a target of this program; {hint}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_would_silence_the_log_by_a_slip_is_refused() {
        for raw in [
            "verbose",
            "warning",
            "info,verbose",
            "info;debug",
            "info debug",
            "access:warn",
            "access=",
            "access=loud",
            "access = warn",
            "acess=warn",
            "=info",
            ",",
            "[",
        ] {
            let problem = parse(raw).expect_err(raw);
            assert!(problem.starts_with("must be levels or target=level, as in info,access=warn, not "), "{problem}");
            assert!(!problem.contains('\n'), "{problem}");
        }
        assert!(parse("verbose").unwrap_err().ends_with(
            r#""verbose" is neither a level nor a target of this program; the levels are off, error, warn, info, debug, trace"#
        ));
        assert!(parse("inof").unwrap_err().ends_with("did you mean info?"));
        assert!(parse("acess=warn").unwrap_err().ends_with("did you mean access?"));
    }

    #[test]
    fn levels_and_targets_are_taken_with_spaces_around_them() {
        for (raw, filter) in [
            ("info", "info"),
            ("OFF", "OFF"),
            (" warn , access", "warn,access"),
            ("debug,sqlx=off,access=info", "debug,sqlx=off,access=info"),
            ("info, access=warn,", "info,access=warn"),
            ("boxoffice,adapter_sql::tx", "boxoffice,adapter_sql::tx"),
            ("info,sea_orm_migration=debug", "info,sea_orm_migration=debug"),
            ("info,api[request{method=GET}]=trace", "info,api[request{method=GET}]=trace"),
        ] {
            assert_eq!(parse(raw).as_deref(), Ok(filter), "{raw}");
        }
    }

    #[test]
    fn the_last_level_without_a_target_counts() {
        for (filter, expected) in [
            ("info", Some(LevelFilter::INFO)),
            ("info,api=trace", Some(LevelFilter::INFO)),
            ("TRACE,sqlx=off", Some(LevelFilter::TRACE)),
            ("debug,info", Some(LevelFilter::INFO)),
            ("access=info", None),
        ] {
            assert_eq!(level(filter), expected, "{filter}");
        }
    }

    #[test]
    fn every_crate_of_the_program_is_a_target() {
        let crates = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
        for entry in std::fs::read_dir(crates).unwrap() {
            let name = entry.unwrap().file_name().to_string_lossy().replace('-', "_");
            assert!(TARGETS.contains(&name.as_str()), "{name}");
        }
    }
}

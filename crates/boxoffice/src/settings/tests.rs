use std::fs;

use secrecy::ExposeSecret;

use super::*;

const SECRET: &str = "a secret of thirty-two bytes....";

fn load_in(directory: &Path, purpose: Purpose, variables: &[(&str, &str)]) -> Result<Settings, Vec<String>> {
    let variables = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    Settings::load(purpose, variables, directory)
        .map_err(|wrong| wrong.to_string().lines().map(str::to_owned).collect())
}

fn load(variables: &[(&str, &str)]) -> Result<Settings, Vec<String>> {
    load_in(tempfile::tempdir().unwrap().path(), Purpose::Serve, variables)
}

/// The one complaint about these variables.
fn complaint(variables: &[(&str, &str)]) -> String {
    let complaints = load(variables).expect_err(&format!("{variables:?} should be refused"));
    assert_eq!(complaints.len(), 1, "{complaints:?}");
    complaints[0].clone()
}

#[test]
fn nothing_has_to_be_set_in_development() {
    let settings = load(&[]).unwrap();
    assert_eq!(settings.environment, Environment::Development);
    assert_eq!(settings.database_url.expose(), "sqlite://data/boxoffice.db");
    assert_eq!((settings.database_pool_size, settings.database_migrate), (10, true));
    assert!(settings.redis_url.is_none() && settings.jwt_secret.is_none() && settings.jwt_previous_secret.is_none());
    assert_eq!((settings.access_token_ttl_secs, settings.refresh_token_ttl_secs), (86_400, 2_592_000));
    assert!(settings.admin_email.is_none() && settings.admin_password.is_none());
    assert_eq!(settings.bcrypt_cost, 10);
    assert_eq!((settings.host.as_str(), settings.port), ("127.0.0.1", 3000));
    assert_eq!(settings.rate_limit_per_minute, 100);
    assert_eq!(settings.login_attempts_per_minute, 10);
    assert!(settings.trusted_proxies.is_empty() && settings.cors_allowed_origins.is_empty());
    assert_eq!(settings.live_max_connections, 10_000);
    assert_eq!((settings.deadlines.shutdown_grace, settings.cache_max_staleness), (Duration::ZERO, Duration::ZERO));
    assert_eq!((settings.log_format, settings.log_filter.as_str()), (LogFormat::Pretty, "info"));
}

#[test]
fn production_logs_json_and_needs_a_secret() {
    let settings = load(&[("BOXOFFICE_ENV", "production"), ("JWT_SECRET", SECRET)]).unwrap();
    assert_eq!((settings.log_format, settings.log_filter.as_str()), (LogFormat::Json, "info,access=warn"));
    assert!(complaint(&[("BOXOFFICE_ENV", "production")]).starts_with("JWT_SECRET: must be set"));
    assert!(complaint(&[("DATABASE_URL", "postgres://db/box")]).starts_with("JWT_SECRET: must be set"));
}

#[test]
fn looking_after_the_database_needs_no_secret() {
    let home = tempfile::tempdir().unwrap();
    let operate = |variables: &[(&str, &str)]| load_in(home.path(), Purpose::Operate, variables);
    assert!(operate(&[("BOXOFFICE_ENV", "production"), ("DATABASE_URL", "postgres://db/box")]).is_ok());
    assert!(operate(&[("ADMIN_EMAIL", "ada@example.com")]).is_ok());
    assert!(operate(&[("JWT_SECRET", "short")]).is_err());
}

#[test]
fn each_layer_beats_the_one_below() {
    let home = tempfile::tempdir().unwrap();
    let port = |variables: &[(&str, &str)]| {
        load_in(home.path(), Purpose::Serve, variables).map(|settings| settings.port).unwrap()
    };
    assert_eq!(port(&[]), 3000);
    fs::create_dir(home.path().join("config")).unwrap();
    fs::write(home.path().join("config/development.toml"), "port = 3001\nhost = \"::1\"\n").unwrap();
    assert_eq!(port(&[]), 3001);
    fs::write(home.path().join(".env"), "PORT=3002\nUNRELATED=x\n").unwrap();
    assert_eq!(port(&[]), 3002);
    assert_eq!(port(&[("PORT", "3003")]), 3003);
    assert_eq!(port(&[("PORT", "")]), 3002, "an empty variable is an unset one");
    assert_eq!(load_in(home.path(), Purpose::Serve, &[]).unwrap().host, "::1");
}

#[test]
fn production_reads_its_own_file_and_no_dotenv() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("config")).unwrap();
    fs::write(home.path().join("config/development.toml"), "port = 3001\n").unwrap();
    fs::write(home.path().join("config/production.toml"), "database_pool_size = 5\ndatabase_migrate = false\n")
        .unwrap();
    fs::write(home.path().join(".env"), "PORT=3002\nBOXOFFICE_ENV=development\n").unwrap();
    let settings =
        load_in(home.path(), Purpose::Serve, &[("BOXOFFICE_ENV", "production"), ("JWT_SECRET", SECRET)]).unwrap();
    assert_eq!((settings.port, settings.database_pool_size, settings.database_migrate), (3000, 5, false));
}

#[test]
fn all_wrong_settings_are_told_at_once_each_in_a_line_with_its_name() {
    let complaints = load(&[
        ("PORT", "http"),
        ("DATABASE_POOL_SIZE", "0"),
        ("BCRYPT_COST", "3"),
        ("ADMIN_EMAIL", "nobody"),
        ("LOG_FORMAT", "xml"),
        ("DATABASE_MIGRATE", "yes"),
    ])
    .unwrap_err();
    let names: Vec<_> = complaints.iter().map(|line| line.split(':').next().unwrap()).collect();
    assert_eq!(
        names,
        [
            "DATABASE_POOL_SIZE",
            "DATABASE_MIGRATE",
            "ADMIN_EMAIL",
            "BCRYPT_COST",
            "PORT",
            "LOG_FORMAT",
            "ADMIN_PASSWORD"
        ]
    );
    assert_eq!(complaints[4], r#"PORT: must be a whole number from 0 to 65535, not "http""#);
}

#[test]
fn a_wrong_setting_in_a_file_is_told_with_the_file() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("config/development.toml");
    fs::create_dir(home.path().join("config")).unwrap();
    let complaints = |content: &str| {
        fs::write(&file, content).unwrap();
        load_in(home.path(), Purpose::Serve, &[]).expect_err(content)
    };
    let file = file.display();
    assert_eq!(
        complaints("port = 70000"),
        [format!("PORT (in {file}): must be a whole number from 0 to 65535, not \"70000\"")]
    );
    assert_eq!(
        complaints("databse_url = 1\nPORT = 1"),
        ["PORT", "databse_url"]
            .map(|key| format!("{key} (in {file}): is no setting: config/default.toml lists them all, in lower case"))
    );
    assert!(complaints("boxoffice_env = \"production\"")[0].contains("set it in the environment"));
    assert!(complaints("trusted_proxies = [\"10.0.0.0/8\"]")[0].contains("lists are texts with commas"));
    assert!(complaints("[http]\nport = 1")[0].contains("is no setting"));
    assert_eq!(complaints("port = \"\""), [format!("PORT (in {file}): must not be empty")]);
    let broken = complaints("jwt_secret = \"s3cret and no end");
    assert!(broken.len() == 1 && !broken[0].contains("s3cret"), "{broken:?}");
}

#[test]
fn a_broken_dotenv_is_told_without_its_secrets() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join(".env"), "PORT=3000\nJWT_SECRET=s3cret two words\nBOXOFFICE_ENV=production\n").unwrap();
    let complaints = load_in(home.path(), Purpose::Serve, &[]).unwrap_err();
    assert_eq!(complaints.len(), 2, "{complaints:?}");
    assert!(complaints[0].contains(".env: a line after PORT cannot be read"), "{complaints:?}");
    assert!(complaints[1].starts_with("BOXOFFICE_ENV (in "), "{complaints:?}");
    assert!(!complaints.concat().contains("s3cret"), "{complaints:?}");
}

#[test]
fn a_variable_that_is_no_text_is_told() {
    use std::os::unix::ffi::OsStringExt;
    let variables = [("PORT".into(), OsString::from_vec(vec![0xff])), ("X".into(), OsString::from_vec(vec![0xff]))];
    let wrong = Settings::load(Purpose::Serve, variables, tempfile::tempdir().unwrap().path()).unwrap_err();
    assert_eq!(wrong.to_string(), "PORT: must be UTF-8");
}

#[test]
fn a_misspelt_environment_is_no_environment() {
    assert_eq!(
        complaint(&[("BOXOFFICE_ENV", "prod")]),
        r#"BOXOFFICE_ENV: must be development or production, not "prod""#
    );
}

#[test]
fn numbers_and_switches_keep_to_their_bounds() {
    for (name, value) in [
        ("DATABASE_POOL_SIZE", "0"),
        ("DATABASE_POOL_SIZE", "ten"),
        ("PORT", "65536"),
        ("PORT", "-1"),
        ("RATE_LIMIT_PER_MINUTE", "-1"),
        ("RATE_LIMIT_PER_MINUTE", "1.5"),
        ("LOGIN_ATTEMPTS_PER_MINUTE", "few"),
        ("LIVE_MAX_CONNECTIONS", "0"),
        ("BCRYPT_COST", "32"),
        ("DATABASE_MIGRATE", "1"),
        ("LOG_FORMAT", "JSON"),
        ("RUST_LOG", "info,access=loud"),
    ] {
        assert!(complaint(&[(name, value)]).starts_with(&format!("{name}: must be ")), "{name}={value}");
    }
    assert_eq!(load(&[("PORT", "0"), ("RATE_LIMIT_PER_MINUTE", "0")]).unwrap().port, 0);
    assert!(load(&[("BCRYPT_COST", "4"), ("RUST_LOG", "debug,sqlx=off,access=info")]).is_ok());
    let production = [("BOXOFFICE_ENV", "production"), ("JWT_SECRET", SECRET), ("BCRYPT_COST", "9")];
    assert_eq!(complaint(&production), "BCRYPT_COST: must be at least 10 in production, not 9");
}

#[test]
fn durations_are_written_with_their_unit() {
    let settings = load(&[
        ("ACCESS_TOKEN_TTL", "5m"),
        ("REFRESH_TOKEN_TTL", "1h 30m"),
        ("CACHE_MAX_STALENESS", "250ms"),
        ("SHUTDOWN_GRACE", "20s"),
    ])
    .unwrap();
    assert_eq!((settings.access_token_ttl_secs, settings.refresh_token_ttl_secs), (300, 5400));
    assert_eq!(settings.cache_max_staleness, Duration::from_millis(250));
    for (name, value) in [
        ("ACCESS_TOKEN_TTL", "24"),
        ("ACCESS_TOKEN_TTL", "0s"),
        ("ACCESS_TOKEN_TTL", "1500ms"),
        ("REFRESH_TOKEN_TTL", "-1s"),
        ("REFRESH_TOKEN_TTL", "200years"),
        ("SHUTDOWN_GRACE", "21s"),
        ("CACHE_MAX_STALENESS", "soon"),
    ] {
        assert!(complaint(&[(name, value)]).starts_with(&format!("{name}: must be ")), "{name}={value}");
    }
}

#[test]
fn secrets_are_long_and_never_shown() {
    for name in ["JWT_SECRET", "JWT_PREVIOUS_SECRET"] {
        let told = complaint(&[(name, "0123456789")]);
        assert!(told.starts_with(&format!("{name}: must have at least 32 bytes, not 10")), "{told}");
        assert!(!told.contains("0123456789"));
    }
    let settings = load(&[
        ("JWT_SECRET", SECRET),
        ("JWT_PREVIOUS_SECRET", "another secret of 32 bytes......"),
        ("DATABASE_URL", "postgres://ada:s3cret@db/box"),
        ("REDIS_URL", "redis://:s3cret@cache"),
        ("ADMIN_EMAIL", "ada@example.com"),
        ("ADMIN_PASSWORD", "s3cret password"),
    ])
    .unwrap();
    let shown = format!("{settings:?}");
    for secret in ["s3cret", "thirty-two", "another secret"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert!(shown.contains("postgres://ada:***@db/box") && shown.contains("redis://:***@cache"), "{shown}");
    assert_eq!(settings.jwt_secret.unwrap().expose_secret(), SECRET);
}

#[test]
fn a_numeric_secret_stays_as_it_was_written() {
    let digits = "00000000000000000000000000000012345678";
    let settings = load(&[("JWT_SECRET", digits)]).unwrap();
    assert_eq!(settings.jwt_secret.unwrap().expose_secret(), digits);
}

#[test]
fn an_admin_is_an_address_and_a_password() {
    let settings = load(&[("ADMIN_EMAIL", "Ada@Example.com"), ("ADMIN_PASSWORD", "correct horse")]).unwrap();
    assert_eq!(settings.admin_email.unwrap().as_str(), "ada@example.com");
    assert_eq!(complaint(&[("ADMIN_EMAIL", "a@b.c")]), "ADMIN_PASSWORD: must be set together with ADMIN_EMAIL");
    assert_eq!(
        complaint(&[("ADMIN_PASSWORD", "correct horse")]),
        "ADMIN_EMAIL: must be set together with ADMIN_PASSWORD"
    );
    let told = complaint(&[("ADMIN_EMAIL", "a@b.c"), ("ADMIN_PASSWORD", "short")]);
    assert_eq!(told, "ADMIN_PASSWORD: must be at least 8 characters long");
}

#[test]
fn proxies_are_networks_or_addresses() {
    let settings = load(&[("TRUSTED_PROXIES", " 10.1.2.3/8, 192.168.1.7 ,fd00::/8,")]).unwrap();
    let networks: Vec<_> = settings.trusted_proxies.iter().map(ToString::to_string).collect();
    assert_eq!(networks, ["10.0.0.0/8", "192.168.1.7/32", "fd00::/8"]);
    for raw in ["10.0.0.0/33", "proxy", "10.0.0.0/8;10.1.0.0/16"] {
        assert!(complaint(&[("TRUSTED_PROXIES", raw)]).starts_with("TRUSTED_PROXIES: must be addresses"));
    }
}

#[test]
fn origins_are_kept_as_browsers_write_them() {
    let raw = "https://Tickets.Example.com, http://localhost:8080,https://x.org:443,http://[::1]:3000";
    let settings = load(&[("CORS_ALLOWED_ORIGINS", raw)]).unwrap();
    assert_eq!(
        settings.cors_allowed_origins,
        ["https://tickets.example.com", "http://localhost:8080", "https://x.org", "http://[::1]:3000"]
    );
    assert!(complaint(&[("CORS_ALLOWED_ORIGINS", "*")]).contains("* is not supported"));
    for raw in [
        "tickets.example.com",
        "https://x.org/",
        "https://x.org/path",
        "https://",
        "https://*.x.org",
        "https://x.org:port",
        "https://a@x.org",
        "null",
        "file:///x",
    ] {
        assert!(complaint(&[("CORS_ALLOWED_ORIGINS", raw)]).contains("must be origins"), "{raw}");
    }
}

#[test]
fn a_host_is_an_address_or_a_name() {
    for (raw, host) in [("::", "::"), ("[::1]", "::1"), ("0.0.0.0", "0.0.0.0"), ("localhost", "localhost")] {
        assert_eq!(load(&[("HOST", raw)]).unwrap().host, host);
    }
    for raw in ["http://localhost", "127.0.0.1:80", "a b", "a..b"] {
        assert!(complaint(&[("HOST", raw)]).starts_with("HOST: must be an address"), "{raw}");
    }
}

#[test]
fn stores_that_cannot_work_are_refused_with_a_hint() {
    assert!(complaint(&[("DATABASE_URL", "sqlite::memory:")]).contains("must not be in memory"));
    assert!(complaint(&[("DATABASE_URL", "mysql://u:s3cret@db/box")]).contains("must be sqlite://<file>"));
    assert!(!complaint(&[("DATABASE_URL", "mysql://u:s3cret@db/box")]).contains("s3cret"));
    assert!(complaint(&[("REDIS_URL", "rediss://cache")]).contains("TLS to Redis is not supported"));
}

#[test]
fn operators_have_a_port_of_their_own_or_none() {
    assert_eq!(load(&[]).unwrap().admin_port, None);
    assert_eq!(load(&[("ADMIN_PORT", "9100")]).unwrap().admin_port, Some(9100));
    assert!(load(&[("ADMIN_PORT", "0"), ("PORT", "0")]).is_ok(), "two free ones");
    for (port, admin_port) in [("3000", "3000"), ("3000", "http"), ("3000", "-1")] {
        let line = complaint(&[("PORT", port), ("ADMIN_PORT", admin_port)]);
        assert!(line.starts_with("ADMIN_PORT: must be "), "{line}");
    }
}

#[test]
fn traces_are_sampled_by_the_names_of_the_specification() {
    let sampling = |name: &str, share: &str| {
        load(&[("OTEL_TRACES_SAMPLER", name), ("OTEL_TRACES_SAMPLER_ARG", share)]).unwrap().sampling
    };
    for (name, share, by_parent, ratio) in [
        ("", "", true, 1.0),
        ("always_on", "0.5", false, 1.0),
        ("always_off", "", false, 0.0),
        ("traceidratio", "0.25", false, 0.25),
        ("parentbased_traceidratio", "1", true, 1.0),
        ("parentbased_always_off", "", true, 0.0),
    ] {
        assert_eq!(sampling(name, share), Sampling { by_parent, ratio }, "{name}");
    }
    for (name, value) in [
        ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
        ("OTEL_TRACES_SAMPLER_ARG", "1.5"),
        ("OTEL_TRACES_SAMPLER_ARG", "NaN"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector:4318"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"),
    ] {
        assert!(complaint(&[(name, value)]).starts_with(&format!("{name}: must ")), "{name} {value}");
    }
}

#[test]
fn a_secret_is_made_beside_the_embedded_database() {
    let home = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/box.db", home.path().display());
    let settings = load_in(home.path(), Purpose::Serve, &[("DATABASE_URL", &url)]).unwrap();
    let made = settings.signing_secret().unwrap();
    assert_eq!(settings.signing_secret().unwrap().expose_secret(), made.expose_secret());
    assert!(home.path().join("box.db.jwt-secret").exists());
}

#[test]
fn every_setting_is_explained() {
    let example = include_str!("../../../../.env.example");
    for name in NAMES.iter().filter(|name| **name != ENVIRONMENT) {
        let key = format!("{} =", name.to_lowercase());
        assert!(DEFAULT.lines().any(|line| line.trim_start_matches("# ").starts_with(&key)), "{key}");
        assert!(example.contains(&format!("# {name}=")), "{name}");
    }
}

#[test]
fn the_longest_deadlines_keep_every_promise() {
    let deadlines = load(&[]).unwrap().deadlines;
    assert!(deadlines.request < Duration::from_secs(10));
    assert!(deadlines.booking_queue.max(deadlines.statement).max(deadlines.lock) < Duration::from_secs(5));
    assert!(deadlines.far_body() < Duration::from_millis(100));
    assert!(deadlines.probe < Duration::from_secs(2));
    for (name, value) in [
        ("HEAD_TIMEOUT", "2m"),
        ("BODY_TIMEOUT", "0s"),
        ("REQUEST_TIMEOUT", "10s"),
        ("BOOKING_QUEUE_TIMEOUT", "5s"),
        ("PASSWORD_QUEUE_TIMEOUT", "5s"),
        ("DATABASE_ACQUIRE_TIMEOUT", "6s"),
        ("DATABASE_STATEMENT_TIMEOUT", "5s"),
        ("DATABASE_LOCK_TIMEOUT", "4600ms"),
        ("DATABASE_IDLE_IN_TRANSACTION_TIMEOUT", "0s"),
        ("REDIS_TIMEOUT", "100ms"),
        ("PROBE_TIMEOUT", "2s"),
    ] {
        assert!(complaint(&[(name, value)]).starts_with(&format!("{name}: must be from ")), "{name}={value}");
    }
    assert_eq!(complaint(&[("REDIS_TIMEOUT", "100ms")]), r#"REDIS_TIMEOUT: must be from 1ms to 80ms, not "100ms""#);
}

#[test]
fn what_is_derived_from_the_defaults_is_what_each_adapter_keeps_to_by_itself() {
    let deadlines = load(&[]).unwrap().deadlines;
    assert_eq!(deadlines.sql(), adapter_sql::SqlDeadlines::default());
    assert_eq!(deadlines.shared_read(), caching::CacheOptions::default().patience);
    assert_eq!(deadlines.redis, adapter_redis::Redis::BUDGET);
}

#[test]
fn a_deadline_is_shorter_than_the_one_around_it() {
    for (settings, told) in [
        (
            &[("DATABASE_LOCK_TIMEOUT", "2s"), ("DATABASE_STATEMENT_TIMEOUT", "2s")][..],
            "DATABASE_LOCK_TIMEOUT: must be shorter than DATABASE_STATEMENT_TIMEOUT (2s), not 2s",
        ),
        (
            &[("REQUEST_TIMEOUT", "9s")],
            "BOOKING_QUEUE_TIMEOUT: must leave time for DATABASE_STATEMENT_TIMEOUT (4s 800ms) and the answer's 300ms \
             within REQUEST_TIMEOUT (9s), not 4s 500ms",
        ),
        (
            &[
                ("REQUEST_TIMEOUT", "4s"),
                ("PASSWORD_QUEUE_TIMEOUT", "3s"),
                ("BOOKING_QUEUE_TIMEOUT", "1s"),
                ("DATABASE_STATEMENT_TIMEOUT", "2s"),
                ("DATABASE_LOCK_TIMEOUT", "1s"),
            ],
            "DATABASE_ACQUIRE_TIMEOUT: must be shorter than REQUEST_TIMEOUT (4s), not 5s",
        ),
    ] {
        assert_eq!(complaint(settings), told);
    }
    let both = load(&[("REQUEST_TIMEOUT", "4s"), ("DATABASE_STATEMENT_TIMEOUT", "1s")]).unwrap_err();
    assert!(both.len() == 4 && both.iter().any(|line| line.starts_with("PASSWORD_QUEUE_TIMEOUT: ")), "{both:?}");
}

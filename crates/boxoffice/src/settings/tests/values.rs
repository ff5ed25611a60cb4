//! What each setting may be.

use std::time::Duration;

use secrecy::ExposeSecret;

use super::{SECRET, complaint, load};
use crate::settings::Sampling;

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
        ("RUST_LOG", "verbose"),
    ] {
        assert!(complaint(&[(name, value)]).starts_with(&format!("{name}: must be ")), "{name}={value}");
    }
    assert_eq!(load(&[("PORT", "0"), ("RATE_LIMIT_PER_MINUTE", "0")]).unwrap().http.port, 0);
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
    assert_eq!((settings.access.access_token_ttl_secs, settings.access.refresh_token_ttl_secs), (300, 5400));
    assert_eq!(settings.cache.max_staleness, Duration::from_millis(250));
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
    assert_eq!(settings.access.jwt_secret.unwrap().expose_secret(), SECRET);
}

#[test]
fn a_numeric_secret_stays_as_it_was_written() {
    let digits = "00000000000000000000000000000012345678";
    let settings = load(&[("JWT_SECRET", digits)]).unwrap();
    assert_eq!(settings.access.jwt_secret.unwrap().expose_secret(), digits);
}

#[test]
fn proxies_are_networks_or_addresses() {
    let settings = load(&[("TRUSTED_PROXIES", " 10.1.2.3/8, 192.168.1.7 ,fd00::/8,")]).unwrap();
    let networks: Vec<_> = settings.http.trusted_proxies.iter().map(ToString::to_string).collect();
    assert_eq!(networks, ["10.0.0.0/8", "192.168.1.7/32", "fd00::/8"]);
    for raw in ["10.0.0.0/33", "proxy", "10.0.0.0/8;10.1.0.0/16"] {
        assert!(complaint(&[("TRUSTED_PROXIES", raw)]).starts_with("TRUSTED_PROXIES: must be addresses"));
    }
}

#[test]
fn origins_are_kept_as_browsers_write_them() {
    let raw = "https://Tickets.Example.com, http://localhost:8080,https://x.org:443,http://[0::1]:3000";
    let settings = load(&[("CORS_ALLOWED_ORIGINS", raw)]).unwrap();
    assert_eq!(
        settings.http.cors_allowed_origins,
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
        "https://@x.org",
        "https://x.org?",
        "https://x.org\\",
        "https:x.org",
        "https:///x.org",
        "null",
        "file:///x",
    ] {
        assert!(complaint(&[("CORS_ALLOWED_ORIGINS", raw)]).contains("must be origins"), "{raw}");
    }
}

#[test]
fn a_host_is_an_address_or_a_name() {
    for (raw, host) in [("::", "::"), ("[::1]", "::1"), ("0.0.0.0", "0.0.0.0"), ("localhost", "localhost")] {
        assert_eq!(load(&[("HOST", raw)]).unwrap().http.host, host);
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
fn traces_are_sampled_by_the_names_of_the_specification() {
    let sampling = |name: &str, share: &str| {
        load(&[("OTEL_TRACES_SAMPLER", name), ("OTEL_TRACES_SAMPLER_ARG", share)]).unwrap().traces.sampling()
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

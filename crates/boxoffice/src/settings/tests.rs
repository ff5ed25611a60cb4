use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use secrecy::ExposeSecret;

use super::{Environment, LogFormat, Purpose, Settings};

mod deadlines;
mod documents;
mod layers;
mod values;

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
    assert_eq!(settings.database.url.expose(), "sqlite://data/boxoffice.db");
    assert_eq!((settings.database.pool_size, settings.database.migrate), (10, true));
    assert!(
        settings.redis.url.is_none()
            && settings.access.jwt_secret.is_none()
            && settings.access.jwt_previous_secret.is_none()
    );
    assert_eq!((settings.access.access_token_ttl_secs, settings.access.refresh_token_ttl_secs), (86_400, 2_592_000));
    assert!(settings.access.admin_email.is_none() && settings.access.admin_password.is_none());
    assert_eq!(settings.access.bcrypt_cost, 10);
    assert_eq!((settings.http.host.as_str(), settings.http.port), ("127.0.0.1", 3000));
    assert_eq!(settings.http.rate_limit_per_minute, 100);
    assert_eq!(settings.http.login_attempts_per_minute, 10);
    assert!(settings.http.trusted_proxies.is_empty() && settings.http.cors_allowed_origins.is_empty());
    assert_eq!(settings.http.live_max_connections, 10_000);
    assert_eq!((settings.deadlines.shutdown_grace, settings.cache.max_staleness), (Duration::ZERO, Duration::ZERO));
    assert_eq!((settings.log.format, settings.log.filter.as_str()), (LogFormat::Pretty, "info"));
}

#[test]
fn production_logs_json_and_needs_a_secret() {
    let settings = load(&[("BOXOFFICE_ENV", "production"), ("JWT_SECRET", SECRET)]).unwrap();
    assert_eq!((settings.log.format, settings.log.filter.as_str()), (LogFormat::Json, "info,access=warn"));
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
fn an_admin_is_an_address_and_a_password() {
    let settings = load(&[("ADMIN_EMAIL", "Ada@Example.com"), ("ADMIN_PASSWORD", "correct horse")]).unwrap();
    assert_eq!(settings.access.admin_email.unwrap().as_str(), "ada@example.com");
    assert_eq!(complaint(&[("ADMIN_EMAIL", "a@b.c")]), "ADMIN_PASSWORD: must be set together with ADMIN_EMAIL");
    assert_eq!(
        complaint(&[("ADMIN_PASSWORD", "correct horse")]),
        "ADMIN_EMAIL: must be set together with ADMIN_PASSWORD"
    );
    let told = complaint(&[("ADMIN_EMAIL", "a@b.c"), ("ADMIN_PASSWORD", "short")]);
    assert_eq!(told, "ADMIN_PASSWORD: must be at least 8 characters long");
}

#[test]
fn operators_have_a_port_of_their_own_or_none() {
    assert_eq!(load(&[]).unwrap().http.admin_port, None);
    assert_eq!(load(&[("ADMIN_PORT", "9100")]).unwrap().http.admin_port, Some(9100));
    assert!(load(&[("ADMIN_PORT", "0"), ("PORT", "0")]).is_ok(), "two free ones");
    for (port, admin_port) in [("3000", "3000"), ("3000", "http"), ("3000", "-1")] {
        let line = complaint(&[("PORT", port), ("ADMIN_PORT", admin_port)]);
        assert!(line.starts_with("ADMIN_PORT: must be "), "{line}");
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

//! Where settings are from, and what is said of a file that cannot be read.

use std::ffi::OsString;
use std::fs;

use secrecy::ExposeSecret;

use super::{SECRET, complaint, load, load_in};
use crate::settings::{Purpose, Settings};

#[test]
fn each_layer_beats_the_one_below() {
    let home = tempfile::tempdir().unwrap();
    let port = |variables: &[(&str, &str)]| {
        load_in(home.path(), Purpose::Serve, variables).map(|settings| settings.http.port).unwrap()
    };
    assert_eq!(port(&[]), 3000);
    fs::create_dir(home.path().join("config")).unwrap();
    fs::write(home.path().join("config/development.toml"), "port = 3001\nhost = \"::1\"\n").unwrap();
    assert_eq!(port(&[]), 3001);
    fs::write(home.path().join(".env"), "PORT=3002\nUNRELATED=x\n").unwrap();
    assert_eq!(port(&[]), 3002);
    assert_eq!(port(&[("PORT", "3003")]), 3003);
    assert_eq!(port(&[("PORT", "")]), 3002, "an empty variable is an unset one");
    assert_eq!(load_in(home.path(), Purpose::Serve, &[]).unwrap().http.host, "::1");
}

#[test]
fn a_secret_may_come_in_a_file_that_a_variable_names() {
    let home = tempfile::tempdir().unwrap();
    let path = |name: &str| home.path().join(name).display().to_string();
    fs::write(path("url"), "postgres://db/box\n").unwrap();
    fs::write(path("secret"), format!("{SECRET}\n")).unwrap();
    let (url, secret) = (path("url"), path("secret"));
    let files = [("DATABASE_URL_FILE", url.as_str()), ("JWT_SECRET_FILE", secret.as_str())];
    let load = |more: &[(&str, &str)]| load_in(home.path(), Purpose::Serve, &[&files[..], more].concat()).unwrap();

    let settings = load(&[]);
    assert_eq!(settings.database.url.expose(), "postgres://db/box");
    assert_eq!(settings.access.jwt_secret.unwrap().expose_secret(), SECRET);
    assert_eq!(load(&[("DATABASE_URL", "")]).database.url.expose(), "postgres://db/box", "an empty one is unset");
    assert_eq!(load(&[("DATABASE_URL", "postgres://own/box")]).database.url.expose(), "postgres://own/box");

    fs::write(home.path().join(".env"), format!("DATABASE_URL_FILE={url}\n")).unwrap();
    let operate = |variables: &[(&str, &str)]| load_in(home.path(), Purpose::Operate, variables).unwrap();
    assert_eq!(operate(&[]).database.url.expose(), "postgres://db/box");
    assert_eq!(operate(&[("DATABASE_URL", "sqlite://x.db")]).database.url.expose(), "sqlite://x.db");
}

#[test]
fn a_file_of_a_secret_that_holds_none_stops_the_start() {
    let home = tempfile::tempdir().unwrap();
    let empty = home.path().join("empty").display().to_string();
    fs::write(&empty, "\n").unwrap();
    let missing = home.path().join("missing").display().to_string();
    // Not the embedded database, which is the default.
    let complaints = load_in(home.path(), Purpose::Operate, &[("DATABASE_URL_FILE", &missing)]).unwrap_err();
    assert_eq!(
        complaints,
        [format!("DATABASE_URL_FILE: cannot read {missing}: No such file or directory (os error 2)")]
    );
    assert_eq!(
        complaint(&[("BOXOFFICE_ENV", "production"), ("JWT_SECRET_FILE", &empty)]),
        format!("JWT_SECRET_FILE: {empty} is empty")
    );
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
    assert_eq!((settings.http.port, settings.database.pool_size, settings.database.migrate), (3000, 5, false));
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
        complaints("databse_url = 1\nPORT = 1\ncolour = 1"),
        [("PORT", "; did you mean port?"), ("colour", ""), ("databse_url", "; did you mean database_url?")].map(
            |(key, hint)| format!(
                "{key} (in {file}): is no setting: config/default.toml lists them all, in lower case{hint}"
            )
        )
    );
    assert!(complaints("boxoffice_env = \"production\"")[0].contains("set it in the environment"));
    assert!(complaints("trusted_proxies = [\"10.0.0.0/8\"]")[0].contains("lists are texts with commas"));
    assert!(complaints("[http]\nport = 1")[0].contains("is no setting"));
    assert_eq!(complaints("port = \"\""), [format!("PORT (in {file}): must not be empty")]);
}

#[test]
fn broken_toml_is_told_with_line_and_reason_and_without_its_secrets() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("config/development.toml");
    fs::create_dir(home.path().join("config")).unwrap();
    for (line, reason) in [
        ("jwt_secret = \"s3cret and no end", "column 32: cannot be read: invalid basic string"),
        ("jwt_secret = s3cret", "column 14: cannot be read: string values must be quoted"),
        ("jwt_secret \"s3cret\"", "column 12: cannot be read: key with no value"),
        ("port = 1 s3cret", "column 8: cannot be read: string values must be quoted"),
        ("host = \"a\"\nhost = \"s3cret\"", "column "),
        ("[jwt_secret", "column "),
    ] {
        fs::write(&file, format!("port = 3001\n# é\n{line}\n")).unwrap();
        let told = load_in(home.path(), Purpose::Serve, &[]).expect_err(line);
        let number = 2 + line.lines().count();
        let told_so = format!("{}, line {number}, {reason}", file.display());
        assert!(told.len() == 1 && told[0].starts_with(&told_so), "{told:?}, not {told_so}");
        let (_, reason) = told[0].split_once(": cannot be read: ").unwrap();
        assert!(!reason.is_empty() && !reason.contains("s3cret"), "{told:?}");
    }
}

#[test]
fn a_broken_dotenv_is_told_with_line_and_reason_and_without_its_secrets() {
    let home = tempfile::tempdir().unwrap();
    let lines = "PORT=3000\n\n# a comment\nJWT_SECRET=s3cret two words\ns3cret\nBOXOFFICE_ENV=production\n";
    let file = home.path().join(".env");
    fs::write(&file, lines).unwrap();
    let file = file.display();
    assert_eq!(
        load_in(home.path(), Purpose::Serve, &[]).unwrap_err(),
        [
            format!(
                "JWT_SECRET (in {file}, line 4): there is a space in its value: write NAME=\"the value\" in quotes"
            ),
            format!("{file}, line 5: there is no = in it: write NAME=value"),
            format!("BOXOFFICE_ENV (in {file}, line 6): must be set in the environment, not here"),
        ]
    );
}

#[test]
fn a_misspelt_setting_in_a_dotenv_stops_the_start() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join(".env");
    let load = |text: &str, variables: &[(&str, &str)]| {
        fs::write(&file, text).unwrap();
        load_in(home.path(), Purpose::Serve, variables)
    };
    let shown = file.display();
    assert_eq!(
        load("DATABSE_URL=postgres://db/box\n\nRATE_LIMIT_PER_MINTUE=5\nport=3001\n", &[]).unwrap_err(),
        [
            ("DATABSE_URL", 1, "DATABASE_URL"),
            ("RATE_LIMIT_PER_MINTUE", 3, "RATE_LIMIT_PER_MINUTE"),
            ("port", 4, "PORT")
        ]
        .map(|(name, line, meant)| format!("{name} (in {shown}, line {line}): is no setting; did you mean {meant}?"))
    );
    // Names of other tools are theirs.
    let foreign = "POSTGRES_USER=x\nPGHOST=db\nNODE_ENV=test\nCOMPOSE_PROJECT_NAME=box\nVITE_API_URL=/api\nPOST=1\n\
                   DB_HOST=db\nLOG_LEVEL=debug\nAWS_REGION=x\nOTEL_RESOURCE_ATTRIBUTES=a=b\nSECRET_KEY=x\n";
    assert!(load(foreign, &[]).unwrap().warnings.is_empty());
    // So is a name like ours beside ours.
    assert!(load("REDIS_URI=redis://a\n", &[]).is_err());
    assert!(load("REDIS_URI=redis://a\nREDIS_URL=redis://a\n", &[]).is_ok());
    assert!(load("REDIS_URI=redis://a\n", &[("REDIS_URL", "redis://a")]).is_ok());
}

#[test]
fn a_misspelt_variable_of_the_environment_is_warned_of() {
    let settings = load(&[("DATABSE_URL", "postgres://db/box"), ("RUSTLOG", "debug"), ("HOME", "/root")]).unwrap();
    assert_eq!(
        settings.warnings,
        ["DATABSE_URL: is no setting; did you mean DATABASE_URL?", "RUSTLOG: is no setting; did you mean RUST_LOG?"]
    );
    assert!(load(&[("RUSTLOG", "debug"), ("RUST_LOG", "info")]).unwrap().warnings.is_empty());
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

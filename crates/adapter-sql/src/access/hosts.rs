//! The servers that `DATABASE_URL` names.
//!
//! As libpq reads it, a URL may name several hosts, `postgres://u:p@a:5432,b/db` or `?host=a,b&port=5432`, of
//! which one writes. The driver knows one host, so the list is taken apart here and the driver reads a URL
//! for each. No error here quotes the URL: any part of it may be one of a password.

use std::str::FromStr;

use sea_orm::sqlx::Error as SqlxError;
use sea_orm::sqlx::postgres::PgConnectOptions;

/// How a URL is written.
const FORM: &str = "must be postgres://<user>:<password>@<host>:<port>,<host>:<port>/<database>";

/// What a password must not hold as it is.
const ESCAPE: &str = "cannot be read: write / ? # @ of a password as %2F %3F %23 %40";

/// How to connect to each host, in the order of the URL.
pub(crate) fn parse(url: &str) -> Result<Vec<PgConnectOptions>, String> {
    let (scheme, rest) = url.split_once("://").ok_or(FORM)?;
    let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (path, query) = tail.split_once('?').unwrap_or((tail, ""));
    let (user, hosts) = match authority.rsplit_once('@') {
        Some((user, hosts)) => (format!("{user}@"), hosts),
        None if path.contains('@') || query.split('&').any(|part| part.contains('@') && !part.contains('=')) => {
            return Err(ESCAPE.to_owned());
        }
        None => (String::new(), authority),
    };
    let query = Query::read(query)?;
    let hosts = match &query.hosts {
        Some(hosts) => with_ports(hosts, query.ports.as_deref())?,
        None if query.ports.is_some() && hosts.contains(',') => {
            return Err("must name each port beside its host, as in <host>:<port>,<host>:<port>".to_owned());
        }
        None => hosts.split(',').map(str::to_owned).collect(),
    };
    if hosts.len() > 1 && hosts.iter().any(String::is_empty) {
        return Err("must name a host before and after each comma".to_owned());
    }
    hosts.iter().map(|host| one(scheme, &user, host, path, &query)).collect()
}

/// The server as operators call it.
pub(crate) fn name(options: &PgConnectOptions) -> String {
    match options.get_socket() {
        Some(socket) => socket.display().to_string(),
        None if options.get_host().contains(':') => format!("[{}]:{}", options.get_host(), options.get_port()),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    }
}

/// The parameters of a URL, those about hosts apart.
#[derive(Default)]
struct Query {
    hosts: Option<Vec<String>>,
    ports: Option<Vec<String>>,
    rest: Vec<String>,
}

impl Query {
    fn read(query: &str) -> Result<Self, String> {
        let mut read = Self::default();
        let query = query.split('#').next().unwrap_or_default();
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            let list = || value.replace("%2C", ",").replace("%2c", ",").split(',').map(str::to_owned).collect();
            match key {
                "host" => read.hosts = Some(list()),
                "port" => read.ports = Some(list()),
                // What is done anyway.
                "target_session_attrs" if ["any", "primary", "read-write"].contains(&value) => {}
                "target_session_attrs" => {
                    return Err("must not have target_session_attrs: the server that writes is found".to_owned());
                }
                "load_balance_hosts" => {}
                _ => read.rest.push(part.to_owned()),
            }
        }
        Ok(read)
    }
}

/// Each host of `host=` with its port of `port=`; one port is that of all.
fn with_ports(hosts: &[String], ports: Option<&[String]>) -> Result<Vec<String>, String> {
    let port = |index: usize| match ports {
        None => Ok(String::new()),
        Some([all]) => Ok(format!(":{all}")),
        Some(each) => each.get(index).map(|port| format!(":{port}")).ok_or("must have one port, or one for each host"),
    };
    if ports.is_some_and(|ports| ports.len() > 1 && ports.len() != hosts.len()) {
        return Err("must have one port, or one for each host".to_owned());
    }
    let host = |(index, host): (usize, &String)| {
        let host = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.clone() };
        let host = if host.starts_with('/') { host.replace('/', "%2F") } else { host };
        Ok(format!("{host}{}", port(index)?))
    };
    hosts.iter().enumerate().map(host).collect::<Result<_, &str>>().map_err(str::to_owned)
}

/// How to connect to one host.
fn one(scheme: &str, user: &str, host: &str, path: &str, query: &Query) -> Result<PgConnectOptions, String> {
    let address = host.rsplit_once(']').map_or(host, |(_, port)| port);
    if let Some((_, port)) = address.rsplit_once(':')
        && port.parse::<u16>().map_or(true, |port| port == 0)
    {
        return Err("must name ports as numbers from 1 to 65535".to_owned());
    }
    let mut url = format!("{scheme}://{user}{host}{path}");
    if !query.rest.is_empty() {
        url = format!("{url}?{}", query.rest.join("&"));
    }
    let options = PgConnectOptions::from_str(&url).map_err(|error| match error {
        SqlxError::Configuration(error) => format!("cannot be read: {error}"),
        other => format!("cannot be read: {other}"),
    })?;
    // The driver looks the brackets up as a part of the name.
    let bare = options.get_host().trim_start_matches('[').trim_end_matches(']').to_owned();
    Ok(options.host(&bare))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(url: &str) -> Vec<String> {
        parse(url).unwrap_or_else(|error| panic!("{url}: {error}")).iter().map(name).collect()
    }

    #[test]
    fn every_host_of_a_url_is_found_with_its_port() {
        for (url, found) in [
            ("postgres://u:p@a:5433/db", "a:5433"),
            ("postgres://u:p@a:5433,b:5434/db", "a:5433 b:5434"),
            ("postgresql://a,b:5434,c", "a:5432 b:5434 c:5432"),
            (
                "postgres://u@[::1]:5433,[fe80::2],10.0.0.1/db?sslmode=disable",
                "[::1]:5433 [fe80::2]:5432 10.0.0.1:5432",
            ),
            ("postgres:///db?host=a,b&port=5433,5434", "a:5433 b:5434"),
            ("postgres://u@/db?host=a%2Cb&port=5433", "a:5433 b:5433"),
            ("postgres:///db?host=/run/postgresql", "/run/postgresql"),
            ("postgres://u:p%2Cq%40r@a:5433,b:5434/db", "a:5433 b:5434"),
            ("postgres://u:p,q@a:5433,b:5434/db", "a:5433 b:5434"),
            ("postgres://a,b/db?target_session_attrs=read-write", "a:5432 b:5432"),
        ] {
            assert_eq!(names(url).join(" "), found, "{url}");
        }
    }

    #[test]
    fn hosts_share_everything_but_their_address() {
        for options in parse("postgres://ada:s%2Ct@a,b/box%20office?options=-c%20jit%3Doff").unwrap() {
            assert_eq!((options.get_username(), options.get_database()), ("ada", Some("box office")));
            assert_eq!(options.get_options(), Some("-c jit=off"));
        }
    }

    #[test]
    fn a_wrong_url_is_refused_without_a_word_of_its_password() {
        for url in [
            "postgres:s3cret",
            "postgres://u:s3cret@a:x,b/db",
            "postgres://u:s3cret@a:0/db",
            "postgres://u:s3cret@a:70000/db",
            "postgres://u:s3cret@a,,b/db",
            "postgres://u:s3cret@,b/db",
            "postgres://u:s3cret@a,b/db?port=1,2",
            "postgres://u:s3cret@a,b/db?target_session_attrs=standby",
            "postgres://u:s3cret@/db?host=a,b,c&port=1,2",
            "postgres://u:s3cret@a,b/db?sslmode=perhaps",
            "postgres://u:1/s3cret@a,b/db",
            "postgres://u:s3cret/x@a,b/db",
            "postgres://u:1?s3cret@a,b/db",
            "postgres://u:s3cret@a b/db",
        ] {
            let told = parse(url).err().unwrap_or_else(|| panic!("{url} is taken"));
            assert!(!told.contains("s3cret") && !told.contains('\n'), "{url}: {told}");
        }
    }
}

//! The program, started within the test's process as it starts in production: settings from
//! variables, a real port, a real database. Only the clock stands still.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use boxoffice::app::{Running, start};
use boxoffice::settings::{Purpose, Settings};
use futures_util::future::join_all;
use reqwest::header::{HeaderMap, HeaderName};
use reqwest::{Method, RequestBuilder, Response};
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::clock::MovableClock;
use super::front::{self, Front};
use super::postgres::{PostgresDatabase, PostgresServer};
use super::program::{self, Program};
use super::redis::RedisServer;
use super::store::{Home, connect_past, undo};

/// The password of every account that a test makes.
pub const PASSWORD: &str = "correct horse battery";
const ADMIN: &str = "admin@example.com";

/// The stores that the program runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stack {
    /// SQLite, bodies in the process.
    Embedded,
    /// Postgres and Redis.
    Full,
}

/// A database, a clock and, on the full stack, a Redis: what the instances of one service share.
pub struct Site {
    home: Home,
    /// A server of its own, so that a test can break it.
    pub redis: Option<RedisServer>,
    pub clock: Arc<MovableClock>,
    settings: BTreeMap<String, String>,
    directory: TempDir,
    /// Whether its instances stand behind nginx.
    fronted: bool,
}

impl Site {
    /// A site whose database is empty.
    pub async fn new(stack: Stack) -> Self {
        let (home, redis) = match stack {
            Stack::Embedded => (Home::sqlite(), None),
            Stack::Full => (Home::empty_postgres().await, Some(RedisServer::start().await)),
        };
        Self::at(home, redis)
    }

    /// A site on Postgres that is migrated already, with a Redis.
    pub async fn migrated() -> Self {
        Self::at(Home::Postgres(PostgresDatabase::migrated().await), Some(RedisServer::start().await))
    }

    /// A site on a Postgres server of its own, with a Redis.
    pub async fn breakable() -> Self {
        Self::at(Home::Server(PostgresServer::start().await), Some(RedisServer::start().await))
    }

    /// The Postgres server, if it is the site's own.
    pub fn postgres(&mut self) -> &mut PostgresServer {
        match &mut self.home {
            Home::Server(server) => server,
            Home::Sqlite(_) | Home::Postgres(_) => panic!("not the site's own server"),
        }
    }

    /// Makes another server the site's own; answers the one it was. Running instances keep their settings.
    pub fn move_to(&mut self, server: PostgresServer) -> PostgresServer {
        std::mem::replace(self.postgres(), server)
    }

    fn at(home: Home, redis: Option<RedisServer>) -> Self {
        let mut settings = BTreeMap::new();
        for (name, value) in [
            ("PORT", "0"),
            ("JWT_SECRET", "a secret of the tests, 32 bytes or more"),
            ("ADMIN_EMAIL", ADMIN),
            ("ADMIN_PASSWORD", PASSWORD),
            ("BCRYPT_COST", "4"),
            ("RATE_LIMIT_PER_MINUTE", "0"),
            ("DATABASE_URL", &home.url()),
        ] {
            settings.insert(name.to_owned(), value.to_owned());
        }
        if let Some(redis) = &redis {
            settings.insert("REDIS_URL".to_owned(), redis.url());
        }
        let (clock, directory) = (Arc::new(MovableClock::new()), TempDir::new().unwrap());
        Self { home, redis, clock, settings, directory, fronted: front::is_wanted() }
    }

    /// Sets a variable for the instances started from now on.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.settings.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Does without a variable in the instances started from now on.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.settings.remove(name);
        self
    }

    /// How to connect to the database.
    pub fn database_url(&self) -> String {
        self.home.url()
    }

    /// The settings of its instances.
    pub fn settings(&self) -> &BTreeMap<String, String> {
        &self.settings
    }

    /// Where the SQLite file lies.
    pub fn folder(&self) -> &Path {
        match &self.home {
            Home::Sqlite(folder) => folder.path(),
            Home::Postgres(_) | Home::Server(_) => panic!("not a file"),
        }
    }

    /// Runs a statement past the program, as an operator at the SQL prompt would.
    pub async fn run_sql(&self, statement: &str) {
        let database = connect_past(&self.database_url()).await;
        database.execute_unprepared(statement).await.unwrap();
        database.close().await.unwrap();
    }

    /// Brings the database to where it was before a change of the tables.
    pub async fn go_back_before(&self, change: &str) {
        let sql = self.home.open(self.clock.clone()).await;
        sql.migrate_up().await.unwrap();
        undo(&sql, change).await;
        sql.close().await;
    }

    /// Starts an instance.
    pub async fn start(&self) -> Instance {
        self.try_start().await.unwrap()
    }

    /// Starts an instance, or says why it does not start.
    pub async fn try_start(&self) -> anyhow::Result<Instance> {
        let variables = self.settings.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let settings = Settings::load(Purpose::Serve, variables, self.directory.path())?;
        let mut running = vec![start(settings.clone(), self.clock.clone()).await?];
        if !self.fronted {
            let base = format!("http://{}", running[0].address());
            let admin = running[0].admin_address().map(|address| format!("http://{address}"));
            return Ok(Instance { running, admin, ..Instance::at(base) });
        }
        if self.redis.is_some() {
            running.push(start(settings, self.clock.clone()).await?);
        }
        let front = Front::before(&running.iter().map(Running::address).collect::<Vec<_>>()).await;
        let base = front.base().to_owned();
        Ok(Instance { running, front: Some(front), ..Instance::at(base) })
    }

    /// Starts an instance as a process of its own, whose clock is the system's.
    pub async fn start_process(&self) -> Program {
        Program::start(&self.settings, self.directory.path()).await
    }

    /// Runs a command of the program to its end, as an operator does.
    pub async fn run_command(&self, command: &[&str]) -> Output {
        program::run(&self.settings, self.directory.path(), command).await
    }
}

/// A running instance, or several behind a [`Front`], and a client of it.
pub struct Instance {
    /// One, unless there is a front.
    running: Vec<Running>,
    front: Option<Front>,
    base: String,
    admin: Option<String>,
    client: reqwest::Client,
}

/// A user with an account, and their tokens.
#[derive(Debug, Clone)]
pub struct Person {
    pub id: u64,
    pub email: String,
    pub token: String,
    pub refresh_token: String,
}

impl Instance {
    /// A client of an instance that runs elsewhere.
    pub fn at(base: String) -> Self {
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { running: Vec::new(), front: None, base, admin: None, client }
    }

    /// Where it listens: `http://127.0.0.1:port`.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// A client of its port for operators, which it has to have.
    pub fn for_operators(&self) -> Self {
        Self::at(self.admin.clone().expect("ADMIN_PORT is set"))
    }

    /// A request to a path. `/metrics` is asked of the instance itself, not of nginx, as Prometheus does.
    pub fn request(&self, method: Method, path: &str) -> Request {
        let itself = self.front.as_ref().filter(|_| path == "/metrics").and_then(|_| self.running.first());
        let base = itself.map_or_else(|| self.base.clone(), |instance| format!("http://{}", instance.address()));
        Request(self.client.request(method, base + path))
    }

    pub fn get(&self, path: &str) -> Request {
        self.request(Method::GET, path)
    }

    pub fn post(&self, path: &str, body: &Value) -> Request {
        self.request(Method::POST, path).json(body)
    }

    pub fn put(&self, path: &str, body: &Value) -> Request {
        self.request(Method::PUT, path).json(body)
    }

    pub fn delete(&self, path: &str) -> Request {
        self.request(Method::DELETE, path)
    }

    /// Books a seat for a user.
    pub async fn book(&self, event: u64, person: &Person) -> Answer {
        self.request(Method::POST, &format!("/api/events/{event}/register")).by(person).send().await
    }

    /// Cancels a user's registration.
    pub async fn cancel(&self, event: u64, person: &Person) -> Answer {
        self.delete(&format!("/api/events/{event}/register")).by(person).send().await
    }

    /// Signs up a new user.
    pub async fn new_user(&self) -> Person {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let name = format!("Person {}", COUNTER.fetch_add(1, Ordering::Relaxed));
        let email = format!("{}@example.com", name.to_lowercase().replace(' ', "-"));
        let body = json!({ "name": name, "email": email, "password": PASSWORD });
        self.post("/api/auth/register", &body).send().await.expect(201).person()
    }

    /// Signs up several users, eight at once: on a loaded machine the queue of hashes refuses more.
    pub async fn people(&self, number: usize) -> Vec<Person> {
        let mut people = Vec::with_capacity(number);
        while people.len() < number {
            let some = (number - people.len()).min(8);
            people.extend(join_all((0..some).map(|_| self.new_user())).await);
        }
        people
    }

    /// The admin that the settings name.
    pub async fn admin(&self) -> Person {
        let body = json!({ "email": ADMIN, "password": PASSWORD });
        self.post("/api/auth/login", &body).send().await.expect(200).person()
    }

    /// Signs up a new admin, with an admin's token.
    pub async fn another_admin(&self, admin: &Person) -> Person {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let email = format!("admin-{}@example.com", COUNTER.fetch_add(1, Ordering::Relaxed));
        let body = json!({ "name": "Another", "email": email, "password": PASSWORD, "role": "admin" });
        self.post("/api/auth/register", &body).by(admin).send().await.expect(201).person()
    }

    /// Logs a user in.
    pub async fn log_in(&self, email: &str, password: &str) -> Answer {
        self.post("/api/auth/login", &json!({ "email": email, "password": password })).send().await
    }

    /// Exchanges a refresh token.
    pub async fn refresh(&self, refresh_token: &str) -> Answer {
        self.post("/api/auth/refresh", &json!({ "refresh_token": refresh_token })).send().await
    }

    /// An event with this many seats, in the year after the clock's.
    pub async fn event(&self, admin: &Person, seats: u32) -> u64 {
        self.create(admin, json!({ "total_seats": seats })).await["id"].as_u64().unwrap()
    }

    /// An event with these fields, and default ones for the rest.
    pub async fn create(&self, admin: &Person, fields: Value) -> Value {
        let mut event =
            json!({ "title": "Concert", "date": "2031-05-01T19:30:00Z", "venue": "Opera", "total_seats": 10 });
        for (name, value) in fields.as_object().unwrap() {
            event[name] = value.clone();
        }
        self.post("/api/events", &event).by(admin).send().await.expect(201).json()
    }

    /// The detail of an event.
    pub async fn detail(&self, event: u64) -> Value {
        self.get(&format!("/api/events/{event}")).send().await.expect(200).json()
    }

    /// Sends these bytes as they are, and reads what comes back until the server hangs up: the
    /// request has to ask for that with `Connection: close`, or be broken.
    pub async fn raw(&self, request: impl Into<Vec<u8>>) -> Answer {
        let address = self.base.strip_prefix("http://").expect("an address").to_owned();
        let request = request.into();
        let sent_and_read = tokio::task::spawn_blocking(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            // A server that has refused a request already need not read the rest of it.
            let _ = stream.write_all(&request);
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).unwrap();
            answer
        });
        Answer::parse(&sent_and_read.await.unwrap())
    }

    /// Stops it as SIGTERM does. One that runs elsewhere goes on.
    pub async fn stop(self) {
        join_all(self.running.into_iter().map(Running::stop)).await;
        drop(self.front);
    }
}

/// A request to be sent.
pub struct Request(RequestBuilder);

impl Request {
    /// With the access token of a user.
    #[must_use]
    pub fn by(self, person: &Person) -> Self {
        self.token(&person.token)
    }

    /// With an access token.
    #[must_use]
    pub fn token(self, token: &str) -> Self {
        Self(self.0.bearer_auth(token))
    }

    #[must_use]
    pub fn header(self, name: &str, value: &str) -> Self {
        Self(self.0.header(name, value))
    }

    /// With a header that is no text.
    #[must_use]
    pub fn raw_header(self, name: &str, value: &[u8]) -> Self {
        Self(self.0.header(name, value))
    }

    #[must_use]
    pub fn json(self, body: &Value) -> Self {
        Self(self.0.json(body))
    }

    /// With a body as it is, and its type.
    #[must_use]
    pub fn body(self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self(self.0.header("Content-Type", content_type).body(body.into()))
    }

    pub async fn send(self) -> Answer {
        self.try_send().await.unwrap()
    }

    /// Sends it, to a server that may be killed meanwhile.
    pub async fn try_send(self) -> reqwest::Result<Answer> {
        Answer::try_read(self.0.send().await?).await
    }

    /// The answer, of which only the head was read.
    pub async fn response(self) -> Response {
        self.0.send().await.unwrap()
    }
}

/// An answer, read whole.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    /// Reads an answer to its end.
    pub async fn read(response: Response) -> Self {
        Self::try_read(response).await.unwrap()
    }

    async fn try_read(response: Response) -> reqwest::Result<Self> {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Self { status, headers, body: response.bytes().await?.to_vec() })
    }

    /// An answer with a body of known length, as it stands on the wire.
    fn parse(wire: &[u8]) -> Self {
        let end = wire.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no answer: {:?}", String::from_utf8_lossy(wire)));
        let mut lines = std::str::from_utf8(&wire[..end]).unwrap().split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let mut headers = HeaderMap::new();
        for line in lines {
            let (name, value) = line.split_once(':').unwrap();
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.trim().parse().unwrap());
        }
        Self { status, headers, body: wire[end + 4..].to_vec() }
    }

    /// Reads an answer to its end, or the first chunk of a stream.
    pub async fn begun(mut response: Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        if headers.get("content-type").is_none_or(|kind| kind != "text/event-stream") {
            return Self::read(response).await;
        }
        let body = response.chunk().await.unwrap().expect("a stream begins with something").to_vec();
        Self { status, headers, body }
    }

    /// The answer, if it has this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }

    /// The answer, if it is this problem: its status, its media type and its body have to agree.
    #[track_caller]
    pub fn expect_problem(self, status: u16, code: &str) -> Self {
        let answer = self.expect(status);
        assert_eq!(answer.header("content-type"), "application/problem+json", "{}", answer.text());
        let body = answer.json();
        assert_eq!(body["code"], code, "{body}");
        assert_eq!(body["status"], status, "{body}");
        assert_eq!(body["type"], format!("/problems/{code}"), "{body}");
        assert_eq!(body["request_id"], answer.header("x-request-id"), "{body}");
        assert!(body["title"].is_string() && body["detail"].is_string(), "{body}");
        answer
    }

    /// The wrong fields of a validation problem, with their codes, by name.
    #[track_caller]
    pub fn wrong_fields(&self) -> Vec<(String, String)> {
        let body = self.json();
        let errors = body["errors"].as_array().unwrap_or_else(|| panic!("no errors in {body}"));
        let text = |error: &Value, name: &str| error[name].as_str().unwrap().to_owned();
        errors.iter().map(|error| (text(error, "field"), text(error, "code"))).collect()
    }

    /// A header, empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The user and the tokens in the answer to a sign-up or a log-in.
    #[track_caller]
    pub fn person(&self) -> Person {
        let body = self.json();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Person {
            id: body["user"]["id"].as_u64().unwrap(),
            email: text(&body["user"]["email"]),
            token: text(&body["token"]),
            refresh_token: text(&body["refresh_token"]),
        }
    }
}

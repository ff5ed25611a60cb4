//! Postgres databases, each for one test, and servers that tests can break.

use std::collections::HashSet;
use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use adapter_sql::{Sql, SqlOptions};
use sea_orm::{ConnectionTrait, Statement};
use tempfile::TempDir;
use tokio::runtime;
use tokio::sync::OnceCell;
use tokio::time::sleep;

use super::clock::MovableClock;
use super::disk::Disk;
use super::store::connect_past;
use super::{free_port, provided, signal, signal_if_there, until};

/// A database of the server that `tests/run` started. It is dropped with this value.
#[derive(Debug)]
pub struct PostgresDatabase {
    name: String,
}

impl PostgresDatabase {
    /// A database without any table.
    pub async fn empty() -> Self {
        let database = Self::named();
        database.create("template0").await;
        database
    }

    /// A database with every migration applied, copied from one that was migrated once.
    pub async fn migrated() -> Self {
        let copy = Self::named();
        copy.create(template().await).await;
        // A copy has its original's name; caches would take one for the other.
        execute(&copy.url(), &["UPDATE catalogue SET database_id = gen_random_uuid()"]).await;
        copy
    }

    /// A database without any table whose texts are in another encoding than ours.
    pub async fn encoded_in(encoding: &str) -> Self {
        let database = Self::named();
        database.create(&format!("template0 ENCODING '{encoding}' LOCALE_PROVIDER libc LOCALE 'C'")).await;
        database
    }

    /// How to connect to it.
    pub fn url(&self) -> String {
        url_of(&self.name)
    }

    /// One that is still to be created.
    fn named() -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        databases().in_use += 1;
        Self { name: format!("test_{}_{}", process::id(), COUNTER.fetch_add(1, Ordering::Relaxed)) }
    }

    async fn create(&self, template: &str) {
        administer(&[&format!("CREATE DATABASE {} TEMPLATE {template}", self.name)]).await;
    }
}

impl Drop for PostgresDatabase {
    fn drop(&mut self) {
        let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        let dropping = thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(administer(&[&drop]));
        });
        let mut databases = databases();
        databases.in_use -= 1;
        databases.dropping.push(dropping);
        if databases.in_use == 0 {
            let failed = databases.dropping.drain(..).filter_map(|dropping| dropping.join().err()).count();
            assert!(thread::panicking() || failed == 0, "{failed} databases were not dropped");
        }
    }
}

/// The databases of this process.
struct Databases {
    in_use: usize,
    /// `DROP DATABASE` waits for every connection that is logging in to the server. Such a connection may belong to
    /// the task that drops the database, and a join would block that task for ever. So these threads are joined only
    /// when no database is left to log in to.
    dropping: Vec<JoinHandle<()>>,
}

fn databases() -> MutexGuard<'static, Databases> {
    static DATABASES: Mutex<Databases> = Mutex::new(Databases { in_use: 0, dropping: Vec::new() });
    DATABASES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A Postgres server of its own, for tests that break it. It is gone with this value.
#[derive(Debug)]
pub struct PostgresServer {
    programs: PathBuf,
    /// The account it runs under, which cannot be root.
    account: (u32, u32),
    folder: TempDir,
    disk: Disk,
    port: u16,
    process: Option<Child>,
}

impl PostgresServer {
    /// A server that answers already, whose one database is empty.
    pub async fn start() -> Self {
        let server = Self::without_data().await;
        let mut initdb = server.program("initdb");
        initdb.args(["--username=postgres", "--encoding=UTF8", "--locale=C", "--auth=trust", "--no-sync"]);
        run(initdb.arg("--pgdata").arg(server.data()));
        server.on_a_free_port().await
    }

    /// A hot standby of this server that has caught up with it. It streams until it is [cut off](Self::cut_off).
    pub async fn standby(&self) -> Self {
        let standby = Self::without_data().await;
        let mut copy = standby.program("pg_basebackup");
        copy.args(["--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync"]);
        let primary = format!("host=127.0.0.1 port={} user=postgres application_name=standby", self.port);
        run(copy.args(["--dbname", &primary, "--pgdata"]).arg(standby.data()));
        let standby = standby.on_a_free_port().await;
        standby.has_caught_up_with(self).await;
        standby
    }

    /// Waits until this standby has replayed the primary's log up to now.
    pub async fn has_caught_up_with(&self, primary: &Self) {
        let position = primary.ask("SELECT CAST(pg_current_wal_flush_lsn() AS text)").await;
        let replayed = format!("SELECT CAST(pg_last_wal_replay_lsn() >= '{position}' AS text)");
        until("the standby catches up", async || self.ask(&replayed).await == "true").await;
    }

    /// Ends the standby's replication stream: later commits of the primary never arrive.
    pub async fn cut_off(&self) {
        self.set("primary_conninfo", "").await;
        let streaming = "SELECT CAST(COUNT(*) AS text) FROM pg_stat_wal_receiver";
        until("the stream ends", async || self.ask(streaming).await == "0").await;
    }

    /// Makes this standby a primary, on a new timeline.
    pub async fn promote(&self) {
        run(self.program("pg_ctl").args(["promote", "--wait", "-D"]).arg(self.data()));
        until("the promotion", async || self.ask("SELECT CAST(pg_is_in_recovery() AS text)").await == "false").await;
    }

    /// Sets whether a commit is answered only when a standby has it (`synchronous_standby_names`).
    pub async fn wait_for_standbys(&self, wait: bool) {
        self.set("synchronous_standby_names", if wait { "*" } else { "" }).await;
    }

    /// Changes a setting of the server, for old and new sessions.
    pub async fn set(&self, setting: &str, value: &str) {
        let loaded = self.ask("SELECT CAST(pg_conf_load_time() AS text)").await;
        execute(&self.url(), &[&format!("ALTER SYSTEM SET {setting} = '{value}'"), "SELECT pg_reload_conf()"]).await;
        let load_time = "SELECT CAST(pg_conf_load_time() AS text)";
        until("the settings are read", async || self.ask(load_time).await != loaded).await;
    }

    async fn ask(&self, query: &str) -> String {
        ask(&self.url(), query).await
    }

    /// A `PgBouncer` before this server.
    pub async fn pooler(&self, settings: &str) -> Pooler {
        let (port, ini) = (free_port(), self.folder.path().join(format!("pooler-{}.ini", free_port())));
        let users = self.folder.path().join("users.txt");
        fs::write(&users, "\"postgres\" \"\"\n").unwrap();
        let server = format!("[databases]\npostgres = host=127.0.0.1 port={}\n", self.port);
        let own = format!("[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n");
        let auth = format!("auth_type = trust\nauth_file = {}\n", users.display());
        fs::write(&ini, format!("{server}{own}{auth}{settings}\n")).unwrap();
        // Debian has it in a folder that is not in the PATH of users.
        let debian = Path::new("/usr/sbin/pgbouncer");
        let mut pooler = Command::new(if debian.exists() { debian } else { Path::new("pgbouncer") });
        pooler.arg(&ini).uid(self.account.0).gid(self.account.1).current_dir(self.folder.path());
        let pooler = Pooler { port, process: pooler.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap() };
        until("the pooler listens", async || TcpStream::connect(("127.0.0.1", port)).is_ok()).await;
        pooler
    }

    /// Where it listens: `host:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A place for a server's files, beside those of the server that `tests/run` started.
    async fn without_data() -> Self {
        // Beside the server that `tests/run` started, by its programs and under its account.
        let shared = connect_past(&provided("BOXOFFICE_TEST_POSTGRES_URL")).await;
        let place = "SELECT current_setting('data_directory') AS data, setting AS programs
                     FROM pg_config WHERE name = 'BINDIR'";
        let place = Statement::from_string(shared.get_database_backend(), place);
        let place = shared.query_one_raw(place).await.unwrap().unwrap();
        shared.close().await.unwrap();
        let data = PathBuf::from(place.try_get::<String>("", "data").unwrap());
        let owner = fs::metadata(&data).unwrap();
        let account = (owner.uid(), owner.gid());
        let folder = TempDir::new_in(data.parent().unwrap()).unwrap();
        chown(folder.path(), Some(account.0), Some(account.1)).unwrap();
        let programs = PathBuf::from(place.try_get::<String>("", "programs").unwrap());
        let disk = Disk::below(&folder.path().join("data"), data.parent().unwrap());
        Self { programs, account, folder, disk, port: 0, process: None }
    }

    /// Starts the server, and answers when it takes connections.
    async fn on_a_free_port(mut self) -> Self {
        for _ in 0..10 {
            self.port = free_port();
            if self.launch().await {
                return self;
            }
        }
        panic!("Postgres does not start")
    }

    /// How to connect to it.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Stops every process of the server with SIGSTOP: it keeps its connections and answers nothing.
    pub fn freeze(&self) {
        // The postmaster first, so that it forks no more processes.
        signal(self.id(), "STOP");
        // A list that is read while a process ends may leave others out: read it until it names no new process.
        let mut met = HashSet::new();
        loop {
            let new: Vec<_> = self.backends().into_iter().filter(|id| met.insert(*id)).collect();
            if new.is_empty() {
                return;
            }
            for id in new {
                // A process may have ended since.
                signal_if_there(id, "STOP");
            }
        }
    }

    /// Lets a frozen server go on.
    pub fn thaw(&self) {
        for id in self.backends() {
            signal_if_there(id, "CONT");
        }
        signal(self.id(), "CONT");
    }

    /// Stops the WAL writer, which writes the log in the background: what no commit waits for stays in memory.
    pub fn stop_wal_writer(&self) {
        let is_it =
            |id: &u32| fs::read_to_string(format!("/proc/{id}/cmdline")).is_ok_and(|name| name.contains("walwriter"));
        let writer = self.backends().into_iter().find(is_it).expect("a process that writes the log");
        signal(writer, "STOP");
    }

    /// Leaves no room on the server's disk.
    pub fn fill_disk(&self) {
        self.disk.fill();
    }

    /// Makes room again, and starts the server if the full disk ended it, as an operator does.
    pub async fn clear_disk(&mut self) {
        self.disk.clear();
        if self.process.as_mut().expect("a server").try_wait().unwrap().is_some() {
            self.start_again().await;
        }
    }

    /// Ends the server without a shutdown checkpoint, as a crash would: it has to recover.
    pub fn stop_immediately(&mut self) {
        run(self.program("pg_ctl").args(["stop", "-m", "immediate", "-D"]).arg(self.data()));
        self.process.take().expect("a running server").wait().unwrap();
    }

    /// Starts a stopped server again, on the same port.
    pub async fn start_again(&mut self) {
        assert!(self.launch().await, "Postgres does not start again on port {}", self.port);
    }

    /// Whether the server takes connections; `false` if its process ended, because another process has its port.
    async fn launch(&mut self) -> bool {
        let mut postgres = self.program("postgres");
        postgres.arg("-D").arg(self.data()).args(["-h", "127.0.0.1", "-p", &self.port.to_string()]);
        for setting in ["unix_socket_directories=", "max_connections=60", "fsync=off", "log_min_messages=panic"] {
            postgres.args(["-c", setting]);
        }
        let mut process = postgres.spawn().unwrap();
        // Line 8 is the server's state: `ready`, or `standby` for a standby that can be read from.
        let state = self.data().join("postmaster.pid");
        let answers = |state: String| matches!(state.lines().nth(7).map(str::trim), Some("ready" | "standby"));
        loop {
            if process.try_wait().unwrap().is_some() {
                return false;
            }
            if fs::read_to_string(&state).is_ok_and(answers) {
                self.process = Some(process);
                return true;
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    fn program(&self, name: &str) -> Command {
        let mut program = Command::new(self.programs.join(name));
        program.current_dir(self.folder.path()).uid(self.account.0).gid(self.account.1).envs(self.disk.variables());
        program.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        program
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn id(&self) -> u32 {
        self.process.as_ref().expect("a running server").id()
    }

    /// The processes that the server has made.
    fn backends(&self) -> Vec<u32> {
        let id = self.id();
        let children = Path::new("/proc").join(id.to_string()).join(format!("task/{id}/children"));
        fs::read_to_string(children).unwrap().split_whitespace().map(|id| id.parse().unwrap()).collect()
    }
}

/// A `PgBouncer`. It is gone with this value.
#[derive(Debug)]
pub struct Pooler {
    port: u16,
    process: Child,
}

impl Pooler {
    /// How to connect to the server through it.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.thaw();
            self.stop_immediately();
        }
    }
}

/// Runs a program to its end, which has to be a good one.
fn run(program: &mut Command) {
    let ended = program.stderr(Stdio::piped()).output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
}

/// The migrated database the others are copies of. It stays until the server goes.
async fn template() -> &'static str {
    static TEMPLATE: OnceCell<String> = OnceCell::const_new();
    TEMPLATE
        .get_or_init(|| async {
            let name = format!("template_{}", process::id());
            administer(&[&format!("CREATE DATABASE {name} TEMPLATE template0")]).await;
            let options = SqlOptions::new(url_of(&name), 1);
            let sql = Sql::connect(&options, Arc::new(MovableClock::new())).await.unwrap();
            sql.migrate_up().await.unwrap();
            drop(sql);
            // Postgres cannot copy a database that has connections.
            administer(&[
                &format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false"),
                &format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"),
            ])
            .await;
            name
        })
        .await
}

/// Runs statements that concern databases as a whole.
async fn administer(statements: &[&str]) {
    execute(&provided("BOXOFFICE_TEST_POSTGRES_URL"), statements).await;
}

/// The one text that a query answers, over a connection of its own.
pub async fn ask(url: &str, query: &str) -> String {
    let database = connect_past(url).await;
    let query = Statement::from_string(database.get_database_backend(), query);
    let row = database.query_one_raw(query).await.unwrap().expect("a row");
    let answer = row.try_get_by_index(0).unwrap();
    database.close().await.unwrap();
    answer
}

/// Runs statements one by one, over a connection of their own.
pub async fn execute(url: &str, statements: &[&str]) {
    let database = connect_past(url).await;
    for statement in statements {
        database.execute_unprepared(statement).await.unwrap();
    }
    database.close().await.unwrap();
}

fn url_of(database: &str) -> String {
    let server = provided("BOXOFFICE_TEST_POSTGRES_URL");
    let (server, _) = server.rsplit_once('/').expect("a database in BOXOFFICE_TEST_POSTGRES_URL");
    format!("{server}/{database}")
}

//! Postgres databases, each for one test, and servers to be broken at will.

use std::collections::HashSet;
use std::fs;
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
use super::{free_port, provided, signal, signal_if_there};

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
    /// `DROP DATABASE` waits for everybody who is logging in to the server, and that may be somebody else in the
    /// task that let go of the database. So they are waited for only when no database is left that anybody could
    /// log in to.
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
        let mut server = Self { programs, account, folder, disk, port: 0, process: None };
        let mut initdb = server.program("initdb");
        initdb.args(["--username=postgres", "--encoding=UTF8", "--locale=C", "--auth=trust", "--no-sync"]);
        let made = initdb.arg("--pgdata").arg(server.data()).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        for _ in 0..10 {
            server.port = free_port();
            if server.launch().await {
                return server;
            }
        }
        panic!("Postgres does not start")
    }

    /// How to connect to it.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Stops every process of the server in mid-air: it keeps its connections and answers nothing.
    pub fn freeze(&self) {
        // The one that makes the others first.
        signal(self.id(), "STOP");
        // A list that is read while somebody in it ends may leave others out: it is read until it has nobody new.
        let mut met = HashSet::new();
        loop {
            let new: Vec<_> = self.backends().into_iter().filter(|id| met.insert(*id)).collect();
            if new.is_empty() {
                return;
            }
            for id in new {
                // One may be about to end.
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

    /// Stops the process that writes the log down in the background: what no commit waits for stays in memory.
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

    /// Makes room again, and starts the server if it did not outlive the want of it, as an operator does.
    pub async fn clear_disk(&mut self) {
        self.disk.clear();
        if self.process.as_mut().expect("a server").try_wait().unwrap().is_some() {
            self.start_again().await;
        }
    }

    /// Ends the server without a word to anybody, as a crash would: it has to recover.
    pub fn stop_immediately(&mut self) {
        let mut stop = self.program("pg_ctl");
        let stopped = stop.args(["stop", "-m", "immediate", "-D"]).arg(self.data()).output().unwrap();
        assert!(stopped.status.success(), "{}", String::from_utf8_lossy(&stopped.stderr));
        self.process.take().expect("a running server").wait().unwrap();
    }

    /// Starts a stopped server again, on the same port.
    pub async fn start_again(&mut self) {
        assert!(self.launch().await, "Postgres does not start again on port {}", self.port);
    }

    /// Whether the server takes connections; `false` if its process ended, because somebody has its port.
    async fn launch(&mut self) -> bool {
        let mut postgres = self.program("postgres");
        postgres.arg("-D").arg(self.data()).args(["-h", "127.0.0.1", "-p", &self.port.to_string()]);
        for setting in ["unix_socket_directories=", "max_connections=60", "fsync=off", "log_min_messages=panic"] {
            postgres.args(["-c", setting]);
        }
        let mut process = postgres.spawn().unwrap();
        // Line 8 is the server's state.
        let state = self.data().join("postmaster.pid");
        loop {
            if process.try_wait().unwrap().is_some() {
                return false;
            }
            if fs::read_to_string(&state).is_ok_and(|state| state.lines().nth(7).is_some_and(|it| it.trim() == "ready"))
            {
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

impl Drop for PostgresServer {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.thaw();
            self.stop_immediately();
        }
    }
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
            // A database somebody is connected to cannot be copied.
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

async fn execute(url: &str, statements: &[&str]) {
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

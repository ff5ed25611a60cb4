//! The program as users have it: a process of its own, to be killed.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::server::Instance;
use super::{free_port, signal, until};

/// A process that serves, on a port it keeps when it is started again. It is killed with this value.
pub struct Program {
    settings: BTreeMap<String, String>,
    directory: PathBuf,
    process: Child,
    log: Arc<Mutex<String>>,
}

impl Program {
    /// A process with these settings that accepts connections already.
    pub async fn start(settings: &BTreeMap<String, String>, directory: &Path) -> Self {
        let mut settings = settings.clone();
        settings.entry("RUST_LOG".to_owned()).or_insert_with(|| "info,access=off".to_owned());
        for _ in 0..10 {
            settings.insert("PORT".to_owned(), free_port().to_string());
            let (process, log) = launch(&settings, directory).await;
            let mut program = Self { settings: settings.clone(), directory: directory.to_owned(), process, log };
            if program.listens().await {
                return program;
            }
            assert!(program.log().contains("cannot listen"), "{}", program.log());
        }
        panic!("no port is free")
    }

    /// A client of it.
    pub fn instance(&self) -> Instance {
        Instance::at(format!("http://127.0.0.1:{}", self.settings["PORT"]))
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Its resident memory.
    pub fn resident_kib(&self) -> u64 {
        resident_kib(&self.id().to_string())
    }

    /// Ends it at this instant, as a power cut would.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts it again after its end.
    pub async fn start_again(&mut self) {
        (self.process, self.log) = launch(&self.settings, &self.directory).await;
        assert!(self.listens().await, "{}", self.log());
    }

    /// Asks it to stop, as an operator does.
    pub fn terminate(&self) {
        signal(self.id(), "TERM");
    }

    /// How it ended, if it did within this time.
    pub async fn ended(&mut self, within: Duration) -> Option<ExitStatus> {
        let asked = Instant::now();
        while asked.elapsed() < within {
            if let Some(status) = self.process.try_wait().unwrap() {
                return Some(status);
            }
            sleep(Duration::from_millis(5)).await;
        }
        None
    }

    /// Its log until now.
    pub fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until it accepts connections; `false` if it has ended instead.
    async fn listens(&mut self) -> bool {
        let mut ended = false;
        until("the program serves", async || {
            ended = self.process.try_wait().unwrap().is_some();
            ended || self.log().contains("serving http://")
        })
        .await;
        !ended
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if self.process.try_wait().unwrap().is_none() {
            self.kill();
        }
        if thread::panicking() {
            eprintln!("the program's log:\n{}", self.log());
        }
    }
}

/// The resident memory of a process, or of `self`.
pub fn resident_kib(process: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Runs a command of the program to its end.
pub async fn run(settings: &BTreeMap<String, String>, directory: &Path, command: &[&str]) -> Output {
    let mut process = Command::new(built().await);
    process.args(command).env_clear().envs(settings).current_dir(directory).stdin(Stdio::null());
    spawn_blocking(move || process.output().expect("the program can be started")).await.unwrap()
}

async fn launch(settings: &BTreeMap<String, String>, directory: &Path) -> (Child, Arc<Mutex<String>>) {
    let mut process = Command::new(built().await)
        .env_clear()
        .envs(settings)
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program can be started");
    let log = Arc::<Mutex<String>>::default();
    let said = process.stderr.take().unwrap();
    let kept = Arc::clone(&log);
    thread::spawn(move || keep(said, &kept));
    (process, log)
}

/// Keeps the lines of the process's log until its end.
fn keep(said: ChildStderr, log: &Mutex<String>) {
    for line in BufReader::new(said).lines().map_while(Result::ok) {
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        log.push_str(&line);
        log.push('\n');
    }
}

/// The program, built from the present sources: cargo builds it only for the tests of its own package.
pub async fn built() -> &'static Path {
    static BUILT: OnceCell<PathBuf> = OnceCell::const_new();
    BUILT
        .get_or_init(|| async {
            let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
            cargo.args(["build", "--quiet", "--workspace", "--locked", "--bin", "boxoffice"]);
            cargo.args((!cfg!(debug_assertions)).then_some("--release"));
            // Cargo sets these variables for the tests' own package. If they change, it rebuilds some dependencies and
            // all that depends on them: here, and again when it builds the tests the next time.
            let of_these_tests = |name: &OsString| {
                ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|it| name.to_string_lossy().starts_with(it))
            };
            for (name, _) in env::vars_os().filter(|(name, _)| of_these_tests(name)) {
                cargo.env_remove(name);
            }
            // Of these tests alone as well: see tests/timed.
            cargo.env_remove("RUSTC_BOOTSTRAP");
            let made = spawn_blocking(move || cargo.output().unwrap()).await.unwrap();
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
            let tests = env::current_exe().unwrap();
            // This binary is in `deps`, beside the program.
            tests.parent().and_then(Path::parent).unwrap().join("boxoffice")
        })
        .await
}

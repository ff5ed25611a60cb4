//! A disk that can be full, without the right to mount one.
//!
//! A library (`disk.c`) is preloaded into a server with `LD_PRELOAD`. It refuses what a file system
//! without a free block refuses, with the same error. So a test fills the disk at any instant, under
//! any account and inside any container.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// The disk of a folder, for processes with the [variables](Self::variables) of this disk.
#[derive(Debug)]
pub struct Disk {
    holds: PathBuf,
    tools: TempDir,
}

impl Disk {
    /// A disk with room. Its library is made in `beside`, which the account of the processes can reach.
    pub fn below(holds: &Path, beside: &Path) -> Self {
        let tools = TempDir::new_in(beside).unwrap();
        fs::set_permissions(tools.path(), Permissions::from_mode(0o755)).unwrap();
        let disk = Self { holds: holds.to_owned(), tools };
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("suite/harness/disk.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", "-o"]).arg(disk.library());
        let made = compiler.arg(source).arg("-ldl").output().expect("a C compiler, as Rust needs for linking");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        disk
    }

    /// The environment of a process on this disk.
    pub fn variables(&self) -> [(&'static str, PathBuf); 3] {
        [("LD_PRELOAD", self.library()), ("DISK_FOLDER", self.holds.clone()), ("DISK_FULL", self.mark())]
    }

    /// From now on no file can grow.
    pub fn fill(&self) {
        File::create(self.mark()).unwrap();
    }

    /// From now on files can grow again.
    pub fn clear(&self) {
        fs::remove_file(self.mark()).unwrap();
    }

    fn library(&self) -> PathBuf {
        self.tools.path().join("disk.so")
    }

    fn mark(&self) -> PathBuf {
        self.tools.path().join("full")
    }
}

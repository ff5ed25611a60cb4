//! The folder of the embedded database: it has to take files before anything is asked of `SQLite`, whose own words
//! name neither the folder nor the cause.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::Path;

use anyhow::{Context, bail};

use crate::secret_file::random_suffix;

/// Makes the folder of this database file if there is none, and proves that both can be written to.
pub(crate) fn prepare(database: &Path) -> anyhow::Result<()> {
    let folder = match database.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let shown = folder.display();
    fs::create_dir_all(folder).with_context(|| format!("DATABASE_URL: the folder {shown} cannot be made"))?;
    if database.is_dir() {
        bail!("DATABASE_URL: {} is a folder: name a file in it", database.display());
    }
    try_to_write(folder).with_context(|| format!("DATABASE_URL: the folder {shown} cannot be written to"))?;
    match OpenOptions::new().append(true).open(database) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("DATABASE_URL: the file {} cannot be written to", database.display()))
        }
        _ => Ok(()),
    }
}

/// `SQLite` makes files of its own beside the database's.
fn try_to_write(folder: &Path) -> io::Result<()> {
    let probe = folder.join(format!(".boxoffice.{}", random_suffix()?));
    OpenOptions::new().write(true).create_new(true).open(&probe)?;
    fs::remove_file(probe)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(database: &Path) -> String {
        format!("{:#}", prepare(database).unwrap_err())
    }

    #[test]
    fn a_folder_is_made_at_need_and_left_empty() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("a/b");
        prepare(&folder.join("box.db")).unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        fs::write(folder.join("box.db"), "kept").unwrap();
        prepare(&folder.join("box.db")).unwrap();
        assert_eq!(fs::read_to_string(folder.join("box.db")).unwrap(), "kept");
    }

    #[test]
    fn an_unwritable_path_is_named_with_the_cause() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path().display().to_string();
        fs::write(format!("{home}/data"), "a file").unwrap();
        assert_eq!(
            refusal(Path::new(&format!("{home}/data/box.db"))),
            format!("DATABASE_URL: the folder {home}/data cannot be made: File exists (os error 17)")
        );
        let told = refusal(Path::new(&home));
        assert_eq!(told, format!("DATABASE_URL: {home} is a folder: name a file in it"));
        // The kernel's own folder takes no file, not even from root.
        if cfg!(target_os = "linux") {
            let told = refusal(Path::new("/proc/box.db"));
            assert!(told.starts_with("DATABASE_URL: the folder /proc cannot be written to: "), "{told}");
            let told = refusal(Path::new("/proc/none/box.db"));
            assert!(told.starts_with("DATABASE_URL: the folder /proc/none cannot be made: "), "{told}");
        }
    }
}

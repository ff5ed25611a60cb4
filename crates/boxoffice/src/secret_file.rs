//! A signing secret for those who have configured none: made once, kept in a file.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use data_encoding::HEXLOWER;
use secrecy::{ExposeSecret, SecretString};

/// The least length of a signing secret: that of the hash it keys.
pub(crate) const MIN_SECRET_BYTES: usize = 32;

/// Where the secret of this database is kept: beside its file.
pub(crate) fn beside(database: &Path) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(".jwt-secret");
    path.into()
}

/// The secret in this file; if there is no file, a fresh one that is there from now on. Processes
/// that start together end up with the same.
pub(crate) fn read_or_make(path: &Path) -> anyhow::Result<SecretString> {
    let secret = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            keep(path, &random_secret()?).with_context(|| format!("cannot keep a JWT_SECRET in {}", path.display()))?;
            fs::read_to_string(path)
        }
        read => read,
    };
    let secret = secret.with_context(|| format!("cannot read the JWT_SECRET kept in {}", path.display()))?;
    let secret = secret.trim_end();
    if secret.len() < MIN_SECRET_BYTES {
        bail!("the JWT_SECRET kept in {} is too short: remove the file to have a new one made", path.display());
    }
    Ok(secret.into())
}

/// A new secret: 256 random bits, in hexadecimal.
pub(crate) fn random_secret() -> anyhow::Result<SecretString> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).context("the system has no random numbers")?;
    Ok(HEXLOWER.encode(&bytes).into())
}

/// Makes the file appear with its whole content, for its owner alone, unless it is there already:
/// a link to a complete file either succeeds or finds another's.
fn keep(path: &Path, secret: &SecretString) -> io::Result<()> {
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        fs::create_dir_all(directory)?;
    }
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}", random_suffix()?));
    let draft = PathBuf::from(draft);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    let linked = writeln!(file, "{}", secret.expose_secret())
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::hard_link(&draft, path));
    fs::remove_file(&draft)?;
    match linked {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    }
}

pub(crate) fn random_suffix() -> io::Result<String> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(format!("{:016x}", u64::from_ne_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::thread;

    use super::*;

    #[test]
    fn a_secret_is_made_once_for_its_owner_alone() {
        let home = tempfile::tempdir().unwrap();
        let path = beside(&home.path().join("data/boxoffice.db"));
        let made = read_or_make(&path).unwrap();
        assert_eq!(made.expose_secret().len(), 64);
        assert_eq!(read_or_make(&path).unwrap().expose_secret(), made.expose_secret());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn processes_that_start_together_share_one_secret() {
        let home = tempfile::tempdir().unwrap();
        let path = beside(&home.path().join("boxoffice.db"));
        let secrets: Vec<_> = thread::scope(|scope| {
            let starts: Vec<_> = (0..16).map(|_| scope.spawn(|| read_or_make(&path).unwrap())).collect();
            starts.into_iter().map(|start| start.join().unwrap()).collect()
        });
        assert!(secrets.iter().all(|secret| secret.expose_secret() == secrets[0].expose_secret()));
    }

    #[test]
    fn a_file_that_holds_no_secret_is_told() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("secret");
        fs::write(&path, "short\n").unwrap();
        assert!(read_or_make(&path).unwrap_err().to_string().contains("too short"));
    }
}

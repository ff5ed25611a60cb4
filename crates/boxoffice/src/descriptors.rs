//! The number of files and connections the process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::settings::Settings;

/// Files, database and Redis connections, and clients who do not stream.
const BESIDES_STREAMS: u64 = 1024;

/// Raises the limit to what the settings ask for; where the system does not let us, says so.
pub(crate) fn make_room(settings: &Settings) {
    let needed =
        u64::from(settings.http.live_max_connections) + u64::from(settings.database.pool_size) + BESIDES_STREAMS;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= needed) {
        return;
    }
    let allowed = maximum.map_or(needed, |maximum| maximum.min(needed));
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(allowed), maximum });
    let reached = if raised.is_ok() { Some(allowed) } else { current };
    if reached.is_some_and(|reached| reached < needed) {
        tracing::warn!(
            limit = reached,
            needed,
            "the limit of open files is too low for LIVE_MAX_CONNECTIONS: raise it (ulimit -Hn) or lower the setting"
        );
    }
}

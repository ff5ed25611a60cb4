//! nginx in front of the instances, as `deploy/` has it: with `BOXOFFICE_TEST_FRONT=nginx`, whoever talks to a site
//! talks to the real configuration, and on the full stack to two instances behind it.

use std::env;
use std::fs::{self, Permissions};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::time::sleep;

use super::{free_port, signal};

/// Stories that are told to an instance itself in any case, and why: the ends of their names.
const TOLD_DIRECTLY: [(&str, &str); 12] = [
    ("only_the_bearer_scheme_proves_anything", "two headers of one name, of which one may be, are nginx's own 400"),
    ("what_is_no_id_names_nothing", "NUL in an address is nginx's own 400"),
    ("an_address_that_names_nothing_is_not_found", "the same"),
    ("another_method_is_told_which_there_are", "TRACE is nginx's own 405, whatever the address"),
    ("every_answer_has_an_id_and_the_security_headers_and_names_no_server", "nginx cannot help naming itself"),
    ("an_address_that_speaks_websocket_says_so_to_who_does_not", "Connection is each hop's own header"),
    ("a_reader_who_stops_reading_gets_the_newest_states_and_makes_no_queue", "nginx and its two sockets hold a queue"),
    ("no_request_hides_in_another", "what frames no request is nginx's own 400, 413 or 501"),
    ("heads_have_an_end", "nginx has limits of its own: 400 and 414 where we say 431"),
    ("a_port_of_their_own_tells_operators_everything_and_has_nothing_else", "nginx leads nobody to that port"),
    ("operators_are_answered_while_the_database_is_away_and_everybody_else_waits", "the same"),
    ("full::both_kinds_together_are_bounded_and_whoever_leaves_makes_room", "each instance has its own bound"),
];

/// An nginx, stopped with this value.
#[derive(Debug)]
pub struct Front {
    base: String,
    process: Child,
    folder: TempDir,
}

/// Whether the test that runs in this thread talks to nginx.
pub fn is_wanted() -> bool {
    match env::var("BOXOFFICE_TEST_FRONT") {
        Err(_) => false,
        Ok(front) => {
            assert_eq!(front, "nginx", "BOXOFFICE_TEST_FRONT");
            let test = thread::current();
            let name = test.name().unwrap_or_default();
            !TOLD_DIRECTLY.iter().any(|(story, _)| name.ends_with(story))
        }
    }
}

impl Front {
    /// An nginx that takes connections already.
    pub async fn before(instances: &[SocketAddr]) -> Self {
        let folder = TempDir::new().unwrap();
        // nginx's workers have an account of their own when root starts it.
        fs::set_permissions(folder.path(), Permissions::from_mode(0o711)).unwrap();
        let write = |name: &str, text: String| fs::write(folder.path().join(name), text).unwrap();
        let deployed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/nginx/nginx.conf");
        write("nginx.conf", fs::read_to_string(deployed).unwrap());
        let servers = instances.iter().map(|instance| format!("server {instance} max_fails=1 fail_timeout=2s;\n"));
        write("instances.conf", servers.collect());
        for _ in 0..10 {
            let port = free_port();
            write("listen.conf", format!("listen 127.0.0.1:{port};\n"));
            let mut process = launch(folder.path());
            let begun = Instant::now();
            // It ends if somebody else has the port.
            while process.try_wait().unwrap().is_none() {
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return Self { base: format!("http://127.0.0.1:{port}"), process, folder };
                }
                assert!(begun.elapsed() < Duration::from_secs(10), "nginx does not listen");
                sleep(Duration::from_millis(5)).await;
            }
        }
        panic!("nginx does not start: {}", fs::read_to_string(folder.path().join("error.log")).unwrap())
    }

    /// Where it listens: `http://127.0.0.1:port`.
    pub fn base(&self) -> &str {
        &self.base
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        if self.process.try_wait().unwrap().is_none() {
            // Its workers end with it; killed, it would leave them behind.
            signal(self.process.id(), "TERM");
            self.process.wait().unwrap();
        }
        if thread::panicking() {
            eprintln!("nginx said: {}", fs::read_to_string(self.folder.path().join("error.log")).unwrap_or_default());
        }
    }
}

fn launch(folder: &Path) -> Child {
    let log = fs::File::create(folder.join("error.log")).unwrap();
    // Debian keeps it off the PATH of people.
    let path = format!("{}:/usr/sbin", env::var("PATH").unwrap_or_default());
    Command::new("nginx")
        .env("PATH", path)
        .args(["-e", "stderr", "-g", "daemon off;", "-p"])
        .arg(folder)
        .arg("-c")
        .arg(folder.join("nginx.conf"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("nginx can be started")
}

#[test]
fn every_story_that_is_told_directly_exists() {
    let suite = Path::new(env!("CARGO_MANIFEST_DIR")).join("suite");
    let files = ["stories", "."].iter().flat_map(|folder| fs::read_dir(suite.join(folder)).unwrap());
    let told: String = files
        .map(|file| file.unwrap().path())
        .filter(|file| file.extension().is_some_and(|extension| extension == "rs"))
        .map(|file| fs::read_to_string(file).unwrap())
        .collect();
    for (story, _) in TOLD_DIRECTLY {
        let story = story.trim_start_matches("full::");
        assert!(told.contains(&format!("async fn {story}(")), "{story}");
    }
}

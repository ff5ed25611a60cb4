//! nginx in front of the instances, as `deploy/` has it: with `BOXOFFICE_TEST_FRONT=nginx`, the clients of a site
//! connect to nginx with the deployed configuration, and on the full stack to two instances behind it.

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

/// Stories whose clients connect to the instance itself even then, by the end of the test's name, and the reason.
const TOLD_DIRECTLY: [(&str, &str); 14] = [
    ("only_the_bearer_scheme_authenticates", "two headers of one name, of which one may be, are nginx's own 400"),
    ("an_invalid_id_is_not_found", "NUL in an address is nginx's own 400"),
    ("an_address_that_names_nothing_is_not_found", "the same"),
    ("another_method_is_refused_with_the_allowed_ones", "TRACE is nginx's own 405, whatever the address"),
    ("every_answer_has_an_id_and_the_security_headers_and_names_no_server", "nginx cannot help naming itself"),
    ("a_request_to_the_socket_without_an_upgrade_is_refused", "Connection is each hop's own header"),
    ("a_connection_is_kept_until_its_instance_stops", "the same"),
    ("a_client_of_http_1_0_gets_no_socket", "nginx asks an instance in HTTP/1.1 whatever its client spoke"),
    ("a_reader_who_stops_reading_gets_the_newest_states_and_makes_no_queue", "nginx and its two sockets hold a queue"),
    ("no_request_hides_in_another", "what frames no request is nginx's own 400, 413 or 501"),
    ("heads_have_an_end", "nginx has limits of its own: 400 and 414 where we say 431"),
    ("the_admin_port_serves_health_and_metrics_and_no_api", "nginx does not proxy that port"),
    ("operators_are_answered_while_requests_wait_for_the_database", "the same"),
    ("full::streams_and_sockets_share_one_limit_and_closing_frees_a_place", "each instance has its own bound"),
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
            // nginx exits if another process has the port.
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

/// The text of every source file in a folder and its folders.
fn sources(folder: &Path) -> String {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths
        .map(|path| match path.extension() {
            _ if path.is_dir() => sources(&path),
            Some(extension) if extension == "rs" => fs::read_to_string(&path).unwrap(),
            _ => String::new(),
        })
        .collect()
}

#[test]
fn every_story_that_is_told_directly_exists() {
    let suite = Path::new(env!("CARGO_MANIFEST_DIR")).join("suite");
    let told = sources(&suite);
    for (story, _) in TOLD_DIRECTLY {
        let story = story.trim_start_matches("full::");
        assert!(told.contains(&format!("async fn {story}(")), "{story}");
    }
}

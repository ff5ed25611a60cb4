//! A window of a real browser: headless Chromium, driven through `chromedriver`.

use std::future::Future;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Weak};
use std::time::Duration;
use std::{fs, thread};

use fantoccini::actions::{InputSource, KeyAction, KeyActions};
use fantoccini::elements::Element;
use fantoccini::error::CmdError;
use fantoccini::key::Key;
use fantoccini::wd::WindowHandle;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio::sync::Mutex;

use crate::harness::server::Instance;
use crate::harness::{provided, until};

/// The time zone of the browser.
const TIME_ZONE: &str = "Europe/Amsterdam";

/// A window with a new profile: no user is signed in, and the storage is empty.
pub struct Window {
    driver: Client,
    /// The session of the `WebDriver`, for commands that only Chromium has.
    session: String,
    _chromedriver: Arc<Chromedriver>,
}

impl Window {
    /// Opens a window on a page of an instance.
    pub async fn open(api: &Instance, path: &str) -> Self {
        Self::open_with(api, path, "").await
    }

    /// The same, with a script that runs in each page that it loads, before the page's own.
    pub async fn open_with(api: &Instance, path: &str, script: &str) -> Self {
        let chromedriver = Chromedriver::shared().await;
        let address = format!("http://127.0.0.1:{}", chromedriver.port);
        let mut arguments = vec!["--headless=new", "--disable-dev-shm-usage", "--disable-gpu"];
        if rustix::process::geteuid().is_root() {
            arguments.push("--no-sandbox");
        }
        let wanted: Map<_, _> = [
            ("goog:chromeOptions", json!({ "args": arguments, "prefs": { "intl.accept_languages": "en-GB" } })),
            ("goog:loggingPrefs", json!({ "browser": "ALL" })),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into_iter()
        .collect();
        let driver = ClientBuilder::new(HttpConnector::new()).capabilities(wanted).connect(&address).await.unwrap();
        let session = format!("{address}/session/{}", driver.session_id().await.unwrap().unwrap());
        let window = Self { driver, session, _chromedriver: chromedriver };
        window.look(1280, 900, "light").await;
        window.run_first(script).await;
        window.go(&format!("{}{path}", api.base())).await;
        window
    }

    /// Opens another tab of this browser on the page, and answers both: the one before and the new one.
    pub async fn open_tab(&self, api: &Instance, script: &str) -> [WindowHandle; 2] {
        let before = self.driver.window().await.unwrap();
        let tab = self.driver.new_window(true).await.unwrap().handle;
        self.switch_to(&tab).await;
        self.look(1280, 900, "light").await;
        self.run_first(script).await;
        self.go(&format!("{}/", api.base())).await;
        [before, tab]
    }

    /// Goes to a tab of this browser.
    pub async fn switch_to(&self, tab: &WindowHandle) {
        self.driver.switch_to_window(tab.clone()).await.unwrap();
    }

    async fn run_first(&self, script: &str) {
        // In a block of its own, so that its names are not the page's.
        let source = json!({ "source": format!("{{ {script} }}") });
        self.ask_devtools("Page.addScriptToEvaluateOnNewDocument", source).await;
    }

    /// Goes to the page before, as the browser's button does.
    pub async fn back(&self) {
        self.driver.back().await.unwrap();
    }

    /// Loads the page again.
    pub async fn reload(&self) {
        self.driver.refresh().await.unwrap();
    }

    /// Goes to an address.
    pub async fn go(&self, url: &str) {
        self.driver.goto(url).await.unwrap();
    }

    /// Sets the window's size and the preferred colour scheme.
    pub async fn look(&self, width: u32, height: u32, scheme: &str) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        let feature = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        for (command, parameters) in
            [("Emulation.setDeviceMetricsOverride", size), ("Emulation.setEmulatedMedia", feature)]
        {
            self.ask_devtools(command, parameters).await;
        }
    }

    /// The first element of a CSS selector that can be seen, as soon as there is one.
    pub async fn find(&self, selector: &str) -> Element {
        self.seen(selector, async || {
            for element in self.driver.find_all(Locator::Css(selector)).await? {
                if element.is_displayed().await? {
                    return Ok(Some(element));
                }
            }
            Ok(None)
        })
        .await
    }

    /// Clicks on the element of a CSS selector, as soon as it can be clicked on.
    pub async fn click(&self, selector: &str) {
        self.seen(selector, async || self.find(selector).await.click().await.map(Some)).await;
    }

    /// Clicks on the button of this name, as a screen reader says it.
    pub async fn press_button(&self, name: &str) {
        self.click(&format!("button[aria-label=\"{name}\"]")).await;
    }

    /// Types into an empty field, or over what is in it.
    pub async fn fill(&self, selector: &str, text: &str) {
        let field = self.find(selector).await;
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    /// Sets a field of a date and time, whose keys depend on the browser's language.
    pub async fn set(&self, selector: &str, value: &str) {
        let field = self.find(selector).await;
        let arguments = vec![serde_json::to_value(field).unwrap(), json!(value)];
        self.driver.execute("arguments[0].value = arguments[1]", arguments).await.unwrap();
    }

    /// Types, wherever the focus is.
    pub async fn keys(&self, text: &str) {
        let keys = text.chars().flat_map(|value| [KeyAction::Down { value }, KeyAction::Up { value }]);
        let typed = keys.fold(KeyActions::new("keyboard".to_owned()), KeyActions::then);
        self.driver.perform_actions(typed).await.unwrap();
    }

    /// Presses a key that stands for no letter.
    pub async fn press(&self, key: Key) {
        self.keys(&(key + "")).await;
    }

    /// Presses the tabulator until the focus is on the element of this name; answers how often.
    pub async fn tab_to(&self, name: &str) -> usize {
        for presses in 1..100 {
            self.press(Key::Tab).await;
            if self.focus().await == name {
                return presses;
            }
        }
        panic!("the focus never comes to {name:?}");
    }

    /// The accessible name of the element with the focus.
    pub async fn focus(&self) -> String {
        let name = "const at = document.activeElement; \
                    return at.ariaLabel ?? at.labels?.[0]?.innerText ?? at.innerText ?? '';";
        self.eval(name).await.as_str().unwrap().trim().to_owned()
    }

    /// Waits until the element of a CSS selector can be seen and has this text.
    pub async fn reads(&self, selector: &str, text: &str) {
        self.seen(&format!("{text:?} in {selector}"), async || {
            Ok(self.find(selector).await.text().await?.contains(text).then_some(()))
        })
        .await;
    }

    /// Waits until nothing that a CSS selector names can be seen.
    pub async fn vanishes(&self, selector: &str) {
        self.seen(&format!("no {selector}"), async || {
            for element in self.driver.find_all(Locator::Css(selector)).await? {
                if element.is_displayed().await? {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        })
        .await;
    }

    /// Waits until the event of this title has seats like that: `9 of 10 free`.
    pub async fn counts(&self, title: &str, seats: &str) {
        let row = format!("//li[.//h2[. = \"{title}\"]]//*[@class = 'seats']");
        self.seen(&format!("{title}: {seats}"), async || {
            Ok((self.driver.find(Locator::XPath(&row)).await?.text().await? == seats).then_some(()))
        })
        .await;
    }

    /// Waits until a script answers this.
    pub async fn settles(&self, script: &str, wanted: Value) {
        self.seen(&format!("{wanted} from {script}"), async || {
            Ok((self.driver.execute(script, Vec::new()).await? == wanted).then_some(()))
        })
        .await;
    }

    /// The result of a script.
    pub async fn eval(&self, script: &str) -> Value {
        self.driver.execute(script, Vec::new()).await.unwrap()
    }

    /// Keeps pictures of our page as it is. On the smallest telephone nothing may stick out, and
    /// axe may find nothing that keeps a person from reading or using it.
    pub async fn picture(&self, name: &str) {
        self.picture_as_it_is(name).await;
        for (width, height, scheme) in [(320, 640, "light"), (1280, 900, "dark"), (1280, 900, "light")] {
            self.look(width, height, scheme).await;
            self.stillness().await;
            let wide = "return [document.documentElement, ...document.querySelectorAll('dialog[open]')]
                            .filter((box) => box.scrollWidth > box.clientWidth).length";
            assert_eq!(self.eval(wide).await, 0, "{name} is wider than {width} px");
            let found = self.violations().await;
            assert_eq!(found, json!([]), "{name} at {width} px, {scheme}: {found:#}");
        }
    }

    /// The rules of axe that the page breaks as it is, each with the elements that do.
    async fn violations(&self) -> Value {
        if self.eval("return window.axe === undefined").await == true {
            let axe = fs::read_to_string(provided("BOXOFFICE_TEST_AXE")).expect("axe is where `tests/run` says");
            self.evaluate(&format!("{axe}; null")).await;
        }
        let found = self.evaluate(
            "axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) => violations.map(
                 ({ id, nodes }) => [id, ...nodes.map(({ html, failureSummary }) => [html, failureSummary])]))",
        );
        found.await
    }

    /// The value of an expression, once it is there. The page's policy holds for none of it.
    async fn evaluate(&self, expression: &str) -> Value {
        let asked = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let mut answer = self.ask_devtools("Runtime.evaluate", asked).await;
        assert_eq!(answer["exceptionDetails"], Value::Null, "{answer:#}");
        answer["result"]["value"].take()
    }

    /// Waits until all animations have ended.
    async fn stillness(&self) {
        let still = "document.getAnimations().every(({ playState }) => playState !== 'running')";
        until("stillness", async || self.eval(&format!("return {still}")).await == json!(true)).await;
    }

    /// Keeps pictures of any page: wide and narrow, light and dark.
    pub async fn picture_as_it_is(&self, name: &str) {
        // Beside cargo's folder for temporary files, so that the pictures outlive the run.
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("screenshots");
        fs::create_dir_all(&folder).unwrap();
        for (kind, width, height, scheme) in [
            ("phone", 390, 844, "light"),
            ("phone-dark", 390, 844, "dark"),
            ("dark", 1280, 900, "dark"),
            ("wide", 1280, 900, "light"),
        ] {
            self.look(width, height, scheme).await;
            self.stillness().await;
            let picture = self.driver.screenshot().await.unwrap();
            fs::write(folder.join(format!("{name}-{kind}.png")), picture).unwrap();
        }
    }

    /// Closes the window. Fails if the page broke its own policy, or if the console has other lines than
    /// refusals of the server.
    pub async fn close(self) {
        self.close_but_for(|said| said.contains("status of 4")).await;
    }

    /// The same, but also accepts the console's errors of a server that was away.
    pub async fn close_after_trouble(self) {
        self.close_but_for(|said| said.contains("net::ERR_") || said.contains("503")).await;
    }

    async fn close_but_for(self, expected: impl Fn(&str) -> bool) {
        let said = self.ask_chromium("se/log", json!({ "type": "browser" })).await;
        let entries = said.as_array().expect("a list of lines");
        let wrong: Vec<_> =
            entries.iter().filter(|entry| !expected(entry["message"].as_str().unwrap_or_default())).collect();
        self.driver.close().await.unwrap();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    /// A command of the protocol that Chromium's own tools speak.
    async fn ask_devtools(&self, command: &str, parameters: Value) -> Value {
        self.ask_chromium("goog/cdp/execute", json!({ "cmd": command, "params": parameters })).await
    }

    /// A command that only Chromium's driver has.
    async fn ask_chromium(&self, command: &str, body: Value) -> Value {
        let request = reqwest::Client::new().post(format!("{}/{command}", self.session)).json(&body);
        let answer = request.send().await.unwrap().error_for_status().unwrap();
        answer.json::<Value>().await.unwrap()["value"].take()
    }

    /// Polls until there is a result. It looks again for elements that the page replaced.
    async fn seen<T, F: Future<Output = Result<Option<T>, CmdError>>>(&self, what: &str, look: impl Fn() -> F) -> T {
        let mut found = None;
        until(what, async || {
            found = look().await.ok().flatten();
            found.is_some()
        })
        .await;
        found.unwrap()
    }
}

/// The chromedriver process, which all running tests share.
struct Chromedriver {
    process: Child,
    port: u16,
    /// The folder for temporary files that it and its browsers leave.
    _scratch: TempDir,
}

impl Chromedriver {
    /// The running one, or a new one.
    async fn shared() -> Arc<Self> {
        static RUNNING: Mutex<Weak<Chromedriver>> = Mutex::const_new(Weak::new());
        let mut running = RUNNING.lock().await;
        if let Some(chromedriver) = running.upgrade() {
            return chromedriver;
        }
        let chromedriver = Arc::new(Self::start());
        *running = Arc::downgrade(&chromedriver);
        chromedriver
    }

    fn start() -> Self {
        let scratch = TempDir::new().unwrap();
        let mut process = Command::new("chromedriver")
            .arg("--port=0")
            .env("TZ", TIME_ZONE)
            .env("TMPDIR", scratch.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver is there: on Debian, the packages chromium and chromium-driver");
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let port = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| line.split_once("started successfully on port ")?.1.trim_end_matches('.').parse().ok());
        let port = port.expect("chromedriver says on which port it is");
        // Read all lines, so that chromedriver never blocks on a full pipe.
        thread::spawn(move || lines.for_each(drop));
        Self { process, port, _scratch: scratch }
    }

    /// Asks it to end itself and its browsers.
    fn shut_down(&self) -> std::io::Result<()> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"GET /shutdown HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        stream.read_to_end(&mut Vec::new()).map(drop)
    }
}

impl Drop for Chromedriver {
    fn drop(&mut self) {
        if self.shut_down().is_err() {
            let _ = self.process.kill();
        }
        let _ = self.process.wait();
    }
}

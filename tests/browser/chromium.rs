//! Chromium, as a person at its windows would use it.

use std::{
    env, fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::Stdio,
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;
use thirtyfour::{Capabilities, WebDriver, WebElement};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::{Instant, sleep},
};

const FLAGS: &[&str] = &[
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

/// How long something may take to show. The daemon alone asks a database that is away for half
/// a minute before it says so.
const PATIENCE: Duration = Duration::from_secs(90);

/// Good news goes by itself, and a busy computer may look too late: here it goes when the test
/// says so. Its time is that of `GOOD_NEWS` in the banner.
const HELD: &str = "
  const later = window.setTimeout;
  window.held = [];
  window.setTimeout = (run, wait, ...rest) => wait === 6_000 && window.held ? window.held.push(run) : later(run, wait, ...rest);
";

/// Keeps every state that the banner was in, so that a test can ask for one that passes by.
const STATES: &str = "
  window.states = [];
  new MutationObserver(([{ target }]) => states.push(target.getAttribute('state') ?? ''))
    .observe(document, { subtree: true, attributeFilter: ['state'] });
";

/// For all scripts: the banner, and its parts that can be seen.
const PRELUDE: &str = r#"
const banner = document.querySelector("schema-update-banner");
const parts = (selector) => [...banner.shadowRoot.querySelectorAll(selector)].filter((part) => part.checkVisibility());
const button = (label) => parts("button").find((part) => (part.ariaLabel || part.textContent) === label);
const text = () => banner.shadowRoot.querySelector("section").innerText.replace(/\s+/g, " ").trim();
const log = () => document.getElementById("log").innerText;
"#;

pub(crate) struct Browser {
    /// Ended when this is dropped.
    _chromedriver: Child,
    address: String,
}

impl Browser {
    pub(crate) async fn start() -> Self {
        // It takes a free port of IPv6 and then wants the same one of IPv4. Where that is taken,
        // by another test for example, it ends.
        let mut said = String::new();
        for _ in 0..10 {
            match Self::try_start().await {
                Ok(browser) => return browser,
                Err(last_words) => said = last_words,
            }
        }
        panic!("chromedriver does not start: {said}");
    }

    /// Or what chromedriver said before it ended.
    async fn try_start() -> Result<Self, String> {
        let mut chromedriver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| {
                panic!("chromedriver does not start ({error}): run tests/run, which installs chromium and chromium-driver")
            });
        let output = chromedriver.stdout.take().expect("it is piped");
        let mut lines = BufReader::new(output).lines();
        let mut said = String::new();
        while let Some(line) = lines.next_line().await.expect("its output") {
            if let Some((_, port)) = line.split_once("successfully on port ") {
                return Ok(Self {
                    address: format!("127.0.0.1:{}", port.trim_end_matches('.')),
                    _chromedriver: chromedriver,
                });
            }
            said += &line;
        }
        Err(said)
    }

    /// Opens a window of a browser that has never been used before.
    pub(crate) async fn open(&self, address: &str) -> Window {
        let window = self.window().await;
        window.go(address).await;
        window
    }

    /// An empty window.
    pub(crate) async fn window(&self) -> Window {
        let profile = tempfile::tempdir().expect("a folder");
        let folder = format!("--user-data-dir={}", profile.path().display());
        let flags: Vec<_> = FLAGS.iter().copied().chain([folder.as_str()]).collect();
        let wanted = json!({
            "browserName": "chrome",
            "goog:chromeOptions": { "args": flags },
            "goog:loggingPrefs": { "browser": "ALL" },
        });
        let wanted: Capabilities = serde_json::from_value(wanted).expect("capabilities");
        let driver = WebDriver::new(format!("http://{}", self.address), wanted)
            .await
            .unwrap_or_else(|error| {
                panic!("chromium does not start ({error}): run tests/run, which installs it")
            });
        let window = Window {
            driver,
            chromedriver: self.address.clone(),
            _profile: profile,
        };
        window
            .driver
            .set_script_timeout(PATIENCE)
            .await
            .expect("a timeout");
        window.size(800, 420).await;
        window.media(&[("prefers-color-scheme", "dark")]).await;
        window.before_each_page(HELD).await;
        window.before_each_page(STATES).await;
        window
    }
}

/// A window, closed when it is dropped.
pub(crate) struct Window {
    driver: WebDriver,
    chromedriver: String,
    /// Removed after the browser has ended.
    _profile: TempDir,
}

impl Drop for Window {
    fn drop(&mut self) {
        // Its own farewell would wait for the runtime that this blocks.
        let _ = self.driver.clone().leak();
        let session = self.driver.session_id();
        let goodbye = format!(
            "DELETE /session/{session} HTTP/1.1\r\nHost: {}\r\n\r\n",
            self.chromedriver
        );
        let _ = TcpStream::connect(&self.chromedriver).and_then(|mut chromedriver| {
            chromedriver.write_all(goodbye.as_bytes())?;
            // The answer comes when the browser has ended. One that hangs holds up nobody
            // for longer than everything else may take.
            chromedriver.set_read_timeout(Some(PATIENCE))?;
            chromedriver.read(&mut [0; 64])
        });
    }
}

impl Window {
    pub(crate) async fn go(&self, address: &str) {
        self.driver.goto(address).await.expect("the page loads");
    }

    /// Runs a script, with the `PRELUDE` before it and `arguments` in it.
    pub(crate) async fn js(&self, script: &str, arguments: &[Value]) -> Value {
        self.js_alone(&format!("{PRELUDE}{script}"), arguments)
            .await
    }

    /// The same on a page without a banner.
    pub(crate) async fn js_alone(&self, script: &str, arguments: &[Value]) -> Value {
        let result = self.driver.execute(script, arguments.to_vec()).await;
        result
            .unwrap_or_else(|error| panic!("{error}\n{script}"))
            .json()
            .clone()
    }

    /// Waits until an expression is true.
    pub(crate) async fn until(&self, condition: &str) {
        let script = format!("return Boolean({condition});");
        let deadline = Instant::now() + PATIENCE;
        while self.js(&script, &[]).await != json!(true) {
            if Instant::now() > deadline {
                let shown = self
                    .js("return [banner.getAttribute('state'), text(), log()];", &[])
                    .await;
                panic!(
                    "in vain: {condition}\nthe window has {shown:#}\n{:#?}",
                    self.console().await
                );
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the log has this text so many times.
    pub(crate) async fn until_said(&self, times: usize, text: &str) {
        self.until(&format!("log().split('{text}').length > {times}"))
            .await;
    }

    /// Waits until the banner is in a state; in none it is not there.
    pub(crate) async fn until_state(&self, state: &str) {
        self.until(&format!(
            "(banner?.getAttribute('state') ?? '') === '{state}'"
        ))
        .await;
    }

    /// Waits until the banner has been in these states since the page was loaded, in this order,
    /// whatever was between them.
    pub(crate) async fn until_states(&self, states: &[&str]) {
        let left =
            "states.reduce((left, state) => left.slice(state === left[0] ? 1 : 0), [...wanted])";
        let wanted = json!(states);
        self.until(&format!("((wanted) => {left}.length === 0)({wanted})"))
            .await;
    }

    /// Lets the time pass after which good news goes, and nothing else is to be said.
    pub(crate) async fn good_news_goes(&self) {
        self.good_news_ends().await;
        self.until_state("").await;
    }

    /// Lets the time pass after which good news goes.
    pub(crate) async fn good_news_ends(&self) {
        self.js("window.held.pop()();", &[]).await;
    }

    /// All that can be read in the banner.
    pub(crate) async fn text(&self) -> String {
        self.js("return text();", &[])
            .await
            .as_str()
            .expect("a text")
            .to_owned()
    }

    /// The labels of the buttons in the banner.
    pub(crate) async fn buttons(&self) -> Value {
        self.js(
            "return parts('button').map((part) => part.ariaLabel || part.textContent);",
            &[],
        )
        .await
    }

    /// Clicks on a button in the banner, where it is on the screen.
    pub(crate) async fn click(&self, label: &str) {
        self.click_on(&format!("button({})", json!(label))).await;
    }

    /// Clicks on the main button, whatever it is called by now.
    pub(crate) async fn click_primary(&self) {
        self.click_on("parts('.primary')[0]").await;
    }

    /// Waits until a button is there and has its place, since a click goes to where the button
    /// was when the mouse set out, and clicks on it.
    async fn click_on(&self, button: &str) {
        let found = self.settled(button).await;
        found.click().await.expect("it can be clicked");
    }

    /// Clicks twice, as fast as a mouse can, on whatever is there the second time.
    pub(crate) async fn double_click(&self, label: &str) {
        let found = self.settled(&format!("button({})", json!(label))).await;
        let place = found.rect().await.expect("a place");
        let (x, y) = (place.x + place.width / 2.0, place.y + place.height / 2.0);
        for (kind, count) in [
            ("mousePressed", 1),
            ("mouseReleased", 1),
            ("mousePressed", 2),
            ("mouseReleased", 2),
        ] {
            let event =
                json!({"type": kind, "x": x, "y": y, "button": "left", "clickCount": count});
            self.devtools("Input.dispatchMouseEvent", event).await;
        }
    }

    async fn settled(&self, button: &str) -> WebElement {
        let settled = format!(
            "{PRELUDE}
             const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
             return (async () => {{
               for (let was; ; await frame()) {{
                 const found = {button};
                 const place = found && JSON.stringify(found.getBoundingClientRect());
                 if (found && place === was) return found;
                 was = place;
               }}
             }})();"
        );
        let found = self.driver.execute(settled, Vec::new()).await;
        let found = found.unwrap_or_else(|error| panic!("in vain: {button}: {error}"));
        found.element().expect("a button")
    }

    /// Types where the focus is.
    pub(crate) async fn press(&self, keys: impl AsRef<str>) {
        let keys = self.driver.action_chain().send_keys(keys.as_ref());
        keys.perform().await.expect("keys can be pressed");
    }

    /// Holds Enter down until it has been repeated this many times.
    pub(crate) async fn hold_enter(&self, repeats: usize) {
        let enter = |kind: &str, is_repeat: bool| json!({"type": kind, "key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r", "autoRepeat": is_repeat});
        for repeat in 0..=repeats {
            self.devtools("Input.dispatchKeyEvent", enter("keyDown", repeat > 0))
                .await;
            // As slow as a keyboard, so that the page can change in between.
            sleep(Duration::from_millis(30)).await;
        }
        self.devtools("Input.dispatchKeyEvent", enter("keyUp", false))
            .await;
    }

    /// Types a command into the terminal.
    pub(crate) async fn command(&self, command: &str) {
        self.js("document.querySelector('#command').focus();", &[])
            .await;
        self.press(format!("{command}\u{e007}")).await;
    }

    pub(crate) async fn size(&self, width: u32, height: u32) {
        self.size_at_scale(width, height, 1.0).await;
    }

    async fn size_at_scale(&self, width: u32, height: u32, scale: f64) {
        let metrics =
            json!({"width": width, "height": height, "deviceScaleFactor": scale, "mobile": false});
        self.devtools("Emulation.setDeviceMetricsOverride", metrics)
            .await;
    }

    pub(crate) async fn media(&self, features: &[(&str, &str)]) {
        let features: Vec<_> = features
            .iter()
            .map(|(name, value)| json!({"name": name, "value": value}))
            .collect();
        self.devtools(
            "Emulation.setEmulatedMedia",
            json!({ "features": features }),
        )
        .await;
    }

    /// Runs a script in every page before the page's own.
    pub(crate) async fn before_each_page(&self, script: &str) {
        self.devtools(
            "Page.addScriptToEvaluateOnNewDocument",
            json!({ "source": script }),
        )
        .await;
    }

    pub(crate) async fn devtools(&self, method: &str, parameters: Value) -> Value {
        self.driver
            .cdp()
            .send_raw(method, parameters)
            .await
            .expect("the browser obeys")
    }

    /// Keeps a picture to look at.
    pub(crate) async fn picture(&self, name: &str) {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("browser");
        self.picture_in(&folder, name).await;
    }

    /// Makes a picture of the README again, where that is asked for.
    pub(crate) async fn picture_for_readme(&self, name: &str) {
        if env::var_os("CTX0_WRITE_SCREENSHOTS").is_none() {
            return;
        }
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/desktop/screenshots");
        self.size_at_scale(760, 340, 1.5).await;
        self.js("document.activeElement.blur();", &[]).await;
        self.picture_in(&folder, name).await;
        self.size(800, 420).await;
    }

    async fn picture_in(&self, folder: &Path, name: &str) {
        fs::create_dir_all(folder).expect("a folder for pictures");
        let picture = self.driver.screenshot_as_png().await.expect("a picture");
        fs::write(folder.join(format!("{name}.png")), picture).expect("the picture is kept");
    }

    /// What the page complained about since the last call: errors, and what its
    /// Content-Security-Policy forbade.
    pub(crate) async fn console(&self) -> Vec<String> {
        let entries = self.driver.browser_log().await.expect("the console");
        entries
            .into_iter()
            .filter(|entry| entry.level != "INFO" && entry.level != "DEBUG")
            .map(|entry| format!("{} {}", entry.level, entry.message))
            .collect()
    }

    pub(crate) async fn assert_clean_console(&self) {
        assert_eq!(self.console().await, Vec::<String>::new());
    }
}

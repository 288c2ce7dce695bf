//! Headless Chromium, driven over the W3C WebDriver protocol through chromedriver.
//!
//! The dozen commands that the tests need are spoken here directly: the client crates bring old copies of half the
//! dependency tree along.

use std::{
    env,
    fs::{self, File},
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
    path::PathBuf,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    error::{HarnessError, tail, tell_skipped},
    watchdog::Guarded,
};

/// Says which browser to run, instead of the one on the `PATH`.
pub const CHROMIUM_VARIABLE: &str = "AUTHV2_TEST_CHROMIUM";
/// Says which driver to run, instead of the one on the `PATH`.
pub const CHROMEDRIVER_VARIABLE: &str = "AUTHV2_TEST_CHROMEDRIVER";
/// The key under which WebDriver wraps element references (W3C WebDriver section 12.2).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
const STARTED: &str = "started successfully on port ";
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a page may take to show what a test waits for.
const SHOWN: Duration = Duration::from_secs(15);
const FLAGS: [&str; 14] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-breakpad",
    "--disable-extensions",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--no-first-run",
    "--no-default-browser-check",
    "--window-size=1200,1600",
];

/// A browser with a fresh profile; browser, driver and profile are gone once this is dropped.
#[derive(Debug)]
pub struct Browser {
    http: reqwest::Client,
    port: u16,
    session: String,
    _driver: Guarded,
}

impl Browser {
    /// Starts a browser, or says loudly that the test is skipped where none is installed.
    ///
    /// # Errors
    /// When one is installed and does not start: that is a failure, not a reason to skip.
    pub async fn start_or_skip(test: &str) -> Result<Option<Self>, HarnessError> {
        match Self::start().await {
            Err(missing @ HarnessError::Missing { .. }) if env::var_os("AUTHV2_TEST_REQUIRE_BROWSER").is_none() => {
                tell_skipped(test, &missing);
                Ok(None)
            }
            started => started.map(Some),
        }
    }

    /// Starts a browser.
    ///
    /// # Errors
    /// [`HarnessError::Missing`] when browser or driver is not installed; others when they do not start.
    pub async fn start() -> Result<Self, HarnessError> {
        let chromium = find(CHROMIUM_VARIABLE, &["chromium", "chromium-browser", "google-chrome"], "chromium")?;
        let chromedriver = find(CHROMEDRIVER_VARIABLE, &["chromedriver"], "chromium-driver")?;
        let directory = tempfile::Builder::new()
            .prefix("authv2-browser-")
            .tempdir()
            .map_err(HarnessError::io("making a directory for the browser"))?;
        let profile = directory.path().join("profile");
        let log = directory.path().join("driver.log");
        let output = File::create(&log).map_err(HarnessError::io("creating the driver's log"))?;
        let mut command = Command::new(chromedriver);
        command
            .arg("--port=0")
            .current_dir(directory.path())
            // The profile is not all that a browser writes: caches and crash reports go to the home directory.
            .env("HOME", directory.path())
            .env("TMPDIR", directory.path())
            .stdout(output.try_clone().map_err(HarnessError::io("opening the driver's log"))?)
            .stderr(output);
        let mut driver = Guarded::start(&mut command, Signal::TERM, Some(directory))
            .map_err(HarnessError::io("starting chromedriver"))?;
        let port = port(&mut driver, &log)?;
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60)).build()?;
        let mut browser = Self { http, port, session: String::new(), _driver: driver };
        let mut arguments: Vec<String> = FLAGS.iter().map(ToString::to_string).collect();
        arguments.push(format!("--user-data-dir={}", profile.display()));
        let capabilities = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": {"binary": chromium, "args": arguments},
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let made = browser.send(Method::POST, "/session", Some(&capabilities)).await?;
        made.get("sessionId").and_then(Value::as_str).unwrap_or_default().clone_into(&mut browser.session);
        Ok(browser)
    }

    /// Opens a page and waits until it is loaded.
    ///
    /// # Errors
    /// When the browser cannot.
    pub async fn goto(&self, url: &str) -> Result<(), HarnessError> {
        self.command(Method::POST, "/url", Some(&json!({"url": url}))).await.map(drop)
    }

    /// Runs a script as the body of a function; what it returns, as JSON.
    ///
    /// # Errors
    /// When the script throws.
    pub async fn run(&self, script: &str, arguments: &[Value]) -> Result<Value, HarnessError> {
        self.command(Method::POST, "/execute/sync", Some(&json!({"script": script, "args": arguments}))).await
    }

    /// Clicks the element once it is shown, as a person would: what covers it gets in the way.
    ///
    /// # Errors
    /// When it does not show within fifteen seconds, or cannot be clicked.
    pub async fn click(&self, css: &str) -> Result<(), HarnessError> {
        let element = self.shown(css).await?;
        self.command(Method::POST, &format!("/element/{element}/click"), Some(&json!({}))).await.map(drop)
    }

    /// Empties a field and types into it.
    ///
    /// # Errors
    /// As [`click`](Self::click).
    pub async fn fill(&self, css: &str, text: &str) -> Result<(), HarnessError> {
        let element = self.shown(css).await?;
        self.command(Method::POST, &format!("/element/{element}/clear"), Some(&json!({}))).await?;
        let typed = json!({"text": text});
        self.command(Method::POST, &format!("/element/{element}/value"), Some(&typed)).await.map(drop)
    }

    /// The text of the element as a person sees it, once it is shown.
    ///
    /// # Errors
    /// As [`click`](Self::click).
    pub async fn text(&self, css: &str) -> Result<String, HarnessError> {
        let element = self.shown(css).await?;
        let text = self.command(Method::GET, &format!("/element/{element}/text"), None).await?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// How many elements match, shown or not.
    ///
    /// # Errors
    /// When the selector is not one.
    pub async fn count(&self, css: &str) -> Result<usize, HarnessError> {
        let found = self.command(Method::POST, "/elements", Some(&selector(css))).await?;
        Ok(found.as_array().map_or(0, Vec::len))
    }

    /// Waits until the shown text of the element satisfies the condition, and returns it.
    ///
    /// # Errors
    /// After fifteen seconds, with the text that stood there last.
    pub async fn until_text(&self, css: &str, wanted: impl Fn(&str) -> bool) -> Result<String, HarnessError> {
        let deadline = Instant::now() + SHOWN;
        loop {
            let text = self.text(css).await?;
            if wanted(&text) {
                return Ok(text);
            }
            if Instant::now() > deadline {
                return Err(HarnessError::Late { program: css.to_owned(), after: SHOWN, output: text });
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until exactly so many elements match.
    ///
    /// # Errors
    /// After fifteen seconds, with the number that matched last.
    pub async fn until_count(&self, css: &str, wanted: usize) -> Result<(), HarnessError> {
        let deadline = Instant::now() + SHOWN;
        loop {
            let count = self.count(css).await?;
            if count == wanted {
                return Ok(());
            }
            if Instant::now() > deadline {
                let output = format!("{count} matched, not {wanted}");
                return Err(HarnessError::Late { program: css.to_owned(), after: SHOWN, output });
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What the page wrote to the console since the last call, refusals of the content security policy among it.
    ///
    /// # Errors
    /// When the driver keeps no log.
    pub async fn console(&self) -> Result<Vec<String>, HarnessError> {
        let entries = self.command(Method::POST, "/se/log", Some(&json!({"type": "browser"}))).await?;
        let message = |entry: &Value| Some(entry.get("message")?.as_str()?.to_owned());
        Ok(entries.as_array().into_iter().flatten().filter_map(message).collect())
    }

    async fn shown(&self, css: &str) -> Result<String, HarnessError> {
        let deadline = Instant::now() + SHOWN;
        loop {
            let found = self.command(Method::POST, "/elements", Some(&selector(css))).await?;
            let elements = found.as_array().into_iter().flatten();
            for element in elements.filter_map(|element| element.get(ELEMENT)?.as_str()) {
                let displayed = self.command(Method::GET, &format!("/element/{element}/displayed"), None).await;
                // One that the page has replaced in between is stale, not an error: the next round finds the new one.
                if displayed.is_ok_and(|displayed| displayed == Value::Bool(true)) {
                    return Ok(element.to_owned());
                }
            }
            if Instant::now() > deadline {
                let body = self.run("return document.body.innerText", &[]).await?;
                let output = tail(body.as_str().unwrap_or_default(), 2000);
                return Err(HarnessError::Late { program: css.to_owned(), after: SHOWN, output });
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn command(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, HarnessError> {
        self.send(method, &format!("/session/{}{path}", self.session), body).await
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, HarnessError> {
        let mut request = self.http.request(method, format!("http://127.0.0.1:{}{path}", self.port));
        if let Some(body) = body {
            request = request.json(body);
        }
        let mut answer: Value = request.send().await?.json().await?;
        let value = answer.get_mut("value").map(Value::take).unwrap_or_default();
        match value.get("error").and_then(Value::as_str) {
            Some(error) => {
                let said = value.get("message").and_then(Value::as_str).unwrap_or_default();
                let message = format!("{error}: {}", said.lines().next().unwrap_or_default());
                Err(HarnessError::Browser { command: path.to_owned(), message })
            }
            None => Ok(value),
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Asked through the driver a browser ends in order; the guard ends one that does not.
        let request =
            format!("DELETE /session/{} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", self.session);
        if let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)) {
            let asked = stream
                .set_read_timeout(Some(Duration::from_secs(5)))
                .and_then(|()| stream.write_all(request.as_bytes()));
            if asked.is_ok() {
                let _answer = stream.read(&mut [0; 256]);
            }
        }
    }
}

fn selector(css: &str) -> Value {
    json!({"using": "css selector", "value": css})
}

fn find(variable: &'static str, names: &[&'static str], package: &'static str) -> Result<PathBuf, HarnessError> {
    let program = names.first().copied().unwrap_or(package);
    if let Some(named) = env::var_os(variable).filter(|named| !named.is_empty()) {
        let named = PathBuf::from(named);
        return if named.is_file() { Ok(named) } else { Err(HarnessError::Missing { program, package, variable }) };
    }
    let path = env::var_os("PATH").unwrap_or_default();
    names
        .iter()
        .flat_map(|name| env::split_paths(&path).map(move |directory| directory.join(name)))
        .find(|candidate| candidate.is_file())
        .ok_or(HarnessError::Missing { program, package, variable })
}

/// The port that the driver picked, as it says itself.
fn port(driver: &mut Guarded, log: &std::path::Path) -> Result<u16, HarnessError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let said = fs::read_to_string(log).unwrap_or_default();
        let number = said.split_once(STARTED).and_then(|(_, rest)| rest.split_once('.')).map(|(number, _)| number);
        if let Some(port) = number.and_then(|number| number.parse().ok()) {
            return Ok(port);
        }
        if driver.ended().map_err(HarnessError::io("waiting for chromedriver"))?.is_some() {
            return Err(HarnessError::Failed { program: "chromedriver".to_owned(), output: tail(&said, 2000) });
        }
        if Instant::now() > deadline {
            let (program, output) = ("chromedriver".to_owned(), tail(&said, 2000));
            return Err(HarnessError::Late { program, after: PATIENCE, output });
        }
        thread::sleep(Duration::from_millis(20));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn clicks_and_reads_a_page() {
        let Some(browser) = Browser::start_or_skip("clicks_and_reads_a_page").await.unwrap() else { return };
        let page = "data:text/html,<p id=said>nothing</p><input id=name>\
                    <button id=go onclick=\"said.textContent='hello '+document.getElementById('name').value\">go</button>";
        browser.goto(page).await.unwrap();
        assert_eq!(browser.text("#said").await.unwrap(), "nothing");
        browser.fill("#name", "world").await.unwrap();
        browser.click("#go").await.unwrap();
        browser.until_text("#said", |text| text == "hello world").await.unwrap();
        assert_eq!(browser.count("button").await.unwrap(), 1);
        assert_eq!(browser.run("return 1 + arguments[0]", &[json!(2)]).await.unwrap(), json!(3));
        assert_eq!(browser.console().await.unwrap(), Vec::<String>::new());
    }
}

//! A real Chromium. It is spoken to over a pipe (the Chrome DevTools Protocol, one JSON message ending in a NUL), so that
//! nothing but the browser has to be installed.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::{Value, json};

/// The browser with one page.
pub struct Browser {
    child: Child,
    to: File,
    from: BufReader<File>,
    next: u64,
    session: Option<String>,
    heard: Vec<Value>,
}

impl Browser {
    /// Starts a browser whose profile and pipes lie in `folder`.
    pub fn start(folder: &Path) -> Self {
        let (to, from) = (folder.join("to"), folder.join("from"));
        assert!(Command::new("mkfifo").args([&to, &from]).status().expect("mkfifo runs").success());
        let flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking \
                     --disable-component-update --disable-sync --disable-dev-shm-usage --window-size=1280,900 --remote-debugging-pipe";
        // The protocol's pipes are the descriptors 3 and 4.
        let script = format!("exec chromium {flags} --user-data-dir=\"$0\" about:blank 3<\"$1\" 4>\"$2\"");
        let mut command = Command::new("sh");
        command.args(["-c", &script]).arg(folder.join("profile")).arg(&to).arg(&from);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("sh runs");
        let to = File::options().write(true).open(&to).expect("the browser reads");
        let from = BufReader::new(File::open(&from).expect("the browser writes"));
        Self { child, to, from, next: 0, session: None, heard: Vec::new() }
    }

    /// Calls a method and gives its result.
    #[track_caller]
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        self.next += 1;
        let mut message = json!({ "id": self.next, "method": method, "params": params });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.to.write_all(format!("{message}\0").as_bytes()).expect("the browser takes a message");
        loop {
            let mut bytes = Vec::new();
            self.from.read_until(0, &mut bytes).expect("the browser answers");
            assert!(!bytes.is_empty(), "the browser has ended");
            let answer: Value = serde_json::from_slice(&bytes[..bytes.len() - 1]).expect("a message is JSON");
            if answer["id"] == self.next {
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return answer["result"].clone();
            }
            self.heard.push(answer);
        }
    }

    /// Opens a page of its own, which is spoken to from then on.
    pub fn open(&mut self, url: &str) {
        let target = self.call("Target.createTarget", json!({ "url": url }));
        let attached = self.call("Target.attachToTarget", json!({ "targetId": target["targetId"], "flatten": true }));
        self.session = attached["sessionId"].as_str().map(str::to_owned);
    }

    /// The events of this name that came so far, of domains that were enabled; they are forgotten.
    pub fn heard(&mut self, event: &str) -> Vec<Value> {
        let heard = std::mem::take(&mut self.heard);
        let (wanted, others) = heard.into_iter().partition(|heard| heard["method"] == event);
        self.heard = others;
        wanted
    }

    /// What an expression is on the page.
    #[track_caller]
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let answer = self.call("Runtime.evaluate", json!({ "expression": expression, "returnByValue": true }));
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Waits until an expression is true on the page.
    #[track_caller]
    pub fn until(&mut self, expression: &str) {
        let deadline = Instant::now() + Duration::from_secs(90);
        // While a page goes and another comes, there is nothing to evaluate on.
        let is_true = |answer: Value| answer["result"]["value"] == true;
        while !is_true(self.call("Runtime.evaluate", json!({ "expression": expression, "returnByValue": true }))) {
            if Instant::now() > deadline {
                let page = self.evaluate("document.body ? document.body.innerText.slice(0, 2000) : document.readyState");
                panic!("`{expression}` did not come true; the page: {page}");
            }
            std::thread::sleep(Duration::from_millis(250));
        }
    }

    /// A picture of the whole page as `NAME.png`, for whoever wants to look, too, and names a folder.
    pub fn screenshot(&mut self, name: &str) {
        let Some(folder) = std::env::var_os("GANTRY_SCREENSHOTS") else { return };
        let shot = self.call("Page.captureScreenshot", json!({ "format": "png", "captureBeyondViewport": true }));
        let bytes = base64::prelude::BASE64_STANDARD.decode(shot["data"].as_str().unwrap_or_default()).expect("base64");
        std::fs::write(Path::new(&folder).join(format!("{name}.png")), bytes).expect("the screenshot is written");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

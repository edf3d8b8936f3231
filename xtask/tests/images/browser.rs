//! A real Chromium opens the workbench. It is spoken to over a pipe (the Chrome DevTools Protocol, one JSON message
//! ending in a NUL), so that nothing but the browser has to be installed.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::docker::Container;
use crate::family::{WEB, image};

struct Browser {
    child: Child,
    to: File,
    from: BufReader<File>,
    next: u64,
    session: Option<String>,
}

impl Browser {
    /// Starts a browser whose profile and pipes lie in `folder`.
    fn start(folder: &Path) -> Self {
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
        Self { child, to, from, next: 0, session: None }
    }

    /// Calls a method and gives its result.
    fn call(&mut self, method: &str, params: Value) -> Value {
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
        }
    }

    fn open(&mut self, url: &str) {
        let target = self.call("Target.createTarget", json!({ "url": url }));
        let attached = self.call("Target.attachToTarget", json!({ "targetId": target["targetId"], "flatten": true }));
        self.session = attached["sessionId"].as_str().map(str::to_owned);
    }

    fn evaluate(&mut self, expression: &str) -> Value {
        self.call("Runtime.evaluate", json!({ "expression": expression, "returnByValue": true }))["result"]["value"].clone()
    }

    /// Waits until an expression is true on the page.
    fn until(&mut self, expression: &str) {
        let deadline = Instant::now() + Duration::from_secs(90);
        while self.evaluate(expression) != true {
            if Instant::now() > deadline {
                let page = self.evaluate("document.body ? document.body.innerText.slice(0, 2000) : document.readyState");
                panic!("`{expression}` did not come true; the page: {page}");
            }
            std::thread::sleep(Duration::from_millis(250));
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
fn a_browser_shows_the_workbench_to_whoever_has_the_password_and_to_nobody_else() {
    for variant in WEB {
        let folder = tempfile::tempdir().expect("a folder");
        let container =
            Container::start(&image(variant), &["VSCODE_WEB=1", "VSCODE_WEB_TOKEN=open-sesame"], Some(8080)).healthy();
        let mut browser = Browser::start(folder.path());
        let page = format!("http://127.0.0.1:{}/", container.port(8080));
        browser.open(&page);
        // Without the password there is nothing but the question for it, whatever is asked for.
        let enter = |browser: &mut Browser, password: &str| {
            browser.until("!!document.querySelector('input[type=password]')");
            browser.evaluate(&format!(
                "document.querySelector('input[type=password]').value = '{password}'; document.forms[0].submit()"
            ));
        };
        enter(&mut browser, "let-me-in");
        browser.until("document.body && document.body.innerText.includes('Incorrect password')");
        browser.evaluate(&format!("location.href = '{page}?folder=/home/ansible'"));
        browser.until("document.readyState === 'complete' && !document.body.innerText.includes('Incorrect password')");
        enter(&mut browser, "open-sesame");
        browser.until("!!document.querySelector('.monaco-workbench .activitybar')");
        // What the workbench has opened is the person's.
        let sockets = crate::sockets::as_seen_by(&container, "1000");
        assert!(sockets.contains("code-server-ipc.sock answers"), "{variant}: {sockets}");
        crate::sockets::assert_closed_to(&container, "1001");
        // Whoever wants to look, too, names a folder.
        if let Some(shots) = std::env::var_os("GANTRY_SCREENSHOTS") {
            let shot = browser.call("Page.captureScreenshot", json!({ "format": "png" }));
            let file = Path::new(&shots).join(format!("{variant}.png.base64"));
            std::fs::write(file, shot["data"].as_str().unwrap_or_default()).expect("the screenshot is written");
        }
    }
}

//! A real Chromium opens the workbench.

use crate::docker::Container;
use crate::family::{WEB, image};
use crate::support::browser::Browser;

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
        browser.screenshot(variant);
    }
}

//! What workspaces of these tests talk to: a container with a git server, GitHub's API for runners and a Coder server (see
//! `inside/`). A workspace shares its network, so that all of it is on loopback and nothing depends on the host's.

use crate::docker::{Container, Recipe, Volume};
use crate::family::image;

/// The token of the git server.
pub(crate) const CLONE: &str = "canary-GITHUB_TOKEN-github_pat_clone";
/// The PAT that GitHub takes.
pub(crate) const PAT: &str = "canary-GITHUB_RUNNER_PAT-github_pat_runner";
/// The registration token that GitHub gives.
pub(crate) const REGISTRATION: &str = "canary-REGISTRATION-token";
/// Where workspaces find the servers.
pub(crate) const ORIGIN: &str = "http://127.0.0.1:8000";

/// The container.
pub(crate) struct Outside(Container);

impl Outside {
    /// With the ports published at which workspaces will serve.
    pub(crate) fn start(ports: &[u16]) -> Self {
        let recipe = Recipe::new(&image("aws")).first("python3", &["/srv/outside.py"]).options(&["--no-healthcheck"]);
        let recipe = recipe.set("CLONE", CLONE).set("PAT", PAT).set("REGISTRATION", REGISTRATION);
        let recipe = recipe.file("srv/outside.py", 0, 0o644, include_str!("inside/outside.py"));
        let container = ports.iter().fold(recipe, |recipe, port| recipe.publish(*port)).start();
        container.until("server", |container| {
            container.attempt("root", &format!("curl --silent --fail {ORIGIN}/double/runners")).0.then_some(())
        });
        Self(container)
    }

    /// A workspace beside it.
    pub(crate) fn workspace(&self, variant: &str) -> Recipe {
        Recipe::new(&image(variant)).options(&["--network", &format!("container:{}", self.0.name)])
    }

    /// The same with a runner.
    pub(crate) fn runner(&self, variant: &str) -> Recipe {
        self.with_runner(self.workspace(variant).set("GITHUB_RUNNER_URL", &format!("{ORIGIN}/o/r")), "opt/actions-runner")
    }

    /// The runner's double on a volume.
    pub(crate) fn runner_volume(&self) -> Volume {
        let volume = Volume::new();
        let recipe = Recipe::new(&image("aws")).first("true", &[]).options(&[&volume.at("/runner")]);
        self.with_runner(recipe, "runner").start().ended();
        volume
    }

    fn with_runner(&self, recipe: Recipe, folder: &str) -> Recipe {
        let recipe = recipe.folder(folder, 1001, 0o755).folder(&format!("{folder}/bin"), 1001, 0o755);
        let recipe = recipe.file(&format!("{folder}/config.sh"), 1001, 0o755, include_str!("inside/config.sh"));
        recipe.file(&format!("{folder}/bin/Runner.Listener"), 1001, 0o755, include_str!("inside/Runner.Listener"))
    }

    /// The port on loopback that leads to `port` in the workspaces.
    pub(crate) fn port(&self, port: u16) -> u16 {
        self.0.port(port)
    }

    /// GitHub's list of runners: name, status, whether it is busy.
    pub(crate) fn runners(&self) -> Vec<(String, String, bool)> {
        let text = self.0.sh("root", &format!("curl --silent {ORIGIN}/double/runners"));
        let list: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let runner = |runner: &serde_json::Value| {
            let text = |key: &str| runner[key].as_str().unwrap_or_default().to_owned();
            (text("name"), text("status"), runner["busy"] == true)
        };
        list.as_array().expect("a list").iter().map(runner).collect()
    }

    /// GitHub notices that nobody is there any more who is called `name`.
    pub(crate) fn forget(&self, name: &str) {
        let find = format!("curl --silent {ORIGIN}/double/runners | jq '.[] | select(.name == \"{name}\") | .id'");
        self.0.sh("root", &format!("curl --silent --fail {ORIGIN}/double/become/$({find})/offline/idle"));
    }

    /// Waits until the list is as `wanted`.
    pub(crate) fn until(&self, what: &str, wanted: impl Fn(&[(String, String, bool)]) -> bool) {
        self.0.until(what, |_| wanted(&self.runners()).then_some(()));
    }
}

//! A workspace that clones a repository, and the server that has it.

use crate::container::{Container, Setup, server};
use crate::doubles::Server;
use crate::doubles::git::Repositories;

pub(crate) const URL: &str = "http://127.0.0.1:7000/project.git";
/// What is said of a clone that is done.
pub(crate) const CLONED: &str = "is in `/home/ansible/project`";

/// A workspace with a web server that is to clone from port 7000.
pub(crate) fn setup(url: &str) -> Setup {
    Setup::web(&server("")).set("ANSIBLE_REPO_URL", url)
}

/// The usual repository, with or without a token.
pub(crate) fn repositories(setup: &Setup, token: Option<&str>) -> Repositories {
    let folder = setup.folder().join("repositories");
    std::fs::create_dir_all(&folder).unwrap();
    Repositories::new(&folder, token).with("project", &["one", "two", "three"])
}

/// Serves them on port 7000.
pub(crate) fn serve(setup: &Setup, repositories: Repositories) -> Server {
    Server::start(setup.network().listen(7000), move |request| repositories.answer(request))
}

/// As the workspace's user.
pub(crate) fn git(container: &Container, arguments: &str) -> String {
    let script = format!("cd /home/ansible; HOME=/home/ansible setpriv --reuid=1000 --regid=1000 --clear-groups git {arguments}");
    container.sh(&script)
}

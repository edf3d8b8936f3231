//! Programs that commands start, the Debian packages they come from, and why they are needed.

use crate::host::OsRelease;

/// What a program is needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// Running an engine on this machine.
    Engine,
    /// Making a base image of Debian's packages (profile `offline`).
    Bootstrap,
    /// `cargo xtask test`.
    Test,
}

/// A program and where it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tool {
    /// The program: it is there when it is on the `PATH` or in a system folder.
    pub program: &'static str,
    /// Debian's package; see [`Tool::package_on`].
    pub package: &'static str,
    /// What it is needed for.
    pub purpose: Purpose,
    /// The same in words.
    pub why: &'static str,
}

impl Tool {
    /// The package on `os`: from Debian 13 on, the engine and its client are two.
    pub fn package_on(&self, os: &OsRelease) -> &'static str {
        // Testing and unstable have no version.
        let is_split = os.id == "debian" && os.version.is_none_or(|version| version >= 13);
        if self.program == "docker" && is_split { "docker-cli" } else { self.package }
    }
}

/// Every program that `setup` can install.
pub const TOOLS: [Tool; 20] = [
    tool("dockerd", "docker.io", Purpose::Engine, "building and running images"),
    tool("docker", "docker.io", Purpose::Engine, "looking at containers and images by hand"),
    tool("iptables", "iptables", Purpose::Engine, "the engine's network"),
    tool("mmdebstrap", "mmdebstrap", Purpose::Bootstrap, "a base image without a registry"),
    tool("mmdebstrap", "mmdebstrap", Purpose::Test, "oras, out of another suite's package"),
    tool("docker", "docker.io", Purpose::Test, "a second opinion on what was built"),
    tool("docker-registry", "docker-registry", Purpose::Test, "registries on loopback to push to"),
    tool("skopeo", "skopeo", Purpose::Test, "a second opinion on what was pushed"),
    tool("htpasswd", "apache2-utils", Purpose::Test, "a registry that asks for a password"),
    tool("ssh", "openssh-client", Purpose::Test, "logging in to containers, engines behind ssh"),
    tool("sshd", "openssh-server", Purpose::Test, "engines behind ssh"),
    tool("chromium", "chromium", Purpose::Test, "looking at the workbench as a person does"),
    tool("busybox", "busybox-static", Purpose::Test, "images of one file, to test the engine with"),
    tool("ip", "iproute2", Purpose::Test, "networks for the entrypoint's tests"),
    tool("curl", "curl", Purpose::Test, "what the entrypoint fetches"),
    tool("pgrep", "procps", Purpose::Test, "looking at what the entrypoint runs"),
    tool("tini", "tini", Purpose::Test, "another init, side by side with the entrypoint"),
    tool("npm", "npm", Purpose::Test, "locks of npm packages, made anew"),
    tool("git", "git", Purpose::Test, "repositories to publish from"),
    tool("openssl", "openssl", Purpose::Test, "certificates for registries and proxies of our own"),
];

const fn tool(program: &'static str, package: &'static str, purpose: Purpose, why: &'static str) -> Tool {
    Tool { program, package, purpose, why }
}

pub(super) fn of(purpose: Purpose) -> impl Iterator<Item = &'static Tool> {
    TOOLS.iter().filter(move |tool| tool.purpose == purpose)
}

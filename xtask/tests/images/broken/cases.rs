//! Each image that is broken on purpose, with the checks that are to fail and their words.

/// An instruction that writes a program.
fn program(path: &str, first: &str, script: &str) -> String {
    let lines = script.replace('\\', "\\\\").replace('%', "%%").replace('\n', "\\n").replace('\'', "'\\''");
    format!("RUN printf '#!{first}\\n{lines}\\n' > {path} && chmod 755 {path}")
}

/// Puts a program in the entrypoint's place, which finds that one as `entrypoint.real`.
fn wrapped(first: &str, script: &str) -> String {
    let program = program("/usr/local/bin/entrypoint", first, script);
    format!("RUN mv /usr/local/bin/entrypoint /usr/local/bin/entrypoint.real\n{program}")
}

/// A script that has a variable in another program's environment; not where it is asked for the container's health.
fn showing(variable: &str) -> String {
    format!("[ $# -gt 0 ] || env \"COPY=${variable}\" sleep 1000000 &\nexec entrypoint.real \"$@\"")
}

/// A stand-in for VS Code's command line program, with the label that names it: what it does when it is to log in.
fn code(login: &str) -> String {
    let script = format!(
        "case \"$*\" in\n*--version*) echo \"code 1.2.3 (commit 110a)\" ;;\n\"tunnel user show\") exit 1 ;;\n*) {login} ;;\nesac"
    );
    format!(
        "LABEL gantry.pin.vscode-cli=110a gantry.omitted=github-runner\n{}",
        program("/usr/local/bin/code", "/bin/sh", &script)
    )
}

/// A stand-in for the GitHub runner, with the label that names it.
fn runner(version: &str) -> String {
    let program = program("/opt/actions-runner/bin/Runner.Listener", "/bin/sh", &format!("echo {version}"));
    format!("LABEL gantry.pin.github-runner=2.337.0 gantry.omitted=vscode-cli\nRUN mkdir -p /opt/actions-runner/bin\n{program}")
}

/// An image, and where it fails.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) from: &'static str,
    pub(super) dockerfile: String,
    /// What is tried of it, beside what takes no container: what it could break. None: everything.
    pub(super) tries: &'static [&'static str],
    /// How long its containers may take, in seconds.
    pub(super) patience: u16,
    /// The checks that fail, each with words of its message.
    pub(super) fails: Vec<(&'static str, &'static str)>,
}

impl Case {
    /// Only these checks are tried.
    fn tries(self, tries: &'static [&'static str]) -> Self {
        Self { tries, ..self }
    }

    /// What does not come is not waited for any longer: it never comes.
    fn patience(self, patience: u16) -> Self {
        Self { patience, ..self }
    }
}

/// What takes no container. (`growth` asks a registry.)
pub(super) const STILL: [&str; 8] =
    ["entrypoint", "user", "health check", "environment", "labels", "secrets in*", "layers", "size"];
/// Nothing but that.
const NOTHING: &[&str] = &["labels"];

pub(super) fn cases() -> Vec<Case> {
    let case = |name, from, dockerfile: &str, fails: &[(&'static str, &'static str)]| Case {
        name,
        from,
        dockerfile: dockerfile.to_owned(),
        tries: &[],
        patience: 40,
        fails: fails.to_vec(),
    };
    let ide = |script: &str| {
        format!(
            "RUN rm /opt/code-server/bin/code-server && printf '#!/bin/sh\\n{script}\\n' > /opt/code-server/bin/code-server && \
             chmod 755 /opt/code-server/bin/code-server"
        )
    };
    // Not written as one word: whoever looks for secrets in this file should find none.
    let token = ["x7Kq2Rm9Tz4Wn8Vb3Yc6", "Lf1Pj5Hd0Gs2Ae4B"].concat();
    vec![
        case(
            "no entrypoint",
            "aws",
            "ENTRYPOINT []",
            &[("entrypoint", "the image starts nothing, expected is `/usr/local/bin/entrypoint`")],
        )
        .tries(&["ssh: *"]),
        case(
            "wrong user",
            "aws",
            "USER ansible",
            &[("user", "starts as `ansible`, expected is `root`"), ("ssh: login", "ssh ends with 255")],
        )
        .tries(&["ssh: *", "coder: *"]),
        case(
            "host key left in",
            "aws",
            "RUN ssh-keygen -q -A && rm -f /etc/ssh/*.pub",
            &[("layers", "host key: `/etc/ssh/ssh_host_"), ("restricted: starts", "the container ended with exit code 1")],
        )
        .tries(&["ssh: *", "restricted: *"]),
        case(
            "secret in a layer",
            "aws",
            &format!("RUN printf 'ghp_%s' {token} > /root/note && true\nRUN rm /root/note"),
            &[("layers", "GitHub token: `/root/note`")],
        )
        .tries(NOTHING),
        case(
            "private key in a layer",
            "aws",
            "RUN ssh-keygen -q -t ed25519 -N '' -f /opt/key",
            &[("layers", "private key: `/opt/key`")],
        )
        .tries(NOTHING),
        case(
            "secret in the environment",
            "aws",
            "ENV CLAUDE_POOL_SECRET=canary",
            &[("secrets in the configuration", "a value of `CLAUDE_POOL_SECRET` in the environment")],
        )
        .tries(NOTHING),
        case(
            "secret in the history",
            "aws",
            "ARG NPM_TOKEN=canary\nRUN true",
            &[("secrets in the configuration", "a value of `NPM_TOKEN` in the history")],
        )
        .tries(NOTHING),
        case(
            "web port silent",
            "aws-web",
            &ide("case \"$*\" in *--version*) echo 4.139.1;; *) exec sleep 1000000;; esac"),
            &[
                ("web: health", "not healthy after"),
                ("web: page", "the page does not answer"),
                ("web + ssh: health", "not healthy after"),
                ("web + ssh: page", "the page does not answer"),
                ("coder + web: page on loopback", "on loopback the page is answered with `000`"),
                ("restricted: health", "not healthy after"),
                ("restricted: page", "the page does not answer"),
            ],
        )
        .tries(&["web: *", "web + ssh: *", "coder + web: *", "restricted: *"])
        .patience(8),
        case(
            "web without the password",
            "aws-web",
            &ide("exec /opt/code-server/node_modules/code-server/out/node/entry.js \"$@\" --auth none"),
            &[
                ("web: page", "the page opens without the password"),
                ("web + ssh: page", "the page opens without the password"),
                ("restricted: page", "the page opens without the password"),
            ],
        )
        .tries(&["web: *", "web + ssh: *", "restricted: *"]),
        case(
            "password in the environment of a process",
            "aws-web",
            &wrapped("/bin/sh", &showing("VSCODE_WEB_TOKEN")),
            &[
                ("web: password in no process", "in the environment or command line of `sleep 1000000"),
                ("web + ssh: password in no process", "in the environment or command line of `sleep 1000000"),
                ("restricted: password in no process", "in the environment or command line of `sleep 1000000"),
            ],
        )
        .tries(&["web: *", "web + ssh: *", "restricted: *"]),
        case(
            "ignores SIGTERM",
            "aws",
            &wrapped("/bin/sh", "entrypoint.real \"$@\"\nexit $?"),
            &[
                ("ssh: stops", "does not end within 10 s of SIGTERM, and was killed"),
                ("coder: stops", "does not end within 10 s of SIGTERM, and was killed"),
                ("restricted: stops", "does not end within 10 s of SIGTERM, and was killed"),
            ],
        )
        .tries(&["ssh: *", "coder: *", "restricted: *"]),
        case("too big", "aws", "RUN head -c 300000000 /dev/urandom > /opt/big", &[("size", "of `smoke.max-size`")])
            .tries(NOTHING),
        case("tool missing", "aws", "RUN rm /usr/bin/jq", &[("tool jq", "`jq` is not there")]).tries(&["tool jq", "tool git"]),
        case(
            "tool of another version",
            "aws",
            "RUN printf '#!/bin/sh\\necho jq-0.9\\n' > /usr/local/bin/jq && chmod 755 /usr/local/bin/jq",
            &[("tool jq", "`jq --version` prints `jq-0.9`, expected is `jq-1.`")],
        )
        .tries(&["tool jq", "tool git"]),
        case("wrong label", "aws", "LABEL gantry.variant=azure", &[("labels", "`gantry.variant` is `azure`, expected is `aws`")])
            .tries(NOTHING),
        case(
            "runner with sudo",
            "aws",
            "RUN echo 'runner ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/runner",
            &[("runner rights", "`runner` becomes root by sudo")],
        )
        .tries(&["runner *", "users"]),
        case(
            "runner in a strong group",
            "aws",
            "RUN adduser --quiet runner adm || usermod -aG adm runner",
            &[("runner rights", "in the group adm")],
        )
        .tries(&["runner *", "users"]),
        case(
            "zombies",
            "aws",
            &wrapped(
                "/usr/bin/python3",
                "import signal, subprocess, sys\nchild = subprocess.Popen([\"/usr/local/bin/entrypoint.real\", *sys.argv[1:]])\n\
                 signal.signal(signal.SIGTERM, lambda *_: child.send_signal(signal.SIGTERM))\nsys.exit(child.wait())",
            ),
            &[("ssh: zombies", "nobody waited for: `sleep`"), ("restricted: zombies", "nobody waited for: `sleep`")],
        )
        .tries(&["ssh: *", "restricted: *"]),
        case(
            "unhealthy",
            "aws",
            "HEALTHCHECK --start-period=1s --retries=2 CMD echo ill; false",
            &[
                ("health check", "the health check is `CMD-SHELL echo ill; false`"),
                ("ssh: health", "unhealthy: the health check says `ill`"),
                ("restricted: health", "unhealthy: the health check says `ill`"),
            ],
        )
        .tries(&["ssh: *", "restricted: *"]),
        case("health check missing", "aws", "HEALTHCHECK NONE", &[("health check", "there is no health check")])
            .tries(&["ssh: *"]),
        case(
            "ssh refuses",
            "aws",
            "RUN sed -i 's,^\\(ansible:.*:\\)/bin/bash$,\\1/usr/sbin/nologin,' /etc/passwd",
            &[
                ("users", "`ansible` is 1000:1000:/home/ansible:/usr/sbin/nologin"),
                ("ssh: login", "ssh ends with 1"),
                ("restricted: login", "ssh ends with 1"),
            ],
        )
        .tries(&["users", "ssh: *", "restricted: *"]),
        case(
            "entrypoint that exits",
            "aws",
            &wrapped("/bin/sh", "echo error: boom >&2\nexit 3"),
            &[
                ("ssh: starts", "the container ended with exit code 3: error: boom"),
                ("web, not in it: says so", "ends with 3, expected is 69"),
                ("coder: says so", "the container ended with exit code 3"),
                ("tunnel, left out: says so", "ends with 3, expected is 69"),
                ("restricted: starts", "the container ended with exit code 3"),
            ],
        ),
        case(
            "cannot run read-only",
            "aws",
            &wrapped("/bin/sh", "touch /var/lib/started || exit 1\nexec entrypoint.real \"$@\""),
            &[("restricted: starts", "the container ended with exit code 1")],
        )
        .tries(&["ssh: *", "restricted: *"]),
        // Nobody has planned them, and for the rest they are as they should be.
        case(
            "stand-ins for what is left out",
            "aws",
            &format!(
                "{}\n{}\nLABEL gantry.omitted=",
                runner("2.337.0"),
                code("echo To sign in, open https://microsoft.com/devicelogin and enter the code AAAA1111; sleep 1000000")
            ),
            &[("labels", "`gantry.pin.github-runner` is `2.337.0`, and the plan has no such label")],
        )
        .tries(&["tool code", "runner version", "ssh + runner: *", "tunnel: *"]),
        case(
            "runner of another version than the label",
            "aws",
            &runner("2.330.0"),
            &[
                ("labels", "`gantry.pin.github-runner` is `2.337.0`, and the plan has no such label"),
                ("runner version", "the runner is `2.330.0`, and the label says 2.337.0"),
            ],
        )
        .tries(&["runner *"]),
        case(
            "runner that is never started",
            "aws",
            &format!(
                "{}\n{}",
                runner("2.337.0"),
                wrapped("/bin/sh", "exec env -u GITHUB_RUNNER_URL -u GITHUB_RUNNER_PAT entrypoint.real \"$@\"")
            ),
            &[
                ("labels", "the plan has no such label"),
                ("ssh + runner: runner waits", "asked for a runner, `entrypoint status` says ``"),
            ],
        )
        .tries(&["ssh + runner: *"]),
        case(
            "runner whose token shows",
            "aws",
            &format!("{}\n{}", runner("2.337.0"), wrapped("/bin/sh", &showing("GITHUB_RUNNER_PAT"))),
            &[
                ("labels", "the plan has no such label"),
                ("ssh + runner: token kept secret", "the token is in the environment or command line of `sleep 1000000"),
            ],
        )
        .tries(&["ssh + runner: *"]),
        case(
            "missing runner that is not spoken of",
            "aws",
            &wrapped("/bin/sh", "exec env -u GITHUB_RUNNER_URL -u GITHUB_RUNNER_PAT entrypoint.real \"$@\""),
            &[("ssh: runner, left out", "asked for a runner, it does not say that it has none")],
        )
        .tries(&["ssh: *"]),
        case(
            "tunnel without a word",
            "aws",
            &code("sleep 1000000"),
            &[
                ("labels", "`gantry.pin.vscode-cli` is `110a`, and the plan has no such label"),
                ("tunnel: says so", "does not say which code to log in with, or why there is none"),
            ],
        )
        .tries(&["tool code", "tunnel: *"])
        .patience(8),
        case(
            "tunnel that fails without a word",
            "aws",
            &code("exit 1").replace("110a)", "990b)"),
            &[
                ("labels", "the plan has no such label"),
                ("tool code", "`code --version` prints `code 1.2.3 (commit 990b)`, expected is `(commit 110a)`"),
                ("tunnel: says so", "does not say which code to log in with, or why there is none"),
            ],
        )
        .tries(&["tool code", "tunnel: *"])
        .patience(8),
    ]
}

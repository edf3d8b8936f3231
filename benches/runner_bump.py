#!/usr/bin/env python3
"""A new GitHub runner from start to end: `bump github-runner`, build, publish: seconds, and bytes that came to each registry.

    cargo xtask build --all --profile offline      # first: the four variants, in the engine of this machine
    python3 benches/runner_bump.py --archive-mb 200 --json result.json

GitHub is stood in for by a server on loopback that `[mirrors]` names: its list of releases and the archives, which hold a
listener that tells its version and otherwise bytes that cannot be compressed. It works in a clone of the repository, with its
own cache and state folders, and publishes to two `docker-registry` processes. The family is published once with the pinned
version (not measured); then a newer one is released. Nothing else changes, so no registry should get more than the archive.
"""

import argparse
import datetime
import hashlib
import http.server
import io
import json
import os
import pathlib
import re
import subprocess
import sys
import tarfile
import tempfile
import threading
import time

from publish import ROOT, VARIANTS, Registry, run

OLD, NEW = "2.337.0", "2.338.0"
LISTENER = """#!/bin/sh
case "$1" in
--version) echo %s ;;
*) exit 1 ;;
esac
"""


def archive(version, megabytes):
    """Everything at the top, as GitHub's: scripts, and what is big in the real one."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as tar:
        def add(name, mode, content):
            entry = tarfile.TarInfo(name)
            entry.mode, entry.size = mode, len(content)
            tar.addfile(entry, io.BytesIO(content))

        add("./bin/Runner.Listener", 0o755, (LISTENER % version).encode())
        add("./bin/Runner.Worker", 0o755, b"#!/bin/sh\nexit 1\n")
        for name in ["config.sh", "run.sh", "env.sh"]:
            add(f"./{name}", 0o755, b"#!/bin/sh\nexit 1\n")
        for part in range(megabytes):
            add(f"./externals/part-{part}", 0o644, os.urandom(1_000_000))
    return packed.getvalue()


class GitHub:
    """The few answers of GitHub that a bump asks for."""

    def __init__(self, megabytes):
        self.megabytes, self.files, self.releases = megabytes, {}, []
        double = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                body = double.answer(self.path.split("?")[0])
                self.send_response(200 if body is not None else 404)
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def release(self, version, day):
        assets = []
        for arch in ["x64", "arm64"]:
            name = f"actions-runner-linux-{arch}-{version}.tar.gz"
            content = archive(version, self.megabytes if arch == "x64" else 1)
            path = f"actions/runner/releases/download/v{version}/{name}"
            self.files[f"/github.com/{path}"] = content
            digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
            assets.append({"name": name, "browser_download_url": f"https://github.com/{path}", "digest": digest, "size": len(content)})
        self.releases.insert(0, {
            "tag_name": f"v{version}", "published_at": f"{day}T15:00:00Z", "draft": False, "prerelease": False, "body": "",
            "html_url": f"https://github.com/actions/runner/releases/tag/v{version}", "assets": assets,
        })
        return len(self.files[f"/github.com/actions/runner/releases/download/v{version}/actions-runner-linux-x64-{version}.tar.gz"])

    def answer(self, path):
        list_of = "/api.github.com/repos/actions/runner/releases"
        if path == list_of:
            return json.dumps(self.releases).encode()
        if path == f"{list_of}/latest":
            return json.dumps(self.releases[0]).encode()
        for release in self.releases:
            if path == f"{list_of}/tags/{release['tag_name']}":
                return json.dumps(release).encode()
        return self.files.get(path)


def clone(folder, github):
    """The repository with these mirrors, its lock with the digests of the archives that there are here."""
    run("git", "clone", "--quiet", "--no-hardlinks", ROOT, folder)
    table = folder / "variants.toml"
    mirrors = [f'"https://{host}/" = "{github.url}/{host}/"\n' for host in ["api.github.com", "github.com"]]
    table.write_text(table.read_text() + "\n[mirrors]\n" + "".join(mirrors))
    lock = folder / "variants.lock"
    text = lock.read_text()
    for asset in github.releases[0]["assets"]:
        text, changed = re.subn(rf'({re.escape(asset["name"])}"\ndigest = )"[^"]*"', rf'\1"{asset["digest"]}"', text)
        assert changed == 1, f"variants.lock has no {asset['name']}"
    lock.write_text(re.sub('released = "[^"]*"', f'released = "{github.releases[0]["published_at"][:10]}"', text))
    commit(folder, "Mirrors on loopback")


def commit(folder, words):
    who = ["-c", "user.name=bench", "-c", "user.email=bench@localhost"]
    run("git", *who, "commit", "--quiet", "--all", "--message", words, cwd=folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archive-mb", type=int, default=200, help="size of the runner's archive, in MB (200: about what GitHub's is)")
    parser.add_argument("--json", type=pathlib.Path, help="write the figures there as well")
    options = parser.parse_args()
    run("cargo", "build", "--quiet", "--package", "xtask")
    target = pathlib.Path(json.loads(run("cargo", "metadata", "--no-deps", "--format-version=1"))["target_directory"])
    xtask = target / "debug/xtask"

    figures = {}
    with tempfile.TemporaryDirectory() as text:
        folder = pathlib.Path(text)
        registries = [Registry(folder), Registry(folder)]
        try:
            github = GitHub(options.archive_mb)
            today = datetime.date.today()
            github.release(OLD, today - datetime.timedelta(days=20))
            work = folder / "work"
            clone(work, github)
            environment = {name: value for name, value in os.environ.items() if name not in ("CI", "GITHUB_TOKEN")}
            environment |= {"GANTRY_CACHE_DIR": str(folder / "cache"), "XDG_STATE_HOME": str(folder / "state"),
                            "CARGO_TARGET_DIR": str(target)}

            def timed(*words):
                begin = time.monotonic()
                done = subprocess.run([xtask, *words], cwd=work, env=environment, capture_output=True, text=True)
                if done.returncode != 0:
                    sys.exit(f"xtask {' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}")
                return time.monotonic() - begin, done

            names = ["ghcr", "ecr"]
            where = [f"--destination={name}={registry.repository}" for name, registry in zip(names, registries)]
            offline = ["--all", "--profile", "offline"]
            first, _ = timed("publish", *offline, *where)
            held = [registry.held() for registry in registries]

            size = github.release(NEW, today - datetime.timedelta(days=2))
            bump, done = timed("bump", "github-runner")
            assert f'version = "{NEW}"' in (work / "variants.toml").read_text(), done.stdout
            commit(work, "A newer runner")
            build, _ = timed("build", *offline)
            publish, done = timed("publish", *offline, *where)
            sent = [registry.held() - before for registry, before in zip(registries, held)]
            figures = {
                "archive": size, "first publish, seconds": round(first, 1), "bump, seconds": round(bump, 2), "build, seconds": round(build, 1),
                "publish with smoke, seconds": round(publish, 1), "all, seconds": round(bump + build + publish, 1),
                "bytes to each registry": sent, "beyond the archive": [more - size for more in sent],
            }
            timed("verify", *where)
        finally:
            for registry in registries:
                registry.end()
    for name, value in figures.items():
        print(f"{name:30} {value}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()

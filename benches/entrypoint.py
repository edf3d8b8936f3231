#!/usr/bin/env python3
"""The entrypoint side by side with tini alone and with tini + a bash script that does the same (benches/startup.sh), in
one run, in turns.

    cargo build -p entrypoint --profile image --target x86_64-unknown-linux-musl     # first
    python3 benches/entrypoint.py [--entrypoint FILE] [--rounds N]

Measured are: the time from the init's exec to the first instruction of the first service, and to sshd's greeting; resident
memory of everything that is not a service, once sshd serves; the size of the file. Each round is PID 1 of namespaces of its
own. Needs root, util-linux, tini, openssh-server and openssh-client.
"""

import argparse
import ctypes
import os
import pathlib
import re
import select
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
INSIDE = "GANTRY_BENCH_INSIDE"
LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWPID, CLONE_NEWNS = 0x20000000, 0x00020000
MS_REC, MS_PRIVATE = 1 << 14, 1 << 18
PLACE = pathlib.Path("/mnt/bench")
ENTRYPOINT, SCRIPT, BEGUN = PLACE / "entrypoint", PLACE / "startup.sh", PLACE / "begun"
WEB = "/opt/code-server/bin/code-server"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def enter():
    """Namespaces of our own, so that this machine's files, ports and processes are not touched; gives a folder on a disk."""
    if INSIDE in os.environ:
        return pathlib.Path(os.environ[INSIDE])
    with tempfile.TemporaryDirectory(dir="/var/tmp") as disk:
        flags = ["--mount", "--net", "--pid", "--fork", "--mount-proc", "--kill-child"]
        command = ["unshare", *flags, sys.executable, *sys.argv]
        sys.exit(subprocess.run(command, env={**os.environ, INSIDE: disk}).returncode)


def prepare(entrypoint, tini, disk):
    """The files that the services and the inits need."""
    binary, script = entrypoint.read_bytes(), (ROOT / "benches/startup.sh").read_bytes()
    run("ip", "link", "set", "lo", "up")
    # As in a container, where nobody asked for a tmpfs: on a disk, where a file that is synced takes its time.
    for folder in ["/run", "/opt", "/home", "/etc/ssh"]:
        own = disk / folder.strip("/").replace("/", "-")
        own.mkdir()
        own.chmod(0o755)
        run("mount", "--bind", own, folder)
    run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/mnt")
    PLACE.mkdir()
    for path, content in [(ENTRYPOINT, binary), (SCRIPT, script)]:
        path.write_bytes(content)
        path.chmod(0o755)
    users = "root:x:0:0::/root:/bin/bash\nsshd:x:100:65534::/run/sshd:/usr/sbin/nologin\nansible:x:1000:1000::/home/ansible:/bin/bash\n"
    for path, text in [
        ("/etc/passwd", users),
        ("/etc/group", "root:x:0:\nansible:x:1000:\n"),
        ("/etc/shadow", "root:*:1::::::\nsshd:*:1::::::\nansible:*:1::::::\n"),
    ]:
        file = PLACE / pathlib.Path(path).name
        file.write_text(text)
        run("mount", "--bind", file, path)
    run("install", "-d", "-o", "1000", "-g", "1000", "/home/ansible")
    os.mkfifo(BEGUN)
    BEGUN.chmod(0o666)
    own_files([shutil.which("bash"), tini])
    server = pathlib.Path(WEB)
    server.parent.mkdir(parents=True)
    server.write_text(f"#!/bin/sh\necho >{BEGUN}\nexec sleep 1000\n")
    server.chmod(0o755)
    pathlib.Path("/etc/ssh/sshd_config").write_text("Subsystem sftp internal-sftp\n")
    # Generated once: how long that takes is up to ssh-keygen.
    run("ssh-keygen", "-q", "-A")
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", PLACE / "key")
    pathlib.Path("/run/sshd").mkdir()


def run(*command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def own_files(programs):
    """Copies of programs and their libraries in place of this machine's, whose memory other processes here share."""
    listed = "".join(subprocess.run(["ldd", program], capture_output=True, text=True).stdout for program in programs)
    for path in {os.path.realpath(path) for path in programs + re.findall(r"/\S+", listed)}:
        copy = PLACE / os.path.basename(path)
        shutil.copy(path, copy)
        run("mount", "--bind", copy, path)


class Init:
    """A command as PID 1 of a namespace of its own."""

    def __init__(self, command, variables):
        self.ready, ready = os.pipe()
        begin, self.begin = os.pipe()
        self.helper = os.fork()
        if self.helper == 0:
            os.setsid()
            if LIBC.unshare(CLONE_NEWPID | CLONE_NEWNS) != 0:
                os._exit(70)
            first = os.fork()
            if first == 0:
                own_proc()
                null = os.open("/dev/null", os.O_RDWR)
                os.write(ready, b"x")
                os.read(begin, 1)
                for fd in range(3):
                    os.dup2(null, fd)
                os.execve(command[0], [str(word) for word in command], {"PATH": PATH, **variables})
            os.write(ready, first.to_bytes(4, "little"))
            os.waitpid(first, 0)
            os._exit(0)
        data = b""
        while len(data) < 5:
            data += os.read(self.ready, 5)
        # The byte of the child may come before or after the number of the parent.
        number = data[1:] if data[:1] == b"x" and data[4:] != b"x" else data[:4]
        self.pid = int.from_bytes(number, "little")
        os.close(ready), os.close(begin)

    def go(self):
        """Lets it begin, and tells when."""
        now = time.monotonic()
        os.write(self.begin, b"x")
        return now

    def end(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.helper, 0)
        os.close(self.ready), os.close(self.begin)
        for left in pathlib.Path("/run/gantry").glob("*"):
            left.unlink() if not left.is_dir() else shutil.rmtree(left)


def own_proc():
    """A /proc of the new namespace, without another process in it."""
    LIBC.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None)
    LIBC.mount(b"proc", b"/proc", b"proc", 0, None)


def to_first_service(command, variables):
    """Milliseconds to the first instruction of the web server."""
    begun = os.open(BEGUN, os.O_RDWR)
    init = Init(command, variables)
    start = init.go()
    if not select.select([begun], [], [], 30)[0]:
        sys.exit(f"{command}: no service has begun")
    took = time.monotonic() - start
    os.close(begun)
    init.end()
    return took * 1000


def to_greeting(command, variables, look=None):
    """Milliseconds to the greeting of sshd, or what `look` finds then."""
    init = Init(command, variables)
    start = init.go()
    while True:
        try:
            with socket.create_connection(("127.0.0.1", 22), timeout=30) as connection:
                greeted = connection.recv(4) == b"SSH-"
            break
        except ConnectionRefusedError:
            if time.monotonic() - start > 30:
                sys.exit(f"{command}: sshd does not serve")
            time.sleep(0.0002)
    took = time.monotonic() - start
    found = look(init) if look else took * 1000
    init.end()
    assert greeted
    return found


def memory(init):
    """Kilobytes (resident, its share, its own) of everything that is not a service."""
    # Until what starts has started, and the connection that was a look is over.
    time.sleep(0.5)
    sums = [0, 0, 0]
    pids = [init.pid] + descendants(init.pid)
    for pid in pids:
        executable = os.path.basename(os.readlink(f"/proc/{pid}/exe"))
        if executable.startswith("sshd"):
            continue
        text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
        for at, names in enumerate([["Rss"], ["Pss"], ["Private_Clean", "Private_Dirty"]]):
            sums[at] += sum(int(re.search(rf"^{name}: +(\d+) kB", text, re.M)[1]) for name in names)
    return sums


def descendants(pid):
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children] + [below for child in children for below in descendants(int(child))]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = ROOT / "target/x86_64-unknown-linux-musl/image/entrypoint"
    parser.add_argument("--entrypoint", type=pathlib.Path, default=default)
    parser.add_argument("--rounds", type=int, default=100)
    options = parser.parse_args()
    disk = enter()
    tini = shutil.which("tini") or sys.exit("`tini` is missing: apt-get install tini")
    prepare(options.entrypoint, tini, disk)

    key = {"AUTHORIZED_KEYS": (PLACE / "key.pub").read_text()}
    web, secret = {"VSCODE_WEB": "1", "VSCODE_WEB_AUTH": "none"}, {"GITHUB_TOKEN": "x"}
    starts = {
        "tini alone": ([tini, "--", WEB], {}),
        "tini + bash": ([tini, "--", SCRIPT], web),
        "entrypoint": ([ENTRYPOINT], web),
        "entrypoint, with a secret": ([ENTRYPOINT], web | secret),
    }
    greetings = {
        "tini alone": ([tini, "--", "/usr/sbin/sshd", "-D", "-e"], {}),
        "tini + bash": ([tini, "--", SCRIPT], key),
        "entrypoint": ([ENTRYPOINT], key),
        "entrypoint, with a secret": ([ENTRYPOINT], key | secret),
    }
    # In turns, so that what else this machine does hits all of them.
    started, greeted = {name: [] for name in starts}, {name: [] for name in greetings}
    for _ in range(options.rounds):
        for name, case in starts.items():
            started[name].append(to_first_service(*case))
        for name, case in greetings.items():
            greeted[name].append(to_greeting(*case))
    kept = {name: to_greeting(*case, look=memory) for name, case in greetings.items()}

    print(f"size of the entrypoint: {ENTRYPOINT.stat().st_size / 1e6:.2f} MB (tini {os.stat(tini).st_size / 1e6:.2f} MB)\n")
    print("| median (fastest) of %d | to the first service | to sshd's greeting | RSS | PSS | private |" % options.rounds)
    print("|---|---|---|---|---|---|")
    for name in starts:
        times = [f"{statistics.median(times):.2f} ({min(times):.2f}) ms" for times in (started[name], greeted[name])]
        sizes = [f"{size} kB" for size in kept[name]]
        print(f"| {name} | {' | '.join(times + sizes)} |")


main()

#!/usr/bin/env python3
"""Publishing a family to two registries, side by side with what one would use instead, in one run, in turns.

    cargo xtask build --all --profile offline              # first: the four variants, in the engine of this machine
    python3 benches/publish.py --rounds 3 --json result.json --modern DIR
    python3 benches/publish.py --only first,unchanged      # sections: first unchanged entrypoint growth modern

Every measurement publishes to two `docker-registry` processes of its own that hold nothing, from empty cache and state
folders; files are flushed before it begins. Medians of `--rounds`, lowest and highest beside them.

first       `cargo xtask push` with gzip and with zstd; `docker push` of the four images to both registries; the same with
            `skopeo copy docker-daemon:`. Sizes are those of the unique layers in a registry. The digests of both registries
            are compared, and confirmed by skopeo and (with --modern) crane.
unchanged   the same commands again, right afterwards; skopeo exports anew, and is repeated in the first round only.
entrypoint  another entrypoint (one byte more) is built, then pushed: seconds and bytes that came to each registry.
growth      a family of 4, 16 and 64 variants on a small base: first push, and again.
modern      on the engine that `tests/modern-engine.sh up DIR` starts (containerd store), which is given the images of this
            machine: `cargo xtask push` with gzip, `docker buildx bake --push` of a file whose targets are `FROM` these images,
            both registries as outputs; once `docker push` to both (which sends layers as they were loaded: not compressed).

CPU seconds are the client's, the engine's (with containerd, where that is another process) and the registries', which no
tool can help. Memory is the peak of the client process. Needs root for --modern, and docker-registry, skopeo, git.
"""

import argparse
import contextlib
import dataclasses
import json
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
import urllib.request

import build

ROOT = pathlib.Path(__file__).resolve().parent.parent
TICKS = os.sysconf("SC_CLK_TCK")
VARIANTS = ["aws", "azure", "aws-web", "azure-web"]
SECTIONS = ["first", "unchanged", "entrypoint", "growth", "modern"]
MANIFEST = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"


def run(*command, **options):
    command = [str(word) for word in command]
    done = subprocess.run(command, capture_output=True, text=True, cwd=options.pop("cwd", ROOT), **options)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


def cpu_of(pid):
    """CPU seconds of a process and of the children that it has waited for."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / TICKS
    return 0.0


class Registry:
    """Debian's docker-registry on a free port of loopback, one that modern-engine.sh lets through."""

    def __init__(self, folder):
        self.folder = pathlib.Path(tempfile.mkdtemp(dir=folder))
        while True:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            if port >= 30000:
                break
        self.address = f"127.0.0.1:{port}"
        self.repository = f"{self.address}/bench/family"
        config = self.folder / "config.yml"
        storage = f"{{filesystem: {{rootdirectory: {self.folder}/data}}, cache: {{blobdescriptor: inmemory}}}}"
        config.write_text(f"version: 0.1\nlog: {{level: error}}\nstorage: {storage}\nhttp: {{addr: '{self.address}'}}\n")
        self.child = subprocess.Popen(["docker-registry", "serve", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while True:
            with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
                return
            if self.child.poll() is not None:
                sys.exit("docker-registry ended at once")
            time.sleep(0.01)

    def get(self, path, method="GET"):
        request = urllib.request.Request(f"http://{self.address}/v2/bench/family/{path}", headers={"Accept": MANIFEST}, method=method)
        return urllib.request.urlopen(request)

    def digest(self, tag):
        return self.get(f"manifests/{tag}", "HEAD").headers["docker-content-digest"]

    def compressed(self, tags):
        """Bytes of the layers of all `tags`, shared ones once."""
        manifests = [json.load(self.get(f"manifests/{tag}")) for tag in tags]
        return sum({layer["digest"]: layer["size"] for manifest in manifests for layer in manifest["layers"]}.values())

    def held(self):
        """Bytes of all blobs, manifests included."""
        return sum(file.stat().st_size for file in (self.folder / "data/docker/registry/v2/blobs").rglob("data"))

    def end(self):
        self.child.kill()
        self.child.wait()
        shutil.rmtree(self.folder)


class Engine:
    """An engine, and the processes that are it."""

    def __init__(self, modern=None):
        self.host = f"unix://{modern}/run/docker.sock" if modern else os.environ.get("DOCKER_HOST")
        self.modern = modern
        self.environment = {**os.environ, **({"DOCKER_HOST": self.host} if self.host else {})}
        network = os.readlink("/proc/self/ns/net")
        self.pids = []
        for process in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                here = os.readlink(process / "ns/net") == network
                if (process / "comm").read_text().strip() in ["dockerd", "containerd"] and here != bool(modern):
                    self.pids.append(process.name)

    def cpu(self):
        return sum(map(cpu_of, self.pids))


@dataclasses.dataclass
class Sample:
    """One measurement: seconds, CPU seconds, bytes."""

    seconds: float
    client: float
    engine: float
    registries: float
    memory: int
    size: int = 0


def measure(commands, engine, registries, environment=None):
    """Runs `commands` one after another, as a script would."""
    os.sync()
    engine_before, registries_before = engine.cpu(), sum(cpu_of(registry.child.pid) for registry in registries)
    memory, client, start = 0, 0.0, time.monotonic()
    for command in commands:
        with tempfile.TemporaryFile() as output:
            options = {"stdout": output, "stderr": subprocess.STDOUT, "cwd": ROOT, "env": {**engine.environment, **(environment or {})}}
            child = subprocess.Popen([str(word) for word in command], **options)
            ended = select.poll()
            ended.register(os.pidfd_open(child.pid), select.POLLIN)
            # The high-water mark of the process itself: rusage would also count what it starts (git, rustc).
            while not ended.poll(20):
                status = pathlib.Path(f"/proc/{child.pid}/status").read_text()
                memory = max([memory, *(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))])
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
            client += usage.ru_utime + usage.ru_stime
            if child.returncode != 0:
                output.seek(0)
                sys.exit(f"{' '.join(map(str, command))}: {child.returncode}\n{output.read().decode()}")
    seconds = time.monotonic() - start
    registries_cpu = sum(cpu_of(registry.child.pid) for registry in registries) - registries_before
    return Sample(seconds, client, engine.cpu() - engine_before, registries_cpu, memory * 1024)


class Results:
    """All samples, and the table of their medians."""

    def __init__(self):
        self.samples = {}

    def add(self, section, what, sample):
        self.samples.setdefault((section, what), []).append(sample)
        print(f"  {section}: {what}: {sample.seconds:.2f} s", file=sys.stderr, flush=True)

    def median(self, section, what, field="seconds"):
        samples = self.samples.get((section, what), [])
        return statistics.median(getattr(sample, field) for sample in samples) if samples else None

    def ratios(self):
        """Of peers to Gantry, within a section."""
        ratios = {}
        for section, peer in self.samples:
            for ours in [what for where, what in self.samples if where == section and what.startswith("gantry")]:
                if not peer.startswith("gantry"):
                    ratios[f"{section}: {peer} / {ours}"] = self.median(section, peer) / self.median(section, ours)
        for peer in ["docker push", "skopeo copy"]:
            sizes = [self.median("first", what, "size") for what in ["gantry gzip", peer]]
            if all(sizes):
                ratios[f"first: size of gantry gzip / {peer}"] = sizes[0] / sizes[1]
        return ratios

    def table(self):
        yield f"{'':44} {'seconds (lowest–highest)':>26} {'client':>8} {'engine':>8} {'registries':>10} {'memory':>8} {'bytes':>9}"
        for (section, what), samples in self.samples.items():
            seconds = [sample.seconds for sample in samples]
            client, engine, registries, memory, size = (
                self.median(section, what, field) for field in ["client", "engine", "registries", "memory", "size"]
            )
            spread = f"{statistics.median(seconds):.2f} ({min(seconds):.2f}–{max(seconds):.2f})"
            size = f"{size / 1e6:.1f} MB" if size else "–"
            yield f"{section + ': ' + what:44} {spread:>26} {client:8.2f} {engine:8.2f} {registries:10.2f} {memory / 1e6:5.0f} MB {size:>9}"
        for name, ratio in self.ratios().items():
            yield f"{name:72} {ratio:6.2f}"

    def json(self):
        rows = [
            {"section": section, "what": what, "samples": [dataclasses.asdict(sample) for sample in samples]}
            for (section, what), samples in self.samples.items()
        ]
        cpu = [line.partition(":")[2].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
        programs = {name: run(name, "--version") for name in ["docker", "skopeo", "docker-registry"]}
        commit = run("git", "rev-parse", "--short", "HEAD")
        return {"schema": 1, "commit": commit, "cores": len(cpu), "cpu": cpu[0], "programs": programs, "rows": rows, "ratios": self.ratios()}


def commit(folder, message):
    identity = ["-c", "user.name=bench", "-c", "user.email=bench@example.org", "-c", "commit.gpgsign=false"]
    run("git", "-C", folder, "add", "--all", "--force")
    run("git", "-C", folder, *identity, "commit", "--quiet", "--allow-empty", "--message", message)


def family_copy(folder, compression=None):
    """The tree as it is now, in a repository of its own that is clean: its images are those that were built here."""
    files = run("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z").split("\0")
    for name in filter(None, files):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    with_compression(folder, compression)
    run("git", "init", "--quiet", folder)
    commit(folder, "family")
    return folder


def with_compression(folder, compression):
    if compression:
        table = folder / "variants.toml"
        table.write_text(re.sub(r'(?m)^compression = "\w+"', f'compression = "{compression}"', table.read_text()))


def small_family(folder, variants):
    """A family of small variants on one base, as of benches/build.py."""
    build.family(folder, variants)
    run("git", "init", "--quiet", folder)
    commit(folder, "family")
    return folder


class Gantry:
    """`push` of a family with cache and state folders of its own."""

    def __init__(self, xtask, family, folder, selection=("--all", "--profile", "offline")):
        self.xtask, self.family, self.selection = xtask, family, selection
        places = tempfile.mkdtemp(dir=folder)
        self.environment = {"GANTRY_CACHE_DIR": f"{places}/cache", "XDG_STATE_HOME": f"{places}/state", "CI": ""}
        self.places = places

    def push(self, engine, registries, *more):
        to = [f"--destination=r{at}={registry.repository}" for at, registry in enumerate(registries)]
        command = [self.xtask, "--manifest", self.family / "variants.toml", "push", *self.selection, *to, *more]
        return measure([command], engine, registries, self.environment)

    def end(self):
        shutil.rmtree(self.places)


class Bench:
    def __init__(self, options, folder):
        self.options, self.folder, self.results = options, folder, Results()
        self.xtask, self.engine = pathlib.Path(options.xtask), Engine()
        self.families = {name: family_copy(folder / name, None if name == "gzip" else name) for name in ["gzip", "zstd"]}

    @contextlib.contextmanager
    def registries(self, count=2):
        registries = [Registry(self.folder) for _ in range(count)]
        try:
            yield registries
        finally:
            for registry in registries:
                registry.end()

    def image(self, variant):
        return f"ansible-epic:{variant}-offline"

    def confirm(self, registries, tags):
        """Every tag has one digest in all registries, and the other tools see it."""
        for tag in tags:
            digests = {registry.digest(tag) for registry in registries}
            for registry in registries:
                reference = f"{registry.repository}:{tag}"
                digests.add(run("skopeo", "inspect", "--tls-verify=false", "--format", "{{.Digest}}", f"docker://{reference}"))
                if self.options.modern:
                    digests.add(run(ROOT / "tests/modern-engine.sh", "exec", self.options.modern, "crane", "digest", "--insecure", reference))
            if len(digests) != 1:
                sys.exit(f"`{tag}` has several digests: {digests}")

    def gantry(self, compression):
        """First publish, and again."""
        with self.registries() as registries:
            gantry = Gantry(self.xtask, self.families[compression], self.folder)
            sample = gantry.push(self.engine, registries)
            sample.size = registries[0].compressed(VARIANTS)
            self.results.add("first", f"gantry {compression}", sample)
            self.confirm(registries, VARIANTS)
            if "unchanged" in self.options.only:
                for _ in range(2):
                    self.results.add("unchanged", f"gantry {compression}", gantry.push(self.engine, registries))
            gantry.end()

    def docker(self, section="first", engine=None):
        """`docker push`, image by image, registry by registry."""
        engine = engine or self.engine
        with self.registries() as registries:
            references = {f"{registry.repository}:{variant}": variant for registry in registries for variant in VARIANTS}
            for reference, variant in references.items():
                run("docker", "tag", self.image(variant), reference, env=engine.environment)
            try:
                commands = [["docker", "push", "--quiet", reference] for reference in references]
                sample = measure(commands, engine, registries)
                sample.size = registries[0].compressed(VARIANTS)
                self.results.add(section, "docker push", sample)
                if section == "first" and "unchanged" in self.options.only:
                    self.results.add("unchanged", "docker push", measure(commands, engine, registries))
            finally:
                run("docker", "rmi", *references, env=engine.environment)

    def skopeo(self, again):
        with self.registries() as registries:
            to = [(f"docker-daemon:{self.image(variant)}", f"docker://{registry.repository}:{variant}")
                  for registry in registries for variant in VARIANTS]  # fmt: skip
            commands = [["skopeo", "copy", "--quiet", "--dest-tls-verify=false", *pair] for pair in to]
            sample = measure(commands, self.engine, registries)
            sample.size = registries[0].compressed(VARIANTS)
            self.results.add("first", "skopeo copy", sample)
            if again and "unchanged" in self.options.only:
                self.results.add("unchanged", "skopeo copy", measure(commands, self.engine, registries))

    def first(self, at):
        turns = {
            "gzip": lambda: self.gantry("gzip"),
            "docker": self.docker,
            "zstd": lambda: self.gantry("zstd"),
            "skopeo": lambda: self.skopeo(at == 0),
        }
        turns = [turn for name, turn in turns.items() if name not in self.options.without]
        # Another one begins each round: who is first finds files out of memory.
        for turn in turns[at % len(turns):] + turns[: at % len(turns)]:  # fmt: skip
            turn()

    def entrypoint(self):
        """Another entrypoint in all four variants, pushed to where the earlier one is. What is built is put back."""
        binary = pathlib.Path(self.options.entrypoint or build.compiled_entrypoint())
        listed = run("docker", "images", "--format", "{{.Repository}}:{{.Tag}}").splitlines()
        names = [name for name in listed if name.startswith(("ansible-epic:", "gantry.invalid/stage/"))]
        before = {name: run("docker", "image", "inspect", "--format", "{{.Id}}", name) for name in names}
        kept = {image: f"gantry-bench/kept:{image.removeprefix('sha256:')[:16]}" for image in before.values()}
        for image, name in kept.items():
            run("docker", "tag", image, name)
        try:
            with self.registries() as registries:
                family = self.families["gzip"]
                gantry = Gantry(self.xtask, family, self.folder)
                gantry.push(self.engine, registries)
                for at in range(self.options.rounds):
                    changed = self.folder / "entrypoint"
                    changed.write_bytes(binary.read_bytes() + bytes([at + 1, os.getpid() % 256]))
                    changed.chmod(0o755)
                    commit(family, f"entrypoint {at}")  # a revision of its own: immutable tags are new
                    run(self.xtask, "--manifest", family / "variants.toml", "build", *gantry.selection, "--entrypoint", changed)
                    held = registries[0].held()
                    sample = gantry.push(self.engine, registries, "--entrypoint", changed)
                    sample.size = registries[0].held() - held
                    self.results.add("entrypoint", "gantry gzip", sample)
                gantry.end()
        finally:
            for name, image in before.items():
                run("docker", "tag", image, name)
            finished = tuple(f"gantry.invalid/stage/{variant}.finished:" for variant in VARIANTS)
            listed = run("docker", "images", "--format", "{{.Repository}}:{{.Tag}}").splitlines()
            for name in [name for name in listed if name.startswith(finished) and name not in before]:
                run("docker", "rmi", name)
            run("docker", "rmi", *kept.values())

    def growth(self):
        """4, 16 and 64 variants of one family that was built once."""
        family = small_family(self.folder / "small", 64)
        more = ["--entrypoint", self.options.entrypoint or build.compiled_entrypoint()]
        manifest = ["--manifest", family / "variants.toml"]
        run(self.xtask, *manifest, "build", "--all", *more)
        try:
            for count in [4, 16, 64]:
                selection = [f"--variant=v{at}" for at in range(count)] + more
                for _ in range(self.options.rounds):
                    with self.registries() as registries:
                        gantry = Gantry(self.xtask, family, self.folder, selection)
                        self.results.add("growth", f"gantry gzip, {count} variants", gantry.push(self.engine, registries))
                        self.results.add("growth", f"gantry gzip, {count} variants again", gantry.push(self.engine, registries))
                        gantry.end()
        finally:
            run(self.xtask, *manifest, "clean", "--images")

    def modern(self):
        """The same images on the newer engine."""
        place = pathlib.Path(self.options.modern).resolve()
        run(ROOT / "tests/modern-engine.sh", "up", place)
        engine = Engine(place)
        buildx = place / "root/usr/libexec/docker/cli-plugins/docker-buildx"
        plan = json.loads(run(self.xtask, "--format", "json", "plan", "--all", "--profile", "offline"))
        steps = {step["image"]: step for step in plan["steps"] if "image" in step}
        stages = [steps[f"{variant}.finished"]["stage"] for variant in VARIANTS]
        there = run("docker", "images", "--format", "{{.Repository}}:{{.Tag}}", env=engine.environment).splitlines()
        if not set(stages) <= set(there):
            saving = subprocess.Popen(["docker", "save", *stages, *map(self.image, VARIANTS)], stdout=subprocess.PIPE)
            run("docker", "load", stdin=saving.stdout, env=engine.environment)
            saving.wait()
        for at in range(self.options.rounds):
            turns = [lambda: self.modern_gantry(engine), lambda: self.bake(engine, buildx, at)]
            for turn in turns[at % 2:] + turns[: at % 2]:  # fmt: skip
                turn()
        self.docker("modern", engine)

    def modern_gantry(self, engine):
        with self.registries() as registries:
            gantry = Gantry(self.xtask, self.families["gzip"], self.folder)
            sample = gantry.push(engine, registries)
            sample.size = registries[0].compressed(VARIANTS)
            self.results.add("modern", "gantry gzip", sample)
            self.confirm(registries, VARIANTS)
            gantry.end()

    def bake(self, engine, buildx, at):
        """A target per image; a label that is new each time, so that nothing is left over from the round before."""
        with self.registries() as registries:
            targets = {
                variant: {
                    "context": str(self.folder / "empty"),
                    "dockerfile-inline": f"FROM {self.image(variant)}\nLABEL bench={at}-{os.getpid()}\n",
                    "tags": [f"{registry.repository}:{variant}" for registry in registries],
                }
                for variant in VARIANTS
            }
            (self.folder / "empty").mkdir(exist_ok=True)
            file = self.folder / "bake.json"
            file.write_text(json.dumps({"group": {"default": {"targets": VARIANTS}}, "target": targets}))
            environment = {"BUILDX_CONFIG": str(self.folder / "buildx"), "BUILDX_BAKE_ENTITLEMENTS_FS": "0"}
            force = "*.output=type=registry,compression=gzip,force-compression=true"
            command = [buildx, "bake", "-f", file, "--provenance=false", "--set", force]
            sample = measure([command], engine, registries, environment)
            sample.size = registries[0].compressed(VARIANTS)
            self.results.add("modern", "buildx bake --push", sample)
            tags = [tag for target in targets.values() for tag in target["tags"]]
            subprocess.run(["docker", "rmi", *tags], capture_output=True, env=engine.environment)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections, separated by commas")
    parser.add_argument("--without", default="", help="of `first`: gzip, zstd, docker, skopeo, separated by commas")
    parser.add_argument("--modern", metavar="DIR", help="the folder of tests/modern-engine.sh; without it, that section is left out")
    parser.add_argument("--xtask", metavar="FILE", help="the xtask to measure (default: what `cargo xtask` runs, made now)")
    parser.add_argument("--entrypoint", metavar="FILE", help="a static entrypoint (default: compiled now)")
    parser.add_argument("--json", metavar="FILE", help="write all samples to this file")
    options = parser.parse_args()
    options.only, options.without = options.only.split(","), options.without.split(",")
    if unknown := set(options.only) - set(SECTIONS):
        parser.error(f"no such section: {', '.join(unknown)}")
    if not options.xtask:
        run("cargo", "build", "--quiet", "-p", "xtask")
        options.xtask = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug/xtask"
    start = time.monotonic()
    # A run that is ended takes its registries and tags with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    with tempfile.TemporaryDirectory(prefix="gantry-bench-") as folder:
        bench = Bench(options, pathlib.Path(folder))
        try:
            if "first" in options.only:
                for at in range(options.rounds):
                    bench.first(at)
            for section in ["modern", "growth", "entrypoint"]:
                if section in options.only and (section != "modern" or options.modern):
                    getattr(bench, section)()
        finally:
            print("\n".join(bench.results.table()))
            if options.json:
                pathlib.Path(options.json).write_text(json.dumps(bench.results.json(), indent=1) + "\n")
    print(f"all in {time.monotonic() - start:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()

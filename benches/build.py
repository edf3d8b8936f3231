#!/usr/bin/env python3
"""Gantry side by side with what one would use instead, in one run, on the engine that DOCKER_HOST names.

    cargo xtask build --all --profile offline         # first, so that everything is built
    python3 benches/build.py --buildx /path/to/docker-buildx

Measured are: nothing changed (`build --all` against `docker buildx bake` of the same Dockerfiles, parents as tags),
an entrypoint-only change, plans of 64 to 512 variants, one changed variant of 64 against that variant alone, image
sizes, and with `--compile` what compiling xtask from nothing costs. Best of `--runs`.
"""

import argparse
import json
import os
import pathlib
import resource
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent


def run(command, **options):
    done = subprocess.run(command, capture_output=True, text=True, cwd=options.pop("cwd", ROOT), **options)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def best(runs, command, before=None, **options):
    """Seconds of the fastest of `runs`."""
    times = []
    for at in range(runs):
        if before:
            before(at)
        start = time.monotonic()
        run(command(at) if callable(command) else command, **options)
        times.append(time.monotonic() - start)
    return min(times)


def bake_file(plan, folder, entrypoint):
    """The plan's Dockerfiles as a file for `docker buildx bake`; the finishing context gets the entrypoint."""
    targets = {}
    for step in plan["steps"]:
        if step["work"] != "build":
            continue
        context = ROOT / step["context"]
        if step["entrypoint"]:
            context = folder / "finish"
            shutil.rmtree(context, ignore_errors=True)
            shutil.copytree(ROOT / step["context"], context)
            place = context / "rootfs/usr/local/bin/entrypoint"
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(entrypoint, place)
        targets[step["image"].replace(".", "_")] = {
            "context": str(context),
            "dockerfile": "Dockerfile",
            "args": step["args"],
            "labels": step["labels"],
            "tags": [step["stage"].replace("/stage/", "/bake/")],
            "secret": ["id=ca,src=/etc/ssl/certs/ca-certificates.crt"] if step["secrets"] else [],
        }
    file = folder / "docker-bake.json"
    file.write_text(json.dumps({"group": {"default": {"targets": list(targets)}}, "target": targets}))
    return file, [name for name in targets if name.endswith("_finished")]


def family(folder, variants):
    """A family of small variants on one base."""
    for image in ["base", "component", "finish"]:
        (folder / "images" / image).mkdir(parents=True, exist_ok=True)
        (folder / "images" / image / "Dockerfile").write_text("ARG PARENT\nFROM ${PARENT}\nENV " + image.upper() + "=1\n")
    (folder / "images/finish/Dockerfile").write_text("ARG PARENT\nFROM ${PARENT}\nCOPY rootfs/ /\n")
    text = """schema = 1
[family]
name = "gantry-bench"
title = "Bench"
source = "https://example.org/bench"
platforms = ["linux/amd64"]
build-date = "2026-11-20"
[tags]
moving = "{variant}"
immutable = "{variant}-{date}-{revision}"
[profiles.default]
base = { bootstrap = "trixie", packages = ["ca-certificates"] }
[images.base]
context = "images/base"
[destinations.local]
repository = "127.0.0.1:5000/bench"
"""
    for at in range(variants):
        (folder / f"images/v{at}").mkdir(parents=True, exist_ok=True)
        (folder / f"images/v{at}/Dockerfile").write_text("ARG PARENT\nFROM ${PARENT}\nCOPY file /file\n")
        (folder / f"images/v{at}/file").write_text(f"{at}\n")
        text += f'[variants.v{at}]\ndescription = "{at}"\nparent = "base"\ncontext = "images/v{at}"\ndestinations = ["local"]\n'
    (folder / "variants.toml").write_text(text)


def compiled_entrypoint():
    target = ["--target", "x86_64-unknown-linux-musl", "--target-dir", "target/bench"]
    run(["cargo", "build", "--quiet", "--profile", "image", "-p", "entrypoint", *target])
    return ROOT / "target/bench/x86_64-unknown-linux-musl/image/entrypoint"


def row(what, ours, peer=None, peer_name=""):
    print(f"{what:58} {ours:9.3f} s" + (f"   {peer_name} {peer:.3f} s   {peer / ours:.1f}×" if peer is not None else ""), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--buildx", required=True, help="the docker-buildx binary")
    parser.add_argument("--entrypoint", help="a static entrypoint (default: compiled now)")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--compile", action="store_true", help="also compile xtask from nothing")
    options = parser.parse_args()
    run(["cargo", "build", "--quiet", "--release", "-p", "xtask"])
    xtask = str(ROOT / "target/release/xtask")
    entrypoint = pathlib.Path(options.entrypoint or compiled_entrypoint())
    offline = ["--all", "--profile", "offline"]

    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        # bake asks before it reads files outside its folder; the contexts and the bundle are ours.
        environment = {**os.environ, "BUILDX_CONFIG": str(folder / "buildx"), "BUILDX_BAKE_ENTITLEMENTS_FS": "0"}

        # Nothing changed. The peer's own tags are made by its first run; all is in the engine's cache.
        run([xtask, "build", *offline])
        plan = json.loads(run([xtask, "--format", "json", "plan", *offline]))
        file, finished = bake_file(plan, folder, entrypoint)
        bake = [options.buildx, "bake", "-f", str(file)]
        run(bake, env=environment)
        ours = best(options.runs, [xtask, "build", *offline])
        theirs = best(options.runs, bake, env=environment)
        row("nothing changed, four variants", ours, theirs, "buildx bake")

        # Another entrypoint: one byte more at its end.
        changed = folder / "entrypoint"

        def change(at):
            changed.write_bytes(entrypoint.read_bytes() + bytes([at + 1, os.getpid() % 256]))
            bake_file(plan, folder, changed)

        ours = best(options.runs, [xtask, "build", *offline, "--entrypoint", str(changed)], before=change)
        theirs = best(options.runs, [*bake, *finished], before=lambda at: change(at + 100), env=environment)
        row("another entrypoint (not compiled), four variants", ours, theirs, "buildx bake")
        run([xtask, "build", *offline])

        # Plans of many variants.
        for count in [64, 128, 256, 512]:
            many = folder / f"family-{count}"
            family(many, count)
            command = [xtask, "--manifest", str(many / "variants.toml"), "--format", "json", "plan", "--all"]
            command += ["--entrypoint", str(entrypoint)]
            row(f"plan of {count} variants", best(options.runs, command, cwd=many))

        # One changed variant of 64 against that variant alone.
        many = folder / "family-64"
        build = [xtask, "--manifest", str(many / "variants.toml"), "build", "--entrypoint", str(entrypoint)]
        run([*build, "--all"], cwd=many)

        def touch(at):
            (many / "images/v7/file").write_text(f"{time.monotonic()} {at}\n")

        whole = best(options.runs, [*build, "--all"], before=touch, cwd=many)
        alone = best(options.runs, [*build, "--variant", "v7"], before=touch, cwd=many)
        row("one changed variant of 64, build --all", whole, alone, "that variant alone")
        run([xtask, "--manifest", str(many / "variants.toml"), "clean", "--images"], cwd=many)

        for tag in [tag for target in json.loads(file.read_text())["target"].values() for tag in target["tags"]]:
            subprocess.run(["docker", "rmi", tag], capture_output=True)

        if options.compile:
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            start = time.monotonic()
            run(["cargo", "build", "-p", "xtask", "--target-dir", str(folder / "target")])
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            crates = len(set(run(["cargo", "tree", "-p", "xtask", "-e", "normal,build", "--prefix", "none", "-f", "{p}"]).split("\n")))
            print(f"xtask from nothing: {time.monotonic() - start:.0f} s, {cpu:.0f} CPU seconds, {crates} crates")

    for variant in plan["variants"]:
        size = json.loads(run(["docker", "image", "inspect", variant["local_tags"][0]]))[0]["Size"]
        print(f"{variant['local_tags'][0]:58} {size / 1e6:7.0f} MB")


if __name__ == "__main__":
    main()

#!/bin/sh
# Publishing under faults, all of it: one fault of every kind at every request of a publish of four variants to two
# registries, two faults at once, 300 times `kill -9`, a registry gone from each phase on, rivals, full disks.
# The test suite runs a sample of the same. Usage: tests/faults.sh [FILTER]  (root; Debian: docker-registry; about three
# CPU hours in all). Prints tables; ends with 1 if anything is not as it should be. GANTRY_FAULTS_SEED chooses what is
# chosen by chance; GANTRY_FAULTS_PART=2/6 sweeps the second of six parts, to be run one after the other.
# `tests/faults.sh peers --ignored` does the same to skopeo, docker and, where CRANE names it, crane.
set -eu
cd "$(dirname "$0")/.."
command -v docker-registry > /dev/null || { echo "docker-registry is missing: cargo xtask setup --tests --yes" >&2; exit 3; }
# The registries' files are of no use afterwards: in memory they cost half the time.
if [ -z "${TMPDIR:-}" ] && [ -w /dev/shm ]; then
    TMPDIR=$(mktemp -d /dev/shm/faults.XXXXXX)
    export TMPDIR
    trap 'rm -rf "$TMPDIR"' EXIT
fi
GANTRY_FAULTS=all RUST_BACKTRACE=0 cargo test --quiet -p xtask --test faults -- "$@" --nocapture --test-threads=2

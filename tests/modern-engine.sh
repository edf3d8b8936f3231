#!/usr/bin/env bash
# A current Docker Engine (28, containerd image store) beside the host's own, from Debian's packages, and Gantry's tests on it.
#   tests/modern-engine.sh up DIR      makes what is missing under DIR, starts the engine, prints DOCKER_HOST
#   tests/modern-engine.sh test DIR    the suites that talk to an engine, on this one
#   tests/modern-engine.sh exec DIR …  runs a client of that suite (crane, oras, skopeo) on the host's network
#   tests/modern-engine.sh down DIR    stops it and takes its network down (DIR stays, for a quick next start)
# It has a root file system, network namespace, data and socket of its own (DIR/run/docker.sock) and touches nothing of the
# host's engine. Registries on the host's loopback are reached as on its own. Needs root, mmdebstrap, iproute2, iptables.
set -euo pipefail
verb=${1:?up, test, exec or down} DIR=$(realpath -m "${2:?a folder}") ns=gantry-engine link=gantryeng
ROOT=$DIR/root
export DIR ROOT

inside() { # a mount namespace whose root is the suite's file system; "$@" runs in it
  unshare -m --propagation private bash -c '
    mount --bind "$ROOT" "$ROOT"; mkdir -p "$ROOT/.old" "$ROOT/engine" "$DIR/run"
    mount --bind "$DIR/run" "$ROOT/engine"; mount --rbind /dev "$ROOT/dev"; mount -t proc proc "$ROOT/proc"
    mount -t sysfs sysfs "$ROOT/sys"; mount --rbind /sys/fs/cgroup "$ROOT/sys/fs/cgroup"
    mount -t tmpfs tmpfs "$ROOT/run"; mount -t tmpfs tmpfs "$ROOT/tmp"
    cp -L /etc/resolv.conf "$ROOT/etc/resolv.conf"; cp -L /etc/ssl/certs/ca-certificates.crt "$ROOT/etc/ssl/certs/"
    cd "$ROOT"; pivot_root . .old; umount -l /.old
    export HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin; exec "$@"' inside "$@"
}

answers() { curl -sf --unix-socket "$DIR/run/docker.sock" http://engine/_ping >/dev/null 2>&1; }

up() {
  # The mark is of these packages: with other ones it is made anew.
  if [ ! -e "$ROOT/.complete-3" ]; then
    rm -rf "$ROOT"
    mkdir -p "$DIR"
    mmdebstrap --quiet --variant=minbase --aptopt='Acquire::Check-Valid-Until "false"' \
      --include=docker.io,docker-cli,docker-buildx,containerd,runc,iptables,iproute2,ca-certificates,crane,oras,skopeo forky "$ROOT" >&2
    touch "$ROOT/.complete-3"
  fi
  answers && return
  mkdir -p "$ROOT/etc/docker" "$DIR/run"
  cat > "$ROOT/etc/docker/daemon.json" <<'J'
{ "data-root": "/engine/data", "exec-root": "/engine/exec", "pidfile": "/engine/dockerd.pid",
  "hosts": ["unix:///engine/docker.sock"], "features": {"containerd-snapshotter": true},
  "bip": "10.214.0.1/24", "insecure-registries": ["127.0.0.0/8", "10.213.0.0/24"] }
J
  if ! ip link show $link >/dev/null 2>&1; then
    ip netns add $ns
    ip link add $link type veth peer name eth0 netns $ns
    ip addr add 10.213.0.1/24 dev $link
    ip link set $link up
    ip -n $ns addr add 10.213.0.2/24 dev eth0
    ip -n $ns link set eth0 up
    ip -n $ns link set lo up
    ip -n $ns route add default via 10.213.0.1
    sysctl -qw net.ipv4.ip_forward=1
    iptables -t nat -A POSTROUTING -s 10.213.0.0/24 ! -o $link -j MASQUERADE
    iptables -I FORWARD -i $link -j ACCEPT
    iptables -I FORWARD -o $link -j ACCEPT
    # What this engine asks of its loopback (registries that tests start) is answered by the host's.
    ip netns exec $ns sysctl -qw net.ipv4.conf.all.route_localnet=1
    ip netns exec $ns iptables -t nat -A OUTPUT -d 127.0.0.1 -p tcp --dport 30000:65535 -j DNAT --to-destination 10.213.0.1
    ip netns exec $ns iptables -t nat -A POSTROUTING -d 10.213.0.1 -j MASQUERADE
    sysctl -qw net.ipv4.conf.$link.route_localnet=1
    iptables -t nat -A PREROUTING -i $link -d 10.213.0.1 -p tcp --dport 30000:65535 -j DNAT --to-destination 127.0.0.1
  fi
  rm -rf "$DIR/run/dockerd.pid" "$DIR/run/docker.sock" "$DIR/run/exec"
  export -f inside
  setsid nsenter --net=/var/run/netns/$ns bash -c 'inside /usr/sbin/dockerd' > "$DIR/run/dockerd.log" 2>&1 < /dev/null &
  for _ in $(seq 60); do
    answers && return
    sleep 1
  done
  echo "modern-engine: no answer after 60 s; last lines of its log:" >&2
  tail -n 20 "$DIR/run/dockerd.log" >&2
  exit 1
}

case $verb in
up)
  up
  echo "export DOCKER_HOST=unix://$DIR/run/docker.sock"
  ;;
test)
  up
  cd "$(dirname "$0")/.."
  DOCKER_HOST=unix://$DIR/run/docker.sock cargo test -p xtask --no-fail-fast --test engine --test cli --test publish
  ;;
exec)
  shift 2
  inside "$@"
  ;;
down)
  pid=$(cat "$DIR/run/dockerd.pid" 2>/dev/null || echo) # the engine writes it itself; there is no process namespace between
  if [ -n "$pid" ] && grep -qz dockerd "/proc/$pid/cmdline" 2>/dev/null; then
    kill "$pid"
    for _ in $(seq 30); do
      kill -0 "$pid" 2>/dev/null || break
      sleep 1
    done
  fi
  if ip link show $link >/dev/null 2>&1; then
    iptables -t nat -D POSTROUTING -s 10.213.0.0/24 ! -o $link -j MASQUERADE
    iptables -t nat -D PREROUTING -i $link -d 10.213.0.1 -p tcp --dport 30000:65535 -j DNAT --to-destination 127.0.0.1
    iptables -D FORWARD -i $link -j ACCEPT
    iptables -D FORWARD -o $link -j ACCEPT
    ip link del $link
    ip netns del $ns
  fi
  ;;
*)
  echo "modern-engine: up, test, exec or down, not '$verb'" >&2
  exit 2
  ;;
esac

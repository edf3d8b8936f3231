#!/bin/bash
# What benches/entrypoint.py measures the entrypoint against: the start-up script that one would write instead, for the two
# services that need nothing but this machine. Under tini; no secrets, no supervision, no health, no clean-up.
set -euo pipefail
home=/home/ansible
pids=()
stop() {
    trap - TERM INT
    kill -TERM "${pids[@]}" 2>/dev/null || true
    wait
    exit 0
}
trap stop TERM INT

if [[ -n "${AUTHORIZED_KEYS:-}" ]]; then
    mkdir -p "$home/.ssh" /run/sshd
    printf '%s\n' "$AUTHORIZED_KEYS" > "$home/.ssh/authorized_keys"
    chmod 700 "$home/.ssh"
    chmod 600 "$home/.ssh/authorized_keys"
    chown -R ansible:ansible "$home/.ssh"
    [[ -f /etc/ssh/ssh_host_ed25519_key ]] || ssh-keygen -q -A
    /usr/sbin/sshd -t
    /usr/sbin/sshd -D -e -o PermitRootLogin=no -o PasswordAuthentication=no -o AllowUsers=ansible &
    pids+=($!)
fi
if [[ -n "${VSCODE_WEB:-}" ]]; then
    setpriv --reuid=ansible --regid=ansible --init-groups \
        /opt/code-server/bin/code-server --bind-addr "0.0.0.0:${VSCODE_WEB_PORT:-8080}" --auth none &
    pids+=($!)
fi
wait -n "${pids[@]}"

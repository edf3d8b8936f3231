//! What is run inside a container that is tried, as scripts of its shell.

/// Looks for a password in every environment and command line, and names the programs that have it for longer than a moment:
/// health checks, which the engine starts with the container's own environment, are no part of it. The script itself has it in
/// two halves, and finds itself first: what finds nothing at all says nothing.
pub(super) fn leaks(password: &str) -> String {
    let (head, tail) = password.split_at(password.len() / 2);
    format!(
        "it() {{ printf %s%s {head} {tail}; }}; grep -q -F -f <(it) <(it) || {{ echo grep finds nothing >&2; exit 3; }}; \
         has() {{ grep -q -s -a -F -f <(it) $1/environ $1/cmdline; }}; \
         for process in /proc/[0-9]*; do has $process && found=\"$found $process\"; done; [ -z \"$found\" ] && exit; sleep 2; \
         for process in $found; do has $process && tr '\\0' ' ' < $process/cmdline | cut -c1-60 && echo; done; exit 0"
    )
}

/// Waits until the runner waits, and prints what the entrypoint says of it.
pub(super) const WAITS: &str = "for i in $(seq 20); do \
      line=$(entrypoint status | grep '^runner '); \
      case $line in *'waits to try again'*) echo \"$line\"; exit 0;; esac; sleep 0.5; \
    done; echo \"$line\"; exit 1";

/// Looks for VS Code's own program, and prints the users that run it.
pub(super) const TUNNEL: &str = "for i in $(seq 12); do \
      found=$(grep -l -a -s -z -x /usr/local/bin/code /proc/[0-9]*/cmdline | sed s,cmdline,status,); \
      [ -n \"$found\" ] && users=$(sed -n 's/^Uid:.\\([0-9]*\\).*/\\1/p' $found 2> /dev/null) && [ -n \"$users\" ] && break; \
      sleep 0.5; \
    done; echo \"$users\"";

/// Makes orphans that end, gives PID 1 time to wait for them, and names those that nobody waited for.
pub(super) const ORPHANS: &str = "for needed in setsid grep sed; do \
      command -v $needed > /dev/null || { echo there is no $needed; exit 3; }; \
    done; \
    for i in 1 2 3 4 5; do setsid -f sleep 0.2; done; (sleep 0.2 & exec sleep 0); sleep 0.5; \
    for i in $(seq 40); do \
      left=$(grep -l '^State:.Z' /proc/[0-9]*/status 2> /dev/null); [ -z \"$left\" ] && exit 0; sleep 0.25; \
    done; \
    for file in $left; do sed -n 's/^Name:.//p' $file 2> /dev/null; done; exit 0";

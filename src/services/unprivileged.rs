//! What an ordinary user may not do, said before it is tried.

use crate::account::WORKSPACE_USER;
use crate::failure::{Failure, SYSTEM};
use nix::unistd::Uid;
use std::fs;

/// The bit of CAP_NET_BIND_SERVICE.
const BIND: u64 = 1 << 10;

/// Checks that a service which this user starts may listen on `port`, which comes from the variable `name`.
pub(super) fn port(name: &str, port: u16, instead: u16) -> Result<(), Failure> {
    let own = Uid::effective();
    let first = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap_or_default();
    let first = first.trim().parse().unwrap_or(1024);
    if own.is_root() || port >= first || inherited(&fs::read_to_string("/proc/self/status").unwrap_or_default()) & BIND != 0 {
        return Ok(());
    }
    Err(Failure::new(SYSTEM, format!("{name} is {port}, and uid {own} may not listen on a port below {first}"))
        .hint(format!("{name}={instead}")))
}

/// The capabilities that programs inherit, from the lines of `/proc/self/status`.
fn inherited(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("CapAmb:"));
    line.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok()).unwrap_or(0)
}

/// Why sshd cannot let this user in.
pub(super) fn nameless() -> String {
    let own = Uid::effective();
    format!(
        "AUTHORIZED_KEYS is set, but the container runs as uid {own}, which has no entry in `/etc/passwd`, and this image has \
         no `libnss_wrapper.so` to give it a name: sshd lets nobody in whom it does not know; uid 1000 (`{WORKSPACE_USER}`) works"
    )
}

#[cfg(test)]
mod tests {
    use super::{BIND, inherited};
    use proptest::prelude::*;

    #[test]
    fn capabilities_are_read() {
        assert_eq!(inherited("Name:\tx\nCapEff:\t000001ffffffffff\nCapAmb:\t0000000000000400\n"), BIND);
        assert_eq!(inherited("CapAmb:\t0000000000000000\n"), 0);
        assert_eq!(inherited(""), 0);
    }

    proptest! {
        #[test]
        fn any_status_is_read(status in "(CapAmb:|[\t 0-9a-fx]|\n|\\PC){0,30}") {
            let _ = inherited(&status);
        }
    }
}

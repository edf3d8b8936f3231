//! Whether a port is listened on, read from the kernel's tables: connecting to find out would leave a line in
//! the service's log each time, and counts as an attack in newer versions of sshd.

use std::fs;

/// Whether something listens on TCP `port`, at any address of this network namespace.
pub(crate) fn listening(port: u16) -> bool {
    ["/proc/self/net/tcp", "/proc/self/net/tcp6"]
        .into_iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .any(|table| listed(&table, port))
}

/// Whether `table` has a line in state LISTEN (`0A`) whose local address ends with `port`.
fn listed(table: &str, port: u16) -> bool {
    table.lines().skip(1).any(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let local = fields.next().and_then(|address| address.rsplit_once(':'));
        let state = fields.nth(1);
        state == Some("0A") && local.is_some_and(|(_, hex)| u16::from_str_radix(hex, 16) == Ok(port))
    })
}

#[cfg(test)]
mod tests {
    use super::listed;

    #[test]
    fn only_listening_local_ports_count() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue\n\
                     0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000\n\
                     1: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000\n";
        assert!(listed(table, 22));
        assert!(!listed(table, 8080), "connected, not listening");
        assert!(!listed(table, 50000), "the other side's port");
    }
}

//! Whether a port is listened on, as the kernel knows it: connecting to find out would leave a line in the
//! service's log each time, and counts as an attack in newer versions of sshd.

use nix::libc::{AF_INET, AF_INET6, IPPROTO_TCP, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};
use nix::unistd::Uid;
use std::fs;
use std::os::fd::{AsRawFd as _, OwnedFd};

/// Whether `user` or root listens on TCP `port`, at any address of this network namespace. Anybody else there, a job
/// that came before the service say, is not the service.
pub(crate) fn listening(port: u16, user: Uid) -> bool {
    let sought = Sought { port, uid: user.as_raw() };
    // The kernel's answer about listeners takes microseconds; its text tables hold every connection and take
    // milliseconds, but are there in every sandbox.
    asked(sought).unwrap_or_else(|| {
        let tables = ["/proc/self/net/tcp", "/proc/self/net/tcp6"].into_iter();
        tables.filter_map(|path| fs::read_to_string(path).ok()).any(|table| listed(&table, sought))
    })
}

/// A listener that is looked for: its port, and whom it may belong to beside root.
#[derive(Debug, Clone, Copy)]
struct Sought {
    port: u16,
    uid: u32,
}

impl Sought {
    fn is(self, port: u16, uid: u32) -> bool {
        port == self.port && (uid == 0 || uid == self.uid)
    }
}

/// `SOCK_DIAG_BY_FAMILY` of linux/sock_diag.h.
const BY_FAMILY: u16 = 20;
/// `TCP_LISTEN` of the kernel's tcp_states.h.
const LISTEN: u32 = 10;
/// A `struct nlmsghdr`: length, type (at 4), flags (at 6), sequence number, sender.
const HEADER: usize = 16;
/// Where `idiag_sport` is in a `struct inet_diag_msg`.
const SOURCE_PORT: usize = 4;
/// Where `idiag_uid` is: the owner, as this user namespace calls it.
const OWNER: usize = 64;

/// Asks the kernel for its listening sockets (sock_diag(7)); none when it does not answer.
fn asked(sought: Sought) -> Option<bool> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkSockDiag).ok()?;
    for family in [AF_INET, AF_INET6] {
        if asked_family(&socket, family, sought)? {
            return Some(true);
        }
    }
    Some(false)
}

fn asked_family(socket: &OwnedFd, family: i32, sought: Sought) -> Option<bool> {
    send(socket.as_raw_fd(), &request(family), MsgFlags::empty()).ok()?;
    let mut found = false;
    let mut buffer = [0; 16 * 1024];
    loop {
        let length = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()).ok()?;
        match heard(buffer.get(..length)?, sought)? {
            Heard::More(yes) => found |= yes,
            Heard::All(yes) => return Some(found || yes),
        }
    }
}

/// What a datagram tells of a listener: whether it is in it, and whether more come.
#[derive(Debug, PartialEq, Eq)]
enum Heard {
    More(bool),
    All(bool),
}

/// Reads a datagram of the kernel's; none when it is an error or makes no sense.
fn heard(datagram: &[u8], sought: Sought) -> Option<Heard> {
    let (mut rest, mut found) = (datagram, false);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let length = usize::try_from(u32::from_ne_bytes(*rest.first_chunk()?)).ok()?;
        let (kind, body) = (u16::from_ne_bytes(rest.get(4..6)?.try_into().ok()?), rest.get(HEADER..length)?);
        match i32::from(kind) {
            NLMSG_DONE => return Some(Heard::All(found)),
            NLMSG_ERROR => return None,
            _ => {
                let port = u16::from_be_bytes(body.get(SOURCE_PORT..SOURCE_PORT + 2)?.try_into().ok()?);
                found |= sought.is(port, u32::from_ne_bytes(body.get(OWNER..OWNER + 4)?.try_into().ok()?));
            }
        }
        // Messages begin at multiples of four.
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Some(Heard::More(found))
}

/// A `struct nlmsghdr` and a `struct inet_diag_req_v2` for all TCP sockets of `family` that listen.
fn request(family: i32) -> Vec<u8> {
    const LENGTH: u32 = 72;
    let mut request = Vec::with_capacity(LENGTH as usize);
    request.extend(LENGTH.to_ne_bytes());
    request.extend(BY_FAMILY.to_ne_bytes());
    request.extend(((NLM_F_REQUEST | NLM_F_DUMP) as u16).to_ne_bytes());
    request.resize(HEADER, 0);
    request.extend([family as u8, IPPROTO_TCP as u8, 0, 0]);
    request.extend((1_u32 << LISTEN).to_ne_bytes());
    // Any socket: the rest is the identity of a single one.
    request.resize(LENGTH as usize, 0);
    request
}

/// Whether `table` has a line in state LISTEN (`0A`) with that port in its local address and that owner.
fn listed(table: &str, sought: Sought) -> bool {
    let is = |line: &str| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (_, port) = fields.next()?.rsplit_once(':')?;
        let state = fields.nth(1)?;
        // Behind the queues, the timer and the retransmissions.
        let uid = fields.nth(3)?.parse().ok()?;
        Some(state == "0A" && sought.is(u16::from_str_radix(port, 16).ok()?, uid))
    };
    table.lines().skip(1).any(|line| is(line) == Some(true))
}

#[cfg(test)]
mod tests {
    use super::{HEADER, Heard, NLMSG_DONE, OWNER, SOURCE_PORT, Sought, asked, heard, listed, request};
    use nix::unistd::Uid;
    use proptest::prelude::*;
    use std::net::TcpListener;

    #[test]
    fn only_listening_local_ports_count() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue\n\
                     0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1\n\
                     1: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 2 1\n\
                     2: 00000000:2328 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1001        0 3 1\n";
        let listed = |port, uid| listed(table, Sought { port, uid });
        assert!(listed(22, 0) && listed(22, 1000), "root may always");
        assert!(!listed(8080, 0), "connected, not listening");
        assert!(!listed(50000, 0), "the other side's port");
        assert!(listed(9000, 1001) && !listed(9000, 1000) && !listed(9000, 0), "whose it is");
    }

    #[test]
    fn the_kernel_knows_who_listens() {
        assert_eq!(request(2).len(), 72);
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let port = listener.local_addr().expect("a bound address").port();
            let uid = Uid::effective().as_raw();
            assert_eq!(asked(Sought { port, uid }), Some(true), "{address}");
            assert_eq!(asked(Sought { port, uid: uid + 1 }), Some(uid == 0), "{address}");
            let client = std::net::TcpStream::connect(("localhost", port));
            let other = client.as_ref().ok().and_then(|client| client.local_addr().ok());
            if let Some(other) = other {
                assert_eq!(asked(Sought { port: other.port(), uid }), Some(false), "connected, not listening");
            }
            drop((client, listener));
        }
    }

    proptest! {
        #[test]
        fn no_datagram_makes_it_panic_or_turn_for_ever(
            words in prop::collection::vec(prop_oneof![0_u32..80, Just(u32::MAX), any::<u32>()], 0..40), odd in prop::collection::vec(any::<u8>(), 0..4),
            port: u16, uid: u32, table: String,
        ) {
            let sought = Sought { port, uid };
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).chain(odd).collect();
            let _ = (heard(&bytes, sought), listed(&table, sought));
        }

        #[test]
        fn a_port_is_found_among_others(
            listeners in prop::collection::vec((0_u16..4, 0_u32..3), 0..20), port in 0_u16..4, uid in 0_u32..3, last: bool,
        ) {
            let mut bytes = Vec::new();
            for (port, uid) in &listeners {
                // A message whose last two bytes are padding.
                let mut body = vec![0; OWNER + 8];
                body[SOURCE_PORT..SOURCE_PORT + 2].copy_from_slice(&port.to_be_bytes());
                body[OWNER..OWNER + 4].copy_from_slice(&uid.to_ne_bytes());
                bytes.extend([(HEADER as u32 + OWNER as u32 + 6).to_ne_bytes(), 20_u32.to_ne_bytes()].concat());
                bytes.resize(bytes.len() + HEADER - 8, 0);
                bytes.extend(body);
            }
            if last {
                bytes.extend([(HEADER as u32).to_ne_bytes(), (NLMSG_DONE as u32).to_ne_bytes(), [0; 4], [0; 4]].concat());
            }
            let found = listeners.contains(&(port, uid)) || listeners.contains(&(port, 0));
            let expected = if last { Some(Heard::All(found)) } else { (!listeners.is_empty()).then_some(Heard::More(found)) };
            prop_assert_eq!(heard(&bytes, Sought { port, uid }), expected);
        }
    }
}

//! A network namespace with nothing but loopback, made before the container that will live in it: what the
//! container talks to listens there already when it starts.

use std::net::TcpListener;
use std::process::Command;
use std::sync::mpsc::{Sender, channel};
use std::thread;

type Work = Box<dyn FnOnce() + Send>;

/// The namespace: that of a thread, to which work can be sent.
pub(crate) struct Network {
    work: Sender<Work>,
}

impl Network {
    pub(crate) fn new() -> Self {
        let (work, todo) = channel::<Work>();
        thread::spawn(move || {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("a network namespace");
            assert!(Command::new("ip").args(["link", "set", "lo", "up"]).status().expect("ip runs").success());
            todo.into_iter().for_each(|work| work());
        });
        Self { work }
    }

    /// Runs `work` in the namespace.
    pub(crate) fn within<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = channel();
        self.work.send(Box::new(move || done.send(work()).expect("somebody waits"))).expect("the thread lives");
        result.recv().expect("the work is done")
    }

    /// A listener on loopback.
    pub(crate) fn listen(&self, port: u16) -> TcpListener {
        self.within(move || TcpListener::bind(("127.0.0.1", port)).expect("the port is free"))
    }
}

//! From a port of this machine to the same port in the node's network. A socket belongs to the network it was opened
//! in: the one that listens is opened outside and handed in, and what it accepts is connected on from inside.

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::Stdio;
use std::thread;

use anyhow::{Context, Result};

use super::sandbox::Sandbox;
use crate::place::Scratch;
use crate::servers::running::Running;

/// Starts this program in the sandbox with `listener` as its standard input.
pub fn start(scratch: &Scratch, sandbox: &Sandbox, xtask: &Path, listener: TcpListener) -> Result<Running> {
    let port = listener.local_addr().context("a listening socket without an address")?.port();
    let mut command = sandbox.tied(xtask);
    command.args(["cluster", "forward", &port.to_string()]).stdin(Stdio::from(OwnedFd::from(listener)));
    Running::start("forward", scratch, &mut command)
}

/// What that program does.
pub fn run(port: u16) -> Result<()> {
    let listener = TcpListener::from(io::stdin().as_fd().try_clone_to_owned().context("no standard input")?);
    for client in listener.incoming() {
        let client = client.context("standard input is not a listening socket")?;
        thread::spawn(move || relay(client, port));
    }
    Ok(())
}

/// Copies both ways until both ends have said all. An error is the end of that connection and nobody else's.
fn relay(mut client: TcpStream, port: u16) -> io::Result<()> {
    let mut server = TcpStream::connect(("127.0.0.1", port))?;
    let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
    let upward = thread::spawn(move || {
        io::copy(&mut from_client, &mut to_server).ok();
        to_server.shutdown(Shutdown::Write).ok();
    });
    io::copy(&mut server, &mut client).ok();
    client.shutdown(Shutdown::Both).ok();
    upward.join().ok();
    Ok(())
}

//! A TCP proxy that delays what goes through it, or cuts it.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;

#[derive(Default)]
struct State {
    is_cut: AtomicBool,
    /// Milliseconds that each piece of an answer waits.
    delay: AtomicU64,
    open: Mutex<Vec<TcpStream>>,
}

/// A proxy in front of a server. It goes on until the test program ends.
pub struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
}

impl Proxy {
    /// Listens on a free port, for connections to `host:port` or `http://host:port`.
    ///
    /// # Errors
    /// When it can't.
    pub fn listen(to: &str) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let (address, state) = (listener.local_addr()?, Arc::new(State::default()));
        let (to, shared) = (to.trim_start_matches("http://").to_owned(), state.clone());
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                if shared.is_cut.load(Ordering::Acquire) {
                    continue;
                }
                // Whoever finds no server there is told by a connection that ends.
                let _ = connect(near, &to, &shared);
            }
        });
        Ok(Self { address, state })
    }

    /// Its address, as that of a web server.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Lets answers wait.
    pub fn delay(&self, time: Duration) {
        self.state.delay.store(u64::try_from(time.as_millis()).unwrap_or(u64::MAX), Ordering::Release);
    }

    /// Ends all connections, and those that are made from now on.
    pub fn cut(&self) {
        self.state.is_cut.store(true, Ordering::Release);
        for stream in self.state.open.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // It may be over already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Lets connections through again.
    pub fn mend(&self) {
        self.state.is_cut.store(false, Ordering::Release);
    }
}

fn connect(near: TcpStream, to: &str, state: &Arc<State>) -> Result<()> {
    let far = TcpStream::connect(to)?;
    let pairs = [(near.try_clone()?, far.try_clone()?, false), (far.try_clone()?, near.try_clone()?, true)];
    state.open.lock().unwrap_or_else(PoisonError::into_inner).extend([near, far]);
    for (from, into, is_answer) in pairs {
        let state = state.clone();
        std::thread::spawn(move || {
            // Either end may go at any time.
            let _ = carry(&from, &into, is_answer.then_some(&state.delay));
            let _ = into.shutdown(Shutdown::Write);
        });
    }
    Ok(())
}

fn carry(mut from: &TcpStream, mut into: &TcpStream, delay: Option<&AtomicU64>) -> Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let length = from.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        if let Some(delay) = delay {
            std::thread::sleep(Duration::from_millis(delay.load(Ordering::Acquire)));
        }
        into.write_all(&buffer[..length])?;
    }
}

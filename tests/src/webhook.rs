//! Somebody who is told of alerts by a webhook.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;

/// How long the next piece of a request may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// A request, and when it came.
#[derive(Debug, Clone)]
pub struct Told {
    /// When all of it was there.
    pub at: Instant,
    /// Its first line, and its body.
    pub request: String,
}

/// Takes requests until the test program ends.
pub struct Webhook {
    /// Where it is told.
    pub url: String,
    told: Arc<Mutex<Vec<Told>>>,
}

impl Webhook {
    /// Listens on a free port of an address that this machine has.
    ///
    /// # Errors
    /// When it can't.
    pub fn listen(host: &str) -> Result<Self> {
        let listener = TcpListener::bind((host, 0))?;
        let url = format!("http://{}/hook", listener.local_addr()?);
        let told = Arc::new(Mutex::new(Vec::new()));
        let takes = told.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Whoever breaks off comes again.
                if let Ok(request) = take(stream) {
                    takes.lock().unwrap_or_else(PoisonError::into_inner).push(Told { at: Instant::now(), request });
                }
            }
        });
        Ok(Self { url, told })
    }

    /// What was told so far that holds a text.
    #[must_use]
    pub fn told(&self, text: &str) -> Vec<Told> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.iter().filter(|told| told.request.contains(text)).cloned().collect()
    }
}

fn take(mut stream: TcpStream) -> Result<String> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut request, mut line, mut length) = (String::new(), String::new(), 0);
    reader.read_line(&mut request)?;
    while reader.read_line(&mut line)? > 2 {
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
        line.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    request += std::str::from_utf8(&body)?;
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")?;
    Ok(request)
}

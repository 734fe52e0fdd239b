//! A client that notes what an operator writes, and at a chosen write has it killed.

use std::sync::Arc;

use axum::http::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use parking_lot::Mutex;
use tokio::sync::watch;

/// How far the write comes at which an operator is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// The API server never hears of it.
    Unsent,
    /// The API server does it, and the operator never hears of that.
    Unanswered,
}

/// What an operator writes.
pub struct Tap {
    state: Mutex<State>,
    died: watch::Sender<bool>,
    /// Requests for the first go to the second: the namespace that Leases are in.
    lease: Option<(String, String)>,
}

#[derive(Default)]
struct State {
    written: Vec<String>,
    fatal: Vec<String>,
    death: Option<Death>,
}

impl Tap {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), died: watch::Sender::new(false), lease: None })
    }

    /// One whose operator has its Lease in another namespace than it believes.
    pub fn with_lease_in(namespace: &str, other: &str) -> Arc<Self> {
        let lease = [namespace, other].map(|name| format!("/namespaces/{name}/leases"));
        Arc::new(Self { state: Mutex::default(), died: watch::Sender::new(false), lease: Some(lease.into()) })
    }

    /// From now on kills at the first of these writes.
    pub fn arm(&self, fatal: &[String], death: Death) {
        let mut state = self.state.lock();
        (state.fatal, state.death) = (fatal.to_vec(), Some(death));
    }

    /// The writes until now. Counts from nothing again.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().written)
    }

    /// Whether the operator is as good as killed: nothing of it reaches the API server any more.
    pub fn is_dead(&self) -> bool {
        *self.died.borrow()
    }

    /// Waits until it is.
    pub async fn died(&self) {
        let _ = self.died.subscribe().wait_for(|died| *died).await;
    }

    /// How many writes there were.
    pub fn count(&self) -> usize {
        self.state.lock().written.len()
    }

    /// A client for the operator.
    pub fn client(self: &Arc<Self>, client: Client) -> Client {
        let tap = self.clone();
        let service = tower::service_fn(move |request| tap.clone().pass(client.clone(), request));
        Client::new(service, "default")
    }

    async fn pass(self: Arc<Self>, client: Client, mut request: Request<Body>) -> kube::Result<Response<Body>> {
        if let Some((from, to)) = &self.lease {
            let uri = request.uri().to_string().replace(from, to);
            *request.uri_mut() = uri.parse().unwrap();
        }
        match self.note(&request) {
            None => client.send(request).await,
            Some(Death::Unsent) => std::future::pending().await,
            Some(Death::Unanswered) => {
                // The operator's end must not be that of its request.
                tokio::spawn(async move { client.send(request).await.map(drop) });
                std::future::pending().await
            }
        }
    }

    fn note(&self, request: &Request<Body>) -> Option<Death> {
        let mut state = self.state.lock();
        if self.is_dead() {
            return Some(Death::Unsent);
        }
        let step = step(request)?;
        let is_fatal = state.fatal.contains(&step);
        state.written.push(step);
        let death = state.death.filter(|_| is_fatal)?;
        // Of what is under way beside it nothing comes through any more.
        self.died.send_replace(true);
        Some(death)
    }
}

/// What a request writes. That a Lease is renewed is none.
fn step(request: &Request<Body>) -> Option<String> {
    let method = request.method();
    let path = request.uri().path();
    let written = path.split_once("/namespaces/")?.1.split_once('/')?.1;
    if method == Method::GET || (method == Method::PUT && written.starts_with("leases/")) {
        return None;
    }
    // Events have random names.
    let written = if written.starts_with("events") { "events" } else { written };
    Some(format!("{method} {written}"))
}

//! Taking connections, within limits: HTTP/1.1, and HTTP/2 without TLS, which gRPC speaks.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;

/// How the connections of a listener are bounded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Connections at the same time. More wait until one of these ends.
    pub(super) connections: usize,
    /// How long a connection may have no request under way: what it takes to send the head of one, too.
    pub(super) silence: Duration,
    /// How long answers may still take when the source stops.
    pub(super) drain: Duration,
}

/// Bytes of a head, and of what has come of bodies that nobody has asked for yet.
const BUFFER: u32 = 64 << 10;

/// Requests at the same time on one connection.
const STREAMS: u32 = 64;

/// How long nothing is accepted when the process has no file left for a connection.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stopping` is cancelled, and then until what is under way is answered.
pub(super) async fn serve(listener: TcpListener, router: Router, limits: Limits, stopping: CancellationToken) {
    let router = router.layer(CatchPanicLayer::new());
    let places = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    loop {
        let accepting = async {
            // The semaphore is never closed.
            let place = places.clone().acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            () = stopping.cancelled() => break,
            accepted = accepting => accepted,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, _)) => {
                let serving = serve_one(stream, router.clone(), limits, stopping.clone());
                connections.spawn(async move {
                    serving.await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the http source could not accept a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    // What has not been answered by then is cut off.
    let _ = tokio::time::timeout(limits.drain, all).await;
}

async fn serve_one(stream: TcpStream, router: Router, limits: Limits, stopping: CancellationToken) {
    let activity = Arc::new(Activity { under_way: AtomicUsize::new(0), since: Mutex::new(Instant::now()) });
    let service = service_fn({
        let (activity, router) = (activity.clone(), TowerToHyperService::new(router));
        move |request: Request<Incoming>| {
            let busy = Activity::begin(&activity);
            let answer = router.call(request.map(Body::new));
            async move {
                let answer = answer.await;
                drop(busy);
                answer
            }
        }
    });
    // Answers are small, and go out at once.
    let _ = stream.set_nodelay(true);
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().max_buf_size(BUFFER as usize);
    builder
        .http2()
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(BUFFER)
        .initial_connection_window_size(BUFFER)
        .max_header_list_size(BUFFER);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        // Whoever breaks a connection off knows why.
        _ = connection.as_mut() => return,
        () = stopping.cancelled() => {}
        () = activity.silence(limits.silence) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = tokio::time::timeout(limits.drain, connection).await;
}

/// What a connection does.
struct Activity {
    under_way: AtomicUsize,
    /// When the last request ended.
    since: Mutex<Instant>,
}

impl Activity {
    fn begin(activity: &Arc<Self>) -> Busy {
        activity.under_way.fetch_add(1, Ordering::AcqRel);
        Busy(activity.clone())
    }

    /// Waits until there was no request for so long.
    async fn silence(&self, limit: Duration) {
        loop {
            let since = *self.since.lock();
            if self.under_way.load(Ordering::Acquire) > 0 {
                tokio::time::sleep(limit).await;
            } else if since.elapsed() < limit {
                tokio::time::sleep_until((since + limit).into()).await;
            } else {
                return;
            }
        }
    }
}

/// A request that is under way.
struct Busy(Arc<Activity>);

impl Drop for Busy {
    fn drop(&mut self) {
        *self.0.since.lock() = Instant::now();
        self.0.under_way.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const LIMITS: Limits =
        Limits { connections: 2, silence: Duration::from_millis(300), drain: Duration::from_secs(5) };

    async fn start() -> (std::net::SocketAddr, CancellationToken, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("address");
        let stop = CancellationToken::new();
        let slow = get(|| async {
            tokio::time::sleep(Duration::from_millis(900)).await;
            "slow"
        });
        let router = Router::new().route("/", get(|| async { "quick" })).route("/slow", slow);
        (address, stop.clone(), tokio::spawn(serve(listener, router, LIMITS, stop)))
    }

    /// Sends bytes, and reads until the other side closes.
    async fn talk(address: std::net::SocketAddr, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(address).await.expect("connect");
        stream.write_all(bytes).await.expect("write");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    #[tokio::test]
    async fn who_sends_no_request_gives_way() {
        let (address, ..) = start().await;
        // More connections than there are places, of all the kinds that say nothing.
        let silent: [&[u8]; 6] =
            [b"", b"P", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n", b"", b"GET /"];
        let all = silent.map(|bytes| tokio::spawn(talk(address, bytes)));
        let answer = tokio::time::timeout(
            Duration::from_secs(20),
            talk(address, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
        );
        assert!(answer.await.expect("its turn").ends_with("quick"));
        for silent in all {
            let answer = silent.await.expect("ended");
            assert!(!answer.contains("200 OK"), "{answer}");
        }
    }

    #[tokio::test]
    async fn a_slow_answer_is_no_silence_and_is_given_when_stopping() {
        let (address, stop, task) = start().await;
        let talking = tokio::spawn(talk(address, b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n"));
        let begun = Instant::now();
        tokio::time::sleep(Duration::from_millis(700)).await;
        stop.cancel();
        let answer = talking.await.expect("answer");
        assert!(answer.ends_with("slow"), "{answer}");
        task.await.expect("ended");
        assert!(begun.elapsed() < LIMITS.drain);
        assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
    }
}

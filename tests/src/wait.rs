//! Waiting for what is bound to happen, and names that nobody else has.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Asks until the answer is `Ok`, and gives it.
///
/// # Panics
/// With the last answer, when none was within the time.
pub async fn eventually<T, E: std::fmt::Display, F: Future<Output = Result<T, E>>>(
    within: Duration,
    mut ask: impl FnMut() -> F,
) -> T {
    let deadline = Instant::now() + within;
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(error) if Instant::now() > deadline => panic!("not within {} s: {error}", within.as_secs()),
            Err(_) => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}

/// A name that no other test has, in this run or another one.
#[must_use]
pub fn unique(name: &str) -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    format!("{name}-{time:x}-{:x}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

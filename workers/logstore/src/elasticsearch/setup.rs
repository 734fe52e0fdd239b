//! Seeing to it that the index templates are there before an index is made.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use elasticsearch::http::Method;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::{Mutex, OnceCell};

use super::dialect::Dialect;
use super::nodes::{Answer, Body, Nodes};
use super::{outcome, template};
use crate::{Obstacle, WriteError};

/// A template is looked at again for every new day, since that is when an index is made of it, but not more often than
/// this: old logs may come in any order of days.
const LOOKED_AT_ANYHOW: Duration = Duration::from_secs(10);
/// So many days are remembered.
const REMEMBERED_DAYS: usize = 4_000;

/// What is known of the server.
#[derive(Default)]
pub(super) struct Setup {
    dialect: OnceCell<Dialect>,
    logs: Mutex<Checked>,
    letters: Mutex<Checked>,
}

#[derive(Default)]
struct Checked {
    at: Option<Instant>,
    days: HashSet<i64>,
    /// Whether we have said that we may not look at templates.
    forbidden: bool,
}

#[derive(Deserialize)]
struct Templates {
    #[serde(default)]
    index_templates: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    index_template: Versioned,
}

#[derive(Deserialize)]
struct Versioned {
    #[serde(default)]
    version: u64,
}

impl Setup {
    /// What kind of server it is; asked once.
    pub(super) async fn dialect(&self, nodes: &Nodes) -> Result<Dialect, WriteError> {
        let ask = || async {
            let answer = nodes.send(Method::Get, "", &[], &Body::None).await;
            let answer = answer?;
            Dialect::of(&answer).ok_or_else(|| no_refusal(&answer))
        };
        self.dialect.get_or_try_init(ask).await.copied()
    }

    /// Sees to the template for the daily indices, before logs of these days are written.
    pub(super) async fn for_logs(&self, nodes: &Nodes, base: &str, days: &[i64]) -> Result<(), WriteError> {
        let dialect = self.dialect(nodes).await?;
        let mut checked = self.logs.lock().await;
        if checked.at.is_some() && days.iter().all(|day| checked.days.contains(day)) {
            return Ok(());
        }
        if checked.at.is_none_or(|at| at.elapsed() > LOOKED_AT_ANYHOW) {
            install(nodes, &template::name_of(base), &template::logs(base, dialect), &mut checked).await?;
        }
        if checked.days.len() > REMEMBERED_DAYS {
            checked.days.clear();
        }
        checked.days.extend(days);
        Ok(())
    }

    /// Sees to the template for the index of dead letters, once.
    pub(super) async fn for_dead_letters(&self, nodes: &Nodes, index: &str) -> Result<(), WriteError> {
        let dialect = self.dialect(nodes).await?;
        let mut checked = self.letters.lock().await;
        if checked.at.is_some() {
            return Ok(());
        }
        install(nodes, &template::name_of(index), &template::dead_letters(index, dialect), &mut checked).await
    }
}

/// Puts the template in its place, unless this version of it, or a later one, is there.
async fn install(nodes: &Nodes, name: &str, content: &Value, checked: &mut Checked) -> Result<(), WriteError> {
    let path = format!("_index_template/{name}");
    let answer = send(nodes, Method::Get, &path, Body::None).await?;
    let present = match answer.status {
        200 => serde_json::from_slice::<Templates>(&answer.body)
            .is_ok_and(|found| found.index_templates.iter().any(|it| it.index_template.version >= template::VERSION)),
        404 => false,
        403 => return without_permission(name, &answer, checked),
        _ => return Err(no_refusal(&answer)),
    };
    if !present {
        let answer = send(nodes, Method::Put, &path, Body::Json(content.to_string().into())).await?;
        match answer.status {
            200 => tracing::info!(template = name, "installed the index template"),
            403 => return without_permission(name, &answer, checked),
            _ => return Err(no_refusal(&answer)),
        }
    }
    checked.at = Some(Instant::now());
    Ok(())
}

/// Why the server does not let us prepare. Never a refusal, nor a matter of size: no record is at fault.
fn no_refusal(answer: &Answer) -> WriteError {
    match outcome::request_error(answer) {
        WriteError::Refused(reason) | WriteError::TooLarge(reason) => {
            let text = format!("it does not let us prepare its index template: {reason}");
            WriteError::Stalled(Obstacle::Misconfigured, text)
        }
        other => other,
    }
}

/// Many give a writer the right to write and no other. Whoever does so has put the template there; if not, logs are
/// stored all the same, and the difference can be seen in searches.
fn without_permission(name: &str, answer: &Answer, checked: &mut Checked) -> Result<(), WriteError> {
    if !checked.forbidden {
        let reason = outcome::fault_of(answer).unwrap_or_default();
        tracing::warn!(
            template = name,
            reason,
            "may not see to the index template; grant the cluster privilege manage_index_templates, or install it by hand"
        );
    }
    checked.forbidden = true;
    checked.at = Some(Instant::now());
    Ok(())
}

async fn send(nodes: &Nodes, method: Method, path: &str, body: Body) -> Result<Answer, WriteError> {
    let answer = nodes.send(method, path, &[], &body).await;
    answer.map_err(WriteError::from)
}

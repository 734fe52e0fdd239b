//! Rights of the chart that are taken away for a while.

use futures::future::join_all;
use serde_json::{Value, json};

use crate::support::{Picture, Scratch, pipeline_report, rights, start, until};

const PIPELINE: &str = "
source: {http: {port: 8081}}
metrics: [{name: logs_total, type: counter}]
sink: {elasticsearch: {urls: ['http://es:9200']}}
";
const EDITED: &str = "
source: {http: {port: 8082}}
metrics: [{name: logs_total, type: counter}]
sink: {elasticsearch: {urls: ['http://es:9200']}}
";
const RULE: &str = "{query: rate logs_total, operator: '>', threshold: 1}";

/// Applies one object of each kind, which workers load at once.
async fn apply_all(scratch: &Scratch, pipeline: &str) {
    let applied = scratch.apply("LogPipeline", "logs", pipeline).await;
    let (namespace, generation) = (&scratch.namespace, applied.metadata.generation.unwrap());
    scratch.apply("AlertRule", "errors", RULE).await;
    scratch.apply("Dashboard", "shop", "{ingress: {host: shop.example.com}}").await;
    scratch.workers.say(vec![
        pipeline_report(namespace, "logs", generation, true, "Running", 10),
        json!({"kind": "Dashboard", "namespace": namespace, "name": "shop", "generation": 1}),
    ]);
}

/// What there is when nothing is in the way, after the creation and after the edit.
async fn undisturbed() -> [Picture; 2] {
    let scratch = Scratch::new("granted").await;
    rights::grant(&scratch, &rights::of_the_chart()).await;
    let operator = start(scratch.config("operator-1"), rights::client(&scratch).await);
    let mut pictures = Vec::new();
    for pipeline in [PIPELINE, EDITED] {
        apply_all(&scratch, pipeline).await;
        let generation = pictures.len() + 1;
        let told = |it: &Value| it["status"]["observedGeneration"] == generation;
        scratch.wait_for_condition("LogPipeline", "logs", "Ready", "True Running").await;
        scratch.wait_for(crate::support::TAFFRAIL, "LogPipeline", "logs", told).await;
        scratch.wait_for_condition("AlertRule", "errors", "Ready", "False NotLoaded").await;
        scratch.wait_for_condition("Dashboard", "shop", "Ready", "True Running").await;
        scratch.wait_for_condition("LogPipeline", "logs", "Ready", "True Running").await;
        scratch.wait_for_condition("LogPipeline", "logs", "Progressing", "False Running").await;
        pictures.push(scratch.picture().await);
    }
    operator.stop().await;
    pictures.try_into().unwrap()
}

/// Of which kinds there are objects of the operator's.
fn kinds(picture: &Picture) -> Vec<String> {
    let mut kinds: Vec<_> = picture.keys().map(|name| name.split(' ').next().unwrap().to_owned()).collect();
    kinds.dedup();
    kinds
}

/// The resources of a kind, in lower case.
fn plural(kind: &str) -> String {
    let kind = kind.to_lowercase();
    kind.strip_suffix('y')
        .map_or_else(|| format!("{kind}s"), |stem| format!("{stem}ies"))
        .replace("ingresss", "ingresses")
}

/// An operator that has all rights but one, from its start on or from a moment on.
async fn do_without(missing: &Value, from_the_start: bool, expected: &[Picture; 2]) {
    let all = rights::of_the_chart();
    let fewer: Vec<_> = all.iter().filter(|rule| *rule != missing).cloned().collect();
    let resources = missing["resources"].to_string();
    let what = format!("without {resources}");
    let scratch = Scratch::new("fewer").await;
    rights::grant(&scratch, if from_the_start { &fewer } else { &all }).await;
    let operator = start(scratch.config("operator-1"), rights::client(&scratch).await);
    if !from_the_start {
        until("the operator leads", || async { operator.leads() && operator.ready().is_ok() }).await;
        rights::grant(&scratch, &fewer).await;
    }
    apply_all(&scratch, PIPELINE).await;
    // All others are made, but for what hangs on a workload, and rights that nobody can give away who has them not.
    let hanging: &[&str] = match resources.as_str() {
        it if it.contains("deployments") => &["Role", "RoleBinding", "ServiceAccount"],
        it if it.contains("alertrules") => &["Role", "RoleBinding"],
        _ => &[],
    };
    let (denied, others): (Vec<_>, Vec<_>) =
        kinds(&expected[0]).into_iter().partition(|kind| resources.contains(&plural(kind)));
    until(&format!("{what} all others are made"), || async {
        let made = kinds(&scratch.picture().await);
        others.iter().all(|kind| made.contains(kind) || hanging.contains(&kind.as_str()))
    })
    .await;
    // What is not made is said, if that may be said.
    if !denied.is_empty() && !resources.contains("alertrules") {
        until(&format!("{what} that is said"), || async {
            scratch.said_of_all("Degraded").await.iter().any(|said| said == "True Forbidden")
        })
        .await;
    }
    apply_all(&scratch, EDITED).await;
    rights::grant(&scratch, &all).await;
    scratch.wait_for_picture(&what, &expected[1]).await;
    operator.stop().await;
}

#[tokio::test]
async fn an_operator_that_lacks_a_right_does_what_it_can_and_the_rest_when_it_has_it() {
    let expected = undisturbed().await;
    let rules = rights::of_the_chart();
    // Of the Lease the other test tells, and what may not be in any namespace needs no right.
    let rules: Vec<_> = rules.iter().filter(|rule| rule["resources"][0] != "leases").collect();
    join_all(rules.iter().map(|rule| do_without(rule, false, &expected))).await;
    // Without these it can start.
    let written = |rule: &&&Value| {
        let names = rule["resources"].to_string();
        !["\"pods\"", "\"logpipelines\"", "\"secrets\"", "servicemonitors"].iter().any(|name| names.contains(name))
    };
    join_all(rules.iter().filter(written).map(|rule| do_without(rule, true, &expected))).await;
}

#[tokio::test]
async fn an_operator_that_loses_all_rights_for_a_while_needs_no_help_when_it_has_them_again() {
    let [created, edited] = undisturbed().await;
    let scratch = Scratch::new("none").await;
    rights::grant(&scratch, &rights::of_the_chart()).await;
    let operator = start(scratch.config("operator-1"), rights::client(&scratch).await);
    until("the operator leads", || async { operator.leads() && operator.ready().is_ok() }).await;
    for (pipeline, picture) in [(PIPELINE, created), (EDITED, edited)] {
        // In the middle of what is done about the objects.
        apply_all(&scratch, pipeline).await;
        rights::withdraw(&scratch).await;
        until("the operator leads no more", || async { !operator.leads() && operator.ready().is_err() }).await;
        rights::grant(&scratch, &rights::of_the_chart()).await;
        scratch.wait_for_picture("with all rights again", &picture).await;
    }
    operator.stop().await;
}

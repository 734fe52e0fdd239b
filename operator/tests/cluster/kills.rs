//! An operator that is killed in the middle of any of its steps.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::json;
use taffrail_operator::Operator;

use crate::support::{Death, Picture, Scratch, TAFFRAIL, Tap, pipeline_report, start};

/// Over so many lives the writes are spread, for each form of death.
const LIVES: usize = 6;
/// After so long without a write an operator has come to rest: it waits for a rule's worker for 3 s.
const QUIET: Duration = Duration::from_secs(5);

const SECRETS: [&str; 3] = ["es", "slack", "other"];

const MEASURING: &str = "
source: {kafka: {brokers: ['kafka:9092'], topic: logs}}
metrics: [{name: logs_total, type: counter}]
sink: {elasticsearch: {urls: ['http://es:9200'], auth: {secretName: es}}}
";
const LISTENING: &str = "
source: {http: {port: 8081}}
metrics: [{name: logs_total, type: counter}]
replicas: 2
sink: {elasticsearch: {urls: ['http://es:9200']}}
";
const PLAIN: &str = "
source: {kafka: {brokers: ['kafka:9092'], topic: logs}}
sink: {elasticsearch: {urls: ['http://es:9200']}}
";
const RULE: &str = "{query: rate logs_total, operator: '>', threshold: 1, notify: [{slack: {secretName: slack}}]}";
const OTHER_RULE: &str =
    "{query: rate logs_total, operator: '>', threshold: 1, notify: [{slack: {secretName: other}}]}";
const DASHBOARD: &str = "{ingress: {host: shop.example.com}}";
const OTHER_DASHBOARD: &str = "{ingress: {host: new.example.com}}";
/// What users do, one after the other: kind, name and spec of what they apply, and without a spec what they delete.
const CHAPTERS: [&[(&str, &str, &str)]; 4] = [
    &[("LogPipeline", "logs", MEASURING), ("AlertRule", "errors", RULE), ("Dashboard", "shop", DASHBOARD)],
    &[("LogPipeline", "logs", LISTENING), ("AlertRule", "errors", OTHER_RULE), ("Dashboard", "shop", OTHER_DASHBOARD)],
    &[("LogPipeline", "logs", PLAIN), ("AlertRule", "errors", ""), ("Dashboard", "shop", "")],
    &[("LogPipeline", "logs", "")],
];

/// A namespace, from its first object to its last.
struct Life {
    scratch: Scratch,
    tap: Arc<Tap>,
    operator: Operator,
}

impl Life {
    async fn begin(name: &str) -> Self {
        let scratch = Scratch::new(name).await;
        for name in SECRETS {
            let secret = json!({"metadata": {"name": name}, "stringData": {"password": "p", "url": "http://slack"}});
            let secret = serde_json::from_value(secret).unwrap();
            scratch.api("v1", "Secret").create(&kube::api::PostParams::default(), &secret).await.unwrap();
        }
        let tap = Tap::new();
        let operator = start(scratch.config("operator-1"), tap.client(scratch.client.clone()));
        Self { scratch, tap, operator }
    }

    async fn act(&self, chapter: usize) {
        for (kind, name, spec) in CHAPTERS[chapter] {
            if spec.is_empty() {
                self.scratch.delete(TAFFRAIL, kind, name).await;
                continue;
            }
            let applied = self.scratch.apply(kind, name, spec).await;
            let (namespace, generation) = (&self.scratch.namespace, applied.metadata.generation.unwrap());
            if *kind == "LogPipeline" {
                let report = pipeline_report(namespace, name, generation, true, "Running", 10);
                let shown =
                    json!({"kind": "Dashboard", "namespace": namespace, "name": "shop", "generation": generation});
                self.scratch.workers.say(vec![report, shown]);
            }
        }
    }

    /// How often the pipeline's pods have been asked to be others. What objects share may be that more often, as they come
    /// one by one.
    async fn rollouts(&self) -> Option<i64> {
        let deployment = self.scratch.get("apps/v1", "Deployment", "logs-ingestion").await?;
        deployment["metadata"]["generation"].as_i64()
    }

    /// Whether the operator is killed before everything looks as it should.
    async fn is_killed_before(&self, what: &str, picture: &Picture) -> bool {
        tokio::select! {
            () = self.tap.died() => true,
            () = self.scratch.wait_for_picture(what, picture) => self.tap.is_dead(),
        }
    }

    /// The pod starts the operator anew, by the same name.
    fn rise_again(&mut self) {
        self.tap = Tap::new();
        self.operator = start(self.scratch.config("operator-1"), self.tap.client(self.scratch.client.clone()));
    }
}

/// After each chapter of a life what there is, the writes that led to it, and how often pods were started anew.
type Story = Vec<(Picture, Vec<String>, Option<i64>)>;

/// A life that nothing disturbs.
async fn undisturbed() -> Story {
    let life = Life::begin("undisturbed").await;
    let mut story = Story::new();
    for chapter in 0..CHAPTERS.len() {
        life.act(chapter).await;
        let (mut writes, mut since) = (0, Instant::now());
        while since.elapsed() < QUIET {
            tokio::time::sleep(Duration::from_millis(100)).await;
            if life.tap.count() != writes {
                (writes, since) = (life.tap.count(), Instant::now());
            }
        }
        story.push((life.scratch.collected_picture().await, life.tap.take(), life.rollouts().await));
    }
    assert!(story[3].0.is_empty(), "something is left: {:?}", story[3].0);
    story
}

/// A life in which the operator is killed at every so manieth write. Returns those at which it was.
async fn live(story: &Story, index: usize, death: Death) -> Vec<String> {
    let mut life = Life::begin("killed").await;
    let mut deaths = Vec::new();
    for (chapter, (picture, steps, rollouts)) in story.iter().enumerate() {
        let mut fatal: Vec<_> = steps.iter().skip(index).step_by(LIVES).cloned().collect();
        life.tap.arm(&fatal, death);
        life.act(chapter).await;
        while life.is_killed_before(&format!("chapter {chapter}, died at {deaths:?}, {death:?}"), picture).await {
            let step = life.tap.take().pop().unwrap();
            fatal.remove(fatal.iter().position(|fatal| *fatal == step).unwrap());
            deaths.push(step);
            life.rise_again();
            life.tap.arm(&fatal, death);
        }
        assert_eq!(life.rollouts().await, *rollouts, "chapter {chapter}, died at {deaths:?}");
    }
    deaths
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_operator_killed_at_any_write_leaves_the_next_one_finishes() {
    let story = undisturbed().await;
    for death in [Death::Unsent, Death::Unanswered] {
        let lives = join_all((0..LIVES).map(|index| live(&story, index, death))).await;
        let deaths = lives.concat();
        // What there is comes of a write in every life, and so somebody has died at each of them. What is said of it, and
        // what the garbage collector deletes as well, may be another write each time.
        for step in story[..2].iter().flat_map(|(_, steps, _)| steps).filter(|step| !step.contains("events")) {
            assert!(deaths.contains(step), "no operator was killed at {step:?}");
        }
    }
}

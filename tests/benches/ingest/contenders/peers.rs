//! Others that move logs from Kafka into Elasticsearch.

use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::{BATCH_BYTES, BATCH_ENTRIES, BATCH_WAIT, Setup, program};
use crate::entries::DAY;

/// Where rsyslog is.
pub const RSYSLOG: &str = "TAFFRAIL_BENCH_RSYSLOG";
/// Where telegraf is.
pub const TELEGRAF: &str = "TAFFRAIL_BENCH_TELEGRAF";

/// A queue of its own for what comes from Kafka, full batches, and a worker for each core; documents go on as they came.
/// The offset is not among what rsyslog knows of a message, so that Elasticsearch makes up the ids.
pub fn rsyslog(setup: &Setup<'_>) -> Result<Command> {
    let (host, port) = setup.sink.rsplit_once(':').context("a sink without a port")?;
    let (folder, kafka, topic, group) = (setup.folder.display(), setup.kafka, &setup.topic.name, setup.group);
    let (wait, size) = (BATCH_WAIT.as_millis(), 8 * BATCH_ENTRIES);
    let config = format!(
        r#"global(workDirectory="{folder}" maxMessageSize="64k")
module(load="imkafka")
module(load="omelasticsearch")
template(name="entry" type="string" string="%msg%")
ruleset(name="sink" queue.type="fixedArray" queue.size="{size}" queue.workerThreads="2"
        queue.workerThreadMinimumMessages="{BATCH_ENTRIES}" queue.dequeueBatchSize="{BATCH_ENTRIES}"
        queue.minDequeueBatchSize="{BATCH_ENTRIES}" queue.minDequeueBatchSize.timeout="{wait}") {{
  action(type="omelasticsearch" server="{host}" serverport="{port}" template="entry" searchIndex="bench-{DAY}"
         searchType="" esVersion.major="8" bulkmode="on" maxbytes="{BATCH_BYTES}" action.resumeRetryCount="-1")
}}
input(type="imkafka" topic="{topic}" broker=["{kafka}"] consumergroup="{group}" ruleset="sink"
      confParam=["auto.offset.reset=earliest"])
action(type="omfile" file="{folder}/internal.log")
"#
    );
    let file = setup.folder.join("rsyslog.conf");
    fs::write(&file, config)?;
    let mut command = Command::new(program(RSYSLOG).context("rsyslog is not installed")?);
    command.args(["-n", "-f"]).arg(&file).arg("-i").arg(setup.folder.join("rsyslog.pid")).stdin(Stdio::null());
    Ok(command)
}

/// As many messages under way as several batches have, which its manual asks for; neither compression nor checks of
/// health; a protocol that today's brokers still speak.
pub fn telegraf(setup: &Setup<'_>) -> Result<Command> {
    let (kafka, topic, group, sink) = (setup.kafka, &setup.topic.name, setup.group, setup.sink);
    let (wait, underway, buffered) = (BATCH_WAIT.as_secs(), 4 * BATCH_ENTRIES, 10 * BATCH_ENTRIES);
    let config = format!(
        r#"[agent]
  omit_hostname = true
  round_interval = false
  metric_batch_size = {BATCH_ENTRIES}
  metric_buffer_limit = {buffered}
  flush_interval = "{wait}s"
[[inputs.kafka_consumer]]
  brokers = ["{kafka}"]
  topics = ["{topic}"]
  consumer_group = "{group}"
  offset = "oldest"
  kafka_version = "3.6.0"
  max_undelivered_messages = {underway}
  name_override = "log"
  data_format = "json"
  json_time_key = "timestamp"
  json_time_format = "2006-01-02T15:04:05.000Z07:00"
  json_string_fields = ["level", "message", "service", "host", "tags_*", "fields_*"]
[[outputs.elasticsearch]]
  urls = ["http://{sink}"]
  index_name = "bench-%Y.%m.%d"
  timeout = "60s"
  manage_template = false
  enable_sniffer = false
  enable_gzip = false
  health_check_interval = "0s"
"#
    );
    let file = setup.folder.join("telegraf.conf");
    fs::write(&file, config)?;
    let mut command = Command::new(program(TELEGRAF).context("telegraf is not installed")?);
    command.arg("--config").arg(&file).arg("--quiet").stdin(Stdio::null());
    Ok(command)
}

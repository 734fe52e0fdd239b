//! The stdin source: lines of the process's standard input. At its end the pipeline stays.

use std::io::Read;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::lines::Lines;
use super::local::{Local, now};
use super::{Checkpoint, Intake, Records};
use crate::config::{PipelineConfig, StartError};
use crate::health::{Part, SOURCE_UNAVAILABLE};
use crate::record::Filling;

const READ_AT_ONCE: usize = 64 << 10;

pub(super) fn start(
    mut config: PipelineConfig,
    intake: Intake,
    records: Records,
) -> Result<(JoinHandle<()>, Checkpoint), StartError> {
    let local = Local::new("stdin", &config, &intake)?;
    let checkpoint = local.checkpoint();
    let input = config.stdin.take().unwrap_or_else(|| Box::new(std::io::stdin()));
    let (pieces, received) = mpsc::channel(1);
    // A read of a terminal or a pipe can't be interrupted: the thread stays until there is something to read.
    std::thread::Builder::new()
        .name("stdin".to_owned())
        .spawn(move || read(input, &pieces))
        .map_err(|error| StartError::Source(format!("could not start a thread to read standard input: {error}")))?;
    Ok((tokio::spawn(take(local, received, intake, records)), checkpoint))
}

fn read(mut input: Box<dyn Read + Send + Sync>, pieces: &mpsc::Sender<std::io::Result<Vec<u8>>>) {
    let mut buffer = vec![0; READ_AT_ONCE];
    loop {
        let piece = match input.read(&mut buffer) {
            Ok(0) => return,
            Ok(length) => Ok(buffer[..length].to_vec()),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
        let is_over = piece.is_err();
        if pieces.blocking_send(piece).is_err() || is_over {
            return;
        }
    }
}

async fn take(
    mut local: Local,
    mut pieces: mpsc::Receiver<std::io::Result<Vec<u8>>>,
    intake: Intake,
    records: Records,
) {
    let mut lines = Lines::default();
    let mut filling = Filling::default();
    loop {
        let piece = tokio::select! {
            () = intake.stopping.cancelled() => break,
            piece = pieces.recv() => piece,
        };
        let is_over = match piece {
            Some(Ok(piece)) => {
                lines.push(&piece);
                false
            }
            Some(Err(error)) => {
                let message = format!("could not read standard input: {error}");
                intake.health.fail(Part::Source, SOURCE_UNAVAILABLE, message);
                true
            }
            None => true,
        };
        loop {
            while !filling.is_full() {
                let line = lines.next().or_else(|| if is_over { lines.rest() } else { None });
                let Some(line) = line else { break };
                local.push(&mut filling, &line.bytes, now());
            }
            let Some(chunk) = filling.take() else { break };
            if records.send(chunk).await.is_err() {
                break;
            }
        }
        if is_over {
            break;
        }
    }
    // Nothing more will fill a batch; the engine stays for dead letters that are sent again.
    intake.hurry.set(true);
    intake.stopping.cancelled().await;
    drop(records);
    local.close(&intake).await;
}

//! The processes of the control plane that `TAFFRAIL_TEST_KUBECONFIG` is the key to.

use std::fs;
use std::path::Path;
use std::process::Command;

use tokio::sync::{Mutex, MutexGuard};

/// Held by the test that runs.
pub struct Alone {
    _scheduler: Still,
    _lock: MutexGuard<'static, ()>,
}

/// Waits for the other tests of this program.
///
/// The scheduler, who finds no node, stands still meanwhile: after an outage it would say so of all pods over and over,
/// against whoever stands in for their kubelet.
pub async fn alone() -> Alone {
    static RUNNING: Mutex<()> = Mutex::const_new(());
    let lock = RUNNING.lock().await;
    Alone { _scheduler: Still::stand("kube-scheduler"), _lock: lock }
}

/// The process of a program which is told of a file beside the kubeconfig.
fn find(program: &str) -> u32 {
    let kubeconfig = std::env::var("TAFFRAIL_TEST_KUBECONFIG").unwrap();
    let folder = format!("{}/", Path::new(&kubeconfig).parent().unwrap().display());
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let is_it = |pid: &u32| {
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut words = line.split('\0');
        let name = words.next().and_then(|path| Path::new(path).file_name());
        name.is_some_and(|name| name == program) && words.any(|word| word.contains(&folder))
    };
    let found: Vec<u32> = processes.filter(is_it).collect();
    assert_eq!(found.len(), 1, "{program} with files in {folder}: {found:?}");
    found[0]
}

fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().unwrap();
    assert!(status.success(), "could not send {name} to {pid}");
}

/// Kills a program. Whoever started it starts it again.
pub fn kill(program: &str) {
    signal(find(program), "KILL");
}

/// A program that stands still until this is dropped.
pub struct Still(u32);

impl Still {
    pub fn stand(program: &str) -> Self {
        let pid = find(program);
        signal(pid, "STOP");
        Self(pid)
    }
}

impl Drop for Still {
    fn drop(&mut self) {
        signal(self.0, "CONT");
    }
}

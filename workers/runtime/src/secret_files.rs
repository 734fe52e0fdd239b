//! Secrets from files, as Kubernetes mounts them: a folder for each secret, a file for each of its keys.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use taffrail_crds::{Kind, Object, ObjectKey, SecretData};
use tokio_util::sync::CancellationToken;

use crate::Board;

/// How often files are looked at. Kubernetes itself takes a minute to change them.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Larger files are no secrets.
const MAX_BYTES: u64 = 1 << 20;

/// Puts the secrets of a folder on a board, as those of a namespace, and keeps them there as the files say.
pub struct SecretFiles {
    folder: PathBuf,
    namespace: String,
    board: Board,
    names: BTreeSet<String>,
}

impl SecretFiles {
    /// Nothing is read yet.
    #[must_use]
    pub fn new(folder: PathBuf, namespace: String, board: Board) -> Self {
        Self { folder, namespace, board, names: BTreeSet::new() }
    }

    /// Looks once. After it the board holds what the folder holds.
    pub fn load(&mut self) {
        let secrets = match read(&self.folder) {
            Ok(secrets) => secrets,
            Err(error) => {
                tracing::warn!(folder = %self.folder.display(), "secrets can't be read; those that were stay: {error}");
                return;
            }
        };
        let names: BTreeSet<String> = secrets.keys().cloned().collect();
        for name in self.names.difference(&names) {
            let key = ObjectKey { kind: Kind::Secret, namespace: self.namespace.clone(), name: name.clone() };
            self.board.delete(&key);
        }
        self.names = names;
        for (name, data) in secrets {
            let data = data.into_iter().map(|(key, value)| (key, ByteString(value))).collect();
            let namespace = Some(self.namespace.clone());
            let metadata = ObjectMeta { name: Some(name), namespace, ..ObjectMeta::default() };
            self.board.apply(Object::Secret(Arc::new(Secret { metadata, data: Some(data), ..Secret::default() })));
        }
    }

    /// Looks again and again, until `stop` is cancelled.
    pub async fn watch(mut self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => self.load(),
            }
        }
    }
}

fn read(folder: &Path) -> io::Result<BTreeMap<String, SecretData>> {
    let mut secrets = BTreeMap::new();
    for (name, path) in entries(folder)? {
        if path.is_dir() {
            let mut data = SecretData::new();
            for (key, path) in entries(&path)? {
                let metadata = std::fs::metadata(&path)?;
                if metadata.is_file() && metadata.len() <= MAX_BYTES {
                    data.insert(key, std::fs::read(&path)?);
                }
            }
            secrets.insert(name, data);
        }
    }
    Ok(secrets)
}

/// What a folder holds, without what Kubernetes hides there to change all files at once.
fn entries(folder: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with("..") {
            found.push((name, entry.path()));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn mounted_secrets_come_change_and_go() {
        let folder = tempfile::tempdir().expect("folder");
        let at = |path: &str| folder.path().join(path);
        // As Kubernetes does it: files are links into a folder that is replaced as a whole.
        fs::create_dir_all(at("es/..first")).expect("folder");
        fs::write(at("es/..first/password"), "old").expect("write");
        symlink("..first", at("es/..data")).expect("link");
        symlink("..data/password", at("es/password")).expect("link");
        let board = Board::new();
        let mut files = SecretFiles::new(folder.path().to_owned(), "shop".to_owned(), board.clone());
        files.load();
        let password = || board.secret("shop", "es").map(|secret| secret["password"].clone());
        assert_eq!(password(), Some(b"old".to_vec()));
        fs::create_dir_all(at("es/..second")).expect("folder");
        fs::write(at("es/..second/password"), "new").expect("write");
        fs::remove_file(at("es/..data")).expect("remove");
        symlink("..second", at("es/..data")).expect("link");
        files.load();
        assert_eq!(password(), Some(b"new".to_vec()));
        assert_eq!(board.secret("shop", "es").map(|secret| secret.len()), Some(1));
        fs::remove_dir_all(at("es")).expect("remove");
        files.load();
        assert_eq!(password(), None);
    }
}

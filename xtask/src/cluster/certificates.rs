//! The cluster's certificate authority, and what it signs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::process;

const KUBECONFIG: &str = include_str!("resources/kubeconfig.yaml");
/// Certificates outlive the longest use of a cluster that is thrown away, and little more.
const DAYS: &str = "365";
const KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";

/// The authority: a folder with its key and certificate, and those of everybody else.
#[derive(Debug)]
pub struct Authority {
    dir: PathBuf,
}

impl Authority {
    /// Makes the authority, and the key that signs the tokens of service accounts.
    pub fn new(dir: PathBuf) -> Result<Self> {
        let authority = Self { dir };
        authority
            .openssl(&format!("req -x509 {KEY} -days {DAYS} -subj /CN=taffrail-cluster -keyout ca.key -out ca.crt"))?;
        authority.openssl("genrsa -out accounts.key 2048")?;
        Ok(authority)
    }

    /// One of the files: `ca.crt`, `accounts.key`, and `NAME.crt` and `NAME.key` of what was issued.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Issues a certificate with names as openssl writes them (`DNS:localhost,IP:127.0.0.1`), or none.
    pub fn issue(&self, name: &str, subject: &str, alternative_names: &str) -> Result<()> {
        // Without extensions it would be an X.509 v1 certificate, which rustls refuses.
        let mut extensions = "basicConstraints=CA:FALSE\nextendedKeyUsage=clientAuth,serverAuth\n".to_owned();
        if !alternative_names.is_empty() {
            extensions += &format!("subjectAltName={alternative_names}\n");
        }
        let file = self.file(&format!("{name}.ext"));
        fs::write(&file, extensions).with_context(|| format!("could not write {}", file.display()))?;
        self.openssl(&format!("req {KEY} -subj {subject} -keyout {name}.key -out {name}.csr"))?;
        self.openssl(&format!(
            "x509 -req -days {DAYS} -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -extfile {name}.ext -out {name}.crt"
        ))
    }

    /// Issues a client's certificate, and writes a kubeconfig with it to `dir`/`name`.kubeconfig.
    pub fn kubeconfig(&self, dir: &Path, name: &str, subject: &str, port: u16) -> Result<PathBuf> {
        self.issue(name, subject, "")?;
        let text = KUBECONFIG
            .replace("@PORT@", &port.to_string())
            .replace("@PKI@", &self.dir.display().to_string())
            .replace("@NAME@", name);
        let file = dir.join(format!("{name}.kubeconfig"));
        fs::write(&file, text).with_context(|| format!("could not write {}", file.display()))?;
        Ok(file)
    }

    fn openssl(&self, arguments: &str) -> Result<()> {
        process::output(Command::new("openssl").current_dir(&self.dir).args(arguments.split(' '))).map(drop)
    }
}

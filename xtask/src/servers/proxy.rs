//! nginx in front of Elasticsearch: TLS by a certificate authority of its own, basic authentication, an API key and a
//! client's certificate, with Elasticsearch's answer to those who have none of them.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::running::Running;
use crate::place::Scratch;
use crate::{process, tools};

const CONFIG: &str = include_str!("resources/nginx.conf");
/// Certificates outlive the longest test run, and little more.
const DAYS: &str = "30";

/// Starts the proxy; returns it with the certificate of the authority that its clients must trust.
pub fn start(scratch: &Scratch, port: u16, upstream: SocketAddr) -> Result<(Running, PathBuf)> {
    let dir = scratch.dir("proxy")?;
    let ca = make_certificates(&dir)?;
    let config = CONFIG
        .replace("@DIR@", &dir.display().to_string())
        .replace("@PORT@", &port.to_string())
        .replace("@UPSTREAM@", &upstream.to_string());
    let file = dir.join("nginx.conf");
    fs::write(&file, config).with_context(|| format!("could not write {}", file.display()))?;
    let nginx = tools::find("nginx").context("nginx is missing: `apt-get install nginx-light`")?;
    let mut command = process::tied(nginx);
    command.arg("-e").arg("stderr").arg("-c").arg(&file);
    Ok((Running::start("nginx", scratch, &mut command)?, ca))
}

/// Makes an authority, a server's certificate signed by it, and a client's: `client.pem` and `client.key` beside the
/// authority's own, which is what tests know.
pub(super) fn make_certificates(dir: &Path) -> Result<PathBuf> {
    let openssl =
        |args: &str| process::output(Command::new("openssl").current_dir(dir).args(args.split(' '))).map(drop);
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(&format!("req -x509 {key} -days {DAYS} -subj /CN=taffrail-test-ca -keyout ca.key -out ca.pem"))?;
    openssl(&format!("req {key} -subj /CN=localhost -keyout server.key -out server.csr"))?;
    fs::write(dir.join("server.ext"), "subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        .context("could not write server.ext")?;
    openssl(&format!(
        "x509 -req -days {DAYS} -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile server.ext -out server.pem"
    ))?;
    openssl(&format!("req {key} -subj /CN=taffrail -keyout client.key -out client.csr"))?;
    fs::write(dir.join("client.ext"), "extendedKeyUsage=clientAuth\n").context("could not write client.ext")?;
    openssl(&format!(
        "x509 -req -days {DAYS} -in client.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile client.ext -out client.pem"
    ))?;
    Ok(dir.join("ca.pem"))
}

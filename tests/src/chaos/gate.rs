//! nginx in front of Elasticsearch, which asks for a password.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::Process;

const USER: &str = "taffrail";

const CONFIG: &str = "daemon off;
master_process off;
pid @DIR@/nginx.pid;
error_log stderr warn;
events { worker_connections 512; }
http {
  access_log off;
  client_max_body_size 200m;
  client_body_temp_path @DIR@/body;
  proxy_temp_path @DIR@/proxy;
  fastcgi_temp_path @DIR@/fastcgi;
  uwsgi_temp_path @DIR@/uwsgi;
  scgi_temp_path @DIR@/scgi;
  upstream elasticsearch { server @UPSTREAM@; keepalive 16; }
  server {
    listen 127.0.0.1:@PORT@;
    auth_basic security;
    auth_basic_user_file @DIR@/users;
    location / {
      proxy_pass http://elasticsearch;
      proxy_http_version 1.1;
      proxy_set_header Connection \"\";
      proxy_request_buffering off;
    }
  }
}
";

pub(super) struct Gate {
    folder: PathBuf,
    process: Option<Process>,
}

impl Gate {
    /// Starts it. `upstream` is a host with its port.
    pub(super) fn start(folder: &Path, port: u16, upstream: &str, password: &str) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let config = CONFIG.replace("@DIR@", &folder.display().to_string()).replace("@PORT@", &port.to_string());
        fs::write(folder.join("nginx.conf"), config.replace("@UPSTREAM@", upstream))?;
        let mut gate = Self { folder: folder.to_owned(), process: None };
        gate.take(password)?;
        gate.launch()?;
        Ok(gate)
    }

    pub(super) fn launch(&mut self) -> Result<()> {
        // Where Debian puts programs for administrators, which is not on everybody's `PATH`.
        let program = ["/usr/sbin/nginx", "/sbin/nginx"].into_iter().find(|path| Path::new(path).exists());
        let mut command = Command::new(program.unwrap_or("nginx"));
        command.args(["-e", "stderr", "-c"]).arg(self.folder.join("nginx.conf"));
        self.process = Some(Process::start(&mut command, &self.folder.join("nginx"))?);
        Ok(())
    }

    pub(super) fn kill(&mut self) -> Result<()> {
        self.process.take().context("nginx is not running")?.kill()
    }

    /// Fails when it has ended by itself.
    pub(super) fn check(&mut self) -> Result<()> {
        self.process.as_mut().map_or(Ok(()), |process| process.check().context("nginx"))
    }

    /// Takes another password from now on.
    pub(super) fn take(&self, password: &str) -> Result<()> {
        let new = self.folder.join("users.new");
        fs::write(&new, format!("{USER}:{{PLAIN}}{password}\n"))?;
        fs::rename(new, self.folder.join("users")).context("could not change the password")
    }

    /// What a client's Secret must hold.
    pub(super) fn credentials(password: &str) -> [(&'static str, &str); 2] {
        [("username", USER), ("password", password)]
    }
}

//! Harm to the network of one worker, by the kernel. All of it is in a network namespace of the test's own; a worker is
//! told from the others by the group that its process runs as.

use std::process::Command;

use anyhow::{Context, Result, ensure};

/// What is done to what a worker sends.
#[derive(Debug, Clone)]
pub(super) enum Harm {
    /// Nothing arrives at these ports; at none at all where there are none named.
    Cut(Vec<u16>),
    /// One packet in so many is lost.
    Loss(u32),
    /// It passes one by one, slowly: each waits for those before it.
    Narrow,
}

/// Bits a second that pass a narrow network.
const NARROW: &str = "400kbit";

/// The mark of a class of traffic: any that is no other's.
const CLASS: &str = "1:7";

fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let output = Command::new(program).args(arguments).output().with_context(|| format!("there is no `{program}`"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`{program} {}` failed: {said}", arguments.join(" "));
    Ok(())
}

/// Makes the network of the namespace. From now on outgoing connections take ports that servers never have.
pub(super) fn prepare() -> Result<()> {
    run("ip", &["link", "set", "lo", "up"])?;
    run("tc", &["qdisc", "add", "dev", "lo", "root", "handle", "1:", "htb"])?;
    run("tc", &["class", "add", "dev", "lo", "parent", "1:", "classid", CLASS, "htb", "rate", NARROW])?;
    ports(20_000, 32_000)
}

/// From which ports the kernel chooses, for listeners and for outgoing connections.
pub(super) fn ports(first: u16, last: u16) -> Result<()> {
    std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", format!("{first} {last}"))
        .context("could not say which ports to take: this needs a network namespace of its own")
}

impl Harm {
    fn rules(&self, change: &str, group: u32) -> Result<()> {
        let group = group.to_string();
        let of_worker = ["OUTPUT", "-m", "owner", "--gid-owner", &group];
        let iptables = |before: &[&str], after: &[&str]| {
            run("iptables", &[&["-w", "5"], before, &[change], of_worker.as_slice(), after].concat())
        };
        match self {
            Self::Cut(ports) if ports.is_empty() => iptables(&[], &["-j", "DROP"]),
            Self::Cut(ports) => {
                let ports: Vec<_> = ports.iter().map(u16::to_string).collect();
                let ports = ports.join(",");
                iptables(&[], &["-p", "tcp", "-m", "multiport", "--dports", &ports, "-j", "DROP"])
            }
            Self::Loss(one_in) => {
                let share = format!("{:.4}", 1.0 / f64::from(*one_in));
                iptables(&[], &["-m", "statistic", "--mode", "random", "--probability", &share, "-j", "DROP"])
            }
            Self::Narrow => iptables(&["-t", "mangle"], &["-j", "CLASSIFY", "--set-class", CLASS]),
        }
    }

    pub(super) fn begin(&self, group: u32) -> Result<()> {
        self.rules("-A", group)
    }

    pub(super) fn end(&self, group: u32) -> Result<()> {
        self.rules("-D", group)
    }
}

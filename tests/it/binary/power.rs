//! When the power goes: at some moment, or just before a chosen system call.

use std::{process::Command, time::Duration};

use crate::harness::Home;

/// System calls that keep or tell something, and how often one thread of the daemon may make them in one round.
const ON_SQLITE: [(&str, u32); 2] = [("pwrite64", 60), ("fdatasync", 12)];
const ON_POSTGRES: [(&str, u32); 2] = [("sendto", 120), ("writev", 12)];

/// When the daemon dies.
#[derive(Debug, Clone)]
pub(crate) enum Death {
    /// That long after the work began.
    After(Duration),
    /// When one of its threads is about to make this system call for the `nth` time.
    Before { call: &'static str, nth: u32 },
}

impl Death {
    /// One kind after the other.
    pub(crate) fn of_round(round: i64, home: &Home, milliseconds: std::ops::Range<u64>) -> Self {
        if round % 2 == 0 {
            return Self::After(Duration::from_millis(rand::random_range(milliseconds)));
        }
        let calls: &[_] = if home.is_sqlite() { &ON_SQLITE } else { &ON_POSTGRES };
        let (call, most) = calls[rand::random_range(0..calls.len())];
        Self::Before { call, nth: rand::random_range(1..most) }
    }

    /// `command` under whatever brings this death about. It keeps its process id.
    pub(crate) fn over(&self, command: Command) -> Command {
        let Self::Before { call, nth } = self else { return command };
        let mut traced = Command::new("strace");
        // -D: strace is the grandchild, so that whoever kills the child kills the daemon.
        traced.args(["-D", "-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")]);
        traced.args(["-e", &format!("inject={call}:signal=KILL:when={nth}"), "--"]);
        traced.arg(command.get_program()).args(command.get_args()).env_clear().stdin(std::process::Stdio::null());
        traced.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        traced.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        traced
    }
}

/// How often a test ends the daemon: `make soak` asks for more than every run has the time for.
#[expect(clippy::disallowed_methods, reason = "a setting of whoever runs the tests")]
pub(crate) fn kills(every_run: i64) -> i64 {
    let factor: i64 = std::env::var("SLOTD_KILLS").map_or(1, |factor| factor.parse().expect("SLOTD_KILLS is a factor"));
    every_run * factor
}

/// Sees to it that system calls can be watched.
pub(crate) fn need_strace() {
    let need = concat!(env!("CARGO_MANIFEST_DIR"), "/tools/need");
    let status = Command::new(need).args(["command -v strace", "strace"]).status().unwrap();
    assert!(status.success(), "strace is needed");
}

//! A child process that never outlives the test process, however that one ends.
//!
//! `PR_SET_PDEATHSIG` follows the *thread* that started the child, and test threads end before the run does; so a
//! small shell waits on a pipe instead. The pipe closes when the test process dies, `kill -9` included, and the shell
//! then ends the child and removes its directory.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tempfile::TempDir;

/// `$1` is the process group, `$2` the signal that ends it quickly, `$3` the directory to remove.
///
/// A line on the pipe means that the child was ended in order, so that a reused number is never touched. Children of the
/// child may lead groups of their own, as PostgreSQL's do, and a test may have frozen them.
const SCRIPT: &str = r#"
trap '' INT TERM HUP
if read -r _; then exit 0; fi
kill -s CONT -- "-$1" $(cat "/proc/$1/task/$1/children") 2>/dev/null
kill -s "$2" -- "-$1" 2>/dev/null
tries=50
while kill -s 0 -- "-$1" 2>/dev/null && [ "$tries" -gt 0 ]; do tries=$((tries - 1)); sleep 0.1; done
kill -s KILL -- "-$1" 2>/dev/null
[ -z "$3" ] || rm -rf "$3"
"#;

/// How long a child may take to end in order before it is killed.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running child and the directory it works in; both are gone once this is dropped.
#[derive(Debug)]
pub struct Guarded {
    child: Child,
    watchdog: Child,
    stop: Signal,
    directory: Option<TempDir>,
}

impl Guarded {
    /// Starts `command` under guard. `stop` is the signal that ends it at once and in order; `directory`, where given,
    /// is removed with it.
    ///
    /// # Errors
    /// When the program, or the shell that watches it, cannot be started.
    pub fn start(command: &mut Command, stop: Signal, directory: Option<TempDir>) -> io::Result<Self> {
        let removed = directory.as_ref().map_or_else(PathBuf::new, |directory| directory.path().to_owned());
        // Groups of their own: the child's takes its children along, and the shell outlives a signal to the test's group.
        let mut child = command.stdin(Stdio::null()).process_group(0).spawn()?;
        let name = if stop == Signal::QUIT { "QUIT" } else { "TERM" };
        let watchdog = Command::new("sh")
            .args(["-c", SCRIPT, "watchdog", &child.id().to_string(), name])
            .arg(removed)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match watchdog {
            Ok(watchdog) => Ok(Self { child, watchdog, stop, directory }),
            Err(error) => {
                child.kill()?;
                child.wait()?;
                Err(error)
            }
        }
    }

    /// The child's process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether the child has ended, and how.
    ///
    /// # Errors
    /// The system's.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Ends the child as a power cut would: `SIGKILL`, no chance to write anything.
    ///
    /// # Errors
    /// The system's.
    pub fn kill_9(&mut self) -> io::Result<ExitStatus> {
        // A frozen parent starts no further child while the ones that it has are counted.
        let frozen = self.freeze();
        let children = self.children();
        self.child.kill()?;
        for child in children {
            // An error says that it ended by itself.
            let _ended = kill_process(child, Signal::KILL);
        }
        self.sweep();
        frozen.and_then(|()| self.child.wait())
    }

    /// Stops the child and its children where they are (`SIGSTOP`): their connections stay open and nobody answers.
    /// Does nothing to one that has ended.
    ///
    /// # Errors
    /// The system's.
    pub fn freeze(&mut self) -> io::Result<()> {
        self.signal_all(Signal::STOP)
    }

    /// Lets the child and its children go on after [`freeze`](Self::freeze).
    ///
    /// # Errors
    /// The system's.
    pub fn thaw(&mut self) -> io::Result<()> {
        self.signal_all(Signal::CONT)
    }

    /// The directory that the child works in, for another child that is to go on in it.
    pub fn take_directory(&mut self) -> Option<TempDir> {
        self.directory.take()
    }

    /// The parent first, so that it starts no other child meanwhile.
    fn signal_all(&mut self, signal: Signal) -> io::Result<()> {
        if self.child.try_wait()?.is_some() {
            return Ok(());
        }
        kill_process_group(Pid::from_child(&self.child), signal)?;
        for child in self.children() {
            // An error says that it ended by itself.
            let _ended = kill_process(child, signal);
        }
        Ok(())
    }

    /// The children of the child, which need not be in its group.
    fn children(&self) -> Vec<Pid> {
        let id = self.child.id();
        let listed = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        listed.split_whitespace().filter_map(|id| Pid::from_raw(id.parse().ok()?)).collect()
    }

    /// Asks the child to end and waits for it; one that takes longer than ten seconds is killed.
    ///
    /// # Errors
    /// The system's.
    pub fn stop(&mut self) -> io::Result<ExitStatus> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        kill_process_group(Pid::from_child(&self.child), self.stop)?;
        // What is frozen cannot end.
        self.thaw()?;
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                self.sweep();
                return Ok(status);
            }
            thread::sleep(Duration::from_millis(5));
        }
        self.kill_9()
    }

    /// Ends what the child left of its group. An error says that nothing was left.
    fn sweep(&self) {
        let _nothing_left = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // Nobody is left to report to: what cannot be ended here is ended by the watchdog once the pipe closes.
        let stopped = self.stop().is_ok();
        if let Some(mut pipe) = self.watchdog.stdin.take()
            && stopped
        {
            let _told = pipe.write_all(b"done\n");
        }
        let _ended = self.watchdog.wait();
        self.directory.take();
    }
}

//! The real kubectl, run as a person runs it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What went wrong, for people.
pub type Failure = String;

/// How long [`Kubectl::eventually`] waits.
const EVENTUALLY_MAX: Duration = Duration::from_secs(60);
/// How long one kubectl may run.
const COMMAND_MAX: Duration = Duration::from_secs(120);

/// kubectl with a kubeconfig and a namespace.
#[derive(Clone)]
pub struct Kubectl {
    kubeconfig: PathBuf,
    namespace: String,
}

impl Kubectl {
    /// kubectl as the user of `kubeconfig`, in the namespace `default`.
    pub fn new(kubeconfig: &Path) -> Self {
        Self { kubeconfig: kubeconfig.to_path_buf(), namespace: "default".into() }
    }

    /// The same in another namespace, which is created.
    ///
    /// # Errors
    /// If it cannot be created.
    pub fn in_new_namespace(&self, name: &str) -> Result<Self, Failure> {
        self.run(&format!("create namespace {name}"))?;
        // A pod may be created once the namespace has its service account.
        let inside = Self { kubeconfig: self.kubeconfig.clone(), namespace: name.into() };
        inside.eventually("get serviceaccount default -o name", "serviceaccount/default")?;
        Ok(inside)
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// A command for callers that want its streams.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("kubectl");
        command.env("KUBECONFIG", &self.kubeconfig).args(["-n", &self.namespace]).args(words);
        command
    }

    /// Runs a line of words separated by blanks (no quoting) and returns what it printed.
    ///
    /// # Errors
    /// If it fails, with what it said.
    pub fn run(&self, line: &str) -> Result<String, Failure> {
        self.words(&line.split_whitespace().collect::<Vec<_>>(), "")
    }

    /// Runs `words` with `input` on the standard input.
    ///
    /// # Errors
    /// If it fails, with what it said.
    pub fn words(&self, words: &[&str], input: &str) -> Result<String, Failure> {
        let shown = words.join(" ");
        let mut command = self.command(words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("kubectl: {error}"))?;
        let mut stdin = child.stdin.take().expect("piped");
        let input = input.to_string();
        let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
        let pid = child.id();
        let (done, overdue) = std::sync::mpsc::channel::<()>();
        let watchdog = std::thread::spawn(move || {
            if overdue.recv_timeout(COMMAND_MAX) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                let _ = Command::new("kill").arg(pid.to_string()).status();
            }
        });
        let output = child.wait_with_output().map_err(|error| format!("kubectl {shown}: {error}"))?;
        drop(done);
        let _ = watchdog.join();
        let _ = writer.join();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if !output.status.success() {
            return Err(format!("kubectl {shown}: {}\n{out}{err}", output.status));
        }
        Ok(format!("{out}{err}"))
    }

    /// Applies a manifest.
    ///
    /// # Errors
    /// If kubectl fails.
    pub fn apply(&self, manifest: &str) -> Result<String, Failure> {
        self.words(&["apply", "-f", "-"], manifest)
    }

    /// Runs a line until it prints something that contains `expect`.
    ///
    /// # Errors
    /// If it does not in time, with what it printed last.
    pub fn eventually(&self, line: &str, expect: &str) -> Result<String, Failure> {
        self.until(line, &format!("contains {expect:?}"), |printed| printed.contains(expect))
    }

    /// Runs a line until what it prints is as wanted.
    ///
    /// # Errors
    /// If it is not in time, with what it printed last.
    pub fn until(&self, line: &str, wanted: &str, is: impl Fn(&str) -> bool) -> Result<String, Failure> {
        until(&format!("kubectl {line}: {wanted}"), || match self.run(line) {
            Ok(printed) if is(printed.trim()) => Ok(printed),
            Ok(printed) | Err(printed) => Err(printed),
        })
    }
}

/// Tries until it works.
///
/// # Errors
/// If it does not in time, with the last failure.
pub fn until<T>(wanted: &str, attempt: impl Fn() -> Result<T, Failure>) -> Result<T, Failure> {
    let start = Instant::now();
    loop {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(last) if start.elapsed() > EVENTUALLY_MAX => {
                return Err(format!("not within {} s: {wanted}; last:\n{last}", EVENTUALLY_MAX.as_secs()));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

/// A failure unless the text contains what is expected.
///
/// # Errors
/// If it does not.
pub fn expect(text: &str, expect: &str) -> Result<(), Failure> {
    if text.contains(expect) { Ok(()) } else { Err(format!("expected {expect:?} in:\n{text}")) }
}

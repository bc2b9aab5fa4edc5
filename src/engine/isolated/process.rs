//! The worker's process: finding its program, starting it, and how it ended.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Result};

/// The verb of the program `dicast` that makes it a worker.
pub const VERB: &str = "engine-worker";

/// Most bytes of the worker's last output that are kept.
const MAX_WORDS: usize = 2000;

/// How long to wait for the last output of a dead worker.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How a worker ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Death {
    /// How it ended, as in "the worker process … by signal 6 (SIGABRT)".
    pub(super) how: String,
    /// Whether it ended through its own fault, not through a signal from outside.
    pub(super) crashed: bool,
    /// Its last output, in one line.
    pub(super) words: String,
}

/// A worker as the supervisor sees it.
pub(super) trait Worker: Send {
    /// Waits for its end, at most `grace`; then kills it. `ours`: why this side ends it, if it does.
    fn end(self: Box<Self>, grace: Duration, ours: Option<&str>) -> Death;
}

/// Starts workers.
pub(super) trait Launcher: Send {
    /// Starts one. The worker reads what is written into the stream, and writes what is read from it.
    fn launch(&mut self) -> Result<(UnixStream, Box<dyn Worker>)>;
}

/// The program that is started as worker.
pub(super) struct Program(PathBuf);

impl Program {
    /// Finds it: the program named by the setting `key` of a table, else `dicast` near the library or the program, else
    /// on the `PATH`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] with every place that was tried.
    pub(super) fn find(table: &str, key: &str, named: Option<&Path>) -> Result<Self> {
        if let Some(path) = named {
            // Starting it would find this too; here the error names the setting.
            if path.is_file() {
                return absolute(path).map(Self);
            }
            return Err(Error::new(
                ErrorKind::InvalidConfig,
                format!("{table}.{key} is {}: there is no such program", path.display()),
            ));
        }
        let mut tried = Vec::new();
        for home in [library(), std::env::current_exe().ok()].into_iter().flatten() {
            let Some(folder) = home.parent() else { continue };
            tried.push(folder.join("dicast"));
            tried.extend(folder.parent().map(|prefix| prefix.join("bin/dicast")));
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        tried.extend(
            std::env::split_paths(&path).filter(|folder| folder.is_absolute()).map(|folder| folder.join("dicast")),
        );
        if let Some(found) = tried.iter().find(|path| path.is_file()) {
            return Ok(Self(found.clone()));
        }
        tried.dedup();
        let tried: Vec<_> = tried.iter().map(|path| path.display().to_string()).collect();
        Err(Error::new(
            ErrorKind::InvalidConfig,
            format!(
                "{table}.isolation is process, but the program dicast, which runs as worker process, was not found: install \
                 it, or set {table}.{key} to it. Tried: {}",
                tried.join(", ")
            ),
        ))
    }
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|error| Error::new(ErrorKind::Io, format!("{}: {error}", path.display())))
}

/// The shared library that contains this code, from the kernel's table of mappings; `None` if that is not known.
fn library() -> Option<PathBuf> {
    let address = library as fn() -> Option<PathBuf> as usize;
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    maps.lines().find_map(|line| {
        let (range, rest) = line.split_once(' ')?;
        let (start, end) = range.split_once('-')?;
        let within =
            usize::from_str_radix(start, 16).ok()? <= address && address < usize::from_str_radix(end, 16).ok()?;
        let path = rest.find('/').map(|at| PathBuf::from(&rest[at..]));
        path.filter(|_| within)
    })
}

impl Launcher for Program {
    fn launch(&mut self) -> Result<(UnixStream, Box<dyn Worker>)> {
        let failed = |error: &io::Error| {
            let message = format!("the worker process {} cannot be started: {error}", self.0.display());
            Error::new(ErrorKind::Engine, message)
        };
        launch(&self.0, [VERB]).map_err(|error| failed(&error))
    }
}

/// Starts a program whose standard input is one end of the stream; its output is kept as its last words.
fn launch<A: AsRef<OsStr>>(
    program: &Path,
    args: impl IntoIterator<Item = A>,
) -> io::Result<(UnixStream, Box<dyn Worker>)> {
    // All of these descriptors are closed in any other program that this process starts.
    let (ours, theirs) = UnixStream::pair()?;
    let (words, said) = io::pipe()?;
    refuse_pipe_signals(&ours)?;
    let child = Command::new(program)
        .args(args)
        .stdin(OwnedFd::from(theirs))
        .stdout(said.try_clone()?)
        .stderr(said)
        // Otherwise an abort of ggml starts a debugger.
        .env("GGML_NO_BACKTRACE", "1")
        // The terminal's Ctrl-C is for the parent, which ends the worker in an orderly way.
        .process_group(0)
        .spawn()?;
    let mut process = Process { child: Some(child), words: None };
    let (ended, end) = channel();
    let keep = move || drop(ended.send(last_words(words)));
    crate::thread::spawn("dicast-words", keep)?;
    process.words = Some(end);
    Ok((ours, Box::new(process)))
}

/// A process. Dropping it kills it and waits for it.
struct Process {
    child: Option<Child>,
    words: Option<Receiver<String>>,
}

impl Worker for Process {
    fn end(mut self: Box<Self>, grace: Duration, ours: Option<&str>) -> Death {
        let Some(mut child) = self.child.take() else { return death(None, String::new(), ours) };
        let status = wait(&mut child, grace).or_else(|| {
            // This only fails if it has already ended.
            let _ = child.kill();
            child.wait().ok()
        });
        let words = self.words.take().and_then(|words| words.recv_timeout(LAST_WORDS).ok()).unwrap_or_default();
        death(status, words, ours)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Waits for a process that is about to end.
fn wait(child: &mut Child, grace: Duration) -> Option<ExitStatus> {
    let deadline = Instant::now() + grace;
    let mut pause = Duration::from_micros(200);
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        std::thread::sleep(pause.min(left));
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

fn death(status: Option<ExitStatus>, words: String, ours: Option<&str>) -> Death {
    if let Some(why) = ours {
        return Death { how: format!("was ended because {why}"), crashed: false, words };
    }
    let Some(status) = status else { return Death { how: "was lost".into(), crashed: false, words } };
    match (status.signal(), status.code()) {
        (Some(signal), _) => {
            let name = signal_name(signal);
            let outside = matches!(signal, libc::SIGKILL | libc::SIGTERM | libc::SIGINT | libc::SIGHUP | libc::SIGQUIT);
            Death { how: format!("was ended by signal {signal}{name}"), crashed: !outside, words }
        }
        (None, code) => {
            Death { how: format!("exited with status {}", code.unwrap_or(-1)), crashed: code != Some(0), words }
        }
    }
}

fn signal_name(signal: i32) -> &'static str {
    match signal {
        libc::SIGABRT => " (SIGABRT)",
        libc::SIGSEGV => " (SIGSEGV)",
        libc::SIGBUS => " (SIGBUS)",
        libc::SIGILL => " (SIGILL)",
        libc::SIGFPE => " (SIGFPE)",
        libc::SIGKILL => " (SIGKILL, perhaps for want of memory)",
        libc::SIGTERM => " (SIGTERM)",
        libc::SIGINT => " (SIGINT)",
        libc::SIGHUP => " (SIGHUP)",
        libc::SIGQUIT => " (SIGQUIT)",
        libc::SIGSYS => " (SIGSYS)",
        libc::SIGXCPU => " (SIGXCPU)",
        _ => "",
    }
}

/// Reads to the end, and keeps the last part as one line.
fn last_words(mut from: impl Read) -> String {
    let mut kept = VecDeque::new();
    let mut buffer = [0; 4096];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                kept.extend(&buffer[..count]);
                kept.drain(..kept.len().saturating_sub(MAX_WORDS));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    let text = String::from_utf8_lossy(kept.make_contiguous()).into_owned();
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let line = lines.join("; ");
    let start = (line.len().saturating_sub(MAX_WORDS)..=line.len()).find(|&start| line.is_char_boundary(start));
    line[start.unwrap_or(0)..].to_owned()
}

/// For systems on which this is an option of the socket, not of each call.
#[cfg(not(target_vendor = "apple"))]
#[expect(clippy::unnecessary_wraps, reason = "the signature of the other systems")]
fn refuse_pipe_signals(_stream: &UnixStream) -> io::Result<()> {
    Ok(())
}

#[cfg(target_vendor = "apple")]
fn refuse_pipe_signals(stream: &UnixStream) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the descriptor is open, and the option is an int that lives as long as the call.
    let set = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NOSIGPIPE,
            std::ptr::from_ref(&on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A stream that raises no SIGPIPE if the other side is gone: the embedding program may not ignore that signal.
pub(super) struct Quiet(pub(super) UnixStream);

impl Write for Quiet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // SAFETY: the descriptor is open as long as `self`, and the pointer and length are those of a slice.
        let sent = unsafe { libc::send(self.0.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL) };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Makes the kernel kill this process when the thread that started it ends.
///
/// # Errors
/// If it has already ended.
#[cfg(target_os = "linux")]
pub(super) fn die_with(parent: u32) -> io::Result<()> {
    // SAFETY: takes numbers only.
    if unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } != 0 {
        return Err(io::Error::last_os_error());
    }
    if std::os::unix::process::parent_id() == parent { Ok(()) } else { Err(io::Error::other("the parent is gone")) }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn die_with(_parent: u32) -> io::Result<()> {
    // On this system, the end of the stream shows it.
    Ok(())
}

/// Ends this process at once: engine threads may be working, and C++ destructors must not run under them.
pub(super) fn leave() -> ! {
    // SAFETY: takes a number, and does not return.
    unsafe { libc::_exit(0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Death {
        let (stream, worker) = launch(Path::new("/bin/sh"), ["-c", script]).unwrap();
        let death = worker.end(Duration::from_secs(5), None);
        drop(stream);
        death
    }

    #[test]
    fn a_death_says_how() {
        let death = shell("echo one >&2; echo '  GGML_ASSERT(x) failed'; kill -ABRT $$");
        assert_eq!(death.how, "was ended by signal 6 (SIGABRT)");
        assert_eq!((death.crashed, death.words.as_str()), (true, "one; GGML_ASSERT(x) failed"));
        let death = shell("kill -KILL $$");
        assert!(!death.crashed && death.how.contains("SIGKILL"), "{death:?}");
        let death = shell("exit 3");
        assert_eq!((death.how.as_str(), death.crashed), ("exited with status 3", true));
        assert!(!shell("exit 0").crashed);
    }

    #[test]
    fn what_does_not_end_is_killed() {
        let (_stream, worker) = launch(Path::new("/bin/sleep"), ["60"]).unwrap();
        let start = Instant::now();
        let death = worker.end(Duration::from_millis(50), Some("it did not answer"));
        assert!(start.elapsed() < Duration::from_secs(5));
        assert_eq!((death.how.as_str(), death.crashed), ("was ended because it did not answer", false));
    }

    #[test]
    fn the_last_words_are_bounded() {
        let death = shell("i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; exit 1");
        assert!(death.words.len() <= MAX_WORDS && death.words.ends_with("line 2999"), "{}", death.words.len());
    }

    #[test]
    fn writing_to_one_that_is_gone_is_an_error_not_a_signal() {
        let (stream, worker) = launch(Path::new("/bin/true"), [""; 0]).unwrap();
        worker.end(Duration::from_secs(5), None);
        assert_eq!(Quiet(stream).write(b"x").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_program_that_is_not_there_is_named_with_the_setting() {
        let error = Program::find("local", "worker_path", Some(Path::new("/no/such/dicast"))).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        assert!(
            error.message().contains("local.worker_path") && error.message().contains("/no/such/dicast"),
            "{error}"
        );
        assert!(library().is_some_and(|path| path.is_absolute()), "the mapping of this code has a file");
    }
}

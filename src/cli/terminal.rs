//! Standard output and error, and the person in front of them.

use std::{
    future::Future,
    io::{self, IsTerminal, Write},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use terminal_size::terminal_size_of;
use tokio::time::{Instant, interval};

use super::{Output, exit::Failure, progress, table};

/// The width of what is no terminal.
const DEFAULT_WIDTH: usize = 80;
/// The widest that text is read comfortably in.
const WIDEST: usize = 120;
/// How many things that go on at the same time are shown.
const MOST_LINES: usize = 12;
/// How long something takes before it is shown that it goes on.
const SHOWN_AFTER: Duration = Duration::from_millis(300);

pub(super) struct Terminal {
    json: bool,
    width: usize,
    /// Whether someone can be asked.
    interactive: bool,
    /// Whether what is written to standard error is seen and can be overwritten.
    animated: bool,
}

/// What the program is doing, for the line that shows it, and what it has done.
#[derive(Clone, Default)]
pub(super) struct Activity(Arc<Mutex<Report>>);

#[derive(Default)]
struct Report {
    now: Vec<Now>,
    done: String,
}

/// Something that goes on, on a line of its own.
struct Now {
    /// What it is about, where several things go on.
    key: String,
    text: String,
    /// Since when, where that is not since the beginning.
    since: Option<Instant>,
}

impl Activity {
    pub(super) fn new(text: impl Into<String>) -> Self {
        let activity = Self::default();
        activity.set(text);
        activity
    }

    /// What goes on from now on.
    pub(super) fn set(&self, text: impl Into<String>) {
        self.lock().now = vec![Now {
            key: String::new(),
            text: text.into(),
            since: None,
        }];
    }

    /// What goes on about one of several things.
    pub(super) fn set_for(&self, key: &str, text: impl Into<String>) {
        let mut report = self.lock();
        let text = text.into();
        match report.now.iter_mut().find(|now| now.key == key) {
            Some(now) => now.text = text,
            None => report.now.push(Now {
                key: key.to_owned(),
                text,
                since: Some(Instant::now()),
            }),
        }
    }

    /// One of several things has ended.
    pub(super) fn end_for(&self, key: &str) {
        self.lock().now.retain(|now| now.key != key);
    }

    /// A line that stays.
    pub(super) fn done(&self, line: &str) {
        let mut report = self.lock();
        report.done += line;
        report.done.push('\n');
    }

    fn lock(&self) -> MutexGuard<'_, Report> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Terminal {
    pub(super) fn new(json: bool) -> Self {
        let (out, error) = (io::stdout(), io::stderr());
        let size = if out.is_terminal() {
            terminal_size_of(&out)
        } else {
            terminal_size_of(&error)
        };
        let width = size.map_or(DEFAULT_WIDTH, |(width, _)| usize::from(width.0));
        let error = error.is_terminal();
        Self {
            json,
            width: width.clamp(20, WIDEST),
            interactive: io::stdin().is_terminal() && error,
            animated: error && moves_cursor(),
        }
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    pub(super) fn is_interactive(&self) -> bool {
        self.interactive
    }

    /// Prints the result: JSON on standard output, or text; a failure's text on standard error.
    ///
    /// # Errors
    /// Those of standard output.
    pub(super) fn show(&self, output: &Output) -> io::Result<()> {
        let text = match output.verbatim {
            true => output.text.clone(),
            false => table::wrap_lines(&output.text, self.width),
        };
        let failed = output.json.get("error").is_some();
        if failed {
            let _ = write!(anstream::stderr(), "{text}");
        }
        if self.json {
            let json = serde_json::to_string_pretty(&output.json).expect("JSON is text");
            writeln!(io::stdout(), "{json}")?;
        } else if !failed {
            write!(anstream::stdout(), "{text}")?;
        }
        io::stdout().flush()
    }

    /// Tells the person something that is not the result.
    pub(super) fn tell(&self, text: &str) {
        let text = table::wrap_lines(text, self.width);
        let _ = write!(anstream::stderr(), "{text}");
    }

    /// Asks and returns the line, without spaces around it.
    pub(super) async fn ask(&self, question: &str) -> Result<String, Failure> {
        let mut lines = table::wrap_lines(question, self.width.saturating_sub(1));
        lines.truncate(lines.trim_end().len());
        let _ = write!(anstream::stderr(), "{lines} ");
        let _ = io::stderr().flush();
        let read = tokio::task::spawn_blocking(|| {
            let mut line = String::new();
            io::stdin().read_line(&mut line).map(|_| line)
        });
        tokio::select! {
            line = read => match line.map_err(io::Error::other).flatten() {
                Ok(line) => Ok(line.trim().to_owned()),
                Err(error) => Err(Failure::io("the answer cannot be read", &error)),
            },
            () = interrupt() => {
                let _ = writeln!(io::stderr());
                Err(Failure::interrupted("interrupted: nothing was changed"))
            }
        }
    }

    /// Reads something. Ctrl-C ends it.
    pub(super) async fn read<T, E: Into<Failure>>(
        &self,
        what: &str,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Failure> {
        let activity = Activity::new(what);
        tokio::select! {
            result = self.during(&activity, work) => result.map_err(Into::into),
            () = interrupt() => Err(Failure::interrupted("interrupted: nothing was changed")),
        }
    }

    /// Shows what is done and, on one line of a terminal, what goes on and for how long. On standard
    /// error, until the work has ended.
    pub(super) async fn during<T>(&self, activity: &Activity, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        let mut line = Line {
            terminal: self,
            activity,
            began: Instant::now(),
            drawn: 0,
        };
        let mut ticks = interval(Duration::from_millis(100));
        loop {
            tokio::select! {
                result = &mut work => return result,
                _ = ticks.tick() => line.draw(),
            }
        }
    }
}

/// Whether the terminal moves its cursor as it is told to. The console of Windows has to be asked to;
/// the terminals of other systems, and Git's on Windows, say what they are.
fn moves_cursor() -> bool {
    anstyle_query::windows::enable_ansi_colors() == Some(true)
        || anstyle_query::term_supports_ansi_color()
}

/// Completes when Ctrl-C is pressed. If it cannot be heard, the system ends the program.
pub(super) async fn interrupt() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// The line that shows what goes on. It is gone when this is dropped; what is done stays.
struct Line<'a> {
    terminal: &'a Terminal,
    activity: &'a Activity,
    began: Instant,
    /// How many lines are on the screen.
    drawn: usize,
}

impl Line<'_> {
    fn draw(&mut self) {
        self.clear();
        let passed = self.began.elapsed();
        if self.terminal.animated && passed >= SHOWN_AFTER {
            let report = self.activity.lock();
            let shown = report.now.iter().take(MOST_LINES).map(|now| {
                let passed = now.since.map_or(passed, |since| since.elapsed());
                progress::activity(&now.text, passed, self.terminal.width)
            });
            let more = report.now.len().saturating_sub(MOST_LINES);
            let more = (more > 0).then(|| format!("  and {more} more"));
            let lines: Vec<_> = shown.chain(more).collect();
            drop(report);
            self.drawn = lines.len();
            let _ = write!(anstream::stderr(), "{}", lines.join("\n"));
            let _ = io::stderr().flush();
        }
    }

    fn clear(&mut self) {
        let done = std::mem::take(&mut self.activity.lock().done);
        let clear = if self.terminal.animated {
            "\r\x1b[2K".to_owned() + &"\x1b[1A\x1b[2K".repeat(self.drawn.saturating_sub(1))
        } else {
            String::new()
        };
        self.drawn = 0;
        let _ = write!(io::stderr(), "{clear}");
        self.terminal.tell(&done);
        let _ = io::stderr().flush();
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        self.clear();
    }
}

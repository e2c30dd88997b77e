//! `fleet.toml`: the projects, and where the key of each one comes from.

use std::{
    collections::HashSet,
    env, fmt, fs, io,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use serde::{Deserialize, de::IgnoredAny};
use tokio::{process::Command, time::timeout};

use super::rules::StopRule;
use crate::config::{Config, ConfigBuilder};

/// How long a command may take to print a key.
const KEY_TIMEOUT: Duration = Duration::from_secs(30);

/// A checked `fleet.toml`. It has no keys, only where they come from.
///
/// ```
/// use ctx0_schema::FleetFile;
///
/// let file = FleetFile::parse(r#"
///     canary = "first"
///
///     [[projects]]
///     name = "acme"
///     url = "https://abcdefghijklmnopqrst.supabase.co"
///     key_env = "ACME_KEY"
///     groups = ["first", "eu"]
///
///     [[projects]]
///     name = "globex"
///     url = "https://supabase.globex.example"
///     key_command = ["op", "read", "op://globex/supabase/key"]
/// "#)?;
/// assert_eq!(file.projects().len(), 2);
/// # Ok::<(), ctx0_schema::FleetFileError>(())
/// ```
#[derive(Clone, Debug)]
pub struct FleetFile {
    pub(super) projects: Vec<FleetProject>,
    pub(super) concurrency: Option<usize>,
    pub(super) canary: Option<String>,
    pub(super) stop_after: Option<StopRule>,
}

/// A project of a fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FleetProject {
    /// Its name, which no other project of the file has.
    pub name: String,
    /// Its URL.
    pub url: String,
    /// Where its key comes from.
    pub key: KeySource,
    /// The groups in which it is.
    pub groups: Vec<String>,
    ca_file: Option<PathBuf>,
    allow_plain_http_to: Option<String>,
}

/// Where a key comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeySource {
    /// A variable of the environment.
    Env(String),
    /// The output of a program, which is run with these arguments and without a shell.
    Command(Vec<String>),
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    projects: Vec<WrittenProject>,
    concurrency: Option<NonZeroUsize>,
    canary: Option<String>,
    stop_after: Option<StopRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenProject {
    name: String,
    url: String,
    /// A mistake that has a message of its own.
    key: Option<IgnoredAny>,
    key_env: Option<String>,
    key_command: Option<Vec<String>>,
    #[serde(default)]
    groups: Vec<String>,
    ca_file: Option<PathBuf>,
    allow_plain_http_to: Option<String>,
}

impl FleetFile {
    /// Reads a file.
    ///
    /// # Errors
    /// [`FleetFileError`], which says what to correct. Nothing was sent.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, FleetFileError> {
        let path = path.as_ref();
        let text = fs::read_to_string(path).map_err(|source| FleetFileError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text)
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// As [`FleetFile::read`].
    pub fn parse(text: &str) -> Result<Self, FleetFileError> {
        let written: Written = toml::from_str(text).map_err(|error| {
            // Not the line itself, which its text would show: it may have a key in it.
            let start = error.span().map_or(0, |span| span.start);
            let before = text.get(..start).unwrap_or_default();
            FleetFileError::Toml {
                line: before.matches('\n').count() + 1,
                reason: error.message().to_owned(),
            }
        })?;
        let mut names = HashSet::new();
        let mut urls = HashSet::new();
        let mut projects = Vec::new();
        for project in written.projects {
            let project = project.check()?;
            let refuse = |reason| Err(project.refused(reason));
            if !names.insert(project.name.clone()) {
                return refuse("another project has this name: give each one its own");
            }
            if !urls.insert(project.url.trim_end_matches('/').to_owned()) {
                return refuse("another project has this url: list each one once");
            }
            projects.push(project);
        }
        if projects.is_empty() {
            return Err(FleetFileError::Empty);
        }
        Ok(Self {
            projects,
            concurrency: written.concurrency.map(NonZeroUsize::get),
            canary: written.canary,
            stop_after: written.stop_after,
        })
    }

    /// The projects, in the order of the file.
    #[must_use]
    pub fn projects(&self) -> &[FleetProject] {
        &self.projects
    }
}

impl WrittenProject {
    fn check(self) -> Result<FleetProject, FleetFileError> {
        let refuse = |reason: &str| {
            Err(FleetFileError::Project {
                name: self.name.replace(char::is_control, "\u{fffd}"),
                reason: reason.to_owned(),
            })
        };
        if self.name.trim().is_empty() || self.name.contains(char::is_control) {
            return refuse(
                "the name is blank, or has control characters: give it one that can be printed",
            );
        }
        if self.key.is_some() {
            return refuse(
                "its key stands in the file: name the variable of the environment that has it (key_env), or the program \
                 that prints it (key_command)",
            );
        }
        let key = match (self.key_env, self.key_command) {
            (Some(name), None) if !name.is_empty() => KeySource::Env(name),
            (None, Some(command)) if !command.is_empty() => KeySource::Command(command),
            _ => {
                return Err(FleetFileError::Project {
                    name: self.name,
                    reason: "it needs either key_env or key_command, and not both".to_owned(),
                });
            }
        };
        let project = FleetProject {
            name: self.name,
            url: self.url,
            key,
            groups: self.groups,
            ca_file: self.ca_file,
            allow_plain_http_to: self.allow_plain_http_to,
        };
        // All that is wrong with a URL is found before anything is done to any project.
        match project.config("sb_secret_not_known_yet").build() {
            Ok(_) => Ok(project),
            Err(error) => Err(project.refused(&error.to_string())),
        }
    }
}

impl FleetProject {
    /// Its configuration with this key.
    fn config(&self, key: &str) -> ConfigBuilder {
        let mut config = Config::builder(&self.url, key);
        if let Some(path) = &self.ca_file {
            config = config.ca_file(path);
        }
        if let Some(host) = &self.allow_plain_http_to {
            config = config.allow_plain_http_to(host);
        }
        config
    }

    /// Its configuration with its key, or why there is no key.
    pub(super) async fn configure(&self) -> Result<ConfigBuilder, String> {
        Ok(self.config(&self.key.read().await?))
    }

    fn refused(&self, reason: &str) -> FleetFileError {
        FleetFileError::Project {
            name: self.name.clone(),
            reason: reason.to_owned(),
        }
    }
}

impl KeySource {
    /// The key. What a program prints is in no message.
    async fn read(&self) -> Result<String, String> {
        match self {
            Self::Env(name) => match env::var(name) {
                Ok(key) if !key.trim().is_empty() => Ok(key.trim().to_owned()),
                _ => Err(format!(
                    "the environment variable {name} is not set: set it to the project's service key"
                )),
            },
            Self::Command(command) => {
                let failed = |reason: &dyn fmt::Display| {
                    format!(
                        "{} gave no key ({reason}): run key_command by hand to see why",
                        command[0]
                    )
                };
                let output = Command::new(&command[0])
                    .args(&command[1..])
                    .stdin(Stdio::null())
                    .stderr(Stdio::null())
                    .kill_on_drop(true)
                    .output();
                let output = timeout(KEY_TIMEOUT, output).await;
                let output = output.map_err(|_| {
                    failed(&format_args!("nothing within {} s", KEY_TIMEOUT.as_secs()))
                })?;
                let output = output.map_err(|error: io::Error| failed(&error))?;
                if !output.status.success() {
                    return Err(failed(&output.status));
                }
                match String::from_utf8(output.stdout) {
                    Ok(key) if !key.trim().is_empty() => Ok(key.trim().to_owned()),
                    _ => Err(failed(&"it printed none")),
                }
            }
        }
    }
}

/// Why a fleet file was refused. Nothing was sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FleetFileError {
    /// The file cannot be read.
    #[error("the fleet file {} cannot be read: check the path and its permissions", path.display())]
    #[non_exhaustive]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is not TOML, or not of this form.
    #[error("the fleet file is not valid at line {line} ({reason}): correct it there")]
    #[non_exhaustive]
    Toml {
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// Something is wrong with one project.
    #[error("project {name} in the fleet file: {reason}")]
    #[non_exhaustive]
    Project {
        /// Its name.
        name: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// No project.
    #[error(
        "the fleet file has no project: add [[projects]] with name, url and key_env or key_command"
    )]
    Empty,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        FleetFile::parse(text).unwrap_err().to_string()
    }

    fn project(more: &str) -> String {
        format!("[[projects]]\nname = \"acme\"\nurl = \"https://acme.example\"\n{more}\n")
    }

    #[test]
    fn what_is_wrong_is_found_before_anything_is_done() {
        let good = project("key_env = \"K\"");
        assert_eq!(FleetFile::parse(&good).unwrap().projects().len(), 1);
        for (text, said) in [
            (String::new(), "has no project"),
            (project(""), "needs either key_env or key_command"),
            (
                project("key_env = \"K\"\nkey_command = [\"k\"]"),
                "needs either",
            ),
            (project("key_command = []"), "needs either"),
            (format!("{good}{good}"), "has this name"),
            (
                format!("{good}{}", good.replace("\"acme\"", "\"b\"")),
                "has this url",
            ),
            (good.replace("https://acme", "http://acme"), "unencrypted"),
            (
                good.replace("\"acme\"", "\"a\\u001bb\""),
                "control characters",
            ),
            (format!("{good}colour = 1"), "line 5"),
            (format!("concurrency = 0\n{good}"), "nonzero"),
            (
                format!("stop_after = \"some\"\n{good}"),
                "a share such as 10%",
            ),
        ] {
            let refused = refused(&text);
            assert!(refused.contains(said), "{refused}");
        }
    }

    #[test]
    fn a_key_in_the_file_is_refused_and_not_repeated() {
        for more in [
            "key = \"sb_secret_hush\"",
            "key_env = sb_secret_hush",
            "keyy = \"sb_secret_hush\"",
        ] {
            let refused = refused(&project(more));
            assert!(!refused.contains("sb_secret_hush"), "{refused}");
        }
        assert!(refused(&project("key = \"a\"")).contains("key_env"));
    }

    #[tokio::test]
    async fn a_key_comes_from_a_command_without_its_line_break() {
        let command = |words: &[&str]| {
            KeySource::Command(words.iter().map(|word| (*word).to_owned()).collect())
        };
        assert_eq!(
            command(&["echo", "sb_secret_a"]).read().await.unwrap(),
            "sb_secret_a"
        );
        for words in [&["false"][..], &["true"], &["/nowhere/at/all"]] {
            let said = command(words).read().await.unwrap_err();
            assert!(said.contains("by hand"), "{said}");
        }
        let said = command(&["sh", "-c", "echo sb_secret_hush; exit 3"])
            .read()
            .await
            .unwrap_err();
        assert!(said.contains('3') && !said.contains("hush"), "{said}");
        let unset = KeySource::Env("CTX0_NO_SUCH_VARIABLE".to_owned());
        assert!(
            unset
                .read()
                .await
                .unwrap_err()
                .contains("CTX0_NO_SUCH_VARIABLE")
        );
    }
}

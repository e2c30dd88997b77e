//! Where the settings come from: flags first, then the environment, then a file.

use std::{
    cell::Cell,
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::{
    args::{self, Global},
    exit::Failure,
    read,
    terminal::Terminal,
    text,
};
use crate::{
    config::{
        Config, ConfigBuilder, ConfigError, ENV_ACCESS_TOKEN, ENV_CA_FILE, ENV_KEY, ENV_PLAIN_HTTP,
        ENV_URL, HostedPolicy, environment,
    },
    manager::SchemaVersionManager,
    manifest::{MANIFEST, Migrations, unknown_fields},
};

/// The file that is read where no other is named.
const DEFAULT_FILE: &str = ".env";

/// The manager of these settings.
pub(super) fn manager(global: &Global) -> Result<SchemaVersionManager, Failure> {
    Ok(SchemaVersionManager::new(
        &config(global)?,
        migrations(global)?,
    )?)
}

/// The migrations of the folder, or of this build.
pub(super) fn migrations(global: &Global) -> Result<Migrations, Failure> {
    Ok(match &global.migrations {
        Some(folder) => Migrations::from_dir(folder)?,
        None => Migrations::bundled()?,
    })
}

/// Tells of fields in the manifest that nothing reads: one of them may be misspelt.
pub(super) fn tell_unknown_fields(global: &Global, terminal: &Terminal) {
    let folder = global.migrations.as_ref();
    // One that cannot be read is an error elsewhere.
    let text = folder.and_then(|folder| read::text(&folder.join(MANIFEST)).ok());
    let fields = unknown_fields(&text.unwrap_or_default());
    if !fields.is_empty() {
        terminal.tell(&text::warning(&format!(
            "warning: {MANIFEST} has what this program does not know and ignores: {}. Check the spelling, or update the \
             program.",
            fields.join(", ")
        )));
    }
}

pub(super) fn config(global: &Global) -> Result<Config, Failure> {
    let file = Variables::read(global.env_file.as_deref())?;
    let key = global.key_file.as_deref().map(read_key).transpose()?;
    resolve(global, key, environment, &file)
}

/// Decides which value counts.
fn resolve(
    global: &Global,
    key: Option<String>,
    environment: impl Fn(&'static str) -> Result<Option<String>, ConfigError>,
    file: &Variables,
) -> Result<Config, Failure> {
    let from_outside = global
        .url
        .clone()
        .map_or_else(|| environment(ENV_URL), |url| Ok(Some(url)))?;
    let url_is_of_file = from_outside.is_none();
    let url = from_outside.map_or_else(|| file.needed(ENV_URL), Ok)?;
    let from_outside = key.map_or_else(|| environment(ENV_KEY), |key| Ok(Some(key)))?;
    if url_is_of_file && from_outside.is_some() && !file.named {
        return Err(Failure::usage(format!(
            "{ENV_URL} is only set in the file {DEFAULT_FILE} of this folder, and the key is from elsewhere, so \
             nothing was sent: pass --url, or name the file with --env-file if you trust it with your key"
        )));
    }
    let key = from_outside.map_or_else(|| file.needed(ENV_KEY), Ok)?;
    let mut builder = Config::builder(url, key);
    let other = |flag: Option<String>, name| match flag {
        Some(value) => Ok(Some(value)),
        None => match environment(name)? {
            Some(value) => Ok(Some(value)),
            None => file.get(name),
        },
    };
    if let Some(host) = other(global.allow_plain_http_to.clone(), ENV_PLAIN_HTTP)? {
        builder = builder.allow_plain_http_to(host);
    }
    let ca_file = match &global.ca_file {
        Some(path) => Some(path.clone()),
        None => other(None, ENV_CA_FILE)?.map(PathBuf::from),
    };
    if let Some(path) = ca_file {
        builder = builder.ca_file(path);
    }
    if let Some(token) = other(None, ENV_ACCESS_TOKEN)? {
        builder = builder.access_token(token);
    }
    Ok(with_options(builder, global).build()?)
}

/// What does not depend on the project.
pub(super) fn with_options(mut builder: ConfigBuilder, global: &Global) -> ConfigBuilder {
    if let Some(url) = &global.hosted_manifest {
        builder = builder.hosted_manifest(url);
    }
    builder = match global.hosted_policy {
        Some(args::HostedPolicy::Follow) => builder.hosted_policy(HostedPolicy::Follow),
        Some(args::HostedPolicy::Free) | None => builder,
    };
    if let Some(checksum) = &global.hosted_checksum {
        builder = builder.hosted_checksum(checksum);
    }
    if let Some(version) = &global.app_version {
        builder = builder.app_version(version);
    }
    let program = concat!("ctx0-schema ", env!("CARGO_PKG_VERSION"));
    builder.applied_by(global.applied_by.as_deref().unwrap_or(program))
}

/// The variables of a file.
#[derive(Debug, Default)]
struct Variables {
    values: Vec<(String, String)>,
    /// What of it cannot be read, in the order of the file.
    problems: Vec<Problem>,
    /// Whether the user named the file.
    named: bool,
}

/// Why a file, or some lines of it, cannot be read. Without the text of it, which may be the key.
#[derive(Debug)]
struct Problem {
    text: String,
    /// The variables that these lines set.
    names: Vec<String>,
}

impl Variables {
    fn read(named: Option<&Path>) -> Result<Self, Failure> {
        let path = named.unwrap_or(Path::new(DEFAULT_FILE));
        let found = match read::text(path) {
            Ok(text) => Self::parse(path, &text),
            Err(error) if named.is_some() => return Err(cannot_read(path, &error)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::default(),
            // It may be someone else's, so it only counts where something is missing.
            Err(error) => Self {
                problems: vec![Problem {
                    text: unreadable(path, &error),
                    names: Vec::new(),
                }],
                ..Self::default()
            },
        };
        Ok(Self {
            named: named.is_some(),
            ..found
        })
    }

    fn parse(path: &Path, text: &str) -> Self {
        let mut found = Self::default();
        let read = Cell::new(0);
        let lines = Lines {
            text: text.as_bytes(),
            read: &read,
        };
        for variable in dotenvy::from_read_iter(lines) {
            let unread = match variable {
                Ok(variable) => {
                    found.values.push(variable);
                    continue;
                }
                Err(dotenvy::Error::LineParse(unread, _)) => unread,
                Err(_) => String::new(),
            };
            // The text in the error may lack the name, but not a line.
            let last = read.get();
            let first = (last + 1).saturating_sub(unread.lines().count().max(1));
            let lines = text.lines().take(last).skip(first.saturating_sub(1));
            let names = lines.filter_map(name_in).map(str::to_owned).collect();
            found.problems.push(Problem {
                text: format!(
                    "line {first} of {} cannot be read: put a value with spaces in quotes, and close each quote",
                    path.display()
                ),
                names,
            });
        }
        found
    }

    /// A variable that is not needed. A line that cannot be read may be someone else's, unless it sets this one.
    fn get(&self, name: &'static str) -> Result<Option<String>, Failure> {
        if let Some(problem) = self
            .problems
            .iter()
            .find(|problem| problem.names.iter().any(|set| set == name))
        {
            let reason = format!("{name} is not known, because {}", problem.text);
            return Err(Failure::usage(reason));
        }
        let value = self.values.iter().find(|(known, _)| known == name);
        Ok(value
            .map(|(_, value)| value.clone())
            .filter(|value| !value.is_empty()))
    }

    /// A variable without which nothing goes.
    fn needed(&self, name: &'static str) -> Result<String, Failure> {
        match (self.get(name)?, self.problems.first()) {
            (Some(value), _) => Ok(value),
            (None, Some(problem)) => Err(Failure::usage(format!(
                "{name} is not set, and {}",
                problem.text
            ))),
            (None, None) => Err(ConfigError::Unset { name }.into()),
        }
    }
}

/// Gives a text line by line and counts them: `dotenvy` does not say on which line something is.
struct Lines<'a> {
    text: &'a [u8],
    read: &'a Cell<usize>,
}

impl Read for Lines<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let end = self.text.iter().position(|byte| *byte == b'\n');
        let line = end.map_or(self.text.len(), |end| end + 1).min(buffer.len());
        let (line, rest) = self.text.split_at(line);
        buffer[..line.len()].copy_from_slice(line);
        if line.ends_with(b"\n") || (rest.is_empty() && !line.is_empty()) {
            self.read.set(self.read.get() + 1);
        }
        self.text = rest;
        Ok(line.len())
    }
}

/// The name of the variable that a line sets.
fn name_in(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let line = line.strip_prefix("export ").unwrap_or(line);
    let (name, _) = line.split_once('=')?;
    Some(name.trim())
}

fn read_key(path: &Path) -> Result<String, Failure> {
    let text = if path == Path::new("-") {
        read::text_of(io::stdin())
    } else {
        read::text(path)
    };
    let text = text.map_err(|error| cannot_read(path, &error))?;
    Ok(text.trim().to_owned())
}

fn cannot_read(path: &Path, error: &io::Error) -> Failure {
    Failure::usage(unreadable(path, error))
}

fn unreadable(path: &Path, error: &io::Error) -> String {
    let next = match error.kind() {
        io::ErrorKind::InvalidData => "save it in UTF-8",
        _ => "check the path and its permissions",
    };
    format!("{} cannot be read ({error}): {next}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "sb_secret_test";

    fn file(named: bool, values: &[(&str, &str)]) -> Variables {
        let values = values
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Variables {
            values: values.collect(),
            named,
            ..Variables::default()
        }
    }

    fn url(
        flag: Option<&str>,
        environment: &[(&str, &str)],
        file: &Variables,
    ) -> Result<String, String> {
        let global = Global {
            url: flag.map(str::to_owned),
            ..Global::default()
        };
        let lookup = |name| {
            let found = environment.iter().find(|(known, _)| *known == name);
            Ok(found.map(|(_, value)| (*value).to_owned()))
        };
        match resolve(&global, None, lookup, file) {
            Ok(config) => Ok(config.rest_url().host_str().unwrap_or_default().to_owned()),
            Err(failure) => Err(failure.into_output().text),
        }
    }

    #[test]
    fn flags_count_before_the_environment_and_that_before_the_file() {
        let all = [(ENV_URL, "https://environment.example"), (ENV_KEY, KEY)];
        let of_file = file(false, &[(ENV_URL, "https://file.example"), (ENV_KEY, KEY)]);
        let none = Variables::default();
        assert_eq!(
            url(Some("https://flag.example"), &all, &of_file).unwrap(),
            "flag.example"
        );
        assert_eq!(url(None, &all, &of_file).unwrap(), "environment.example");
        assert_eq!(url(None, &[], &of_file).unwrap(), "file.example");
        assert!(url(None, &[], &none).unwrap_err().contains(ENV_URL));
        assert!(
            url(Some("https://flag.example"), &[], &none)
                .unwrap_err()
                .contains(ENV_KEY)
        );
    }

    #[test]
    fn the_lines_of_a_file_may_end_as_on_windows() {
        let file = "# of Studio\r\nSUPABASE_URL=https://a.example\r\n\r\nA=\"b c\" # d\r\nE=\r\n";
        let values = Variables::parse(Path::new(".env"), file).values;
        for (name, value) in [
            ("SUPABASE_URL", "https://a.example"),
            ("A", "b c"),
            ("E", ""),
        ] {
            let found = values.iter().find(|(known, _)| known == name);
            assert_eq!(found.unwrap().1, value, "{name}");
        }
    }

    #[test]
    fn a_line_that_cannot_be_read_is_named_where_it_matters_and_not_shown() {
        let good = "SUPABASE_URL=https://a.example\nSUPABASE_SERVICE_ROLE_KEY=sb_secret_test\n";
        let url_of = |text: &str, environment: &[(&str, &str)]| {
            url(
                None,
                environment,
                &Variables::parse(Path::new(".env"), text),
            )
        };
        let all = [(ENV_URL, "https://environment.example"), (ENV_KEY, KEY)];
        for (text, line) in [
            (
                format!("\n# a\nSUPABASE_URL=http://hush x\n{good}"),
                Some(3),
            ),
            ("# it's\nSUPABASE_URL=http://hush x\n".to_owned(), Some(2)),
            (format!("A=b\n\nB=\"hush\n{good}"), Some(3)),
            (format!("A='b\nc'\n\nB='hush\r\n{good}"), Some(4)),
            (format!("A=Default hush\n{good}"), None),
            ("A=Default hush".to_owned(), Some(1)),
            (format!("{good}export CTX0_CA_FILE = a hush"), Some(3)),
        ] {
            let found = url_of(&text, &[]);
            match line {
                None => assert_eq!(found.unwrap(), "a.example", "{text}"),
                Some(line) => {
                    let said = found.expect_err(&text);
                    assert!(said.contains(&format!("line {line} of .env")), "{said}");
                    assert!(!said.contains("hush"), "{said}");
                }
            }
            let from_outside = url_of(&text, &all);
            assert!(from_outside.is_ok() || text.contains(ENV_CA_FILE), "{text}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_counts_where_something_is_missing_or_it_was_named() {
        let folder = tempfile::tempdir().unwrap();
        let named = Variables::read(Some(folder.path())).unwrap_err();
        assert!(named.into_output().text.contains("cannot be read"));
        let latin_1 = folder.path().join("latin-1.env");
        std::fs::write(&latin_1, b"# a\n# Gr\xfc\xdfe\n").unwrap();
        let named = Variables::read(Some(&latin_1)).unwrap_err().into_output();
        assert!(named.text.contains("line 2 is not UTF-8"), "{}", named.text);
        let file = Variables {
            problems: vec![Problem {
                text: "it is a folder".to_owned(),
                names: Vec::new(),
            }],
            ..Variables::default()
        };
        assert!(
            url(None, &[], &file)
                .unwrap_err()
                .contains("it is a folder")
        );
        let all = [(ENV_URL, "https://environment.example"), (ENV_KEY, KEY)];
        assert!(url(None, &all, &file).is_ok());
    }

    #[test]
    fn a_file_that_just_lies_there_does_not_say_where_a_key_from_elsewhere_goes() {
        let key = [(ENV_KEY, KEY)];
        let values = [(ENV_URL, "https://file.example")];
        let refused = url(None, &key, &file(false, &values)).unwrap_err();
        assert!(refused.contains("nothing was sent"), "{refused}");
        assert_eq!(
            url(None, &key, &file(true, &values)).unwrap(),
            "file.example"
        );
    }
}

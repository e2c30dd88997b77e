//! Where the settings come from: flags first, then the environment, then a file.

use std::{
    io,
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
    let unset = |name| ConfigError::Unset { name };
    let from_outside = global
        .url
        .clone()
        .map_or_else(|| environment(ENV_URL), |url| Ok(Some(url)))?;
    let url_is_of_file = from_outside.is_none();
    let url = from_outside
        .or_else(|| file.get(ENV_URL))
        .ok_or(unset(ENV_URL))?;
    let from_outside = key.map_or_else(|| environment(ENV_KEY), |key| Ok(Some(key)))?;
    if url_is_of_file && from_outside.is_some() && !file.named {
        return Err(Failure::usage(format!(
            "{ENV_URL} is only set in the file {DEFAULT_FILE} of this folder, and the key is from elsewhere, so \
             nothing was sent: pass --url, or name the file with --env-file if you trust it with your key"
        )));
    }
    let key = from_outside
        .or_else(|| file.get(ENV_KEY))
        .ok_or(unset(ENV_KEY))?;
    let mut builder = Config::builder(url, key);
    let other = |flag: Option<String>, name| match flag {
        Some(value) => Ok(Some(value)),
        None => Ok::<_, ConfigError>(environment(name)?.or_else(|| file.get(name))),
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
    /// Whether the user named the file.
    named: bool,
}

impl Variables {
    fn read(named: Option<&Path>) -> Result<Self, Failure> {
        let path = named.unwrap_or(Path::new(DEFAULT_FILE));
        let values = match read::text(path) {
            Ok(text) => Self::parse(&text),
            Err(error) if named.is_some() => return Err(cannot_read(path, &error)),
            Err(_) => Vec::new(),
        };
        Ok(Self {
            values,
            named: named.is_some(),
        })
    }

    fn parse(text: &str) -> Vec<(String, String)> {
        // A line that is not a variable may be someone else's, and must not be shown: it may be the key.
        dotenvy::from_read_iter(text.as_bytes())
            .filter_map(Result::ok)
            .collect()
    }

    fn get(&self, name: &str) -> Option<String> {
        let value = self.values.iter().find(|(known, _)| known == name);
        value
            .map(|(_, value)| value.clone())
            .filter(|value| !value.is_empty())
    }
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
    let reason = format!(
        "{} cannot be read ({error}): check the path and its permissions",
        path.display()
    );
    Failure::usage(reason)
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
        let values = Variables::parse(file);
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

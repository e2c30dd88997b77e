//! The arguments. Their comments are the help.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use super::exit::EXIT_CODES;
use crate::{fleet::StopRule, manifest::Version};

/// Keeps the ctx0 schema of a Supabase project up to date, over HTTPS
#[derive(Debug, Parser)]
#[command(name = "ctx0-schema", version, after_help = EXIT_CODES, disable_help_subcommand = true)]
#[command(max_term_width = 80)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// Where the project is and how to print.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Settings")]
pub(super) struct Global {
    /// The project's URL [SUPABASE_URL]
    #[arg(long, global = true, value_name = "URL")]
    pub(super) url: Option<String>,
    /// File with the service key, - for stdin [SUPABASE_SERVICE_ROLE_KEY]
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) key_file: Option<PathBuf>,
    /// PEM file of a private certificate authority [CTX0_CA_FILE]
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) ca_file: Option<PathBuf>,
    /// Allow http:// to this host [CTX0_ALLOW_PLAIN_HTTP_TO]
    #[arg(long, global = true, value_name = "HOST")]
    pub(super) allow_plain_http_to: Option<String>,
    /// File with these variables, .env by default
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) env_file: Option<PathBuf>,
    /// Folder with manifest.json, in place of the built-in versions
    #[arg(long, global = true, value_name = "DIR")]
    pub(super) migrations: Option<PathBuf>,
    /// Who to record as having changed the schema
    #[arg(long, global = true, value_name = "NAME")]
    pub(super) applied_by: Option<String>,
    /// Version of your app, to see whether it can work with a newer schema
    #[arg(long, global = true, value_name = "VERSION")]
    pub(super) app_version: Option<String>,
    /// Address of the hosted service's manifest, to compare with
    #[arg(long, global = true, value_name = "URL")]
    pub(super) hosted_manifest: Option<String>,
    /// What its version means here: free or follow
    #[arg(
        long,
        global = true,
        value_name = "POLICY",
        value_enum,
        requires = "hosted_manifest"
    )]
    #[arg(hide_possible_values = true)]
    pub(super) hosted_policy: Option<HostedPolicy>,
    /// The SHA-256 that its manifest must have
    #[arg(
        long,
        global = true,
        value_name = "SHA256",
        requires = "hosted_manifest"
    )]
    pub(super) hosted_checksum: Option<String>,
    /// Print one JSON object
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Use colours: auto, always or never
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t)]
    #[arg(hide_possible_values = true, hide_default_value = true)]
    pub(super) color: Colour,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(super) enum Colour {
    // On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    Always,
    Never,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum HostedPolicy {
    Free,
    Follow,
}

impl Colour {
    pub(super) fn write_global(self) {
        match self {
            Self::Auto => anstream::ColorChoice::Auto,
            Self::Always => anstream::ColorChoice::Always,
            Self::Never => anstream::ColorChoice::Never,
        }
        .write_global();
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show the state of the database
    Status,
    /// List the pending versions
    Plan {
        /// Show their SQL as well
        #[arg(long)]
        sql: bool,
    },
    /// Test a change on the database and undo it
    Preview {
        /// Preview a rollback to this version
        #[arg(long = "rollback-to", value_name = "VERSION", value_parser = version)]
        to: Option<Version>,
        /// How long the database may work on it, up to 25s
        #[arg(long, value_name = "TIME", value_parser = duration, default_value = "5s")]
        budget: Duration,
    },
    /// Apply the pending versions
    Apply(Consent),
    /// Roll back to an earlier version
    Rollback {
        /// The version to roll back to, 0 for none
        #[arg(value_parser = version)]
        version: Version,
        #[command(flatten)]
        consent: Consent,
    },
    /// Stop the change that is running and undo its version
    Cancel,
    /// Look for what is wrong and say what to do
    Doctor,
    /// Check whether the schema was changed outside the migrations
    Verify,
    /// List the versions that the database has
    History,
    /// Recognise a schema that was made by hand, and record its version
    Baseline {
        /// The version to record, with all below it; none only looks
        #[arg(value_parser = version_from_1)]
        version: Option<Version>,
        /// Record it although the schema differs
        #[arg(long)]
        accept_differences: bool,
        #[command(flatten)]
        record: RecordOptions,
    },
    /// Correct the ledger where it disagrees with the database
    Repair {
        /// mark-applied, mark-not-applied or accept-checksum
        #[arg(value_enum, value_name = "REPAIR", hide_possible_values = true)]
        kind: RepairKind,
        /// The version
        #[arg(value_parser = version_from_1)]
        version: Version,
        #[command(flatten)]
        record: RecordOptions,
    },
    /// Install the functions, or upgrade them
    Install(InstallOptions),
    /// Remove the functions and keep the data
    Uninstall(UninstallOptions),
    /// Do the same in many projects, which a file lists
    Fleet(Fleet),
    /// Add an empty migration to the folder
    New {
        /// What it is about, such as add_tags
        name: String,
        /// A sentence for the user
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
    },
    /// Look for risky SQL in the migrations
    Lint,
    /// Print the checksums of the migrations
    Checksum,
    /// Print the completions of a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page
    Man {
        /// Write a page for each command to this folder
        #[arg(long, value_name = "DIR")]
        output: Option<PathBuf>,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum RepairKind {
    // The database has the version, the ledger lacks it.
    MarkApplied,
    // The ledger has the version, the database lacks it.
    MarkNotApplied,
    // The database has what this build has under this number.
    AcceptChecksum,
}

/// What is recorded in the ledger without running it.
#[derive(Args, Clone, Debug)]
pub(super) struct RecordOptions {
    /// Why; it is recorded
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
    /// Do not ask
    #[arg(long, short, requires = "reason")]
    pub(super) yes: bool,
}

#[derive(Args, Clone, Debug)]
pub(super) struct InstallOptions {
    /// Print the SQL instead, for the SQL editor or psql
    #[arg(long)]
    pub(super) print: bool,
    /// Install over functions of this release as well
    #[arg(long)]
    pub(super) again: bool,
    /// Do not ask
    #[arg(long, short)]
    pub(super) yes: bool,
}

#[derive(Args, Clone, Debug)]
pub(super) struct UninstallOptions {
    /// Print the SQL instead, for the SQL editor or psql
    #[arg(long)]
    pub(super) print: bool,
    /// Also delete the record of what was applied
    #[arg(long)]
    pub(super) forget_history: bool,
    /// Do not ask
    #[arg(long, short)]
    pub(super) yes: bool,
}

/// Which projects, in which order, and where the report goes.
#[derive(Args, Clone, Debug)]
pub(super) struct Fleet {
    #[command(subcommand)]
    pub(super) command: FleetCommand,
    /// File with the projects
    #[arg(long, global = true, value_name = "FILE", default_value = "fleet.toml")]
    pub(super) file: PathBuf,
    /// Only this group; may be repeated
    #[arg(long, global = true, value_name = "GROUP")]
    pub(super) group: Vec<String>,
    /// How many projects at the same time, 16 by default
    #[arg(long, global = true, value_name = "NUMBER", value_parser = at_least_1)]
    pub(super) concurrency: Option<usize>,
    /// The group that goes first
    #[arg(long, global = true, value_name = "GROUP")]
    pub(super) canary: Option<String>,
    /// Begin no more after this many failures, such as 1 or 10%, or never
    #[arg(long, global = true, value_name = "FAILURES")]
    pub(super) stop_after: Option<StopRule>,
    /// Write each result to this file at once
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) report: Option<PathBuf>,
    /// Go on with the run of this report
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "report")]
    pub(super) resume: Option<PathBuf>,
    /// Write a page of Markdown to this file at the end
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) markdown: Option<PathBuf>,
}

#[derive(Clone, Debug, Subcommand)]
pub(super) enum FleetCommand {
    /// Show the state of each database
    Status,
    /// List the pending versions of each
    Plan,
    /// Test what is pending on each database and undo it
    Preview {
        /// How long each database may work on it, up to 25s
        #[arg(long, value_name = "TIME", value_parser = duration, default_value = "5s")]
        budget: Duration,
    },
    /// Test and apply the pending versions of each
    Apply(Consent),
    /// Check whether each schema was changed outside the migrations
    Verify,
}

/// What a script agrees to in advance.
#[derive(Args, Clone, Debug)]
pub(super) struct Consent {
    /// Do not ask
    #[arg(long, short)]
    pub(super) yes: bool,
    /// Do not ask even if data is lost, or if not all was tested
    #[arg(long, requires = "yes")]
    pub(super) allow_data_loss: bool,
    /// Who made the backup, where one is required
    #[arg(long, value_name = "NAME")]
    pub(super) backup_by: Option<String>,
    /// Lock tables for indexes that nothing can make concurrently
    #[arg(long)]
    pub(super) may_lock: bool,
    /// How long the database may work on the preview, up to 25s
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "5s")]
    pub(super) budget: Duration,
}

/// A version with or without its `v`.
fn version(text: &str) -> Result<Version, String> {
    let number = text.strip_prefix('v').unwrap_or(text);
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("a version is a whole number, such as 2".to_owned());
    }
    let version = number.parse().ok().and_then(Version::new);
    version.ok_or_else(|| format!("the largest version is {}", i32::MAX))
}

/// A version of a migration.
fn version_from_1(text: &str) -> Result<Version, String> {
    match version(text)? {
        Version::ZERO => Err("versions begin at 1".to_owned()),
        version => Ok(version),
    }
}

/// A duration such as `10s`, `500ms` or `10`, which is seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 1),
        None => (text.strip_suffix('s').unwrap_or(text), 1000),
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(unit))
        .map(Duration::from_millis)
        .ok_or_else(|| "a time is a whole number with s or ms, such as 10s".to_owned())
}

fn at_least_1(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| "it is a whole number from 1".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_help_fits_80_columns() {
        let mut command = Arguments::command();
        command.build();
        let mut all = vec![command.clone()];
        all.extend(command.get_subcommands().cloned());
        for mut command in all {
            for help in [command.render_help(), command.render_long_help()] {
                for line in help.to_string().lines() {
                    assert!(line.chars().count() <= 80, "{}: {line}", command.get_name());
                }
            }
        }
    }

    #[test]
    fn a_version_may_have_its_v() {
        assert_eq!(version("2").unwrap().get(), 2);
        assert_eq!(version("v2").unwrap().get(), 2);
        for text in ["", "v", "-1", "2.0", "latest"] {
            let error = version(text).unwrap_err();
            assert_eq!(error, "a version is a whole number, such as 2", "{text}");
        }
        for text in ["2147483648", "4294967296", "99999999999999999999"] {
            let error = version(text).unwrap_err();
            assert_eq!(error, "the largest version is 2147483647", "{text}");
        }
        assert_eq!(version("0").unwrap(), Version::ZERO);
        assert_eq!(version_from_1("0").unwrap_err(), "versions begin at 1");
        assert_eq!(version_from_1("v1").unwrap().get(), 1);
    }

    #[test]
    fn no_projects_at_a_time_are_refused() {
        let read =
            |number| Arguments::try_parse_from(["p", "fleet", "plan", "--concurrency", number]);
        assert!(read("1").is_ok());
        for number in ["0", "many"] {
            let error = read(number).unwrap_err().to_string();
            assert!(error.contains("a whole number from 1"), "{error}");
        }
    }

    #[test]
    fn a_time_is_in_seconds_or_milliseconds() {
        assert_eq!(duration("5"), Ok(Duration::from_secs(5)));
        assert_eq!(duration("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        for text in ["", "s", "-1", "1m", "1.5s", "99999999999999999999"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}

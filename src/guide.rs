//! How to use this crate, page by page.
//!
//! | Page | For |
//! |---|---|
//! | [Getting started](getting_started) | from an empty project to a daemon that checks |
//! | [Writing migrations](writing_migrations) | the manifest, what SQL may contain, rules that keep users safe |
//! | [Preview and consent](preview_and_consent) | showing an update before it happens |
//! | [Rollback and backup](rollback_and_backup) | getting back, and drift |
//! | [Errors and remedies](errors) | every error, what it means and what to do |
//! | [Exactly once](exactly_once) | why a lost response does no harm, and what was tested |
//! | [Gateways and keys](gateways_and_keys) | URLs, keys, certificates, timeouts |
//! | [Command line](command_line) | the program `ctx0-schema`: commands, settings, exit codes, JSON |
//! | [Many projects](fleet) | `Fleet` and `ctx0-schema fleet`: the same in many projects |
//! | [Kinds of installations](installations) | self-hosted, hosted, the local CLI, Windows and macOS |
//! | [Operating](operating) | what is in the database, logging, several daemons |

#[doc = include_str!("guide/getting-started.md")]
pub mod getting_started {}

#[doc = include_str!("guide/writing-migrations.md")]
pub mod writing_migrations {}

#[doc = include_str!("guide/preview-and-consent.md")]
pub mod preview_and_consent {}

#[doc = include_str!("guide/rollback-and-backup.md")]
pub mod rollback_and_backup {}

#[doc = include_str!("guide/errors.md")]
pub mod errors {}

#[doc = include_str!("guide/exactly-once.md")]
pub mod exactly_once {}

#[doc = include_str!("guide/gateways-and-keys.md")]
pub mod gateways_and_keys {}

#[doc = include_str!("guide/command-line.md")]
pub mod command_line {}

#[doc = include_str!("guide/fleet.md")]
pub mod fleet {}

#[doc = include_str!("guide/installations.md")]
pub mod installations {}

#[doc = include_str!("guide/operating.md")]
pub mod operating {}

//! `lint`: squawk's rules on the migrations.

use serde::Serialize;
use serde_json::json;
use squawk_linter::{Linter, Rule};
use squawk_syntax::SourceFile;

use super::{
    Output,
    args::Global,
    exit::{Exit, Failure},
    settings, table,
    terminal::Terminal,
    text,
};
use crate::{manifest::SqlFile, preview::clean};

/// Rules that this library makes pointless: a migration is one transaction, in which nothing runs
/// `concurrently` and timeouts are set for it.
const NOT_OURS: [Rule; 6] = [
    Rule::RequireConcurrentIndexCreation,
    Rule::RequireConcurrentIndexDeletion,
    Rule::RequireConcurrentPartitionDetach,
    Rule::RequireConcurrentReindex,
    Rule::RequireLockTimeout,
    Rule::RequireStatementTimeout,
];

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Finding {
    file: String,
    /// From 1.
    line: usize,
    rule: String,
    message: String,
    help: Option<String>,
}

pub(super) fn lint(global: &Global, terminal: &Terminal) -> Result<Output, Failure> {
    let migrations = settings::migrations(global)?;
    settings::tell_unknown_fields(global, terminal);
    // What a down migration removes is meant to go.
    let findings: Vec<_> = migrations
        .iter()
        .flat_map(|migration| of_file(migration.up(), migration.transaction()))
        .collect();
    let exit = if findings.is_empty() {
        Exit::Done
    } else {
        Exit::Failed
    };
    let text = if findings.is_empty() {
        text::success("No findings")
    } else {
        rendered(&findings, terminal.width())
    };
    Ok(Output::new(exit, text, &json!({ "findings": findings })))
}

fn of_file(file: &SqlFile, transaction: bool) -> Vec<Finding> {
    findings(file.name(), file.text(), transaction)
}

fn findings(file: &str, sql: &str, transaction: bool) -> Vec<Finding> {
    let parsed = SourceFile::parse(sql);
    let mut linter = Linter::with_rules(&[], &NOT_OURS);
    linter.settings.assume_in_transaction = transaction;
    let violations = linter.lint(&parsed, sql).into_iter();
    violations
        .map(|violation| {
            let start = usize::from(violation.text_range.start());
            Finding {
                file: file.to_owned(),
                line: sql[..start].matches('\n').count() + 1,
                rule: violation.code.to_string(),
                message: violation.message,
                help: violation.help,
            }
        })
        .collect()
}

fn rendered(findings: &[Finding], width: usize) -> String {
    let mut text = String::new();
    for finding in findings {
        let Finding {
            file,
            line,
            rule,
            message,
            help,
        } = finding;
        text += &text::warning(&format!("{file}:{line}: {rule}"));
        for line in [Some(message), help.as_ref()].into_iter().flatten() {
            text += &table::wrap_lines(&format!("  {}\n", clean(line)), width);
        }
    }
    text += &format!(
        "\n{}. `-- squawk-ignore RULE` above a statement accepts one.\n",
        match findings.len() {
            1 => "1 finding".to_owned(),
            number => format!("{number} findings"),
        }
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(sql: &str) -> Vec<(usize, String)> {
        findings("001_a.sql", sql, true)
            .into_iter()
            .map(|finding| (finding.line, finding.rule))
            .collect()
    }

    #[test]
    fn a_finding_has_its_line_and_its_rule() {
        assert_eq!(
            rules("select 1;\n\nalter table public.a drop column b;\n"),
            [(3, "ban-drop-column".to_owned())]
        );
    }

    #[test]
    fn nothing_is_asked_for_that_a_migration_cannot_do() {
        assert_eq!(rules("create index a_b_idx on public.a (b);"), []);
    }

    #[test]
    fn a_comment_accepts_a_finding() {
        assert_eq!(
            rules("-- squawk-ignore ban-drop-column\nalter table public.a drop column b;"),
            []
        );
    }
}

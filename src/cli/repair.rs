//! `baseline` and `repair`: what the ledger says of the database.

use std::future::IntoFuture;

use super::{
    Output,
    args::{Global, RecordOptions, RepairKind},
    exit::{Exit, Failure},
    settings,
    setup::agree,
    terminal::{Activity, Terminal, interrupt},
    text,
};
use crate::{
    error::Error,
    manager::RepairRequest,
    manifest::Version,
    repair::{ComparedVersion, Likeness, Recognition, Repair, RepairPlan, RepairReport},
};

pub(super) async fn baseline(
    global: &Global,
    terminal: &Terminal,
    version: Option<Version>,
    accept_differences: bool,
    record: &RecordOptions,
) -> Result<Output, Failure> {
    let manager = settings::manager(global)?;
    let look = async {
        match version {
            None => manager.recognise().await,
            Some(version) => manager.recognise_as(version).await,
        }
    };
    let found = terminal
        .read("comparing the schema with each version", look)
        .await?;
    let shown = text::recognition(&found, terminal.width());
    let Some(version) = version else {
        let text = format!("{shown}{}", next(&found));
        return Ok(Output::new(likeness(&found), text, &found));
    };
    let plan = manager.plan_baseline(&found, version)?;
    terminal.tell(&shown);
    let differs = plan.is_same != Some(true);
    if differs && record.yes && !accept_differences {
        return Err(Error::NotRecognised { version }.into());
    }
    let (question, answers) = if differs {
        let phrase = format!("record v{version}");
        let question = format!(
            "\nThe schema is not known to be that of v{version}. This {plan}. To go on, type \"{phrase}\":"
        );
        (question, vec![phrase])
    } else {
        yes_or_no(&plan)
    };
    let reason = consent(terminal, record, &question, &answers).await?;
    let request = manager.repair(plan, reason);
    // Who was asked has seen the differences.
    let request = if differs {
        request.accept_differences()
    } else {
        request
    };
    follow(terminal, request).await
}

pub(super) async fn repair(
    global: &Global,
    terminal: &Terminal,
    kind: RepairKind,
    version: Version,
    record: &RecordOptions,
) -> Result<Output, Failure> {
    let manager = settings::manager(global)?;
    let repair = match kind {
        RepairKind::MarkApplied => Repair::MarkApplied(version),
        RepairKind::MarkNotApplied => Repair::MarkNotApplied(version),
        RepairKind::AcceptChecksum => Repair::AcceptChecksum(version),
    };
    let plan = terminal
        .read("reading the ledger", manager.plan_repair(repair))
        .await?;
    let (question, answers) = yes_or_no(&plan);
    let reason = consent(terminal, record, &question, &answers).await?;
    follow(terminal, manager.repair(plan, reason)).await
}

fn yes_or_no(plan: &RepairPlan) -> (String, Vec<String>) {
    let question = format!("\nThis {plan}. Go on? [y/N]");
    (question, vec!["y".to_owned(), "yes".to_owned()])
}

/// Asks for consent, and for the reason if none was given.
async fn consent(
    terminal: &Terminal,
    record: &RecordOptions,
    question: &str,
    answers: &[String],
) -> Result<String, Failure> {
    let answers: Vec<_> = answers.iter().map(String::as_str).collect();
    agree(terminal, record.yes, question, &answers).await?;
    match &record.reason {
        Some(reason) => Ok(reason.clone()),
        None => terminal.ask("\nWhy? It is recorded:").await,
    }
}

async fn follow(terminal: &Terminal, request: RepairRequest) -> Result<Output, Failure> {
    let activity = Activity::new("recording it");
    let report = tokio::select! {
        report = terminal.during(&activity, request.into_future()) => report?,
        () = interrupt() => {
            return Err(Failure::interrupted(
                "interrupted: the repair was sent and takes effect completely or not at all; `ctx0-schema history` shows \
                 the ledger",
            ));
        }
    };
    Ok(Output::new(
        Exit::Done,
        text::success(&said(&report)),
        &report,
    ))
}

fn said(report: &RepairReport) -> String {
    let current = report.current_version;
    if report.already_recorded {
        format!("The ledger was so already, at v{current}")
    } else {
        format!("Recorded; the ledger is at v{current}")
    }
}

/// How the schema that is there compares.
fn likeness(found: &Recognition) -> Exit {
    if found.objects.is_empty() || found.same().next().is_some() {
        Exit::Done
    } else if found
        .versions
        .iter()
        .any(|compared| is_not_compared(&compared.likeness))
    {
        Exit::Undecided
    } else {
        Exit::Drifted
    }
}

/// What to do after looking.
fn next(found: &Recognition) -> String {
    let same: Vec<_> = found.same().collect();
    let current = found.current_version;
    match &same[..] {
        _ if found.objects.is_empty() => "Next: `ctx0-schema apply` makes them.\n".to_owned(),
        _ if same.contains(&current) => {
            format!("\nThe ledger is at v{current}, which makes this schema: nothing is to be corrected.\n")
        }
        [] if let Some(text) = not_compared(found) => text,
        _ if current != Version::ZERO => format!(
            "\nThe ledger is at v{current}, which makes another schema. If the ledger is wrong, `ctx0-schema repair` \
             corrects it; if the schema is, `ctx0-schema verify` shows what was changed.\n"
        ),
        [] => "\nNo version makes exactly this schema. Change the schema to that of a version, or record the closest \
               one with `ctx0-schema baseline VERSION --accept-differences`.\n"
            .to_owned(),
        [version] => format!("\nNext: `ctx0-schema baseline {version}` records it.\n"),
        [lowest, ..] => {
            let all = same.iter().map(|version| format!("v{version}"));
            let all = all.collect::<Vec<_>>().join(", ");
            format!(
                "\n{all} make the same objects. Next: `ctx0-schema baseline {lowest}` records the lowest of them; those \
                 above it are pending then, and `ctx0-schema preview` shows what they do.\n"
            )
        }
    }
}

/// Where no version was found and not all were compared: which were not, and why one of them may still be the one.
fn not_compared(found: &Recognition) -> Option<String> {
    let is_not = |compared: &&ComparedVersion| is_not_compared(&compared.likeness);
    let first = found.versions.iter().find(is_not)?.version;
    let which = match found.versions.iter().filter(is_not).count() {
        1 => format!("v{first} was"),
        _ => format!("v{first} and later were"),
    };
    let advice = match found.current_version {
        Version::ZERO => {
            "If you know which version made this schema, `ctx0-schema baseline VERSION --accept-differences` records it."
        }
        _ => "`ctx0-schema verify` shows whether the schema was changed since the last version.",
    };
    Some(format!(
        "\n{which} not compared, so it is not known which version this is: the comparison sees nothing in schema public \
         but what the versions make, and v{first} needs something else there. {advice}\n"
    ))
}

fn is_not_compared(likeness: &Likeness) -> bool {
    matches!(likeness, Likeness::NotCompared { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(current: u32, versions: &[Likeness]) -> Recognition {
        let versions = (1..)
            .zip(versions)
            .map(|(number, likeness)| ComparedVersion {
                version: Version::new(number).unwrap(),
                migration_name: format!("00{number}_a"),
                likeness: likeness.clone(),
            });
        Recognition {
            current_version: Version::new(current).unwrap(),
            objects: vec!["table public.ctx0_a".to_owned()],
            versions: versions.collect(),
            shown: None,
            fingerprint: "f".to_owned(),
        }
    }

    fn failed() -> Likeness {
        Likeness::NotCompared {
            reason: "relation \"public.profiles\" does not exist".to_owned(),
        }
    }

    const DIFFERENT: Likeness = Likeness::Different { objects: 1 };

    #[test]
    fn a_ledger_that_is_right_is_not_to_be_corrected() {
        let right = next(&found(2, &[DIFFERENT, Likeness::Same]));
        assert_eq!(
            right,
            "\nThe ledger is at v2, which makes this schema: nothing is to be corrected.\n"
        );
        let wrong = next(&found(1, &[DIFFERENT, Likeness::Same]));
        assert!(
            wrong.contains("`ctx0-schema repair` corrects it"),
            "{wrong}"
        );
        let made_by_hand = next(&found(0, &[DIFFERENT, Likeness::Same]));
        assert!(
            made_by_hand.contains("`ctx0-schema baseline 2`"),
            "{made_by_hand}"
        );
    }

    #[test]
    fn what_was_not_compared_may_be_the_version() {
        let none = next(&found(0, &[DIFFERENT, DIFFERENT]));
        assert!(
            none.contains("No version makes exactly this schema"),
            "{none}"
        );
        for (current, versions, which) in [
            (
                0,
                &[DIFFERENT, failed(), failed()][..],
                "v2 and later were not compared, ",
            ),
            (0, &[DIFFERENT, failed()], "v2 was not compared, "),
            (2, &[DIFFERENT, failed()], "v2 was not compared, "),
        ] {
            let found = found(current, versions);
            let text = next(&found);
            assert!(text.contains(which), "{text}");
            assert!(
                text.contains("sees nothing in schema public but what the versions make"),
                "{text}"
            );
            for wrong in ["No version", "closest", "`ctx0-schema repair`"] {
                assert!(!text.contains(wrong), "{text}");
            }
            assert_eq!(likeness(&found), Exit::Undecided);
        }
        // What is known to be the version is recorded, whatever the others are.
        let known = next(&found(0, &[Likeness::Same, failed()]));
        assert!(known.contains("`ctx0-schema baseline 1`"), "{known}");
    }
}

//! Commands that only read: `status`, `plan`, `verify`, `history`.

use serde_json::json;

use super::{
    Output,
    args::Global,
    exit::{Exit, Failure},
    settings,
    terminal::Terminal,
    text,
};
use crate::{
    drift::Verification,
    manager::SchemaVersionManager,
    report::{DatabaseStatus, UpdateCheck},
};

pub(super) async fn status(global: &Global, terminal: &Terminal) -> Result<Output, Failure> {
    let config = settings::config(global)?;
    let manager = SchemaVersionManager::new(&config, settings::migrations(global)?)?;
    let check = terminal
        .read("reading the ledger", manager.check_for_updates())
        .await?;
    let asked = async { Ok::<_, Failure>(manager.status().await) };
    let (database, setup) = match terminal.read("asking for the state", asked).await? {
        Ok(database) => (Some(database), None),
        Err(error) => match manager.setup_after(&error) {
            Some(setup) => (None, Some(setup)),
            None => return Err(error.into()),
        },
    };
    let exit = match setup {
        Some(_) => Exit::Setup,
        None => state_now(&check, database.as_ref()),
    };
    let url = config.rest_url();
    let text = text::status(
        url.as_str(),
        &check,
        database.as_ref(),
        setup.as_ref(),
        terminal.width(),
    );
    let setup = setup.map(|setup| json!({"code": setup.code, "message": setup.message}));
    let json = json!({"url": url.as_str(), "check": check, "database": database, "setup": setup});
    Ok(Output::new(exit, text, &json))
}

pub(super) async fn plan(
    global: &Global,
    terminal: &Terminal,
    sql: bool,
) -> Result<Output, Failure> {
    let manager = settings::manager(global)?;
    settings::tell_unknown_fields(global, terminal);
    let check = terminal
        .read("reading the ledger", manager.check_for_updates())
        .await?;
    let text = text::plan(
        &check,
        &settings::migrations(global)?,
        sql,
        terminal.width(),
    );
    Ok(Output::new(state(&check), text, &check))
}

pub(super) async fn verify(global: &Global, terminal: &Terminal) -> Result<Output, Failure> {
    let manager = settings::manager(global)?;
    let verification = terminal
        .read("comparing the schema", manager.verify())
        .await?;
    let exit = match verification {
        Verification::Unchanged { .. } => Exit::Done,
        Verification::Drifted { .. } => Exit::Drifted,
        Verification::CannotSay { .. } => Exit::Undecided,
    };
    Ok(Output::new(
        exit,
        text::verification(&verification),
        &verification,
    ))
}

pub(super) async fn doctor(global: &Global, terminal: &Terminal) -> Result<Output, Failure> {
    let manager = settings::manager(global)?;
    let diagnose = async { Ok::<_, Failure>(manager.diagnose().await) };
    let diagnosis = terminal.read("looking at the project", diagnose).await?;
    let exit = if diagnosis.works() {
        Exit::Done
    } else {
        Exit::Failed
    };
    let text = text::diagnosis(&diagnosis, terminal.width());
    Ok(Output::new(exit, text, &diagnosis))
}

pub(super) async fn history(global: &Global, terminal: &Terminal) -> Result<Output, Failure> {
    let manager = settings::manager(global)?;
    let ledger = terminal
        .read("reading the ledger", manager.history())
        .await?;
    let text = text::history(&ledger, terminal.width());
    Ok(Output::new(
        Exit::Done,
        text,
        &json!({ "versions": ledger }),
    ))
}

/// Whether there is something to do, or a change is doing it.
fn state_now(check: &UpdateCheck, database: Option<&DatabaseStatus>) -> Exit {
    match state(check) {
        Exit::Done | Exit::Pending if database.is_some_and(|database| database.locked) => {
            Exit::Unknown
        }
        exit => exit,
    }
}

/// Whether there is something to do.
pub(super) fn state(check: &UpdateCheck) -> Exit {
    if check.problem.is_some() {
        Exit::Ledger
    } else if check.has_updates {
        Exit::Pending
    } else {
        Exit::Done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ledger::LedgerError, manifest::Version};

    #[test]
    fn a_change_that_runs_has_its_exit_code_and_its_next_step() {
        let version = |number| Version::new(number).unwrap();
        let problem = LedgerError::DatabaseAhead {
            current: version(3),
            latest: version(2),
            app_needed: None,
        };
        for (locked, has_updates, problem, expected) in [
            (false, false, None, Exit::Done),
            (false, true, None, Exit::Pending),
            (true, false, None, Exit::Unknown),
            (true, true, None, Exit::Unknown),
            (true, true, Some(problem), Exit::Ledger),
        ] {
            let has_problem = problem.is_some();
            let check = UpdateCheck {
                has_updates,
                problem,
                ..UpdateCheck::between(1, 2)
            };
            let database = DatabaseStatus {
                locked,
                ..DatabaseStatus::at(1)
            };
            assert_eq!(state_now(&check, Some(&database)), expected);
            let text = text::status("https://a", &check, Some(&database), None, 80);
            let next =
                "Next: `ctx0-schema status` shows how far it is, `ctx0-schema cancel` stops it.";
            assert_eq!(text.contains(next), locked, "{text}");
            let applies = has_updates && !locked && !has_problem;
            assert_eq!(text.contains("`ctx0-schema apply`"), applies, "{text}");
        }
    }
}

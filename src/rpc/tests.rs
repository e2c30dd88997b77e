use std::collections::BTreeSet;

use super::{change::AppliedStep, *};
use crate::{install::install_sql, ledger::Action, manifest::Migrations, plan::Step};

/// A step with everything that a step can have.
fn step() -> Step {
    let migrations = Migrations::bundled().unwrap();
    let migration = migrations.get(migrations.latest_version()).unwrap();
    Step::apply(migration, &migrations)
}

const RUN: RunFacts<'_> = RunFacts {
    applied_by: "me",
    backup_by: Some("me"),
    continues: true,
};

/// The parameters of a function as the installed SQL declares them, and those without a default.
fn declared(function: Function) -> (BTreeSet<String>, BTreeSet<String>) {
    let head = format!("create function public.{}(", function.name());
    let (_, rest) = install_sql()
        .split_once(&head)
        .unwrap_or_else(|| panic!("{head}"));
    let (parameters, _) = rest.split_once("\nreturns").unwrap();
    let parameters = parameters.trim().trim_end_matches(')').trim();
    let names = |required: bool| {
        let lines = parameters.lines().filter(|line| !line.trim().is_empty());
        lines
            .filter(|line| !required || !line.contains(" default "))
            .map(|line| line.split_whitespace().next().unwrap().to_owned())
            .collect()
    };
    (names(false), names(true))
}

fn assert_declared<C: Call>(call: &C) {
    let (all, required) = declared(call.function());
    let sent = serde_json::to_value(call).unwrap();
    let sent: BTreeSet<_> = sent.as_object().unwrap().keys().cloned().collect();
    let function = call.function().name();
    assert!(sent.is_subset(&all), "{function}: {sent:?} of {all:?}");
    assert!(
        required.is_subset(&sent),
        "{function}: {required:?} in {sent:?}"
    );
}

#[test]
fn every_call_is_declared_in_the_installed_sql_with_its_arguments() {
    let mut rollback = step();
    rollback.action = Action::Rollback;
    assert_declared(&ChangeSchema::new(&[step()], RUN));
    assert_declared(&ChangeSchema::new(&[step(), step()], RUN));
    assert_declared(&ChangeSchema::new(&[rollback], RUN));
    assert_declared(&RehearseMigrations::new(
        Version::ZERO,
        &[step()],
        Uuid::nil(),
        Duration::ZERO,
    ));
    assert_declared(&VerifySchema {});
    assert_declared(&SchemaStatus {});
    assert_declared(&setup::Upgrade::new("select 1"));
}

#[test]
fn the_ledger_is_a_table_of_the_installed_sql() {
    let head = format!("create table if not exists public.{LEDGER_TABLE} (");
    assert!(install_sql().contains(&head));
}

#[test]
fn every_attempt_sends_its_own_id() {
    let steps = [step()];
    let [first, second] = [(); 2].map(|()| ChangeSchema::new(&steps, RUN));
    assert_ne!(first.attempt(), second.attempt());
    let sent = serde_json::to_value(&first).unwrap();
    assert_eq!(sent["p_attempt"], first.attempt().unwrap().to_string());
}

#[test]
fn a_version_of_several_is_sent_with_the_fields_of_the_installed_type() {
    let (_, rest) = install_sql()
        .split_once("create type ctx0_private.schema_step as (")
        .unwrap();
    let (fields, _) = rest.split_once(");").unwrap();
    let fields: BTreeSet<_> = fields
        .split(',')
        .map(|field| field.split_whitespace().next().unwrap())
        .collect();
    let step = step();
    let sent = serde_json::to_value(AppliedStep::new(&step)).unwrap();
    let sent: BTreeSet<_> = sent
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(sent, fields);
}

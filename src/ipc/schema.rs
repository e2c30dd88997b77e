//! The JSON Schema of the messages.

use serde_json::{Value, json};

use super::{
    APPLY_UPDATES, BASELINE, CANCEL_CHANGE, CANCEL_PREVIEW, CHANGE_LOG, CHECK_UPDATES, DOCTOR,
    INSTALL, PREVIEW, RECOGNISE, ROLLBACK, STATUS, VERIFY,
    message::{
        AHEAD, APPLIED, APPLY_PROGRESS, Applied, BaselineParams, CancelParams, Consent, ERROR,
        ErrorEvent, PreviewParams, ROLLED_BACK, RollbackParams, RolledBack, UPDATE_AVAILABLE,
    },
};
use crate::{
    doctor::Diagnosis,
    drift::Verification,
    preview::Preview,
    repair::{Recognition, RepairReport},
    report::{
        CancelReport, DatabaseStatus, InstallReport, Progress, RunResult, SchemaVersion,
        UpdateCheck,
    },
};

/// The JSON Schema of every message: parameters and result of each method, parameters of each event.
#[must_use]
pub fn ipc_schema() -> Value {
    let mut generator = schemars::generate::SchemaSettings::draft2020_12()
        .for_serialize()
        .into_generator();
    let results = json!({
        CHECK_UPDATES: generator.subschema_for::<UpdateCheck>(),
        APPLY_UPDATES: generator.subschema_for::<RunResult<'_>>(),
        CHANGE_LOG: generator.subschema_for::<Vec<SchemaVersion>>(),
        STATUS: generator.subschema_for::<DatabaseStatus>(),
        PREVIEW: generator.subschema_for::<Preview>(),
        CANCEL_PREVIEW: generator.subschema_for::<bool>(),
        CANCEL_CHANGE: generator.subschema_for::<CancelReport>(),
        ROLLBACK: generator.subschema_for::<RunResult<'_>>(),
        VERIFY: generator.subschema_for::<Verification>(),
        DOCTOR: generator.subschema_for::<Diagnosis>(),
        INSTALL: generator.subschema_for::<InstallReport>(),
        RECOGNISE: generator.subschema_for::<Recognition>(),
        BASELINE: generator.subschema_for::<RepairReport>(),
    });
    let parameters = json!({
        APPLY_UPDATES: generator.subschema_for::<Consent>(),
        BASELINE: generator.subschema_for::<BaselineParams>(),
        CANCEL_CHANGE: generator.subschema_for::<CancelParams>(),
        PREVIEW: generator.subschema_for::<PreviewParams>(),
        ROLLBACK: generator.subschema_for::<RollbackParams>(),
    });
    let events = json!({
        UPDATE_AVAILABLE: generator.subschema_for::<UpdateCheck>(),
        APPLY_PROGRESS: generator.subschema_for::<Progress>(),
        APPLIED: generator.subschema_for::<Applied>(),
        ROLLED_BACK: generator.subschema_for::<RolledBack>(),
        AHEAD: generator.subschema_for::<UpdateCheck>(),
        ERROR: generator.subschema_for::<ErrorEvent>(),
    });
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Messages of the ctx0-schema IPC: parameters and result of each method, parameters of each event",
        "parameters": parameters,
        "results": results,
        "events": events,
        "errorData": generator.subschema_for::<ErrorEvent>(),
        "$defs": generator.take_definitions(true),
    })
}

//! One run of a fleet, in a process of its own, which measures itself.

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use ctx0_schema::{Fleet, FleetConsent, FleetFile, FleetOperation};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Result, migrations};

/// The variable with the key of all projects.
pub(super) const KEY: &str = "CTX0_FLEET_SCALE_KEY";

/// The variable with the task of the process.
const TASK: &str = "CTX0_FLEET_SCALE_TASK";

/// `USER_HZ`: in what Linux counts processor time towards programs.
const TICKS_A_SECOND: f64 = 100.0;

#[derive(Serialize, Deserialize)]
pub(super) struct Task {
    file: PathBuf,
    operation: String,
    at_a_time: usize,
    ca_file: Option<PathBuf>,
}

impl Task {
    pub(super) fn new(file: &Path, operation: &str, at_a_time: usize) -> Self {
        Self {
            file: file.to_owned(),
            operation: operation.to_owned(),
            at_a_time,
            ca_file: None,
        }
    }

    pub(super) fn trusting(mut self, ca_file: &Path) -> Self {
        self.ca_file = Some(ca_file.to_owned());
        self
    }

    /// How each of its projects ends.
    pub(super) fn ends_as(&self) -> &'static str {
        match self.operation.as_str() {
            "apply" => "applied",
            _ => "pending",
        }
    }

    pub(super) fn environment(&self) -> [(&'static str, String); 1] {
        let task = serde_json::to_string(self).expect("a task is plain values");
        [(TASK, task)]
    }

    pub(super) fn of_this_process() -> Result<Option<Self>> {
        match env::var(TASK) {
            Ok(task) => Ok(Some(serde_json::from_str(&task)?)),
            Err(_) => Ok(None),
        }
    }

    pub(super) async fn run(self) -> Result<()> {
        let operation = match self.operation.as_str() {
            "apply" => FleetOperation::Apply(FleetConsent {
                allow_data_loss: false,
                backup_by: None,
                may_lock: false,
                budget: Duration::from_secs(25),
            }),
            _ => FleetOperation::Status,
        };
        let folder = tempfile::tempdir()?;
        let ca_file = self.ca_file.clone();
        let began = Instant::now();
        let file = FleetFile::read(&self.file)?;
        let report = Fleet::new(file, migrations()?)
            .concurrency(self.at_a_time)
            .report_to(folder.path().join("report.jsonl"))
            .configure(move |config| match &ca_file {
                Some(path) => config.ca_file(path),
                None => config,
            })
            .run(operation)
            .await?;
        let took = began.elapsed();
        for project in report
            .projects
            .iter()
            .filter(|project| project.outcome.is_failure())
            .take(3)
        {
            eprintln!("{}: {}", project.name, project.message);
        }
        let measured = json!({
            "operation": self.operation,
            "atATime": self.at_a_time,
            "projects": report.projects.len(),
            "summary": report.summary(),
            "seconds": took.as_secs_f64(),
            "processorSeconds": processor_seconds()?,
            "peakMib": peak_mib()?,
        });
        println!("{measured}");
        Ok(())
    }
}

/// What this process and its system calls have used.
fn processor_seconds() -> Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The name of the program, in parentheses, may contain anything.
    let (_, fields) = stat.rsplit_once(')').ok_or("no process")?;
    let fields: Vec<_> = fields.split_whitespace().collect();
    let (user, system): (u64, u64) = (fields[11].parse()?, fields[12].parse()?);
    Ok((user + system) as f64 / TICKS_A_SECOND)
}

/// The most memory that this process has held at any time.
fn peak_mib() -> Result<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.ok_or("no peak")?.trim().trim_end_matches(" kB");
    Ok(peak.parse::<f64>()? / 1024.0)
}

//! What was measured, as lines, JSON, the table of the README and a plot.

use std::{collections::BTreeMap, error::Error, fmt::Write as _, fs, path::Path, time::Duration};

use serde::{Deserialize, Serialize};

/// Everything that one run of the benchmark measured.
#[derive(Default, Deserialize, Serialize)]
pub(crate) struct Report {
    pub(crate) command: String,
    pub(crate) processors: usize,
    pub(crate) postgresql: String,
    /// The other tools by name, with their versions.
    pub(crate) tools: BTreeMap<String, String>,
    /// By the round trip in milliseconds.
    pub(crate) distance: BTreeMap<u64, Figures>,
    pub(crate) long_text: Figures,
    pub(crate) gateway: Figures,
    pub(crate) growth: Vec<Growth>,
}

/// Seconds by what was done and by the tool, in the order of the rounds.
#[derive(Default, Deserialize, Serialize)]
#[serde(transparent)]
pub(crate) struct Figures(BTreeMap<String, BTreeMap<String, Vec<f64>>>);

/// What a number of versions, or a length of text, costs.
#[derive(Deserialize, Serialize)]
pub(crate) struct Growth {
    pub(crate) of: String,
    pub(crate) count: usize,
    /// Seconds.
    pub(crate) apply: f64,
    /// Seconds.
    pub(crate) check: f64,
    pub(crate) peak_kib: u64,
}

const OURS: &str = "ctx0-schema";
/// What the plot compares, and the table of the README.
const COMPARED: [&str; 2] = ["nothing to do", "20 migrations on an empty database"];
const IN_USE: &str = "20 migrations on a database in use";
/// The round trips of that table, in milliseconds.
const IN_TABLE: [u64; 2] = [0, 100];

impl Figures {
    pub(crate) fn note(&mut self, what: &str, tool: &str, took: Duration) {
        // What is below 0.1 ms is noise.
        let seconds = (took.as_secs_f64() * 10_000.0).round() / 10_000.0;
        let tools = self.0.entry(what.to_owned()).or_default();
        tools.entry(tool.to_owned()).or_default().push(seconds);
    }

    /// A line for each: the median with the fastest and the slowest, and how many times as long as
    /// ctx0-schema it took, round by round.
    pub(crate) fn lines(&self, head: &str) -> String {
        let mut lines = String::new();
        for (what, tools) in &self.0 {
            for (tool, times) in tools {
                let (least, middle, most) = spread(times);
                let _ = write!(
                    lines,
                    "{head}  {what:<48} {tool:<22} {middle:>8.3} s  ({least:.3} to {most:.3})"
                );
                if let Some(ours) = tools.get(OURS).filter(|_| tool != OURS) {
                    let ratios: Vec<_> = times
                        .iter()
                        .zip(ours)
                        .map(|(other, ours)| other / ours)
                        .collect();
                    let (least, middle, most) = spread(&ratios);
                    let _ = write!(lines, "  × {middle:.2} ({least:.2} to {most:.2})");
                }
                lines.push('\n');
            }
        }
        lines
    }

    fn median(&self, what: &str, tool: &str) -> Option<f64> {
        Some(spread(self.0.get(what)?.get(tool)?).1)
    }
}

impl Growth {
    pub(crate) fn line(&self) -> String {
        format!(
            "{:>9} {:<14} applied in {:>8.3} s, checked in {:.3} s, at most {} MiB",
            self.count,
            self.of,
            self.apply,
            self.check,
            self.peak_kib >> 10
        )
    }
}

impl Report {
    /// What was measured last.
    pub(crate) fn read(root: &Path) -> Result<Self, Box<dyn Error>> {
        let text = fs::read_to_string(root.join("benches/distance.json"))?;
        Ok(serde_json::from_str(&text)?)
    }

    /// Writes the JSON, the plot and the table of the README below this folder.
    pub(crate) fn write(&self, root: &Path) -> Result<(), Box<dyn Error>> {
        // A test holds the README to what was measured last.
        let before = Self::read(root)?.table();
        fs::write(
            root.join("benches/distance.json"),
            serde_json::to_string_pretty(self)? + "\n",
        )?;
        fs::write(root.join("benches/distance.svg"), self.plot())?;
        let readme = root.join("README.md");
        let text = fs::read_to_string(&readme)?;
        fs::write(readme, text.replace(&before, &self.table()))?;
        Ok(())
    }

    fn names(&self) -> Vec<&str> {
        let mut names = vec![OURS];
        names.extend(self.tools.keys().map(String::as_str));
        names
    }

    /// The table of the README, and what it does not compare.
    pub(crate) fn table(&self) -> String {
        let names = self.names();
        let mut table = format!(
            "| Round trip | | {} |\n|---|---|{}\n",
            names.join(" | "),
            "---:|".repeat(names.len())
        );
        let mut in_use = String::new();
        let shown = self.distance.iter().filter(|(ms, _)| IN_TABLE.contains(ms));
        for (ms, figures) in shown {
            for what in COMPARED {
                let _ = write!(table, "| {ms} ms | {what} |");
                for name in &names {
                    match figures.median(what, name) {
                        Some(seconds) => drop(write!(table, " {seconds:.2} s |")),
                        None => table.push_str(" |"),
                    }
                }
                table.push('\n');
            }
            if let Some(seconds) = figures.median(IN_USE, OURS) {
                in_use = format!("{seconds:.1} s at {ms} ms");
            }
        }
        let _ = writeln!(
            table,
            "\nOn a database in use each migration is a request of its own, so that nothing is locked for long: 20 take {in_use}."
        );
        table
    }

    /// How these figures came about, for the line below the plot.
    fn measured_on(&self) -> String {
        let mut words = format!(
            "{}: medians, {} processors, PostgreSQL {}",
            self.command, self.processors, self.postgresql
        );
        for (name, version) in &self.tools {
            let _ = write!(words, ", {name} {version}");
        }
        words
    }

    /// A panel of bars for each distance and comparison, and the growth on logarithmic scales.
    pub(crate) fn plot(&self) -> String {
        let mut panels = String::new();
        for (column, (ms, figures)) in self.distance.iter().enumerate() {
            for (row, what) in COMPARED.into_iter().enumerate() {
                let (x, y) = (20 + 320 * column, 30 + 150 * row);
                let _ = write!(
                    panels,
                    "\n<text x=\"{x}\" y=\"{y}\" font-weight=\"bold\">{ms} ms: {what}</text>"
                );
                panels.push_str(&self.bars(figures, what, x, y + 10));
            }
        }
        for (column, of) in ["versions", "bytes of text"].into_iter().enumerate() {
            panels.push_str(&self.lines_of(of, 20 + 480 * column, 330));
        }
        let below = self.measured_on();
        format!(
            r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 980 590" font-family="sans-serif" font-size="12" fill="#333">
<rect width="980" height="590" fill="#fff"/>{panels}
<text x="20" y="575">{below}</text>
</svg>
"##
        )
    }

    fn bars(&self, figures: &Figures, what: &str, x: usize, y: usize) -> String {
        let names = self.names();
        let medians = names
            .iter()
            .filter_map(|name| Some((name, figures.median(what, name)?)));
        let medians: Vec<_> = medians.collect();
        let longest = medians
            .iter()
            .map(|(_, seconds)| *seconds)
            .fold(0.0, f64::max);
        let mut bars = String::new();
        for (place, (name, seconds)) in medians.iter().enumerate() {
            let (y, width) = (y + 20 * place, 150.0 * seconds / longest);
            let colour = if **name == OURS { "#2563eb" } else { "#9ca3af" };
            let _ = write!(
                bars,
                r#"
<text x="{}" y="{}" text-anchor="end">{name}</text>
<rect x="{}" y="{y}" width="{width:.1}" height="14" fill="{colour}"/>
<text x="{:.1}" y="{}">{seconds:.2} s</text>"#,
                x + 85,
                y + 11,
                x + 90,
                x as f64 + 95.0 + width,
                y + 11
            );
        }
        bars
    }

    fn lines_of(&self, of: &str, x: usize, y: usize) -> String {
        let points: Vec<_> = self
            .growth
            .iter()
            .filter(|growth| growth.of == of)
            .collect();
        let mut lines = format!(
            "\n<text x=\"{x}\" y=\"{y}\" font-weight=\"bold\">By the number of {of}</text>"
        );
        let (Some(first), Some(last)) = (points.first(), points.last()) else {
            return lines;
        };
        let width = 300.0 / (last.count as f64 / first.count as f64).log10();
        let across =
            |count: usize| x as f64 + 60.0 + width * (count as f64 / first.count as f64).log10();
        // 1 ms and 1 MiB at the bottom; 100 s and 100 GiB would be at the top.
        let up = |value: f64| y as f64 + 190.0 - 34.0 * (value * 1000.0).max(1.0).log10();
        for growth in &points {
            let label = match growth.count {
                count if of == "versions" => count.to_string(),
                count if count < 1 << 20 => format!("{} KiB", count >> 10),
                count => format!("{} MiB", (count + (1 << 19)) >> 20),
            };
            let _ = write!(
                lines,
                "\n<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{label}</text>",
                across(growth.count),
                y + 208
            );
        }
        type Value = fn(&Growth) -> (f64, String);
        let series: [(&str, &str, Value); 3] = [
            ("apply", "#2563eb", |growth| {
                (growth.apply, format!("{:.2} s", growth.apply))
            }),
            ("check", "#16a34a", |growth| {
                (growth.check, format!("{:.2} s", growth.check))
            }),
            ("memory", "#b45309", |growth| {
                let mib = growth.peak_kib as f64 / 1024.0;
                (mib / 1000.0, format!("{mib:.0} MiB"))
            }),
        ];
        // The lines end in this order from the top, and their labels must not touch.
        let mut lowest = f64::MIN;
        for (name, colour, value) in series {
            let path: Vec<_> = points
                .iter()
                .map(|growth| format!("{:.1},{:.1}", across(growth.count), up(value(growth).0)))
                .collect();
            let (end, label) = value(last);
            lowest = (up(end) + 4.0).max(lowest + 14.0);
            let _ = write!(
                lines,
                "\n<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\
                 \n<text x=\"{:.1}\" y=\"{:.1}\" fill=\"{colour}\">{name}: {label}</text>",
                path.join(" "),
                across(last.count) + 6.0,
                lowest
            );
        }
        lines
    }
}

/// The least, the median and the most.
fn spread(values: &[f64]) -> (f64, f64, f64) {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    (
        values[0],
        values[values.len() / 2],
        values[values.len() - 1],
    )
}

//! What was measured, as a table and a picture for the guide. `tests/guide.rs` compares them with the
//! JSON, so that the three cannot disagree.

use std::fmt::Write;

use serde_json::Value;

const BEGIN: &str = "<!-- measured by benches/fleet_scale -->\n";
const END: &str = "<!-- end of what was measured -->\n";

/// The page with its measurements replaced by these, if it has a place for them.
pub(super) fn with_measurements(page: &str, json: &Value) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    let picture = picture(json);
    Some(format!(
        "{before}{BEGIN}\n{}\n{}\n{picture}\n{END}{after}",
        conditions(json),
        table(json)
    ))
}

/// Where and how it was measured.
fn conditions(json: &Value) -> String {
    let machine = &json["machine"];
    format!(
        "Measured with `{}` on {} processors ({}) with {:.0} GiB and a load of {:.1} before it began; PostgreSQL {}, \
         ctx0-schema {}. The servers ran on the same processors.\n",
        text(&json["command"]),
        machine["processors"],
        text(&machine["processor"]),
        float(&machine["memoryGib"]),
        float(&json["loadBefore"]),
        text(&json["postgresql"]),
        text(&json["crate"]),
    )
}

pub(super) fn table(json: &Value) -> String {
    let mut table = "| Projects | Operation | At a time | Time | A second | Processor time | Peak memory | Requests |\n\
                     |---|---|---:|---:|---:|---:|---:|---:|\n"
        .to_owned();
    for run in runs(json) {
        let _ = writeln!(
            table,
            "| {} {} | {} | {} | {:.1} s | {:.1} | {:.1} s | {:.0} MiB | {} |",
            thousands(run["projects"].as_u64().unwrap_or_default()),
            wire(run),
            text(&run["operation"]),
            run["atATime"],
            float(&run["seconds"]),
            a_second(run),
            float(&run["processorSeconds"]),
            float(&run["peakMib"]),
            thousands(run["requests"].as_u64().unwrap_or_default()),
        );
    }
    table
}

/// Two columns of bars, a row for each run. Without an empty line, at which HTML in Markdown ends.
pub(super) fn picture(json: &Value) -> String {
    let runs = runs(json);
    let most = |of: &dyn Fn(&Value) -> f64| runs.iter().map(of).fold(f64::MIN_POSITIVE, f64::max);
    let (fastest, largest) = (most(&a_second), most(&|run| float(&run["peakMib"])));
    let mut rows = String::new();
    for (row, run) in runs.iter().enumerate() {
        let y = 44 + 22 * row;
        let _ = writeln!(
            rows,
            r#"<text x="220" y="{}" text-anchor="end">{}, {}, {} at a time</text>"#,
            y + 12,
            wire(run),
            text(&run["operation"]),
            run["atATime"]
        );
        let speed = a_second(run);
        let memory = float(&run["peakMib"]);
        for (x, share, label, colour) in [
            (230.0, speed / fastest, format!("{speed:.1}"), "#3b82f6"),
            (
                500.0,
                memory / largest,
                format!("{memory:.0} MiB"),
                "#d97706",
            ),
        ] {
            let width = 180.0 * share;
            let _ = writeln!(
                rows,
                r#"<rect x="{x}" y="{y}" width="{width:.1}" height="15" fill="{colour}"/><text x="{:.1}" y="{}">{label}</text>"#,
                x + width + 6.0,
                y + 12,
            );
        }
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 760 {}\" style=\"max-width: 100%\" font-family=\"sans-serif\" font-size=\"12\" fill=\"currentColor\">\n\
         <text x=\"230\" y=\"28\" font-weight=\"bold\">Projects a second</text><text x=\"500\" y=\"28\" font-weight=\"bold\">Peak memory</text>\n\
         {rows}</svg>\n",
        60 + 22 * runs.len()
    )
}

fn runs(json: &Value) -> &[Value] {
    json["runs"].as_array().map_or(&[], Vec::as_slice)
}

fn wire(run: &Value) -> &'static str {
    match text(&run["wire"]) {
        "mocked" => "mocked",
        _ => "databases",
    }
}

fn a_second(run: &Value) -> f64 {
    float(&run["projects"]) / float(&run["seconds"])
}

fn float(value: &Value) -> f64 {
    value.as_f64().unwrap_or_default()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// `10,000`, for example.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

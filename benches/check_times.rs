//! A million daemons that a release started within ten minutes must not come together again.
//!
//! `cargo bench --bench check_times` simulates their checks with the scheduler's own timetable, draws
//! `examples/desktop/check-times.svg`, and fails if the busiest minute of hours 6 to 12 has 1.2 times as
//! many checks as the mean, or if the same fleet without jitter would not be far worse.

use std::time::Duration;

use self::timetable::Timetable;

#[path = "../src/backoff.rs"]
#[allow(unused_imports, reason = "its unit tests run with the library")]
mod backoff;

#[path = "../src/scheduler/timetable.rs"]
mod timetable;

const INTERVAL: Duration = Duration::from_secs(6 * 60 * 60);

fn main() {
    fastrand::seed(7);
    let minutes = 12 * 60;
    let with = fleet(1_000_000, minutes, |timetable| timetable.wait_after(true));
    let without = fleet(1_000_000, minutes, |_| INTERVAL);
    let (with_ratio, without_ratio) = (peak_to_mean(&with), peak_to_mean(&without));
    println!(
        "peak to mean of hours 6 to 12: {with_ratio:.2} with jitter, {without_ratio:.2} without"
    );
    assert!(with_ratio < 1.2, "{with_ratio}");
    assert!(without_ratio > 30.0, "{without_ratio}");
    let picture = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/examples/desktop/check-times.svg"
    );
    std::fs::write(picture, plot(&with, &without)).expect("the picture can be written");
}

/// Checks per minute of a fleet that a release started within ten minutes.
fn fleet(daemons: usize, minutes: usize, wait: impl Fn(&mut Timetable) -> Duration) -> Vec<u32> {
    let mut per_minute = vec![0; minutes];
    for _ in 0..daemons {
        let mut timetable = Timetable::new(INTERVAL);
        let mut at = fastrand::f64() * 600.0;
        while let Some(count) = per_minute.get_mut((at / 60.0) as usize) {
            *count += 1;
            at += wait(&mut timetable).as_secs_f64();
        }
    }
    per_minute
}

/// The highest minute to the mean one, over the six hours after the first six.
fn peak_to_mean(per_minute: &[u32]) -> f64 {
    let window = &per_minute[360..720];
    let mean = f64::from(window.iter().sum::<u32>()) / window.len() as f64;
    f64::from(*window.iter().max().unwrap()) / mean
}

/// Both fleets as an SVG, one line each.
fn plot(with: &[u32], without: &[u32]) -> String {
    let highest = f64::from(*with.iter().chain(without).max().unwrap());
    let line = |counts: &[u32], colour: &str| {
        let points: Vec<_> = counts
            .iter()
            .enumerate()
            .map(|(minute, count)| {
                format!(
                    "{},{:.1}",
                    60 + minute,
                    240.0 - f64::from(*count) / highest * 200.0
                )
            })
            .collect();
        format!(
            r#"<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="{}"/>"#,
            points.join(" ")
        )
    };
    let hours: String = (0..=12)
        .map(|hour| {
            format!(
                r#"<text x="{}" y="258" text-anchor="middle">{hour} h</text>"#,
                60 + hour * 60
            )
        })
        .collect();
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 800 300" font-family="sans-serif" font-size="12" fill="#444">
<rect width="800" height="300" fill="#fff"/>
<text x="60" y="20">Checks per minute of a million daemons that a release started within ten minutes</text>
<line x1="60" y1="240" x2="780" y2="240" stroke="#999"/><line x1="60" y1="40" x2="60" y2="240" stroke="#999"/>
<text x="54" y="44" text-anchor="end">{highest:.0}</text><text x="54" y="244" text-anchor="end">0</text>
{hours}
{without_line}
{with_line}
<text x="60" y="282" fill="#c33">without jitter: peak to mean {without_ratio:.1} in hours 6 to 12</text>
<text x="430" y="282" fill="#06c">as built: peak to mean {with_ratio:.2}</text>
</svg>
"##,
        without_line = line(without, "#c33"),
        with_line = line(with, "#06c"),
        without_ratio = peak_to_mean(without),
        with_ratio = peak_to_mean(with),
    )
}

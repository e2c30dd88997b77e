//! The guide agrees with the code: its page of errors has each variant of each error, and its pages
//! are listed.

use std::{collections::BTreeSet, env, fs, path::Path};

use serde_json::Value;

#[path = "../benches/fleet_scale/page.rs"]
mod fleet_scale;

#[path = "../benches/distance/report.rs"]
#[allow(dead_code, reason = "only what the README shows is compared")]
mod distance;

/// The text of a file of the crate.
fn text(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The variants of an enum, as its source has them.
fn variants(path: &str, name: &str) -> BTreeSet<String> {
    let source = text(path);
    let start = format!("pub enum {name} {{\n");
    let body = source.split_once(&start).unwrap().1;
    let body = body.split_once("\n}").unwrap().0;
    let lines = body.lines().filter_map(|line| line.strip_prefix("    "));
    let variants = lines.filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()));
    variants.map(identifier).collect()
}

fn identifier(text: &str) -> String {
    text.chars()
        .take_while(|c| c.is_ascii_alphanumeric())
        .collect()
}

/// The names in the first column of the tables below a heading of the page of errors, each with
/// whether it is marked as retryable.
fn listed(heading: &str) -> Vec<(String, bool)> {
    let page = text("src/guide/errors.md");
    let section = page.split_once(&format!("## {heading}\n")).unwrap().1;
    let section = section.split("\n## ").next().unwrap();
    let cells = section
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('|').next());
    cells
        .flat_map(|cell| cell.split(", `"))
        .map(|entry| {
            let (name, mark) = entry.split_once('`').unwrap();
            (name.to_owned(), mark.contains('↻'))
        })
        .collect()
}

fn names(listed: &[(String, bool)]) -> BTreeSet<String> {
    let names: BTreeSet<_> = listed.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(
        names.len(),
        listed.len(),
        "an error is listed twice: {listed:?}"
    );
    names
}

/// The variants, with those of `inner` in place of the one that wraps it.
fn with(mut outer: BTreeSet<String>, wrapper: &str, inner: BTreeSet<String>) -> BTreeSet<String> {
    assert!(outer.remove(wrapper), "{wrapper} is a variant");
    outer.extend(inner.iter().map(|name| format!("{wrapper}({name})")));
    outer
}

#[test]
fn the_page_of_errors_has_every_error_once() {
    let config = variants("src/config.rs", "ConfigError");
    let key = variants("src/config/key.rs", "KeyError");
    assert_eq!(names(&listed("Configuration")), with(config, "Key", key));

    let manifest = variants("src/manifest/error.rs", "ManifestErrorKind");
    assert_eq!(names(&listed("Migrations")), manifest);

    let mut errors = variants("src/error.rs", "Error");
    assert!(errors.remove("Config") && errors.remove("Manifest"));
    let ledger = variants("src/ledger.rs", "LedgerError");
    let sections = ["Connection", "Supabase", "Versions"].map(listed).concat();
    assert_eq!(names(&sections), with(errors, "Ledger", ledger));
}

#[test]
fn the_page_of_errors_marks_what_may_work_later() {
    let source = text("src/error.rs");
    let body = source.split_once("fn is_retryable").unwrap().1;
    let body = body.split_once("\n    }\n").unwrap().0;
    let (always, rest) = body.split_once("=> true").unwrap();
    let sometimes = rest.split("=> false,\n            },").next().unwrap();
    let mut retryable: BTreeSet<_> = always.split("Self::").skip(1).map(identifier).collect();
    retryable.extend(["MigrationFailed", "Conflict"].map(|name| {
        assert!(
            sometimes.contains(name),
            "{name} is retryable in some cases"
        );
        name.to_owned()
    }));

    let sections = ["Connection", "Supabase", "Versions"].map(listed).concat();
    let marked = sections.into_iter().filter(|(_, is_marked)| *is_marked);
    assert_eq!(
        marked.map(|(name, _)| name).collect::<BTreeSet<_>>(),
        retryable
    );
}

#[test]
fn every_page_is_part_of_the_guide() {
    let guide = text("src/guide.rs");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/guide");
    for page in fs::read_dir(folder).unwrap() {
        let page = page.unwrap().file_name().into_string().unwrap();
        assert!(
            guide.contains(&format!("include_str!(\"guide/{page}\")")),
            "{page}"
        );
        let module = page.trim_end_matches(".md").replace('-', "_");
        assert!(
            guide.contains(&format!("]({module})")),
            "{module} is in the list"
        );
    }
}

/// `CTX0_WRITE_MEASUREMENTS=1` writes them again, where only their form has changed.
#[test]
fn the_measurements_of_the_page_of_fleets_are_those_of_the_bench() {
    let (page, picture) = ("src/guide/fleet.md", "benches/fleet_scale.svg");
    let measured = serde_json::from_str(&text("benches/fleet_scale.json")).unwrap();
    let with_them = fleet_scale::with_measurements(&text(page), &measured).unwrap();
    let drawn = fleet_scale::picture(&measured);
    if env::var_os("CTX0_WRITE_MEASUREMENTS").is_some() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        fs::write(root.join(page), &with_them).unwrap();
        fs::write(root.join(picture), &drawn).unwrap();
    }
    assert_eq!(text(page), with_them);
    assert_eq!(text(picture), drawn);
}

#[test]
fn the_readme_has_what_was_measured_last() {
    let report = distance::Report::read(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
    let table = report.table();
    assert!(text("README.md").contains(&table), "{table}");
    assert_eq!(text("benches/distance.svg"), report.plot());
}

#[test]
fn the_readme_has_the_footprint_that_was_measured_last() {
    let measured: Value = serde_json::from_str(&text("benches/footprint.json")).unwrap();
    let more = |profile: &str, what: &str| {
        let of = |daemon: &str| measured[profile][daemon][what].as_f64().unwrap();
        of("with") - of("without")
    };
    let readme = text("README.md").replace('\n', " ");
    for stated in [
        format!("{} crates", more("release", "crates")),
        format!("{:.0} s of a release build", more("release", "build_s")),
        format!(
            "Built with link-time optimization, it grows by {:.1} MiB of program and {:.1} MiB of memory",
            more("lto", "program_mib"),
            more("lto", "idle_kib") / 1024.0
        ),
        format!(
            "with the default profile by {:.1} and {:.1} MiB",
            more("release", "program_mib"),
            more("release", "idle_kib") / 1024.0
        ),
        format!(
            "{:.0} µs more of processor time",
            more("release", "request_us")
        ),
    ] {
        assert!(readme.contains(&stated), "{stated}");
    }
}

#[test]
fn what_the_readme_links_to_is_in_the_repository() {
    let readme = text("README.md");
    let targets = readme
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    let local: Vec<_> = targets
        .filter(|target| !target.starts_with("https://"))
        .collect();
    assert!(local.contains(&"benches/distance.svg"), "{local:?}");
    for target in local {
        assert!(
            Path::new(env!("CARGO_MANIFEST_DIR")).join(target).is_file(),
            "{target}"
        );
    }
}

//! The terminal as the README shows it.

use std::{env, fmt::Write, fs, path::Path};

use ctx0_stack::project::Project;

use crate::support::{Cli, Terminal};

#[tokio::test]
async fn an_update_is_reviewed_and_applied() {
    let project = Project::installed().await;
    let cli = Cli::on(&project);
    let notes = (
        "001_notes",
        "create table public.ctx0_notes (id int primary key, title text, body text);\n\
         insert into public.ctx0_notes select n, 'title', 'body' from generate_series(1, 2400) n;",
    );
    let tags = (
        "002_tags",
        "create table public.ctx0_tags (note_id int references public.ctx0_notes, tag text);\n\
         alter table public.ctx0_tags enable row level security;\n\
         alter table public.ctx0_notes drop column title;",
    );
    let folder = cli.migrations(&[notes]);
    cli.expect(0, &["apply", "--yes", folder]).await;
    cli.migrations(&[notes, tags]);
    let manifest = cli.path().join("migrations/manifest.json");
    let text = fs::read_to_string(&manifest).expect("a manifest");
    let text = text.replace("About 002_tags", "Tags for notes, in place of titles");
    fs::write(&manifest, text).expect("a file");

    let mut terminal = cli.terminal(80, &["apply", folder]);
    terminal.see("type \"apply v2\":").await;
    let lost = "deletes the column title of ctx0_notes and the data in it";
    assert!(terminal.text().contains(lost), "{}", terminal.text());
    terminal.press("apply v2\n").await;
    assert_eq!(terminal.end().await, 0);
    write(&terminal, "apply", &format!("ctx0-schema apply {folder}"));
}

#[tokio::test]
async fn the_doctor_finds_nothing_wrong() {
    let project = Project::installed().await;
    let cli = Cli::on(&project);
    cli.expect(0, &["apply", "--yes"]).await;
    let mut terminal = cli.terminal(80, &["doctor"]);
    assert_eq!(terminal.end().await, 0);
    write(&terminal, "doctor", "ctx0-schema doctor");
}

/// With `CTX0_WRITE_SCREENSHOTS` set, writes what the terminal shows to
/// `examples/terminal/<name>.svg`.
fn write(terminal: &Terminal, name: &str, command: &str) {
    if env::var_os("CTX0_WRITE_SCREENSHOTS").is_some() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/terminal");
        fs::create_dir_all(&folder).expect("a folder");
        let picture = svg(terminal.screen(), command);
        fs::write(folder.join(format!("{name}.svg")), picture).expect("a file");
    }
}

/// The rows of a screen up to the last that is not empty, below the command that was typed.
fn svg(screen: &vt100::Screen, command: &str) -> String {
    const WIDTH: u16 = 8;
    const HEIGHT: u16 = 18;
    let (_, columns) = screen.size();
    let texts: Vec<_> = screen.rows(0, columns).collect();
    let used = texts.iter().rposition(|text| !text.trim().is_empty());
    let used = used.map_or(0, |row| u16::try_from(row + 1).expect("a screen is small"));
    let (width, height) = ((columns + 2) * WIDTH, (used + 2) * HEIGHT);
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="13" fill="#d8dee9">
<rect width="{width}" height="{height}" rx="8" fill="#1e2430"/>
<text x="{WIDTH}" y="{HEIGHT}" fill="#8fbcbb">$ {}</text>
"##,
        escaped(command)
    );
    for row in 0..used {
        let mut column = 0;
        while column < columns {
            let style = |column| {
                let cell = screen.cell(row, column).expect("a cell");
                (cell.fgcolor(), cell.bold())
            };
            let from = column;
            while column < columns && style(column) == style(from) {
                column += 1;
            }
            let text = screen.contents_between(row, from, row, column);
            let indent = text.len() - text.trim_start().len();
            let text = text.trim();
            if !text.is_empty() {
                let (colour, bold) = style(from);
                let length = u16::try_from(text.chars().count()).expect("a row is short") * WIDTH;
                let x = (from + 1 + u16::try_from(indent).expect("a row is short")) * WIDTH;
                let y = (row + 2) * HEIGHT;
                let weight = if bold { " font-weight=\"bold\"" } else { "" };
                writeln!(
                    svg,
                    r#"<text x="{x}" y="{y}" textLength="{length}" xml:space="preserve"{}{weight}>{}</text>"#,
                    fill(colour),
                    escaped(text)
                )
                .expect("a string");
            }
        }
    }
    svg.push_str("</svg>\n");
    svg
}

fn fill(colour: vt100::Color) -> &'static str {
    match colour {
        vt100::Color::Idx(1 | 9) => r##" fill="#e06c75""##,
        vt100::Color::Idx(2 | 10) => r##" fill="#98c379""##,
        vt100::Color::Idx(3 | 11) => r##" fill="#e5c07b""##,
        vt100::Color::Idx(6 | 14) => r##" fill="#56b6c2""##,
        vt100::Color::Idx(8) => r##" fill="#8b93a3""##,
        _ => "",
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

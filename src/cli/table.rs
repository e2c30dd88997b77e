//! Text in columns and lines of a terminal's width. Pure.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The space between two columns.
const GAP: usize = 2;
/// A column is not made narrower than this.
const NARROWEST: usize = 8;

/// Rows under headers, in this width. Where columns would become too narrow, each row is a block of
/// `header: value` lines.
pub(super) fn table(headers: &[&str], rows: &[Vec<String>], width: usize) -> String {
    let natural: Vec<usize> = (0..headers.len())
        .map(|column| {
            let cells = rows.iter().map(|row| row[column].width());
            cells.chain([headers[column].width()]).max().unwrap_or(0)
        })
        .collect();
    let Some(widths) = fit(natural, width) else {
        return blocks(headers, rows, width);
    };
    let headers: Vec<_> = headers.iter().map(|&header| header.to_owned()).collect();
    std::iter::once(&headers)
        .chain(rows)
        .map(|row| line(row, &widths))
        .collect()
}

/// Takes from the widest columns until all fit.
fn fit(mut widths: Vec<usize>, width: usize) -> Option<Vec<usize>> {
    let gaps = GAP * widths.len().saturating_sub(1);
    while widths.iter().sum::<usize>() + gaps > width {
        let widest = widths.iter_mut().max()?;
        if *widest <= NARROWEST * 2 {
            return None;
        }
        *widest -= 1;
    }
    Some(widths)
}

fn line(row: &[String], widths: &[usize]) -> String {
    let cells: Vec<_> = row
        .iter()
        .zip(widths)
        .map(|(cell, &width)| wrap(cell, width))
        .collect();
    let height = cells.iter().map(Vec::len).max().unwrap_or(0);
    let mut text = String::new();
    for at in 0..height {
        let mut line = String::new();
        for (cell, width) in cells.iter().zip(widths) {
            let part = cell.get(at).map_or("", String::as_str);
            line += part;
            line += &" ".repeat(width.saturating_sub(part.width()) + GAP);
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

fn blocks(headers: &[&str], rows: &[Vec<String>], width: usize) -> String {
    let blocks = rows.iter().map(|row| {
        let pairs: Vec<_> = headers
            .iter()
            .zip(row)
            .filter(|(_, cell)| !cell.is_empty())
            .collect();
        let pairs: Vec<_> = pairs
            .iter()
            .map(|(header, cell)| (**header, cell.as_str()))
            .collect();
        fields(&pairs, width)
    });
    blocks.collect::<Vec<_>>().join("\n")
}

/// Names and values, one pair below the other.
pub(super) fn fields(pairs: &[(&str, &str)], width: usize) -> String {
    let names = pairs
        .iter()
        .map(|(name, _)| name.width())
        .max()
        .unwrap_or(0);
    let indent = names + GAP;
    let mut text = String::new();
    for (name, value) in pairs {
        let lines = wrap(value, width.saturating_sub(indent).max(NARROWEST));
        for (at, line) in lines.iter().enumerate() {
            let name = if at == 0 { *name } else { "" };
            let padding = " ".repeat(indent - name.width());
            text += format!("{name}{padding}{line}").trim_end();
            text.push('\n');
        }
    }
    text
}

/// Wraps each line between words, and indents what follows like its beginning. Lines of a diff, of
/// SQL and of commands stay whole, so that they can be copied.
pub(super) fn wrap_lines(text: &str, width: usize) -> String {
    let mut wrapped = String::new();
    for line in text.split_inclusive('\n') {
        let end = if line.ends_with('\n') { "\n" } else { "" };
        let line = line.trim_end_matches('\n');
        let (colour, plain) = styled(line);
        let reset = if colour.is_empty() { "" } else { RESET };
        if plain.width() <= width || stays_whole(plain) {
            wrapped += line;
            wrapped += end;
            continue;
        }
        let body = plain.trim_start_matches([' ', '!']);
        let head = &plain[..plain.len() - body.len()];
        let indent = head.len().max(2 * usize::from(plain.starts_with("  ")));
        for (at, part) in wrap(body, width.saturating_sub(indent).max(NARROWEST))
            .iter()
            .enumerate()
        {
            let blank = " ".repeat(indent);
            let before = if at == 0 { head } else { &blank };
            let newline = if at == 0 { "" } else { "\n" };
            wrapped += &format!("{newline}{colour}{before}{part}{reset}");
        }
        wrapped += end;
    }
    wrapped
}

const RESET: &str = "\x1b[0m";

/// A line that is one style from its beginning to its end, without it.
fn styled(line: &str) -> (&str, &str) {
    let whole = line.strip_suffix(RESET).and_then(|plain| {
        let end = plain.strip_prefix("\x1b[")?.find('m')? + 3;
        Some((&plain[..end], &plain[end..])).filter(|(_, plain)| !plain.contains('\x1b'))
    });
    whole.unwrap_or(("", line))
}

fn stays_whole(line: &str) -> bool {
    let copied = ["pg_dump ", "docker ", "    "];
    line.starts_with(['+', '-', '@'])
        || line.contains('\x1b')
        || copied.iter().any(|text| {
            line.strip_prefix("  ")
                .is_some_and(|line| line.starts_with(text))
        })
}

/// Cuts text into lines between words, and a word that is too long where the line ends.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.split('\n') {
        let mut line = String::new();
        for word in paragraph.split(' ') {
            if !line.is_empty() && line.width() + 1 + word.width() > width {
                lines.push(std::mem::take(&mut line));
            } else if !line.is_empty() {
                line.push(' ');
            }
            for c in word.chars() {
                if line.width() + c.width().unwrap_or(0) > width && !line.is_empty() {
                    lines.push(std::mem::take(&mut line));
                }
                line.push(c);
            }
        }
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Vec<String>> {
        [
            ["1", "001_notes", "2026-11-25 09:51:44", "bot0-daemon"],
            ["2", "002_日本語の名前", "", "someone with a long name"],
        ]
        .map(|row| row.map(str::to_owned).to_vec())
        .to_vec()
    }

    const HEADERS: [&str; 4] = ["version", "name", "applied at", "by"];

    #[test]
    fn columns_line_up_also_with_wide_characters() {
        assert_eq!(
            table(&HEADERS, &rows(), 80),
            "version  name              applied at           by\n\
             1        001_notes         2026-11-25 09:51:44  bot0-daemon\n\
             2        002_日本語の名前                       someone with a long name\n"
        );
    }

    #[test]
    fn the_widest_column_is_wrapped_first() {
        assert_eq!(
            table(&HEADERS, &rows(), 66),
            "version  name              applied at           by\n\
             1        001_notes         2026-11-25 09:51:44  bot0-daemon\n\
             2        002_日本語の名前                       someone with a\n\
             \x20                                               long name\n"
        );
    }

    #[test]
    fn on_a_narrow_terminal_each_row_is_a_block() {
        assert_eq!(
            table(&HEADERS, &rows(), 34),
            "version     1\n\
             name        001_notes\n\
             applied at  2026-11-25 09:51:44\n\
             by          bot0-daemon\n\
             \n\
             version  2\n\
             name     002_日本語の名前\n\
             by       someone with a long name\n"
        );
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for width in 20..120 {
            let all = table(&HEADERS, &rows(), width)
                + &wrap_lines(&"some words of a text ".repeat(20), width);
            for line in all.lines() {
                assert!(line.width() <= width, "{width}: {line}");
            }
        }
    }

    #[test]
    fn lines_keep_their_colour_and_their_indent() {
        assert_eq!(
            wrap_lines("\x1b[31m  ! deletes all rows of it\x1b[0m\nnext\n", 20),
            "\x1b[31m  ! deletes all rows\x1b[0m\n\x1b[31m    of it\x1b[0m\nnext\n"
        );
        let diff = "+  column label text not null default 'a long one'\n";
        assert_eq!(wrap_lines(diff, 20), diff);
    }
}

//! The change of a definition as a unified diff.

use similar::TextDiff;

use super::{Definition, Part, PartKind};

/// How many unchanged lines are shown around a change.
const CONTEXT: usize = 2;

pub(super) fn diff(before: Option<&Definition>, after: Option<&Definition>) -> String {
    let side = |definition: Option<&Definition>| match definition {
        Some(definition) => (
            format!("{} {}", definition.kind, definition.name),
            lines(definition),
        ),
        None => ("/dev/null".to_owned(), String::new()),
    };
    let ((old_name, old), (new_name, new)) = (side(before), side(after));
    let diff = TextDiff::from_lines(&old, &new);
    let text = diff
        .unified_diff()
        .context_radius(CONTEXT)
        .header(&old_name, &new_name)
        .to_string();
    if text.is_empty() {
        // Only the name differs, or the object has no parts.
        return format!("--- {old_name}\n+++ {new_name}\n");
    }
    text
}

fn lines(definition: &Definition) -> String {
    definition.parts.iter().map(line).collect()
}

fn line(part: &Part) -> String {
    let words = match &part.part {
        PartKind::Body => vec![part.definition.trim_end()],
        kind => {
            let name = part.name.as_deref().unwrap_or_default();
            vec![kind.as_str(), name, part.definition.as_str()]
        }
    };
    let words: Vec<_> = words.into_iter().filter(|word| !word.is_empty()).collect();
    words.join(" ") + "\n"
}

//! Which steps go into one request.

use super::Step;

/// How many bytes of SQL go into one request, unless a single version has more. A gateway may refuse
/// a body of more than a megabyte, and quoting makes it longer.
const MOST_BYTES: usize = 512 * 1024;

/// The steps of the next request, at least one of `steps`: one, or as many as fit. One that runs outside a
/// transaction is alone.
pub(crate) fn next_batch(steps: &[Step], several: bool) -> &[Step] {
    if !several {
        return &steps[..steps.len().min(1)];
    }
    let mut bytes = 0;
    let fitting = steps.iter().take_while(|step| {
        bytes += size(step);
        bytes <= MOST_BYTES && !step.is_outside()
    });
    &steps[..fitting.count().max(1).min(steps.len())]
}

fn size(step: &Step) -> usize {
    let files = [step.up(), step.down()];
    files
        .into_iter()
        .flatten()
        .map(|file| file.text().len())
        .sum()
}

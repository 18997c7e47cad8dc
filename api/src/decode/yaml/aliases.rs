//! Whether what aliases stand for stays within bounds, found before anything is expanded.

use std::collections::HashSet;

use super::nodes::{Document, Kind, Place};

/// Up to so many decoded nodes nearly all may come from aliases (`alias_ratio_range_low`).
const NODES_LOW: f64 = 400_000.0;
/// From so many on only a tenth may (`alias_ratio_range_high`).
const NODES_HIGH: f64 = 4_000_000.0;
/// So many nodes may come from aliases whatever their share is.
const ALIASED_MIN: usize = 100;
/// So many nodes may be decoded whatever the share of aliases is.
const DECODED_MIN: usize = 1_000;
/// How many bytes of text aliases may stand for. (Go's strings share their bytes; ours are copied.)
const ALIASED_BYTES_MAX: usize = 4 * crate::decode::BODY_BYTES_MAX;

/// Which share of so many decoded nodes may come from aliases (`allowedAliasRatio`).
fn allowed_share(decoded: f64) -> f64 {
    let (most, least) = (0.99, 0.10);
    most - (most - least) * ((decoded - NODES_LOW) / (NODES_HIGH - NODES_LOW)).clamp(0.0, 1.0)
}

enum Step {
    Visit(Place),
    Leave(Place),
}

/// Walks the document in the order of decoding.
pub(super) fn check(document: &Document, root: Place) -> Result<(), String> {
    if !document.aliases {
        return Ok(());
    }
    let mut steps = vec![Step::Visit(root)];
    let mut inside = HashSet::new();
    let (mut decoded, mut aliased, mut bytes) = (0usize, 0usize, 0usize);
    while let Some(step) = steps.pop() {
        let place = match step {
            Step::Visit(place) => place,
            Step::Leave(place) => {
                inside.remove(&place);
                continue;
            }
        };
        decoded += 1;
        if !inside.is_empty() {
            aliased += 1;
        }
        let share = aliased as f64 / decoded as f64;
        if (aliased > ALIASED_MIN && decoded > DECODED_MIN && share > allowed_share(decoded as f64))
            || bytes > ALIASED_BYTES_MAX
        {
            return Err("document contains excessive aliasing".to_string());
        }
        match &document.nodes[place].kind {
            Kind::Scalar { value, .. } if !inside.is_empty() => bytes += value.len(),
            Kind::Scalar { .. } => {}
            Kind::Sequence(children) | Kind::Mapping(children) => {
                steps.extend(children.iter().rev().map(|&child| Step::Visit(child)));
            }
            Kind::Alias { name, target } => {
                if !inside.insert(place) {
                    return Err(format!("anchor '{name}' value contains itself"));
                }
                steps.push(Step::Leave(place));
                steps.push(Step::Visit(*target));
            }
        }
    }
    Ok(())
}

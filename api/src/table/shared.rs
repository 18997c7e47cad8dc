//! Cells that several kinds have.

use super::Cell::{self, Age, Call, CreatedAt, Int, Name, Text};
use super::cells::{either, list, names};
use super::nodes::{event_count, event_first, event_last, event_source, event_target};

const TEMPLATE: &str = "spec.template.spec.containers";
pub(crate) const TEMPLATE_NAMES: Cell = Call(|o, _| names(list(o, TEMPLATE), "name"));
pub(crate) const TEMPLATE_IMAGES: Cell = Call(|o, _| names(list(o, TEMPLATE), "image"));
pub(crate) const NAME_AND_AGE: &[Cell] = &[Name, Age];
pub(crate) const NAME_AND_CREATION: &[Cell] = &[Name, CreatedAt];

/// What keeps a number of replicas is shown alike, but for how it writes its selector.
pub(crate) const fn replicas(selector: Cell) -> [Cell; 8] {
    let counts = [Int("spec.replicas"), Int("status.replicas"), Int("status.readyReplicas")];
    let [wanted, current, ready] = counts;
    [Name, wanted, current, ready, Age, TEMPLATE_NAMES, TEMPLATE_IMAGES, selector]
}

pub(crate) const EVENT: &[Cell] = &[
    Call(|o, now| event_last(o, now).into()),
    Text("type", ""),
    Text("reason", ""),
    Call(event_target),
    Call(|o, _| either(o, "involvedObject.fieldPath", "regarding.fieldPath").into()),
    Call(event_source),
    Call(|o, _| either(o, "message", "note").trim().into()),
    Call(|o, now| event_first(o, now).into()),
    Call(event_count),
    Name,
];

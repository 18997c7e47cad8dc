//! The kinds of `apps`.

use super::{Kind, Through};
use crate::selector::LabelSelector;
use crate::table::Cell::{Age, Call, Int, Labels, Name, Selector};
use crate::table::cells::at;
use crate::table::objects::{controller, ready_of_wanted};
use crate::table::shared::{TEMPLATE_IMAGES, TEMPLATE_NAMES, replicas};
use crate::validation::{apps, warnings};

pub(super) static KINDS: &[Kind] = &[
    Kind::named("controllerrevisions").validated(apps::controller_revision).cells(&[
        Name,
        Call(controller),
        Int("revision"),
        Age,
    ]),
    Kind::named("daemonsets")
        .validated(apps::daemon_set)
        .through(&[Through::named("status").validated(apps::daemon_set_status)])
        .template(|new| new.at(&["spec", "template"]))
        .cells(&[
            Name,
            Int("status.desiredNumberScheduled"),
            Int("status.currentNumberScheduled"),
            Int("status.numberReady"),
            Int("status.updatedNumberScheduled"),
            Int("status.numberAvailable"),
            Labels("spec.template.spec.nodeSelector"),
            Age,
            TEMPLATE_NAMES,
            TEMPLATE_IMAGES,
            Selector("spec.selector"),
        ]),
    Kind::named("deployments")
        .validated(apps::deployment)
        .through(&[Through::named("status").validated(apps::deployment_status)])
        .warned(warnings::host_name)
        .template(|new| new.at(&["spec", "template"]))
        .cells(&[
            Name,
            Call(ready_of_wanted),
            Int("status.updatedReplicas"),
            Int("status.availableReplicas"),
            Age,
            TEMPLATE_NAMES,
            TEMPLATE_IMAGES,
            Call(|o, _| {
                let selector = LabelSelector::from_object(at(o, "spec.selector"));
                selector.map_or("<invalid>".into(), |s| s.to_string()).into()
            }),
        ]),
    Kind::named("replicasets")
        .validated(apps::replica_set)
        .through(&[Through::named("status").validated(apps::replica_set_status)])
        .warned(warnings::host_name)
        .template(|new| new.at(&["spec", "template"]))
        .cells(&replicas(Selector("spec.selector"))),
    Kind::named("statefulsets")
        .validated(apps::stateful_set)
        .through(&[Through::named("status").validated(apps::stateful_set_status)])
        .warned(warnings::stateful_set)
        .template(|new| new.at(&["spec", "template"]))
        .cells(&[Name, Call(ready_of_wanted), Age, TEMPLATE_NAMES, TEMPLATE_IMAGES]),
];

//! The kinds of `batch`.

use serde_json::Value;

use super::{Kind, Through};
use crate::table::Cell::{Age, Call, Count, Name, Selector, Text};
use crate::table::cells::{at, list, names, text};
use crate::table::objects::{job_completions, job_duration, job_status};
use crate::table::shared::{TEMPLATE_IMAGES, TEMPLATE_NAMES};
use crate::time;
use crate::validation::{batch, warnings};

pub(super) static KINDS: &[Kind] = &[
    Kind::named("cronjobs")
        .validated(batch::cron_job)
        .warned(warnings::cron_job)
        .template(|new| new.at(&["spec", "jobTemplate", "spec", "template"]))
        .cells(&[
            Name,
            Text("spec.schedule", ""),
            Text("spec.timeZone", "<none>"),
            Call(|o, _| {
                at(o, "spec.suspend")
                    .and_then(Value::as_bool)
                    .map_or("<unset>", |s| if s { "True" } else { "False" })
                    .into()
            }),
            Count("status.active"),
            Call(|o, now| match text(o, "status.lastScheduleTime") {
                "" => "<none>".into(),
                last => time::age(Some(last), now).into(),
            }),
            Age,
            Call(|o, _| names(list(o, "spec.jobTemplate.spec.template.spec.containers"), "name")),
            Call(|o, _| names(list(o, "spec.jobTemplate.spec.template.spec.containers"), "image")),
            Selector("spec.jobTemplate.spec.selector"),
        ]),
    Kind::named("jobs")
        .validated(batch::job)
        .through(&[Through::named("status").validated(batch::job_status)])
        .warned(warnings::host_name)
        .template(|new| new.at(&["spec", "template"]))
        .cells(&[
            Name,
            Call(job_status),
            Call(job_completions),
            Call(job_duration),
            Age,
            TEMPLATE_NAMES,
            TEMPLATE_IMAGES,
            Selector("spec.selector"),
        ]),
];

//! What expressions of admission ask of the authorisers (the variable `authorizer`).

use api::admission::{About, Answer, Checks, Question};

use crate::authorization::{Attributes, Decision, decide};
use crate::{Context, RequestInfo};

/// Answers every question that has come up.
pub(crate) async fn answer(ctx: &Context, checks: &Checks) {
    for question in checks.take_open() {
        let answer = ask(ctx, &question).await;
        checks.answer(question, answer);
    }
}

async fn ask(ctx: &Context, question: &Question) -> Answer {
    let (user, info) = (question.user(&ctx.user), RequestInfo::default());
    let nothing = Attributes { verb: &question.verb, ..Attributes::of(&user, &info) };
    let asked = match &question.about {
        About::Path(path) => Attributes { path, ..nothing },
        About::Resource(about) => Attributes {
            namespace: &about.namespace,
            group: &about.group,
            version: "*",
            resource: &about.resource,
            subresource: &about.subresource,
            name: &about.name,
            field_selector: &about.field_selector,
            label_selector: &about.label_selector,
            is_resource_request: true,
            ..nothing
        },
    };
    match decide(asked, &ctx.registry).await {
        Decision::Allow => Answer { allowed: true, ..Answer::default() },
        Decision::Deny(reason) | Decision::NoOpinion(reason) => Answer { reason, ..Answer::default() },
        Decision::Failed { why, .. } => Answer { error: Some(why), ..Answer::default() },
    }
}

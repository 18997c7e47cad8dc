//! Reviews of identities: whose token this is, and who the caller is.

use std::sync::Arc;

use api::{Object, Status};
use futures::future::{BoxFuture, FutureExt};
use serde_json::{Value, json};

use super::Authentication;
use crate::plug::{Creater, Endpoints};
use crate::{Context, clock};

const GROUP: &str = "authentication.k8s.io";

/// Plugs in `TokenReview` and `SelfSubjectReview`.
pub fn endpoints(endpoints: &mut Endpoints, authentication: &Arc<Authentication>) {
    endpoints.creater(GROUP, "tokenreviews", "", Arc::new(TokenReview(authentication.clone())));
    endpoints.creater(GROUP, "selfsubjectreviews", "", Arc::new(SelfSubjectReview));
}

struct TokenReview(Arc<Authentication>);

impl Creater for TokenReview {
    fn create<'a>(&'a self, ctx: &'a Context, _: &'a str, object: Object) -> BoxFuture<'a, Result<Object, Status>> {
        self.review(ctx, object).boxed()
    }
}

impl TokenReview {
    async fn review(&self, ctx: &Context, mut review: Object) -> Result<Object, Status> {
        let token = review.str_at(&["spec", "token"]).to_string();
        if token.is_empty() {
            return Err(Status::bad_request("token is required for TokenReview in authentication"));
        }
        let audiences: Vec<String> = review
            .at(&["spec", "audiences"])
            .and_then(Value::as_array)
            .map(|list| list.iter().filter_map(Value::as_str).map(String::from).collect())
            .unwrap_or_default();
        let status = match self.0.review(&token, &audiences, &ctx.registry).await {
            Ok((known, audiences)) => {
                if let Some(notes) = &known.notes {
                    notes.warnings.iter().for_each(|warning| ctx.warn(warning));
                    for (name, text) in &notes.annotations {
                        ctx.annotate(|| name.clone(), || text.clone());
                    }
                }
                json!({"authenticated": true, "user": *known.user, "audiences": audiences})
            }
            Err(error) => json!({"error": error, "user": {}}),
        };
        review.set(&["status"], status);
        Ok(review)
    }
}

struct SelfSubjectReview;

impl Creater for SelfSubjectReview {
    fn create<'a>(&'a self, ctx: &'a Context, _: &'a str, mut object: Object) -> BoxFuture<'a, Result<Object, Status>> {
        async move {
            object.metadata_mut().insert("creationTimestamp".into(), clock::time(ctx.now).into());
            object.set(&["status"], json!({"userInfo": *ctx.user}));
            Ok(object)
        }
        .boxed()
    }
}

//! Endpoints as their slices tell them.

use k8s_openapi::api::discovery::v1::Endpoint;

/// Whether traffic may be led to an endpoint. One that does not say is ready (`EndpointConditions.Ready`).
pub(crate) fn is_ready(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::discovery::v1::EndpointConditions;

    use super::*;

    #[test]
    fn who_does_not_say_is_ready() {
        let of = |conditions| is_ready(&Endpoint { conditions, ..Endpoint::default() });
        let says = |ready| of(Some(EndpointConditions { ready, serving: Some(true), terminating: Some(false) }));
        assert_eq!([of(None), says(None), says(Some(true)), says(Some(false))], [true, true, true, false]);
    }
}

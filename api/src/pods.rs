//! Rules about pods that the API server and the components share (`k8s.io/component-helpers/resource`, `pkg/api/v1/pod`),
//! each once for JSON and typed pods.

mod claims;
mod held;
mod named;
mod quality;
mod resources;
mod state;
mod view;

pub use claims::{VolumeView, claim_of};
pub use held::{held_json, held_spec};
pub use named::{config_map_names, secret_names};
pub use quality::{QosClass, effective_quality, quality};
pub use resources::{Amounts, Half, amounts, containers_together, has_whole, limits, read, requests, requests_with};
pub use state::{
    available_in, condition, is_active, is_available, is_ready, is_terminal, is_terminal_phase, is_terminating, phase,
    ready_since,
};
pub use view::{ContainerView, List, PodView, Resources, SpecView, is_sidecar};

#[cfg(test)]
mod tests;

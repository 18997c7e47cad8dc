//! Rules about workloads that the API server and the documents share.

/// The annotation that counts the changes of a daemon set's template (`DeprecatedTemplateGeneration`); the reference's internal
/// type has a field for it.
pub const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

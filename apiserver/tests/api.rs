//! The server's own tests: requests through the tower service against a store in memory.

#[path = "api/aggregation.rs"]
mod aggregation;
#[path = "api/answers.rs"]
mod answers;
#[path = "api/clock.rs"]
mod clock;
#[path = "api/connections.rs"]
mod connections;
#[path = "api/definitions.rs"]
mod definitions;
#[path = "api/elsewhere.rs"]
mod elsewhere;
#[path = "api/failing_store.rs"]
mod failing_store;
#[path = "api/fairness.rs"]
mod fairness;
#[path = "api/flow_control.rs"]
mod flow_control;
#[path = "api/front_proxy.rs"]
mod front_proxy;
#[path = "api/harness.rs"]
mod harness;
#[path = "api/hostile.rs"]
mod hostile;
#[path = "api/identity.rs"]
mod identity;
#[path = "api/large.rs"]
mod large;
#[path = "api/levels.rs"]
mod levels;
#[path = "api/lists.rs"]
mod lists;
#[path = "api/rights.rs"]
mod rights;
#[path = "api/versions.rs"]
mod versions;
#[path = "api/watches.rs"]
mod watches;
#[path = "api/wire.rs"]
mod wire;
#[path = "api/writes.rs"]
mod writes;

//! What is counted of devices (`DRAOperationsDuration`, `DRAGRPCOperationsDuration`).

use std::time::Duration;

use metrics::{Histogram, families};

families! {
    /// Calls of drivers, and what pods waited for them.
    pub struct Figures {
        operations: Histogram = "dra_operations_duration_seconds" ["operation_name", "is_error"] 8;
        calls: Histogram = "dra_grpc_operations_duration_seconds" ["driver_name", "method_name", "grpc_status_code"] 256;
    }
}

impl Figures {
    /// The claims of a pod were prepared or given back, or could not be.
    pub(super) fn worked(&self, operation: &str, ok: bool, took: Duration) {
        let is_error = if ok { "false" } else { "true" };
        self.operations.with([operation, is_error], |durations| durations.observe(took.as_secs_f64()));
    }

    /// A driver has answered a call.
    pub(super) fn called(&self, driver: &str, method: &str, code: tonic::Code, took: Duration) {
        let code = if code == tonic::Code::Ok { "OK".to_owned() } else { format!("{code:?}") };
        self.calls.with([driver, method, &code], |durations| durations.observe(took.as_secs_f64()));
    }
}

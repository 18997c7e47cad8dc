//! What a Kubernetes object is: the catalogue of resources, the schema engine, merge and apply,
//! selectors, quantities, and `Status`.
//!
//! Nothing here does I/O, is async, reads a clock or draws a random number.

pub mod admission;
pub mod apply;
pub mod catalogue;
mod cel;
pub mod conditions;
pub mod convert;
pub mod crd;
pub mod cron;
pub mod decode;
pub mod defaults;
pub mod diff;
pub mod discovery;
pub mod field;
mod formats;
pub mod go;
pub mod identity;
pub mod json;
pub mod jsonpath;
pub mod kinds;
pub mod legacy_tokens;
pub mod names;
pub mod object;
pub mod openapi;
#[cfg(test)]
mod order;
pub mod patch;
pub mod pod_security;
pub mod pods;
mod prose;
pub mod protobuf;
pub mod quantity;
pub mod quota;
#[cfg(test)]
mod reference;
pub mod resources;
pub mod schema;
pub mod selector;
pub mod services;
pub mod status;
pub mod table;
pub mod time;
pub mod user;
pub mod validation;
pub mod volumes;
pub mod workloads;
pub mod yaml;
pub mod zpages;

pub use cel::device_selector;
pub use object::Object;
pub use status::Status;
pub use user::UserInfo;

/// The version of Kubernetes whose API this is.
pub const VERSION: &str = "v1.36.0";

/// Its major and minor number alone, such as `1.36`.
pub fn major_and_minor() -> &'static str {
    let version = VERSION.trim_start_matches('v');
    version.rsplit_once('.').map_or(version, |(start, _)| start)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_version_has_three_parts() {
        assert_eq!(format!("v{}.0", super::major_and_minor()), super::VERSION);
        assert_eq!(super::major_and_minor().split('.').filter(|part| part.parse::<u8>().is_ok()).count(), 2);
    }
}

//! The flags of how many requests are served at once.

use apiserver::chain::inflight::{self, InflightLimits};
use clap::ArgAction;

use crate::error::Error;

/// How many requests are served at once. The names are kube-apiserver's.
#[derive(clap::Args, Debug, Clone)]
pub(super) struct InflightFlags {
    /// How many requests that change nothing are served at once; the sum of this and --max-mutating-requests-inflight is
    /// divided among priority levels.
    #[arg(long, value_name = "COUNT", default_value_t = inflight::READING_MAX)]
    max_requests_inflight: usize,
    /// How many requests that change something are served at once.
    #[arg(long, value_name = "COUNT", default_value_t = inflight::MUTATING_MAX)]
    max_mutating_requests_inflight: usize,
    /// Divides places among requests by FlowSchemas and PriorityLevelConfigurations. Without it each of the two limits
    /// counts by itself, zero is none, and nobody waits.
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set, num_args = 0..=1,
        default_missing_value = "true", require_equals = true)]
    enable_priority_and_fairness: bool,
}

impl InflightFlags {
    /// What they ask for.
    ///
    /// # Errors
    /// What makes no sense (`ApplyTo` of `FeatureOptions` in apiserver's `server/options`).
    pub(super) fn limits(&self) -> Result<InflightLimits, Error> {
        let (reading, mutating) = (self.max_requests_inflight, self.max_mutating_requests_inflight);
        let fair = self.enable_priority_and_fairness;
        if fair && (reading, mutating) == (0, 0) {
            return Err(Error::usage(
                "--max-requests-inflight and --max-mutating-requests-inflight: they must add up to something positive",
            ));
        }
        Ok(InflightLimits { reading, mutating, fair })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        inflight: InflightFlags,
    }

    #[test]
    fn limits_of_requests_are_read_as_the_reference_does() {
        let read = |words: &[&str]| {
            let flags = Flags::try_parse_from(["coracle"].iter().chain(words)).unwrap().inflight;
            flags.limits().map(|limits| (limits.reading, limits.mutating, limits.fair)).map_err(|e| e.to_string())
        };
        assert_eq!(read(&[]), Ok((400, 200, true)));
        let off = ["--enable-priority-and-fairness=false", "--max-requests-inflight=0"];
        assert_eq!(read(&[off[0], off[1], "--max-mutating-requests-inflight", "3"]), Ok((0, 3, false)));
        assert!(read(&[off[1], "--max-mutating-requests-inflight=0"]).unwrap_err().contains("something positive"));
        assert_eq!(read(&["--enable-priority-and-fairness"]), Ok((400, 200, true)));
        assert!(Flags::try_parse_from(["coracle", "--max-requests-inflight=-1"]).is_err());
    }
}

//! What drivers say of the health of their devices (`healthInfoCache`). It is not kept over a restart of the agent: drivers
//! tell it again when they are asked, and until then it is not known.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use client::Clock;
use parking_lot::Mutex;

use super::calls::{DeviceHealth, HealthReport};

/// For how long a report holds that does not say (`DefaultHealthTimeout`).
const HOLDS: Duration = Duration::from_secs(30);
/// Longest message that is told (`ResourceHealthMessageMaxLength`).
const MESSAGE_BYTES_MAX: usize = 1_024;
/// The most devices of a driver that are remembered.
const DEVICES_MAX: usize = 4_096;

/// The health of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// `Healthy`, `Unhealthy` or `Unknown`.
    pub health: &'static str,
    /// More of it, for people.
    pub message: Option<String>,
    at: Duration,
    holds: Duration,
}

type Devices = HashMap<(String, String), Told>;
type Changed = Arc<dyn Fn(&str, &[(String, String)]) + Send + Sync>;

/// What drivers said last.
#[derive(Clone)]
pub struct Health {
    clock: Clock,
    by_driver: Arc<Mutex<HashMap<String, Devices>>>,
    changed: Changed,
}

impl Health {
    /// Nothing is known yet; `changed` is told which devices of a driver have changed.
    pub fn new(clock: Clock, changed: impl Fn(&str, &[(String, String)]) + Send + Sync + 'static) -> Self {
        Self { clock, by_driver: Arc::default(), changed: Arc::new(changed) }
    }

    /// The health of a device, unknown if nothing was said of it lately.
    pub fn of(&self, driver: &str, pool: &str, device: &str) -> Told {
        let now = self.clock.elapsed();
        let by_driver = self.by_driver.lock();
        let told = by_driver.get(driver).and_then(|devices| devices.get(&(pool.to_owned(), device.to_owned())));
        let fresh = told.filter(|told| now.saturating_sub(told.at) <= told.holds);
        fresh.cloned().unwrap_or(Told { health: "Unknown", message: None, at: now, holds: HOLDS })
    }

    /// Takes in a report.
    pub(super) fn note(&self, driver: &str, report: HealthReport) {
        let now = self.clock.elapsed();
        let mut changed = Vec::new();
        {
            let mut by_driver = self.by_driver.lock();
            let devices = by_driver.entry(driver.to_owned()).or_default();
            for reported in report.devices {
                let Some(id) = reported.device.clone() else { continue };
                let (key, told) = ((id.pool_name, id.device_name), told(reported, now));
                let is_same =
                    |old: &Told| (old.health, &old.message, old.holds) == (told.health, &told.message, told.holds);
                if devices.len() >= DEVICES_MAX && !devices.contains_key(&key) {
                    continue;
                }
                if !devices.get(&key).is_some_and(is_same) {
                    changed.push(key.clone());
                }
                devices.insert(key, told);
            }
            for (key, told) in devices.iter_mut() {
                if told.health != "Unknown" && now.saturating_sub(told.at) > told.holds {
                    (told.health, told.message) = ("Unknown", None);
                    changed.push(key.clone());
                }
            }
        }
        if !changed.is_empty() {
            (self.changed)(driver, &changed);
        }
    }

    /// The driver says nothing any more.
    pub(super) fn forget(&self, driver: &str) {
        let devices = self.by_driver.lock().remove(driver).unwrap_or_default();
        let changed: Vec<(String, String)> = devices.into_keys().collect();
        if !changed.is_empty() {
            (self.changed)(driver, &changed);
        }
    }
}

fn told(reported: DeviceHealth, now: Duration) -> Told {
    let health = match reported.health {
        1 => "Healthy",
        2 => "Unhealthy",
        _ => "Unknown",
    };
    let seconds = u64::try_from(reported.health_check_timeout_seconds).ok().filter(|seconds| *seconds > 0);
    let mut message = reported.message;
    if message.len() > MESSAGE_BYTES_MAX {
        message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX - 3));
        message.push_str("...");
    }
    let message = Some(message).filter(|message| !message.is_empty());
    Told { health, message, at: now, holds: seconds.map_or(HOLDS, Duration::from_secs) }
}

#[cfg(test)]
mod tests {
    use super::super::calls::DeviceIdentifier;
    use super::*;

    #[test]
    fn what_was_said_holds_for_a_while() {
        let clock = Clock::manual(jiff::Timestamp::UNIX_EPOCH);
        let count = Arc::new(Mutex::new(0));
        let counted = count.clone();
        let health = Health::new(clock.clone(), move |_, changed| *counted.lock() += changed.len());
        let report = |state: i32, message: &str| HealthReport {
            devices: vec![DeviceHealth {
                device: Some(DeviceIdentifier { pool_name: "p".into(), device_name: "d".into() }),
                health: state,
                last_updated_time: 0,
                health_check_timeout_seconds: 5,
                message: message.into(),
            }],
        };
        health.note("driver", report(2, "hot"));
        health.note("driver", report(2, "hot"));
        assert_eq!(*count.lock(), 1, "what is no news is told to nobody");
        let told = health.of("driver", "p", "d");
        assert_eq!((told.health, told.message.as_deref()), ("Unhealthy", Some("hot")));
        clock.advance(Duration::from_secs(6));
        assert_eq!(health.of("driver", "p", "d").health, "Unknown");
        health.note("driver", report(1, &"é".repeat(600)));
        let message = health.of("driver", "p", "d").message.expect("a message");
        assert!(message.len() <= MESSAGE_BYTES_MAX && message.ends_with("..."));
        health.forget("driver");
        assert_eq!((health.of("driver", "p", "d").health, *count.lock()), ("Unknown", 3));
    }
}

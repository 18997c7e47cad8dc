//! How often something elsewhere is asked again (`WithExponentialBackoff` in apiserver's `util/webhook`).

use std::time::Duration;

use super::{RemoteError, Reply};
use crate::clock::Clock;

/// How often it is asked at most.
pub const ATTEMPTS_MAX: u32 = 5;
/// How long is waited before it is asked for the second time; each further wait is half as long again.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const FACTOR: f64 = 1.5;
/// By how much a wait may be longer.
const JITTER: f64 = 0.2;

/// Waits, one after the other.
pub struct Waits {
    next: Duration,
    left: u32,
}

impl Default for Waits {
    fn default() -> Self {
        Self { next: FIRST_WAIT, left: ATTEMPTS_MAX - 1 }
    }
}

impl Waits {
    /// Waits before another attempt; false if there is none.
    pub async fn wait(&mut self, clock: &dyn Clock) -> bool {
        let Some(left) = self.left.checked_sub(1) else { return false };
        let mut random = [0; 2];
        clock.random(&mut random);
        let jitter = 1.0 + JITTER * f64::from(u16::from_le_bytes(random)) / f64::from(u16::MAX);
        tokio::time::sleep(self.next.mul_f64(jitter)).await;
        (self.next, self.left) = (self.next.mul_f64(FACTOR), left);
        true
    }
}

/// Whether it may be otherwise the next time (`DefaultShouldRetry`).
pub fn may_pass(outcome: &Result<Reply, RemoteError>) -> bool {
    match outcome {
        Ok(reply) => matches!(reply.status.as_u16(), 429 | 500 | 504) || reply.says_when_to_retry(),
        Err(error) => matches!(error, RemoteError::Reset(_)),
    }
}

/// What an answer says that is no success, in the words of the reference's client (`NewGenericServerResponse`).
pub fn refusal(reply: &Reply) -> String {
    let said: Option<serde_json::Value> = serde_json::from_slice(&reply.body).ok();
    let said = said.filter(|status| status["kind"] == "Status");
    if let Some(message) = said.as_ref().and_then(|status| status["message"].as_str()).filter(|text| !text.is_empty()) {
        return message.to_string();
    }
    let text = String::from_utf8_lossy(&reply.body);
    let text = text.chars().take(1024).collect::<String>();
    let shown = if text.trim().is_empty() { "unknown".to_string() } else { text.trim().to_string() };
    match reply.status.as_u16() {
        400 => "the server rejected our request for an unknown reason".into(),
        401 => "Unauthorized".into(),
        403 => format!("forbidden: {shown}"),
        404 => "the server could not find the requested resource".into(),
        405 => "the server does not allow this method on the requested resource".into(),
        409 => "the server reported a conflict".into(),
        422 => "the server rejected our request due to an error in our request".into(),
        429 => "the server has received too many requests and has asked us to try again later".into(),
        503 => "the server is currently unable to handle the request".into(),
        504 => format!(
            "the server was unable to return a response in the time allotted, but may still be processing the request ({shown})"
        ),
        500.. => format!("an error on the server ({shown:?}) has prevented the request from succeeding"),
        code => format!("the server responded with the status code {code} but did not return more information"),
    }
}

//! Renewing certificates while they are in use.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Pki;
use crate::clock::Clock;

/// How often it is looked whether a certificate is due. So soon after the machine's clock was set they fit it again.
pub const LOOK_INTERVAL: Duration = Duration::from_secs(10);

/// Renews what is due by `clock` until `stop` is cancelled, and calls `renewed` with the names each time. The authority
/// itself is valid for ten years and is not renewed: when a clock says that it is not valid, that is told.
pub async fn follow(pki: Arc<Pki>, clock: Arc<dyn Clock>, renewed: impl Fn(&[String]), stop: CancellationToken) {
    let mut was_valid = true;
    loop {
        let now = clock.now();
        let is_valid = pki.authority_holds(now);
        if was_valid && !is_valid {
            tracing::error!(%now, "the certificate authority is not valid at this time, so nothing that it signed is");
        }
        was_valid = is_valid;
        let names = pki.renew(now);
        if !names.is_empty() {
            tracing::info!(certificates = names.join(", "), "renewed");
            renewed(&names);
        }
        if stop.run_until_cancelled(tokio::time::sleep(LOOK_INTERVAL)).await.is_none() {
            return;
        }
    }
}

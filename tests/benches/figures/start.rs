//! Starting, and doing nothing.

use std::time::Duration;

use crate::measure::{Bar, Figures, Round};
use crate::server::Server;
use crate::{Failure, ROUNDS};

/// How long after its start a server is idle.
pub(crate) const SETTLED_AFTER: Duration = Duration::from_secs(5);
/// How long idleness is looked at.
const IDLE: Duration = Duration::from_secs(60);

/// From exec to `/readyz` with an empty store, and the memory then.
pub(crate) async fn first(figures: &mut Figures) -> Result<(), Failure> {
    let (mut first, mut cpu, mut memory) = (Round::new("ms"), Round::new("ms"), Round::new("MB"));
    for _ in 0..ROUNDS {
        let server = Server::start(&["--disable-agent"]).await?;
        first.add(server.ready_ms());
        cpu.add(server.ready_cpu_ms());
        tokio::time::sleep(SETTLED_AFTER).await;
        memory.add(server.resident_mb()?);
        server.stop().await?;
    }
    figures.row("exec to /readyz, first start", Bar::AtMost(100.0), &first);
    figures.row("  CPU of the server until then", Bar::None, &cpu);
    figures.row("resident memory, control plane idle", Bar::AtMost(30.0), &memory);
    Ok(())
}

/// What an idle control plane costs in a minute.
pub(crate) async fn idle(figures: &mut Figures) -> Result<(), Failure> {
    let server = Server::start(&["--disable-agent"]).await?;
    tokio::time::sleep(SETTLED_AFTER).await;
    let (mut share, mut bytes) = (Round::new("%"), Round::new("bytes"));
    for _ in 0..ROUNDS {
        let (cpu, written) = (server.cpu()?, server.written()?);
        tokio::time::sleep(IDLE / ROUNDS as u32).await;
        share.add((server.cpu()? - cpu).as_secs_f64() / IDLE.as_secs_f64() * ROUNDS as f64 * 100.0);
        bytes.add((server.written()? - written) as f64);
    }
    figures.row("CPU of an idle control plane, 3 × 20 s", Bar::AtMost(0.3), &share);
    figures.row("  bytes written meanwhile (leases only)", Bar::None, &bytes);
    server.stop().await
}

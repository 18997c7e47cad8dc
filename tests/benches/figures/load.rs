//! Load: many requests on some connections, and what they took.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::Failure;
use crate::http::{Call, Connection};
use crate::measure::Round;
use crate::server::{Server, TOKEN};

/// Measures one load round by round: how many a second, and the server's CPU for each.
pub(crate) struct Rate {
    pub per_second: Round,
    pub cpu: Round,
    pub latency: Round,
}

impl Rate {
    pub(crate) fn new() -> Self {
        Self { per_second: Round::new("/s"), cpu: Round::new("µs"), latency: Round::new("ms") }
    }

    /// Makes `count` requests on `connections` connections, each as `make` says, and adds what was seen.
    pub(crate) async fn round(
        &mut self,
        server: &Server,
        connections: usize,
        count: usize,
        make: impl Fn(usize) -> Call + Send + Sync + 'static,
    ) -> Result<(), Failure> {
        self.round_of(server, TOKEN, connections, count, make).await
    }

    /// The same as the user who has a token.
    pub(crate) async fn round_of(
        &mut self,
        server: &Server,
        token: &'static str,
        connections: usize,
        count: usize,
        make: impl Fn(usize) -> Call + Send + Sync + 'static,
    ) -> Result<(), Failure> {
        let cpu = server.cpu()?;
        let begin = Instant::now();
        let latencies = each_of(server, token, connections, count, make).await?;
        self.per_second.add(count as f64 / begin.elapsed().as_secs_f64());
        self.cpu.add((server.cpu()? - cpu).as_secs_f64() * 1e6 / count as f64);
        for latency in latencies {
            self.latency.add(latency.as_secs_f64() * 1e3);
        }
        Ok(())
    }
}

/// Makes requests 0 to `count` on `connections` connections; gives how long each took.
pub(crate) async fn each(
    server: &Server,
    connections: usize,
    count: usize,
    make: impl Fn(usize) -> Call + Send + Sync + 'static,
) -> Result<Vec<Duration>, Failure> {
    each_of(server, TOKEN, connections, count, make).await
}

async fn each_of(
    server: &Server,
    token: &'static str,
    connections: usize,
    count: usize,
    make: impl Fn(usize) -> Call + Send + Sync + 'static,
) -> Result<Vec<Duration>, Failure> {
    let make = Arc::new(make);
    let mut workers = JoinSet::new();
    for worker in 0..connections {
        let (make, mut connection) = (make.clone(), Connection::of(server.port, token).await?);
        workers.spawn(async move {
            let mut latencies = Vec::with_capacity(count / connections + 1);
            for number in (worker..count).step_by(connections) {
                let call = make(number);
                let start = Instant::now();
                connection.call(call).await?;
                latencies.push(start.elapsed());
            }
            Ok::<_, Failure>(latencies)
        });
    }
    let mut latencies = Vec::with_capacity(count);
    while let Some(worker) = workers.join_next().await {
        latencies.extend(worker??);
    }
    Ok(latencies)
}

//! A thousand nodes that nobody runs, and five thousand pods for them.

use std::time::Instant;

use crate::http::{Call, Connection, Lines};
use crate::load::each;
use crate::measure::{Bar, Figures, Round};
use crate::objects::{self, path};
use crate::server::Server;
use crate::{Failure, ROUNDS};

const NODES: usize = 1_000;
const PODS: usize = 5_000;
const CONNECTIONS: usize = 16;

pub(crate) async fn bound(figures: &mut Figures) -> Result<(), Failure> {
    let (mut bound, mut cpu) = (Round::new("pods/s"), Round::new("µs"));
    for _ in 0..ROUNDS {
        let server = Server::start(&["--disable-agent"]).await?;
        server.prepare().await?;
        nodes(&server).await?;
        let before = server.cpu()?;
        bound.add(round(&server).await?);
        cpu.add((server.cpu()? - before).as_secs_f64() * 1e6 / PODS as f64);
        server.stop().await?;
    }
    figures.row("1 000 nodes, 5 000 pods created to all bound", Bar::AtLeast(2_000.0), &bound);
    figures.row("  CPU of the server for each", Bar::None, &cpu);
    Ok(())
}

fn node_name(number: usize) -> String {
    format!("node-{number:04}")
}

async fn nodes(server: &Server) -> Result<(), Failure> {
    let make = |n: usize| Call::post("/api/v1/nodes", objects::node(&node_name(n)));
    each(server, CONNECTIONS, NODES, make).await?;
    // A node starts with the taint of one that is not ready; here nobody runs to take it away.
    let untaint = |n: usize| {
        let path = format!("/api/v1/nodes/{}", node_name(n));
        Call::patch(path, "application/merge-patch+json", &br#"{"spec":{"taints":null}}"#[..])
    };
    each(server, CONNECTIONS, NODES, untaint).await?;
    Ok(())
}

/// Pods a second, from the first create to the last binding.
async fn round(server: &Server) -> Result<f64, Failure> {
    let mut connection = Connection::open(server).await?;
    let watch = path("pods?watch=1&fieldSelector=spec.nodeName!%3D");
    let mut lines = Lines::of(connection.send(Call::get(watch)).await?);
    let begin = Instant::now();
    let create = |n: usize| Call::post(path("pods"), objects::pod(&format!("p-{n}"), false));
    let bound = async {
        let mut bound = 0;
        while bound < PODS {
            lines.read(|line| bound += usize::from(line.starts_with(b"{\"type\":\"ADDED\""))).await?;
        }
        Ok::<_, Failure>(begin.elapsed())
    };
    let (created, bound) = tokio::join!(each(server, CONNECTIONS, PODS, create), bound);
    created?;
    Ok(PODS as f64 / bound?.as_secs_f64())
}

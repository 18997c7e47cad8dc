//! Creates, reads, lists and watches with many pods.

use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::http::{Call, Connection, Lines};
use crate::load::Rate;
use crate::measure::{self, Bar, Figures, Round};
use crate::objects::{self, path};
use crate::server::Server;
use crate::start::SETTLED_AFTER;
use crate::{Failure, PODS, ROUNDS};

/// Creates on one connection in a round.
const ALONE: usize = 100;
/// How many connections the figures name.
const CONNECTIONS: usize = 64;
/// Reads in a round.
const GETS: usize = 60_000;
/// Lists in all.
const LISTS: usize = 7;
/// How often the disk is asked in a round.
const SYNCS: usize = 30;
const WATCHERS: usize = 1_000;
const EVENTS: usize = 200;

pub(crate) async fn all(figures: &mut Figures) -> Result<(), Failure> {
    // Without controllers, so that the pods stay as they are made.
    let server = Server::start(&["--disable-agent", "--disable-controllers"]).await?;
    server.prepare().await?;
    creates(figures, &server).await?;
    let mut memory = Round::new("MB");
    memory.add(server.resident_mb()?);
    figures.row("resident memory after 12 000 creates, no controllers", Bar::None, &memory);
    reads(figures, &server).await?;
    watchers(figures, &server).await?;
    restarts(figures, server).await
}

async fn creates(figures: &mut Figures, server: &Server) -> Result<(), Failure> {
    let directory = tempfile::tempdir()?;
    let mut syncs = Round::new("ms");
    let (mut alone, mut many) = (Rate::new(), Rate::new());
    let each = (PODS - ALONE * ROUNDS) / ROUNDS;
    for round in 0..ROUNDS {
        for _ in 0..SYNCS {
            syncs.add(measure::fdatasync_ms(directory.path())?);
        }
        let make = move |n: usize| Call::post(path("pods"), objects::pod(&format!("one-{round}-{n}"), true));
        alone.round(server, 1, ALONE, make).await?;
        let make = move |n: usize| Call::post(path("pods"), objects::pod(&format!("many-{round}-{n}"), true));
        many.round(server, CONNECTIONS, each, make).await?;
    }
    figures.row("fdatasync of 4 KB on this disk", Bar::None, &syncs);
    // The bar is 2 × fdatasync + 0.3 ms.
    let bar = Bar::AtMost(2.0 * syncs.median() + 0.3);
    figures.row("durable create of a pod, 1 connection", bar, &alone.latency);
    figures.row("  CPU of the server for each", Bar::None, &alone.cpu);
    figures.row("durable create of a pod, 64 connections", Bar::AtLeast(8_000.0), &many.per_second);
    figures.row("  CPU of the server for each", Bar::None, &many.cpu);
    Ok(())
}

async fn reads(figures: &mut Figures, server: &Server) -> Result<(), Failure> {
    let mut connection = Connection::open(server).await?;
    let one = path("pods/one-0-0");
    let size = connection.call(Call::get(one.clone())).await?.len();
    let mut gets = Rate::new();
    for _ in 0..ROUNDS {
        let one = one.clone();
        gets.round(server, CONNECTIONS, GETS, move |_| Call::get(one.clone())).await?;
    }
    let name = format!("GET of one pod ({size} bytes), 64 TLS connections");
    figures.row(&name, Bar::AtLeast(25_000.0), &gets.per_second);
    figures.row("  CPU of the server for each", Bar::None, &gets.cpu);
    let (mut lists, mut cpu) = (Round::new("ms"), Round::new("ms"));
    let (mut bytes, begin) = (0, server.cpu()?);
    for _ in 0..LISTS {
        let start = Instant::now();
        bytes = connection.size(Call::get("/api/v1/pods")).await?;
        lists.add(start.elapsed().as_secs_f64() * 1e3);
    }
    cpu.add((server.cpu()? - begin).as_secs_f64() * 1e3 / LISTS as f64);
    figures.row(&format!("LIST of 12 000 pods ({} MB)", bytes / 1_000_000), Bar::AtMost(60.0), &lists);
    figures.row("  CPU of the server for each", Bar::None, &cpu);
    Ok(())
}

async fn watchers(figures: &mut Figures, server: &Server) -> Result<(), Failure> {
    let (mut deliveries, mut cpu) = (Round::new("/s"), Round::new("µs"));
    for round in 0..ROUNDS {
        let before = server.cpu()?;
        deliveries.add(watch_round(server, round).await?);
        cpu.add((server.cpu()? - before).as_secs_f64() * 1e6 / (WATCHERS * EVENTS) as f64);
    }
    figures.row("1 000 watchers × 200 events, deliveries", Bar::AtLeast(70_000.0), &deliveries);
    figures.row("  CPU of the server for each, connecting included", Bar::None, &cpu);
    Ok(())
}

/// Deliveries a second: many watch one namespace's config maps while some of them are created.
async fn watch_round(server: &Server, round: usize) -> Result<f64, Failure> {
    let mut connection = Connection::open(server).await?;
    let list: Value = serde_json::from_slice(&connection.call(Call::get(path("configmaps?limit=1"))).await?)?;
    let version = list["metadata"]["resourceVersion"].as_str().unwrap_or("0").to_string();
    let ready = Arc::new(Barrier::new(WATCHERS + 1));
    let mut workers = JoinSet::new();
    for _ in 0..WATCHERS {
        let (port, version, ready) = (server.port, version.clone(), ready.clone());
        workers.spawn(async move {
            let mut connection = Connection::to(port).await?;
            let watch = path(&format!("configmaps?watch=1&resourceVersion={version}"));
            let mut lines = Lines::of(connection.send(Call::get(watch)).await?);
            ready.wait().await;
            let mut seen = 0;
            while seen < EVENTS {
                lines.read(|_| seen += 1).await?;
            }
            Ok::<_, Failure>(())
        });
    }
    ready.wait().await;
    let begin = Instant::now();
    for number in 0..EVENTS {
        let map = serde_json::json!({"metadata": {"name": format!("event-{round}-{number}")},
            "data": {"k": "v".repeat(200)}});
        connection.call(Call::post(path("configmaps"), map.to_string())).await?;
    }
    while let Some(worker) = workers.join_next().await {
        worker??;
    }
    Ok((WATCHERS * EVENTS) as f64 / begin.elapsed().as_secs_f64())
}

/// Starting with many pods stored, with the controllers that then read them.
async fn restarts(figures: &mut Figures, server: Server) -> Result<(), Failure> {
    let (mut again, mut cpu, mut memory) = (Round::new("ms"), Round::new("ms"), Round::new("MB"));
    let mut server = server;
    for _ in 0..ROUNDS {
        server = server.restart(&["--disable-agent"]).await?;
        again.add(server.ready_ms());
        cpu.add(server.ready_cpu_ms());
        tokio::time::sleep(2 * SETTLED_AFTER).await;
        memory.add(server.resident_mb()?);
    }
    figures.row("exec to /readyz with 12 000 pods stored", Bar::AtMost(200.0), &again);
    figures.row("  CPU of the server until then", Bar::None, &cpu);
    figures.row("resident memory, control plane with 12 000 pods", Bar::AtMost(120.0), &memory);
    server.stop().await
}

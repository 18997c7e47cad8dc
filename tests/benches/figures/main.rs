//! The figures of the project, measured: `cargo xtask bench`. Prints a table; nothing here is a timed test.

mod http;
mod measure;
mod server;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use measure::{Figures, Round};
use server::Server;

/// How many pods the large figures use.
const PODS: usize = 12_000;
/// Rounds of each repeated figure.
const ROUNDS: usize = 3;

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime starts");
    let wanted = std::env::args().skip(1).find(|word| !word.starts_with('-')).unwrap_or_default();
    match runtime.block_on(run(&wanted)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("bench: {failure}");
            ExitCode::FAILURE
        }
    }
}

async fn run(wanted: &str) -> Result<(), Failure> {
    let mut figures = Figures::new(wanted);
    let directory = tempfile::tempdir()?;
    let mut syncs = Round::new("ms");
    for _ in 0..50 {
        syncs.add(measure::fdatasync_ms(directory.path())?);
    }
    figures.row("fdatasync of 4 KB on this disk", "", &syncs);
    start_up(&mut figures).await?;
    control_plane(&mut figures).await?;
    if figures.wants("bound") {
        scheduling(&mut figures).await?;
    }
    if figures.wants("idle") {
        idle(&mut figures).await?;
    }
    Ok(())
}

/// From exec to `/readyz`, with an empty store.
async fn start_up(figures: &mut Figures) -> Result<(), Failure> {
    if !figures.wants("start") {
        return Ok(());
    }
    let (mut first, mut memory) = (Round::new("ms"), Round::new("MB"));
    for _ in 0..ROUNDS {
        let server = Server::start(&["--disable-agent"]).await?;
        first.add(server.ready_ms());
        tokio::time::sleep(Duration::from_secs(2)).await;
        memory.add(server.resident_mb()?);
        server.stop().await?;
    }
    figures.row("exec to /readyz, first start", "≤ 100 ms", &first);
    figures.row("resident memory, control plane idle", "≤ 30 MB", &memory);
    Ok(())
}

/// Creates, reads, lists and watches with many pods.
async fn control_plane(figures: &mut Figures) -> Result<(), Failure> {
    if !["create", "get", "list", "watch", "memory"].iter().any(|name| figures.wants(name)) {
        return Ok(());
    }
    // Without controllers, so that the pods stay as they are made.
    let server = Server::start(&["--disable-agent", "--disable-controllers"]).await?;
    server.prepare().await?;
    let (mut one, mut cpu_one) = (Round::new("ms"), Round::new("µs"));
    for round in 0..ROUNDS {
        let before = server.cpu()?;
        for latency in http::creates(&server, 1, 100, &format!("one-{round}")).await?.latencies {
            one.add(latency.as_secs_f64() * 1e3);
        }
        cpu_one.add((server.cpu()? - before).as_secs_f64() * 1e6 / 100.0);
    }
    figures.row("durable create of a pod, 1 connection", "p50 ≤ 2 fdatasync + 0.3 ms", &one);
    figures.row("  CPU of the server for each", "", &cpu_one);
    let (mut many, mut cpu_many) = (Round::new("/s"), Round::new("µs"));
    for round in 0..ROUNDS {
        let before = server.cpu()?;
        let load = http::creates(&server, 64, (PODS - 300) / ROUNDS, &format!("many-{round}")).await?;
        many.add(load.per_second());
        cpu_many.add((server.cpu()? - before).as_secs_f64() * 1e6 / load.latencies.len() as f64);
    }
    figures.row("durable create of a pod, 64 connections", "≥ 8 000/s", &many);
    figures.row("  CPU of the server for each", "", &cpu_many);
    let mut memory = Round::new("MB");
    memory.add(server.resident_mb()?);
    figures.row("resident memory with 12 000 pods (no controllers)", "", &memory);
    reads(figures, &server).await?;
    watchers(figures, &server).await?;
    let (mut again, mut memory) = (Round::new("ms"), Round::new("MB"));
    let mut server = server;
    for _ in 0..ROUNDS {
        server = server.restart(&["--disable-agent"]).await?;
        again.add(server.ready_ms());
        tokio::time::sleep(Duration::from_secs(3)).await;
        memory.add(server.resident_mb()?);
    }
    figures.row("exec to /readyz with 12 000 pods stored", "≤ 200 ms", &again);
    figures.row("resident memory, control plane with 12 000 pods", "≤ 120 MB", &memory);
    server.stop().await
}

async fn reads(figures: &mut Figures, server: &Server) -> Result<(), Failure> {
    let (mut gets, mut cpu) = (Round::new("/s"), Round::new("µs"));
    for _ in 0..ROUNDS {
        let before = server.cpu()?;
        let load = http::gets(server, 64, "/api/v1/namespaces/bench/pods/one-0-0", Duration::from_secs(3)).await?;
        gets.add(load.per_second());
        cpu.add((server.cpu()? - before).as_secs_f64() * 1e6 / load.latencies.len() as f64);
    }
    figures.row("GET of one pod, 64 TLS connections", "≥ 25 000/s", &gets);
    figures.row("  CPU of the server for each", "", &cpu);
    let mut lists = Round::new("ms");
    let mut bytes = 0;
    for _ in 0..5 {
        let start = Instant::now();
        bytes = http::get(server, "/api/v1/pods").await?.len();
        lists.add(start.elapsed().as_secs_f64() * 1e3);
    }
    figures.row(&format!("LIST of 12 000 pods ({} MB)", bytes / 1_000_000), "≤ 60 ms", &lists);
    Ok(())
}

async fn watchers(figures: &mut Figures, server: &Server) -> Result<(), Failure> {
    let mut deliveries = Round::new("/s");
    for round in 0..ROUNDS {
        deliveries.add(http::watchers(server, 1000, 200, round).await?);
    }
    figures.row("1 000 watchers × 200 events", "≥ 70 000 deliveries/s", &deliveries);
    Ok(())
}

/// A thousand nodes that nobody runs, and five thousand pods for them.
async fn scheduling(figures: &mut Figures) -> Result<(), Failure> {
    let mut bound = Round::new("pods/s");
    for _ in 0..ROUNDS {
        let server = Server::start(&["--disable-agent"]).await?;
        server.prepare().await?;
        http::nodes(&server, 1000).await?;
        bound.add(http::bind(&server, 5000).await?);
        server.stop().await?;
    }
    figures.row("1 000 nodes, 5 000 pods created to all bound", "≥ 2 000 pods/s", &bound);
    Ok(())
}

/// What an idle control plane costs in a minute.
async fn idle(figures: &mut Figures) -> Result<(), Failure> {
    let server = Server::start(&["--disable-agent"]).await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (cpu, written) = (server.cpu()?, server.written()?);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let (mut share, mut bytes) = (Round::new("%"), Round::new("bytes"));
    share.add((server.cpu()? - cpu).as_secs_f64() / 60.0 * 100.0);
    bytes.add((server.written()? - written) as f64);
    figures.row("CPU of an idle control plane, 60 s", "≤ 0.3 % of a core", &share);
    figures.row("  bytes written meanwhile", "leases only", &bytes);
    server.stop().await
}

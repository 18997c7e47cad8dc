//! Server-side apply and custom resources.

use std::time::{Duration, Instant};

use crate::http::{Call, Connection};
use crate::load::{Rate, each};
use crate::measure::{Bar, Figures, Round};
use crate::objects::{self, NAMESPACE};
use crate::server::Server;
use crate::start::SETTLED_AFTER;
use crate::{Failure, ROUNDS};

const APPLY: &str = "application/apply-patch+yaml";
const CONNECTIONS: usize = 64;
/// Deployments that are applied in turn, and so the number of changes in flight that do not meet.
const DEPLOYMENTS: usize = 256;
const APPLIES: usize = 8_192;
const WIDGETS: usize = 8_000;
const CRDS: usize = 1_000;
/// How many clients create definitions.
const CRD_CONNECTIONS: usize = 8;
/// How long a definition may take until it is served.
const SERVED_MAX: Duration = Duration::from_secs(60);

pub(crate) async fn all(figures: &mut Figures) -> Result<(), Failure> {
    let server = Server::start(&["--disable-agent", "--disable-controllers"]).await?;
    server.prepare().await?;
    applies(figures, &server).await?;
    widgets(figures, &server).await?;
    server.stop().await?;
    definitions(figures).await
}

async fn applies(figures: &mut Figures, server: &Server) -> Result<(), Failure> {
    let apply = |number: usize, revision: usize| {
        let name = format!("d-{}", number % DEPLOYMENTS);
        let path = format!("/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{name}?fieldManager=bench");
        Call::patch(path, APPLY, objects::deployment(&name, revision))
    };
    each(server, CONNECTIONS, DEPLOYMENTS, move |n| apply(n, 0)).await?;
    let mut rate = Rate::new();
    for round in 0..ROUNDS {
        rate.round(server, CONNECTIONS, APPLIES, move |n| apply(n, 1 + round * APPLIES + n)).await?;
    }
    figures.row("server-side apply of a Deployment, one field changes", Bar::AtLeast(4_000.0), &rate.per_second);
    figures.row("  CPU of the server for each", Bar::None, &rate.cpu);
    Ok(())
}

async fn widgets(figures: &mut Figures, server: &Server) -> Result<(), Failure> {
    let mut connection = Connection::open(server).await?;
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    connection.call(Call::post(definitions, objects::widget_definition())).await?;
    let path = format!("/apis/bench.example.com/v1/namespaces/{NAMESPACE}/widgets");
    served(&mut connection, &path).await?;
    let mut rate = Rate::new();
    for round in 0..ROUNDS {
        let path = path.clone();
        let make = move |n: usize| Call::post(path.clone(), objects::widget(&format!("w-{round}-{n}")));
        rate.round(server, CONNECTIONS, WIDGETS, make).await?;
    }
    let name = "create of a custom resource (schema of 200 fields, 50 set, 5 CEL rules)";
    figures.row(name, Bar::AtLeast(5_000.0), &rate.per_second);
    figures.row("  CPU of the server for each", Bar::None, &rate.cpu);
    Ok(())
}

/// With controllers, as a cluster has them: some of them follow every definition.
async fn definitions(figures: &mut Figures) -> Result<(), Failure> {
    let (mut time, mut cpu, mut memory) = (Round::new("s"), Round::new("s"), Round::new("MB"));
    for _ in 0..ROUNDS {
        let server = Server::start(&["--disable-agent"]).await?;
        server.prepare().await?;
        let (begin, before) = (Instant::now(), server.cpu()?);
        let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        each(&server, CRD_CONNECTIONS, CRDS, move |n| Call::post(path, objects::many_definition(n).0)).await?;
        let mut connection = Connection::open(&server).await?;
        for number in 0..CRDS {
            served(&mut connection, &objects::many_definition(number).1).await?;
        }
        time.add(begin.elapsed().as_secs_f64());
        cpu.add((server.cpu()? - before).as_secs_f64());
        tokio::time::sleep(SETTLED_AFTER).await;
        memory.add(server.resident_mb()?);
        server.stop().await?;
    }
    figures.row("1 000 definitions of 50 fields created and served", Bar::AtMost(10.0), &time);
    figures.row("  CPU of the server", Bar::None, &cpu);
    figures.row("  resident memory with them", Bar::AtMost(150.0), &memory);
    Ok(())
}

/// Waits until a resource is served.
async fn served(connection: &mut Connection, path: &str) -> Result<(), Failure> {
    let begin = Instant::now();
    while !connection.succeeds(Call::get(path)).await? {
        if begin.elapsed() > SERVED_MAX {
            return Err(format!("{path} is not served").into());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

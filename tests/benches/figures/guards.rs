//! What it costs to be guarded: a webhook, policies, audit, encryption at rest and fairness, each beside the same load
//! without it, by turns.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::http::{Call, Connection};
use crate::load::Rate;
use crate::measure::{Bar, Figures, Round};
use crate::objects::{self, path};
use crate::server::{FLOOD, READER, Server};
use crate::{Failure, webhook};

/// Pairs of rounds, with and without.
const TURNS: usize = 5;
const CONNECTIONS: usize = 64;
/// Creates in a round.
const CREATES: usize = 4_000;
/// Creates on one connection in a round.
const ALONE: usize = 300;
/// How many policies look at each pod.
const POLICIES: usize = 20;
/// Connections of who floods.
const FLOODING: usize = 256;
/// Pods that a list of the flood has.
const LISTED: usize = 500;
/// Reads of the other user while the flood is on.
const READS: usize = 2_000;
/// How long a policy may take until it is in force.
const IN_FORCE_MAX: Duration = Duration::from_secs(5);

const PLAIN: [&str; 2] = ["--disable-agent", "--disable-controllers"];
/// No Secret is encrypted.
const IDENTITY: &str = "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n\
    - resources: [secrets]\n  providers: [{identity: {}}]\n";
const METADATA: &str = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]\n";

pub(crate) async fn all(figures: &mut Figures) -> Result<(), Failure> {
    webhooks(figures).await?;
    policies(figures).await?;
    audit(figures).await?;
    encryption(figures).await?;
    fairness(figures).await?;
    flood(figures).await
}

async fn plain() -> Result<Server, Failure> {
    let server = Server::start(&PLAIN).await?;
    server.prepare().await?;
    Ok(server)
}

/// Two servers under the same load, by turns.
struct Pair {
    without: Server,
    with: Server,
}

impl Pair {
    /// Rates without and with, and the share that is left of the former, a value for each turn.
    async fn turns(
        &self,
        token: &'static str,
        connections: usize,
        count: usize,
        make: fn(String) -> Call,
    ) -> Result<(Rate, Rate, Round), Failure> {
        let (mut without, mut with, mut left) = (Rate::new(), Rate::new(), Round::new("%"));
        for turn in 0..TURNS {
            let name = move |number: usize| make(format!("{connections}-{turn}-{number}"));
            without.round_of(&self.without, token, connections, count, name).await?;
            with.round_of(&self.with, token, connections, count, name).await?;
            left.add(with.per_second.last() / without.per_second.last() * 100.0);
        }
        Ok((without, with, left))
    }

    async fn stop(self) -> Result<(), Failure> {
        self.without.stop().await?;
        self.with.stop().await
    }
}

fn pod(name: String) -> Call {
    Call::post(path("pods"), objects::pod(&format!("p-{name}"), true))
}

fn secret(name: String) -> Call {
    let secret = json!({"metadata": {"name": format!("s-{name}")}, "stringData": {"password": "p".repeat(1_000)}});
    Call::post(path("secrets"), secret.to_string())
}

async fn webhooks(figures: &mut Figures) -> Result<(), Failure> {
    let pair = Pair { without: plain().await?, with: plain().await? };
    let hook = webhook::start().await?;
    let configuration = json!({"metadata": {"name": "bench"}, "webhooks": [{
        "name": "allow.bench.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None",
        "clientConfig": {"url": format!("https://{}/", hook.address), "caBundle": base64(hook.certificate.as_bytes())},
        "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}]}]});
    let configurations = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
    Connection::open(&pair.with).await?.call(Call::post(configurations, configuration.to_string())).await?;
    let (_, with, _) = pair.turns(crate::server::TOKEN, CONNECTIONS, CREATES, pod).await?;
    let (without_alone, with_alone, _) = pair.turns(crate::server::TOKEN, 1, ALONE, pod).await?;
    figures.row(
        "create of a pod through a validating webhook, 64 connections",
        Bar::AtLeast(2_000.0),
        &with.per_second,
    );
    figures.row("  CPU of the server for each", Bar::None, &with.cpu);
    let mut more = Round::new("ms");
    more.add(with_alone.latency.median() - without_alone.latency.median());
    figures.row("  what it adds to the median of one connection", Bar::AtMost(1.5), &more);
    pair.stop().await
}

async fn policies(figures: &mut Figures) -> Result<(), Failure> {
    let pair = Pair { without: plain().await?, with: plain().await? };
    let mut connection = Connection::open(&pair.with).await?;
    for number in 0..POLICIES {
        let name = format!("bench-{number}");
        let policy = json!({"metadata": {"name": name}, "spec": {
            "matchConstraints": {"resourceRules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"],
                "resources": ["pods"]}]},
            "validations": [
                {"expression": "object.spec.containers.all(c, has(c.resources) && has(c.resources.requests))"},
                {"expression": format!("object.metadata.name != 'refused-{number}'")}]}});
        let binding = json!({"metadata": {"name": name}, "spec": {"policyName": name, "validationActions": ["Deny"]}});
        let group = "/apis/admissionregistration.k8s.io/v1";
        connection.call(Call::post(format!("{group}/validatingadmissionpolicies"), policy.to_string())).await?;
        connection.call(Call::post(format!("{group}/validatingadmissionpolicybindings"), binding.to_string())).await?;
    }
    let begin = Instant::now();
    let refused = || Call::post(path("pods?dryRun=All"), objects::pod(&format!("refused-{}", POLICIES - 1), false));
    while connection.succeeds(refused()).await? {
        if begin.elapsed() > IN_FORCE_MAX {
            return Err("the policies are not in force".into());
        }
    }
    let (_, with, left) = pair.turns(crate::server::TOKEN, CONNECTIONS, CREATES, pod).await?;
    figures.row("create of a pod through 20 policies: what is left of the rate", Bar::AtLeast(60.0), &left);
    figures.row("  CPU of the server for each", Bar::None, &with.cpu);
    pair.stop().await
}

async fn audit(figures: &mut Figures) -> Result<(), Failure> {
    let flags = [&PLAIN[..], &["--audit-policy-file={}/audit.yaml", "--audit-log-path={}/audit.log"]].concat();
    let with = Server::start_with(&flags, &[("audit.yaml", METADATA.to_owned())]).await?;
    with.prepare().await?;
    let pair = Pair { without: plain().await?, with };
    let (_, _, left) = pair.turns(crate::server::TOKEN, CONNECTIONS, CREATES, pod).await?;
    figures.row("durable create of a pod with audit of metadata: what is left of the rate", Bar::AtLeast(95.0), &left);
    pair.stop().await
}

async fn encryption(figures: &mut Figures) -> Result<(), Failure> {
    let flags = [&PLAIN[..], &["--encryption-provider-config={}/encryption.yaml"]].concat();
    let without = Server::start_with(&flags, &[("encryption.yaml", IDENTITY.to_owned())]).await?;
    without.prepare().await?;
    let pair = Pair { without, with: plain().await? };
    let (_, _, left) = pair.turns(crate::server::TOKEN, CONNECTIONS, CREATES, secret).await?;
    figures.row("durable create of an encrypted Secret: what is left of the rate", Bar::AtLeast(97.0), &left);
    pair.stop().await
}

async fn fairness(figures: &mut Figures) -> Result<(), Failure> {
    let flags = [&PLAIN[..], &["--enable-priority-and-fairness=false"]].concat();
    let without = Server::start(&flags).await?;
    without.prepare().await?;
    let pair = Pair { without, with: plain().await? };
    let (_, _, left) = pair.turns(READER, CONNECTIONS, CREATES, pod).await?;
    figures.row("durable create of a pod with fairness: what is left of the rate", Bar::AtLeast(97.0), &left);
    pair.stop().await
}

/// One user lists on many connections, another reads one object.
async fn flood(figures: &mut Figures) -> Result<(), Failure> {
    let server = plain().await?;
    crate::load::each(&server, CONNECTIONS, LISTED, |number| pod(number.to_string())).await?;
    let ended = Arc::new(AtomicBool::new(false));
    let mut flood = tokio::task::JoinSet::new();
    for _ in 0..FLOODING {
        let (mut connection, ended) = (Connection::of(server.port, FLOOD).await?, ended.clone());
        flood.spawn(async move {
            while !ended.load(Ordering::Relaxed) {
                let response = connection.send(Call::get(path("pods?limit=50"))).await?;
                http_body_util::BodyExt::collect(response.into_body()).await?;
            }
            Ok::<_, Failure>(())
        });
    }
    let (mut reads, mut tail) = (Round::new("ms"), Round::new("ms"));
    let mut connection = Connection::of(server.port, READER).await?;
    for _ in 0..READS {
        let start = Instant::now();
        connection.call(Call::get(path("pods/p-0"))).await?;
        reads.add(start.elapsed().as_secs_f64() * 1e3);
    }
    ended.store(true, Ordering::Relaxed);
    while let Some(one) = flood.join_next().await {
        one??;
    }
    tail.add(reads.at_share(0.99));
    figures.row("GET by one user while another lists on 256 connections", Bar::None, &reads);
    figures.row("  99 % of them take at most", Bar::AtMost(20.0), &tail);
    server.stop().await
}

/// As the field `caBundle` wants it.
fn base64(bytes: &[u8]) -> Value {
    serde_json::to_value(k8s_openapi::ByteString(bytes.to_vec())).unwrap_or_default()
}

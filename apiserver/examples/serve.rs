//! Serves the API over TLS from memory, for measuring and for replaying recorded cases:
//! `serve PORT TOKEN [PREFIX]` prints nothing and runs until it is killed. The admin's certificate, key and the
//! authority are written as PEM files that begin with `PREFIX`.

use std::sync::Arc;

use apiserver::bootstrap::{Bootstrap, reconcile};
use apiserver::certificates::Pki;
use apiserver::clock::SystemClock;
use apiserver::{ApiServer, Config, assembly};
use tokio_util::sync::CancellationToken;

/// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let port: u16 = arguments.next().unwrap_or_else(|| "6443".into()).parse()?;
    let token = arguments.next().unwrap_or_else(|| "admin".into());
    let now = SystemClock::shared().now();
    let pki = Pki::in_memory(now)?;
    if let Some(prefix) = arguments.next() {
        let admin = pki.admin(now)?.current();
        std::fs::write(format!("{prefix}.crt"), &admin.certificate_pem)?;
        std::fs::write(format!("{prefix}.key"), &admin.key_pem)?;
        std::fs::write(format!("{prefix}-ca.crt"), pki.authority_pem())?;
    }
    let mut config = Config::new(store::Memory::new());
    config.service_cidrs = vec!["10.43.0.0/16".parse()?];
    config.advertised = format!("127.0.0.1:{port}");
    let file = std::env::temp_dir().join(format!("serve-{}.csv", std::process::id()));
    std::fs::write(&file, format!("{token},admin,admin-uid,\"system:masters\"\n"))?;
    let mut settings = assembly::Settings::new(&pki, &config.issuer, &config.advertised);
    settings.authentication.token_file = Some(file.clone());
    let assembled = assembly::assemble(&settings);
    std::fs::remove_file(&file)?;
    config.plugins = assembled?.plugins;
    let server = ApiServer::new(config);
    let bootstrap = Bootstrap {
        advertise_address: "127.0.0.1".parse()?,
        secure_port: port,
        client_ca_pem: pki.authority_pem().to_string(),
    };
    reconcile(server.registry(), &bootstrap).await?;
    let stop = CancellationToken::new();
    let (background, running) = (server.clone(), stop.clone());
    tokio::spawn(async move { background.run(running).await });
    server.started().await;
    let addresses = ["127.0.0.1".parse()?];
    let serving = pki.serving(&["localhost".into()], &addresses, now)?;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    let tls: Arc<rustls::ServerConfig> = pki.server_config(&serving)?;
    server.serve(listener, tls, stop).await;
    Ok(())
}

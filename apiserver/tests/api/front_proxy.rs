//! A front proxy before the server, over TLS: whom it names is who asks, and whom others name is not.

use std::net::Ipv4Addr;
use std::sync::Arc;

use apiserver::assembly::{Settings, assemble};
use apiserver::authorization::Authorizer;
use apiserver::certificates::{Leaf, Pki, client_config};
use apiserver::clock::SystemClock;
use apiserver::front_proxy::{FrontProxy, FrontProxyOptions};
use apiserver::{ApiServer, Config};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use crate::wire::Everything;

struct Served {
    pki: Pki,
    address: std::net::SocketAddr,
    _stop: tokio_util::sync::DropGuard,
}

impl Served {
    async fn start() -> Self {
        let now = SystemClock::shared().now();
        let pki = Pki::in_memory(now).unwrap();
        let mut config = Config::new(store::Memory::new());
        config.plugins = assemble(&Settings::new(&pki, "https://issuer", "127.0.0.1:1")).unwrap().plugins;
        config.plugins.authorizers = vec![Arc::new(Everything) as Arc<dyn Authorizer>].into();
        let front_proxy = Arc::new(FrontProxy::new(&pki, &FrontProxyOptions::default(), now).unwrap());
        front_proxy.plug_into(&mut config.plugins);
        let tls = pki.server_config(&pki.serving(&[], &[], now).unwrap()).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let (server, token) = (ApiServer::new(config), stop.clone());
        tokio::spawn(async move { server.serve(listener, tls, token).await });
        Self { pki, address, _stop: stop.drop_guard() }
    }

    /// Who the server says that a client is which shows a certificate and sends these headers: code, name and groups.
    async fn who(&self, shown: &Arc<Leaf>, headers: &str) -> (u16, String, String) {
        let tls = client_config(self.pki.authority_pem(), Some(shown.clone())).unwrap();
        let tcp = TcpStream::connect(self.address).await.unwrap();
        let name = rustls::pki_types::ServerName::from(self.address.ip());
        let mut stream = TlsConnector::from(tls).connect(name, tcp).await.unwrap();
        let body = r#"{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}"#;
        let head = format!(
            "POST /apis/authentication.k8s.io/v1/selfsubjectreviews HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n{headers}\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8(answer).unwrap();
        let code = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let body: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        let user = &body["status"]["userInfo"];
        (code, user["username"].as_str().unwrap_or_default().into(), user["groups"].to_string())
    }
}

#[tokio::test]
async fn whom_a_front_proxy_names_is_who_asks() {
    let served = Served::start().await;
    let now = SystemClock::shared().now();
    let (proxy, admin) = (served.pki.front_proxy_client(now).unwrap(), served.pki.admin(now).unwrap());
    let named = "X-Remote-User: jane\r\nX-Remote-Group: dev\r\nX-Remote-Group: ops\r\n";
    let (code, name, groups) = served.who(&proxy, named).await;
    assert_eq!((code, name.as_str(), groups.as_str()), (201, "jane", r#"["dev","ops","system:authenticated"]"#));
    let (code, name, _) = served.who(&admin, named).await;
    assert_eq!((code, name.as_str()), (201, "kubernetes-admin"), "who is no proxy speaks for nobody else");
    assert_eq!(served.who(&proxy, "").await.0, 401, "a proxy is nobody itself");
    let other = Pki::in_memory(now).unwrap().front_proxy_client(now).unwrap();
    assert_eq!(served.who(&other, named).await.0, 401, "of another authority");
}

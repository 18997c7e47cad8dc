//! Who asks, as issuers and webhooks elsewhere say.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use apiserver::assembly::{Assembly, Settings, assemble};
use apiserver::authentication::jose::KeySet;
use apiserver::authentication::{SigningKey, options as authentication};
use apiserver::authorization::options as authorization;
use apiserver::certificates::Pki;
use apiserver::clock::SystemClock;
use apiserver::followed::Followed;
use apiserver::{ApiServer, Config};
use axum::body::Body;
use http::Request;
use metrics::Collect;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::elsewhere::{Answers, Elsewhere};
use super::harness::{Answer, Server};

const REVIEW: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";

/// A server as flags put it together, and the files that they name.
pub(crate) struct Assembled {
    pub server: Server,
    pub followed: Arc<Followed>,
    collectors: Vec<Arc<dyn Collect>>,
    folder: TempDir,
}

impl Assembled {
    pub(crate) fn new(
        folder: TempDir,
        users: authentication::Options,
        rights: authorization::Options,
    ) -> Result<Self, String> {
        let mut config = Config::new(store::Memory::new());
        config.plugins.strategy_of = apiserver::strategy::of;
        let pki = Pki::in_memory(SystemClock::shared().now()).unwrap();
        let (authentication, authorization) = (users, rights);
        let plain = Settings::new(&pki, &config.issuer, &config.advertised);
        let assembly = assemble(&Settings { server_id: "id", authentication, authorization, ..plain });
        let Assembly { plugins, followed, collectors, .. } = assembly.map_err(|error| error.to_string())?;
        config.plugins = plugins;
        Ok(Self { server: Server(ApiServer::new(config)), followed, collectors, folder })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) async fn ask(&self, token: &str, method: &str, url: &str, body: Value) -> Answer {
        let request = Request::builder().method(method).uri(url).header("content-type", "application/json");
        let request = request.header("authorization", format!("Bearer {token}"));
        self.server.request(request.body(Body::from(body.to_string())).unwrap()).await
    }

    /// Who the server takes the holder of a token for; its code if it takes them for nobody.
    async fn user(&self, token: &str) -> Result<Value, u16> {
        let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
        // Everybody may ask who they are: these servers ask nobody.
        let answer = self.ask(token, "POST", REVIEW, review).await;
        if answer.code == 201 { Ok(answer.at("status.userInfo")) } else { Err(answer.code) }
    }

    pub(crate) fn metrics(&self) -> String {
        let mut text = metrics::Text::default();
        self.collectors.iter().for_each(|collector| collector.collect(&mut text));
        text.finish()
    }
}

pub(crate) fn folder(files: &[(&str, String)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    files.iter().for_each(|(name, text)| std::fs::write(folder.path().join(name), text).unwrap());
    folder
}

fn everything() -> authorization::Options {
    authorization::Options { modes: vec!["AlwaysAllow".into()], ..Default::default() }
}

fn key() -> SigningKey {
    SigningKey::from_pem(Pki::in_memory(SystemClock::shared().now()).unwrap().service_account_key_pem()).unwrap()
}

/// An issuer whose keys can be exchanged.
struct Issuer {
    elsewhere: Elsewhere,
    keys: Arc<Mutex<Value>>,
}

impl Issuer {
    async fn start(key: &SigningKey) -> Self {
        let keys = Arc::new(Mutex::new(KeySet::of([key.public().clone()]).to_json()));
        let (served, url) = (keys.clone(), Arc::new(Mutex::new(String::new())));
        let base = url.clone();
        let answers: Answers = Arc::new(move |path, _| match path {
            "/.well-known/openid-configuration" => {
                let base = base.lock();
                (200, json!({"issuer": *base, "jwks_uri": format!("{base}/keys")}).to_string())
            }
            "/keys" => (200, served.lock().to_string()),
            _ => (404, String::new()),
        });
        let elsewhere = Elsewhere::start(answers).await;
        *url.lock() = elsewhere.url();
        Self { elsewhere, keys }
    }

    fn configuration(&self, prefix: &str) -> String {
        json!({
            "apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration",
            "jwt": [{
                "issuer": {
                    "url": self.elsewhere.url(), "audiences": ["us"],
                    "certificateAuthority": self.elsewhere.authority_pem,
                },
                "claimMappings": {
                    "username": {"expression": format!("'{prefix}' + claims.sub")},
                    "groups": {"claim": "groups", "prefix": ""},
                },
                "userValidationRules": [{"expression": "!user.username.endsWith('root')", "message": "not root"}],
            }],
        })
        .to_string()
    }

    fn claims(&self, sub: &str) -> Value {
        let now = SystemClock::shared().now().as_second();
        json!({"iss": self.elsewhere.url(), "aud": "us", "sub": sub, "groups": ["dev"], "exp": now + 600, "iat": now})
    }
}

/// Waits until the issuer was asked who it is.
async fn known(server: &Assembled, token: &str) -> Value {
    for _ in 0..600 {
        if let Ok(user) = server.user(token).await {
            return user;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the issuer is not known after half a minute");
}

/// A proxy that opens tunnels; it notes to where.
async fn proxy() -> (String, Arc<Mutex<Vec<String>>>) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let noted = asked.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let noted = noted.clone();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                let head = String::from_utf8(head).unwrap();
                let to = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()).unwrap().to_string();
                noted.lock().push(to.clone());
                let mut there = tokio::net::TcpStream::connect(to).await.unwrap();
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                let _ = copy_bidirectional(&mut stream, &mut there).await;
            });
        }
    });
    (url, asked)
}

fn with(mut claims: Value, field: &str, value: impl Into<Value>) -> Value {
    claims[field] = value.into();
    claims
}

#[tokio::test]
async fn tokens_of_an_issuer_are_taken_and_no_others() {
    let (first, second) = (key(), key());
    let issuer = Issuer::start(&first).await;
    let folder = folder(&[("config", issuer.configuration("oidc:"))]);
    let users = authentication::Options { config_file: Some(folder.path().join("config")), ..Default::default() };
    let server = Assembled::new(folder, users, everything()).unwrap();
    let claims = issuer.claims("jane");
    let token = first.sign(&claims).unwrap();
    let user = known(&server, &token).await;
    let expected = json!({"username": "oidc:jane", "groups": ["dev", "system:authenticated"]});
    assert_eq!(user, expected);

    let now = SystemClock::shared().now().as_second();
    let good = with(claims.clone(), "sub", "joe");
    for bad in [
        with(good.clone(), "exp", now - 1),
        with(good.clone(), "nbf", now + 600),
        with(good.clone(), "aud", "them"),
        with(good.clone(), "iss", "https://elsewhere"),
        with(good.clone(), "sub", "root"),
        with(good.clone(), "sub", 7),
        with(good.clone(), "groups", json!({"a": 1})),
        with(good.clone(), "exp", Value::Null),
        json!({}),
        json!([]),
    ] {
        assert_eq!(server.user(&first.sign(&bad).unwrap()).await, Err(401), "{bad}");
    }
    let huge = first.sign(&with(good.clone(), "x", "y".repeat(300 << 10))).unwrap();
    for text in ["a.b.c", "x", "e30.e30.", &token[..token.len() - 8], &huge] {
        assert_eq!(server.user(text).await, Err(401));
    }

    let stranger = second.sign(&good).unwrap();
    assert_eq!(server.user(&stranger).await, Err(401), "a key that the issuer does not have");
    *issuer.keys.lock() = KeySet::of([second.public().clone()]).to_json();
    assert_eq!(
        server.user(&second.sign(&with(good, "jti", "1")).unwrap()).await.map(|user| user["username"].clone()),
        Ok("oidc:joe".into())
    );
}

#[tokio::test]
async fn an_issuer_is_not_asked_at_will() {
    let key = key();
    let issuer = Issuer::start(&key).await;
    let folder = folder(&[("config", issuer.configuration(""))]);
    let users = authentication::Options { config_file: Some(folder.path().join("config")), ..Default::default() };
    let server = Assembled::new(folder, users, everything()).unwrap();
    known(&server, &key.sign(&issuer.claims("jane")).unwrap()).await;
    let before = issuer.elsewhere.calls();
    let stranger = self::key();
    let tokens: Vec<String> =
        (0..200).map(|n| stranger.sign(&with(issuer.claims("mallory"), "n", n)).unwrap()).collect();
    let answers = futures::future::join_all(tokens.iter().map(|token| server.user(token))).await;
    assert!(answers.iter().all(|answer| *answer == Err(401)));
    let asked = issuer.elsewhere.calls() - before;
    assert!(asked <= 8, "those who come together share an answer: {asked}");
}

#[tokio::test]
async fn the_file_of_authentication_is_followed() {
    let key = key();
    let issuer = Issuer::start(&key).await;
    let folder = folder(&[("config", issuer.configuration("a:"))]);
    let users = authentication::Options { config_file: Some(folder.path().join("config")), ..Default::default() };
    let server = Assembled::new(folder, users, everything()).unwrap();
    let token = |n: i32| key.sign(&with(issuer.claims("jane"), "n", n)).unwrap();
    let name = |user: Value| user["username"].as_str().map(String::from).unwrap();
    assert_eq!(name(known(&server, &token(0)).await), "a:jane");
    let path = server.path("config");
    let totals = "apiserver_authentication_config_controller_automatic_reloads_total";
    for bad in ["", "{", &issuer.configuration("a:").replace("username", "user"), &issuer.configuration("' + '")[..50]]
    {
        std::fs::write(&path, bad).unwrap();
        server.followed.look().await;
        server.followed.look().await;
    }
    assert_eq!(name(server.user(&token(1)).await.unwrap()), "a:jane", "what is no good changes nothing");
    let counted = server.metrics();
    assert!(counted.contains(totals) && counted.contains("status=\"failure\"} 4"), "{counted}");
    std::fs::write(&path, issuer.configuration("b:")).unwrap();
    server.followed.look().await;
    assert_eq!(name(server.user(&token(2)).await.unwrap()), "b:jane");
    let anonymous = json!({"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration",
        "anonymous": {"enabled": true}});
    std::fs::write(&path, anonymous.to_string()).unwrap();
    server.followed.look().await;
    assert_eq!(name(server.user(&token(3)).await.unwrap()), "b:jane", "who may ask without credentials stays");
    let counted = server.metrics();
    assert!(counted.contains("status=\"success\"} 1") && counted.contains("status=\"failure\"} 5"), "{counted}");
    assert!(counted.contains("jwks_fetch_last_key_set_info"), "{counted}");
}

#[tokio::test]
async fn nobody_may_ask_for_some_paths() {
    let anonymous = json!({"apiVersion": "apiserver.config.k8s.io/v1beta1", "kind": "AuthenticationConfiguration",
        "anonymous": {"enabled": true, "conditions": [{"path": "/version"}]}});
    let folder = folder(&[("config", anonymous.to_string())]);
    let users = authentication::Options { config_file: Some(folder.path().join("config")), ..Default::default() };
    let flags = authentication::Options { anonymous: Some(false), ..users.clone() };
    let both = Assembled::new(tempfile::tempdir().unwrap(), flags, Default::default()).err().unwrap();
    assert!(both.contains("--anonymous-auth flag cannot be set"), "{both}");
    let server = Assembled::new(folder, users, Default::default()).unwrap();
    for (path, code) in [("/version", 403), ("/version/", 401), ("/api", 401), ("/%76ersion", 401)] {
        let request = Request::get(path).body(Body::empty()).unwrap();
        assert_eq!(server.server.request(request).await.code, code, "{path}");
    }
}

#[tokio::test]
async fn a_webhook_knows_tokens() {
    let answers: Answers = Arc::new(|path, body| {
        let review: Value = serde_json::from_slice(body).unwrap();
        let status = match review["spec"]["token"].as_str() {
            Some("good") => json!({"authenticated": true, "user": {"username": "jane", "groups": ["g"]}}),
            Some("revoked") => json!({"error": "it was revoked"}),
            Some("garbage") => return (200, "no".into()),
            Some("other") => return (200, json!({"kind": "Pod", "apiVersion": "v1"}).to_string()),
            Some("down") => return (503, "down".into()),
            _ => json!({}),
        };
        assert_eq!((path, &review["kind"]), ("/tokens", &json!("TokenReview")));
        (201, json!({"kind": "TokenReview", "apiVersion": review["apiVersion"], "status": status}).to_string())
    });
    let webhook = Elsewhere::start(answers).await;
    let acting = "token: secret\n    as: checker\n    as-groups: [a, b]\n";
    let folder = folder(&[("webhook", webhook.kubeconfig("/tokens").replace("token: secret\n", acting))]);
    let config_file = Some(folder.path().join("webhook"));
    let users = authentication::Options {
        webhook: authentication::Webhook { config_file, version: Some("v1".into()), cache_ttl: None },
        ..Default::default()
    };
    let server = Assembled::new(folder, users, everything()).unwrap();
    for _ in 0..3 {
        let user = server.user("good").await.unwrap();
        assert_eq!(user, json!({"username": "jane", "groups": ["g", "system:authenticated"]}));
    }
    assert_eq!(webhook.calls(), 1, "it is remembered whose a token is");
    let headers = webhook.last_headers();
    assert_eq!(headers["authorization"], "Bearer secret");
    assert_eq!(headers["impersonate-user"], "checker");
    assert_eq!(headers.get_all("impersonate-group").iter().collect::<Vec<_>>(), ["a", "b"]);
    for bad in ["unknown", "revoked", "garbage", "other", "down"] {
        assert_eq!(server.user(bad).await, Err(401), "{bad}");
    }
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": "revoked"}});
    let reviews = "/apis/authentication.k8s.io/v1/tokenreviews";
    let answer = server.ask("good", "POST", reviews, review).await;
    assert_eq!(answer.at("status.error"), "[invalid bearer token, it was revoked]");
    let counted = server.metrics();
    for line in [
        "authentication_token_cache_request_total{status=\"hit\"} 3",
        "authentication_token_cache_request_total{status=\"miss\"} 7",
        "authentication_token_cache_request_duration_seconds_count{status=\"miss\"} 7",
        "authentication_token_cache_fetch_total{status=\"ok\"} 2",
        "authentication_token_cache_fetch_total{status=\"error\"} 5",
        "authentication_token_cache_active_fetch_count{status=\"blocked\"} 0",
        "authentication_token_cache_active_fetch_count{status=\"in_flight\"} 0",
    ] {
        assert!(counted.lines().any(|counted| counted == line), "{line}: {counted}");
    }
}

#[tokio::test]
async fn a_webhook_is_reached_through_a_proxy() {
    let answers: Answers = Arc::new(|_, body| {
        let review: Value = serde_json::from_slice(body).unwrap();
        let status = json!({"authenticated": true, "user": {"username": "jane"}});
        (201, json!({"kind": "TokenReview", "apiVersion": review["apiVersion"], "status": status}).to_string())
    });
    let webhook = Elsewhere::start(answers).await;
    let (url, asked) = proxy().await;
    let kubeconfig = webhook.kubeconfig("/tokens");
    let kubeconfig = kubeconfig.replace("    server:", &format!("    proxy-url: {url}\n    server:"));
    let folder = folder(&[("webhook", kubeconfig)]);
    let config_file = Some(folder.path().join("webhook"));
    let users = authentication::Options {
        webhook: authentication::Webhook { config_file, version: Some("v1".into()), cache_ttl: None },
        ..Default::default()
    };
    let server = Assembled::new(folder, users, everything()).unwrap();
    assert_eq!(server.user("good").await.unwrap()["username"], "jane");
    assert_eq!(*asked.lock(), [webhook.address.to_string()]);
}

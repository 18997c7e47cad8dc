//! A service of the test's own, which masks what it is to encrypt.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};

use super::messages::*;
use super::*;
use crate::clock::SystemClock;
use crate::encryption::{Encryption, Source as File};
use store::Sealing;

/// What the service says of itself.
struct Plugin {
    status: Mutex<StatusResponse>,
    /// Under which key it encrypts, whatever its status says.
    encrypts_with: Mutex<String>,
    calls: AtomicUsize,
    silent: Mutex<bool>,
}

impl Plugin {
    fn answer(&self, method: &str, request: &[u8]) -> Vec<u8> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let mask = |bytes: &[u8], key: &str| bytes.iter().map(|byte| byte ^ key.len() as u8 ^ 0x5a).collect::<Vec<_>>();
        match method.rsplit('/').next().unwrap() {
            "Status" => self.status.lock().encode_to_vec(),
            "Encrypt" => {
                let request = EncryptRequest::decode(request).unwrap();
                assert!(!request.uid.is_empty());
                let key_id = self.encrypts_with.lock().clone();
                let ciphertext = mask(&request.plaintext, &key_id);
                let annotations = BTreeMap::from([("kek.example.com".to_owned(), b"note".to_vec())]);
                EncryptResponse { ciphertext, key_id, annotations }.encode_to_vec()
            }
            "Decrypt" => {
                let request = DecryptRequest::decode(request).unwrap();
                assert_eq!(request.annotations["kek.example.com"], b"note");
                DecryptResponse { plaintext: mask(&request.ciphertext, &request.key_id) }.encode_to_vec()
            }
            other => panic!("{other}"),
        }
    }

    /// Serves at a socket, on a thread of its own: those who ask may block.
    fn start(socket: &Path) -> Arc<Self> {
        let status = StatusResponse { version: "v2".into(), healthz: "ok".into(), key_id: "k1".into() };
        let plugin = Arc::new(Self {
            status: Mutex::new(status),
            encrypts_with: Mutex::new("k1".into()),
            calls: AtomicUsize::new(0),
            silent: Mutex::new(false),
        });
        let listener = std::os::unix::net::UnixListener::bind(socket).unwrap();
        listener.set_nonblocking(true).unwrap();
        let serving = plugin.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::UnixListener::from_std(listener).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    let plugin = serving.clone();
                    let service = service_fn(move |request: http::Request<Incoming>| {
                        let plugin = plugin.clone();
                        async move {
                            let method = request.uri().path().to_owned();
                            let body = request.into_body().collect().await.unwrap().to_bytes();
                            if *plugin.silent.lock() {
                                std::future::pending::<()>().await;
                            }
                            let answer = plugin.answer(&method, &body[5..]);
                            let mut framed = vec![0];
                            framed.extend((answer.len() as u32).to_be_bytes());
                            framed.extend(answer);
                            let trailers = async {
                                Some(Ok(HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())])))
                            };
                            let body = Full::new(Bytes::from(framed)).with_trailers(trailers);
                            let response = Response::builder().header("content-type", "application/grpc");
                            Ok::<_, Infallible>(response.body(body).unwrap())
                        }
                    });
                    let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
                }
            });
        });
        plugin
    }
}

struct Fixture {
    directory: tempfile::TempDir,
    metrics: ::metrics::Metrics,
}

impl Fixture {
    fn new() -> Self {
        let fixture = Self { directory: tempfile::tempdir().unwrap(), metrics: ::metrics::Metrics::default() };
        let socket = fixture.socket();
        let text = format!(
            "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: [secrets]\n  \
             providers:\n  - kms: {{apiVersion: v2, name: test, endpoint: 'unix://{}', timeout: 500ms}}\n",
            socket.display()
        );
        std::fs::write(fixture.directory.path().join("file"), text).unwrap();
        fixture
    }

    fn socket(&self) -> std::path::PathBuf {
        self.directory.path().join("socket")
    }

    fn encryption(&self) -> Encryption {
        let path = self.directory.path().join("file");
        let file = File { path, own: false, follow: false, before: None };
        Encryption::new(file, "host", Arc::new(SystemClock), &self.metrics).unwrap()
    }

    fn counted(&self) -> String {
        let mut text = ::metrics::Text::default();
        ::metrics::Collect::collect(&self.metrics, &mut text);
        text.finish()
    }
}

const KEY: &str = "/registry/secrets/a/b";

#[test]
fn a_value_is_encrypted_under_a_seed_that_the_service_keeps() {
    let fixture = Fixture::new();
    let plugin = Plugin::start(&fixture.socket());
    let encryption = fixture.encryption();
    assert_eq!(encryption.health(), Some(Ok(())));
    assert_eq!(plugin.calls.load(Ordering::SeqCst), 2, "it is asked for its status and to encrypt a seed");
    let value = Bytes::from("a value that nobody may see");
    let sealed = encryption.seal(KEY, &value).unwrap().unwrap().bytes;
    let again = encryption.seal(KEY, &value).unwrap().unwrap().bytes;
    assert_ne!(sealed, again);
    let object = EncryptedObject::decode(sealed.strip_prefix(b"k8s:enc:kms:v2:test:").unwrap()).unwrap();
    assert_eq!((object.key_id.as_str(), object.source_type), ("k1", SEED));
    assert_eq!(object.encrypted_data.len(), INFO_BYTES + 12 + value.len() + 16);
    assert_eq!(encryption.open(KEY, &sealed).unwrap(), value);
    assert!(encryption.open("/registry/secrets/a/c", &sealed).is_err(), "it opens at its path alone");
    assert_eq!(plugin.calls.load(Ordering::SeqCst), 2, "values cost no call");
    // Another start knows no seed: it asks for each once.
    let other = fixture.encryption();
    assert_eq!(other.open(KEY, &sealed).unwrap(), value);
    assert_eq!(other.open(KEY, &again).unwrap(), value);
    assert_eq!(plugin.calls.load(Ordering::SeqCst), 5);
    let counted = fixture.counted();
    for line in [
        "apiserver_storage_envelope_transformation_cache_misses_total 1",
        "apiserver_envelope_encryption_kms_operations_latency_seconds_count{grpc_status_code=\"OK\",method_name=\"/v2.KeyManagementService/Decrypt\",provider_name=\"test\"} 1",
        "apiserver_storage_transformation_operations_total{resource=\"secrets\",status=\"OK\",transformation_type=\"to_storage\",transformer_prefix=\"k8s:enc:kms:v2:test:\"} 2",
        "apiserver_storage_transformation_operations_total{resource=\"secrets\",status=\"unknown-non-grpc\",transformation_type=\"from_storage\",transformer_prefix=\"k8s:enc:kms:v2:test:\"} 1",
    ] {
        assert!(counted.contains(line), "{line}\n{counted}");
    }
}

/// The first bytes of the stream of HKDF-SHA256 are the key: example 1 of RFC 5869, from its pseudo-random key on.
#[test]
fn keys_are_derived_as_the_standard_says() {
    let hex = |text: &str| -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    };
    let seed =
        Prk::new_less_safe(HKDF_SHA256, &hex("077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5"));
    let mut key = [0; 32];
    seed.expand(&[&hex("f0f1f2f3f4f5f6f7f8f9")], DerivedKey).unwrap().fill(&mut key).unwrap();
    assert_eq!(key[..], hex("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"));
}

#[test]
fn another_key_of_the_service_makes_another_seed() {
    let fixture = Fixture::new();
    let plugin = Plugin::start(&fixture.socket());
    let encryption = fixture.encryption();
    let value = Bytes::from("hidden");
    let sealed = encryption.seal(KEY, &value).unwrap().unwrap().bytes;
    let mark = encryption.mark().unwrap();
    plugin.status.lock().key_id = "key-2".into();
    *plugin.encrypts_with.lock() = "key-2".into();
    let other = fixture.encryption();
    assert_ne!(other.mark().unwrap(), mark);
    let newer = other.seal(KEY, &value).unwrap().unwrap().bytes;
    assert_eq!(other.open(KEY, &sealed).unwrap(), value);
    assert_eq!(other.open(KEY, &newer).unwrap(), value);
}

#[test]
fn a_service_that_is_not_well_is_told_of() {
    let fixture = Fixture::new();
    let encryption = fixture.encryption();
    let said = |encryption: &Encryption| encryption.health().unwrap().unwrap_err();
    assert_eq!(
        said(&encryption),
        "kms-provider-0: failed to perform status section of the healthz check for KMS Provider test, error: rpc error: code = \
         DeadlineExceeded desc = context deadline exceeded",
    );
    assert_eq!(encryption.seal(KEY, &Bytes::from("x")).map(drop).unwrap_err(), "got unexpected nil transformer");
    assert_eq!(encryption.mark(), None);
    let plugin = Plugin::start(&fixture.socket());
    for (change, expected) in [
        (
            StatusResponse { version: "v2".into(), healthz: "no".into(), key_id: "k1".into() },
            "kms-provider-0: kmsv2 Provider test is not healthy, error: got unexpected healthz status: no",
        ),
        (
            StatusResponse { version: "v3".into(), healthz: "ok".into(), key_id: "k1".into() },
            "error: expected KMSv2 API version v2, got v3",
        ),
        (
            StatusResponse { version: "v2".into(), healthz: "ok".into(), key_id: String::new() },
            "error: got invalid KMSv2 KeyID hash \"\": keyID is empty",
        ),
        (
            StatusResponse { version: "v2".into(), healthz: "ok".into(), key_id: "k".repeat(1025) },
            ": keyID is 1025 bytes, which exceeds the max size of 1024",
        ),
    ] {
        *plugin.status.lock() = change;
        let said = said(&fixture.encryption());
        assert!(said.ends_with(expected), "{said}");
    }
    *plugin.status.lock() = StatusResponse { version: "v2".into(), healthz: "ok".into(), key_id: "other".into() };
    let told = said(&fixture.encryption());
    assert!(told.contains("failed to rotate DEK uid=") && told.contains("errGen=<nil>"), "{told}");
    *plugin.silent.lock() = true;
    assert!(said(&fixture.encryption()).contains("DeadlineExceeded"));
}

#[test]
fn what_is_stored_is_checked() {
    let template = EncryptedObject {
        encrypted_data: vec![1],
        key_id: "k".into(),
        source: vec![2],
        annotations: BTreeMap::new(),
        source_type: SEED,
    };
    let said = |change: &dyn Fn(&mut EncryptedObject)| {
        let mut object = template.clone();
        change(&mut object);
        object.validate().err().unwrap_or_default()
    };
    assert_eq!(said(&|_| {}), "");
    assert_eq!(said(&|object| object.source_type = 2), "unknown encryptedDEKSourceType: 2");
    assert_eq!(said(&|object| object.encrypted_data.clear()), "encrypted data is empty");
    assert_eq!(
        said(&|object| object.source = vec![0; 1025]),
        "failed to validate encrypted DEK source: encrypted DEK source is 1025 bytes, which exceeds the max size of 1024"
    );
    assert_eq!(said(&|object| object.key_id.clear()), "failed to validate key id: keyID is empty");
    let annotated =
        |name: &str, bytes: usize| said(&|object| drop(object.annotations.insert(name.into(), vec![0; bytes])));
    assert_eq!(annotated("a.b", 32 * 1024 - 3), "");
    assert_eq!(
        annotated("a.b", 32 * 1024),
        "failed to validate annotations: total size of annotations is 32771, which exceeds the max size of 32768"
    );
    assert_eq!(
        annotated("a", 1),
        "failed to validate annotations: annotations: Invalid value: \"a\": should be a domain with at least two segments \
         separated by dots"
    );
}

#[tokio::test]
async fn a_service_that_is_away_keeps_nothing_but_what_it_encrypted() {
    const SECRETS: &str = "/api/v1/namespaces/a/secrets";
    let fixture = Fixture::new();
    let open = |encryption: &Encryption| {
        let mut config = store::DurableConfig::new(fixture.directory.path().join("data"));
        config.sealing = Some(Arc::new(encryption.clone()));
        store::Durable::open(config)
    };
    let serve = async |encryption: &Encryption, store: Arc<dyn store::Store>| {
        let mut server = crate::strategy::tests::Server::new().await;
        let mut config = server.0.registry().config().clone();
        (config.store, config.encryption) = (store, Some(encryption.clone()));
        server.0 = crate::ApiServer::new(config);
        server
    };
    let secret = |name: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}});
    let name = fixture.socket();
    let plugin = Plugin::start(&name);
    {
        let encryption = fixture.encryption();
        let store = open(&encryption).unwrap();
        let server = serve(&encryption, store).await;
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}});
        assert_eq!(server.send("POST", "/api/v1/namespaces", namespace).await.0, 201);
        let mut kept = secret("s");
        kept["stringData"] = json!({"k": "v"});
        assert_eq!(server.send("POST", SECRETS, kept).await.0, 201);
    }
    // Its socket is where nobody looks for it.
    let away = fixture.directory.path().join("away");
    std::fs::rename(&name, &away).unwrap();
    let encryption = fixture.encryption();
    let store: Arc<dyn store::Store> = open(&encryption).unwrap();
    let server = serve(&encryption, store.clone()).await;
    let why = "got unexpected nil transformer";
    let one = (500, format!("Internal error occurred: {why}"));
    let all = (500, format!("Internal error occurred: unable to transform key \"/registry/secrets/a/s\": {why}"));
    let is_waiting = async |server: &crate::strategy::tests::Server| {
        let object = format!("{SECRETS}/s");
        for (method, path, body, expected) in [
            ("GET", object.as_str(), Value::Null, one.clone()),
            ("PUT", &object, secret("s"), one.clone()),
            ("PATCH", &object, json!({"data": null}), one.clone()),
            ("DELETE", &object, Value::Null, one.clone()),
            ("GET", SECRETS, Value::Null, all.clone()),
            ("GET", "/api/v1/secrets?limit=1", Value::Null, all.clone()),
            ("DELETE", SECRETS, Value::Null, all.clone()),
            ("GET", "/api/v1/secrets?watch=1", Value::Null, (429, "storage is (re)initializing".into())),
            ("POST", SECRETS, secret("new"), one.clone()),
        ] {
            let (code, answer) = server.send(method, path, body).await;
            assert_eq!(
                (code, answer["message"].as_str().unwrap_or("")),
                (expected.0, expected.1.as_str()),
                "{method} {path}"
            );
        }
    };
    is_waiting(&server).await;
    assert_eq!(server.send("GET", &format!("{SECRETS}/none"), Value::Null).await.0, 404);
    assert_eq!(server.send("GET", "/api/v1/namespaces/b/secrets", Value::Null).await.0, 200);
    assert!(encryption.health().unwrap().is_err());
    // Nothing is written over what is not known.
    assert!(!encryption.open_waiting(&store).await.unwrap());
    is_waiting(&server).await;
    std::fs::rename(&away, &name).unwrap();
    let registry = server.0.registry().clone();
    let following = tokio::spawn(async move { crate::encryption::rotation::follow(&registry).await });
    let begin = std::time::Instant::now();
    while server.send("GET", &format!("{SECRETS}/s"), Value::Null).await.0 != 200 {
        assert!(begin.elapsed() < Duration::from_secs(120), "the service has come");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    following.abort();
    let (code, found) = server.send("GET", SECRETS, Value::Null).await;
    assert_eq!((code, &found["items"][0]["data"]["k"]), (200, &"dg==".into()));
    assert_eq!(server.send("POST", SECRETS, secret("new")).await.0, 201);
    drop(plugin);
}

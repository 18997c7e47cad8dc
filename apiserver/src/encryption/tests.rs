//! The whole of it on a store with a directory: what is in the files, keys that are changed, files that are read again.

use std::time::Instant;

use store::{Durable, DurableConfig, Operation, Store, Transaction};

use super::*;
use crate::Registry;
use crate::clock::SystemClock;

const KEYS: [&str; 3] = [
    "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    "EBESExQVFhcYGRobHB0eHyAhIiMkJSYnKCkqKywtLi8=",
    "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=",
];

/// What is encrypted: resources and providers.
type Entries<'a> = &'a [(&'a str, &'a [&'a str])];

/// A file: each entry is resources and providers, and each of those as `aesgcm 1 2` or `identity`.
fn file(entries: Entries) -> String {
    let mut text = "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n".to_owned();
    for (resources, providers) in entries {
        let provider = |provider: &&str| {
            let mut words = provider.split(' ');
            let kind = words.next().unwrap();
            let key = |number: &str| {
                let secret = KEYS[number.parse::<usize>().unwrap() - 1];
                format!("{{name: key{number}, secret: \"{secret}\"}}")
            };
            let keys: Vec<String> = words.map(key).collect();
            if kind == "identity" {
                "{identity: {}}".into()
            } else {
                format!("{{{kind}: {{keys: [{}]}}}}", keys.join(", "))
            }
        };
        let providers: Vec<String> = providers.iter().map(provider).collect();
        text += &format!("- {{resources: [{resources}], providers: [{}]}}\n", providers.join(", "));
    }
    text
}

struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn write(&self, entries: Entries) {
        std::fs::write(self.file(), file(entries)).unwrap();
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("encryption.yaml")
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn encryption(&self) -> Result<Encryption, String> {
        let source = Source { path: self.file(), own: false, follow: true, before: None };
        Encryption::new(source, "host", Arc::new(SystemClock), &Metrics::default())
    }

    fn open(&self, encryption: &Encryption) -> Result<Arc<Durable>, store::StoreError> {
        let mut config = DurableConfig::new(self.data());
        (config.segment_bytes, config.export_after_bytes) = (64 * 1024, 128 * 1024);
        config.sealing = Some(Arc::new(encryption.clone()));
        Durable::open(config)
    }

    fn registry(&self, encryption: &Encryption, store: Arc<Durable>) -> Registry {
        let mut config = crate::Config::new(store);
        config.encryption = Some(encryption.clone());
        Registry::new(config, api::catalogue::Catalogue::default())
    }

    fn has(&self, text: &str) -> bool {
        below(&self.data()).iter().any(|file| {
            let content = std::fs::read(file).unwrap_or_default();
            content.windows(text.len()).any(|window| window == text.as_bytes())
        })
    }
}

fn below(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.flat_map(|entry| if entry.path().is_dir() { below(&entry.path()) } else { vec![entry.path()] }).collect()
}

async fn put(store: &dyn Store, key: &str, value: String) {
    let operations = vec![Operation::Put(key.into(), value.into())];
    store.commit(Transaction { operations, ..Transaction::default() }).await.unwrap();
}

/// What stands before the value of a key on the disk.
fn prefix(store: &dyn Store, key: &str) -> String {
    let snapshot = store.snapshot();
    let sealed = snapshot.get(key).unwrap().sealed().cloned().unwrap_or_default();
    let text = String::from_utf8_lossy(&sealed).into_owned();
    let end = text.match_indices(':').map(|(at, _)| at + 1).nth(4);
    end.map_or_else(String::new, |end| text[..end].to_owned())
}

async fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is() {
        assert!(begin.elapsed() < Duration::from_secs(60), "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

const SECRET: &str = "/registry/secrets/default/a";

#[tokio::test]
async fn the_first_rule_that_fits_decides() {
    let place = Place::new();
    place.write(&[
        ("secrets, pandas.awesome.bears.example", &["aesgcm 1"]),
        ("events", &["identity"]),
        ("'*.apps'", &["aescbc 2"]),
        ("'*.*'", &["secretbox 3"]),
    ]);
    let encryption = place.encryption().unwrap();
    let store = place.open(&encryption).unwrap();
    for (key, expected) in [
        (SECRET, "k8s:enc:aesgcm:v1:key1:"),
        ("/registry/awesome.bears.example/pandas/a/b", "k8s:enc:aesgcm:v1:key1:"),
        ("/registry/events/a/b", ""),
        ("/registry/apps/deployments/a/b", "k8s:enc:aescbc:v1:key2:"),
        ("/registry/configmaps/a/b", "k8s:enc:secretbox:v1:key3:"),
        ("/registry/ranges/servicenodeports/30000", ""),
    ] {
        put(&*store, key, format!("value of {key}")).await;
        let snapshot = store.snapshot();
        let sealed = snapshot.get(key).unwrap().sealed();
        let begins = sealed.is_some_and(|sealed| sealed.starts_with(expected.as_bytes()));
        assert!(if expected.is_empty() { sealed.is_none() } else { begins }, "{key}");
        assert_eq!(snapshot.get(key).unwrap().value(), format!("value of {key}"));
    }
    drop(store);
    let store = place.open(&encryption).unwrap();
    assert_eq!(store.snapshot().get(SECRET).unwrap().value(), format!("value of {SECRET}"));
    drop(store);
    let place = Place::new();
    place.write(&[("secrets", &["aesgcm 1"])]);
    let store = place.open(&place.encryption().unwrap()).unwrap();
    put(&*store, SECRET, "hidden".into()).await;
    drop(store);
    let cases: [(Entries, &str); 4] = [
        (&[("secrets", &["aesgcm 2"])], "no matching key was found for the provided AES transformer"),
        (&[("secrets", &["aescbc 1"]), ("'*.*'", &["identity"])], "no matching prefix found"),
        (&[("configmaps", &["aesgcm 1"])], "identity transformer tried to read encrypted data"),
        (&[("secrets", &["identity"])], "no matching prefix found"),
    ];
    for (entries, expected) in cases {
        place.write(entries);
        let error = place.open(&place.encryption().unwrap()).map(drop).unwrap_err().to_string();
        assert!(error.ends_with(expected), "{error}");
    }
    place.write(&[("'*.apps'", &["aescbc 1"]), ("deployments.apps", &["aescbc 1"])]);
    let error = place.encryption().map(drop).unwrap_err();
    assert!(error.ends_with("resource \"deployments.apps\" is masked by earlier rule \"*.apps\""), "{error}");
    place.write(&[("secrets", &["aesgcm 1", "identity"]), ("secrets", &["aescbc 2"])]);
    place.encryption().expect("the providers of both read");
}

#[tokio::test]
async fn a_key_with_another_secret_is_another_key() {
    let place = Place::new();
    place.write(&[("secrets", &["aesgcm 1"])]);
    let encryption = place.encryption().unwrap();
    let store = place.open(&encryption).unwrap();
    put(&*store, SECRET, "hidden".into()).await;
    drop(store);
    let other = file(&[("secrets", &["aesgcm 1"])]).replace(KEYS[0], KEYS[1]);
    std::fs::write(place.file(), other).unwrap();
    let error = place.open(&place.encryption().unwrap()).map(drop).unwrap_err().to_string();
    assert!(error.contains(SECRET) && error.ends_with("cipher: message authentication failed"), "{error}");
}

#[tokio::test]
async fn plain_data_is_taken_over_and_leaves_no_trace() {
    let place = Place::new();
    let plain = Durable::open(DurableConfig::new(place.data())).unwrap();
    for at in 0..200 {
        put(&*plain, &format!("/registry/secrets/default/{at}"), format!("planted-{at:04}")).await;
    }
    drop(plain);
    assert!(place.has("planted-0007"));
    place.write(&[("secrets", &["aesgcm 1"])]);
    let refused = place.open(&place.encryption().unwrap()).map(drop).unwrap_err().to_string();
    assert!(refused.ends_with("no matching prefix found"), "nobody said that plain secrets may be there: {refused}");
    place.write(&[("secrets", &["aesgcm 1", "identity"])]);
    let encryption = place.encryption().unwrap();
    let store = place.open(&encryption).unwrap();
    let registry = place.registry(&encryption, store.clone());
    let before = store.snapshot().revision();
    tokio::select! {
        () = rotation::follow(&registry) => {}
        () = eventually("everything is written anew", || store.renewed().is_some()) => {}
    }
    assert!(!place.has("planted-0"), "no file has any of them");
    assert_eq!(store.snapshot().revision(), before + 200, "each was written once");
    assert_eq!(store.renewed(), encryption.mark());
    assert_eq!(prefix(&*store, "/registry/secrets/default/7"), "k8s:enc:aesgcm:v1:key1:");
    drop((registry, store));
    let store = place.open(&encryption).unwrap();
    assert_eq!(store.snapshot().get("/registry/secrets/default/7").unwrap().value(), "planted-0007");
    let registry = place.registry(&encryption, store.clone());
    let revision = store.snapshot().revision();
    tokio::select! {
        () = rotation::follow(&registry) => {}
        () = tokio::time::sleep(Duration::from_millis(300)) => {}
    }
    assert_eq!(store.snapshot().revision(), revision, "there is nothing left to do");
}

/// Writers go on while keys are changed again and again: nothing of theirs is lost, and in the end the newest key alone
/// is in the files.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_write_is_lost_while_keys_change() {
    let place = Place::new();
    place.write(&[("secrets", &["aesgcm 1"])]);
    let encryption = place.encryption().unwrap();
    let store = place.open(&encryption).unwrap();
    let registry = place.registry(&encryption, store.clone());
    for at in 0..100 {
        put(&*store, &format!("/registry/secrets/default/still-{at}"), "still".into()).await;
    }
    let following = tokio::spawn(async move { rotation::follow(&registry).await });
    let stop = CancellationToken::new();
    let writer = |name: usize| {
        let (store, stop) = (store.clone(), stop.clone());
        tokio::spawn(async move {
            let key = format!("/registry/secrets/default/writer-{name}");
            let mut number = 0_u64;
            while !stop.is_cancelled() {
                let current = store.snapshot().get(&key).cloned();
                assert!(number == 0 || current.as_ref().unwrap().value() == number.to_string(), "a write was lost");
                let value = Bytes::from((number + 1).to_string());
                let write = match current {
                    None => Transaction::create(&*key, value),
                    Some(current) => Transaction::update(&*key, current.mod_revision(), value),
                };
                match store.commit(write).await {
                    Ok(_) => number += 1,
                    Err(store::StoreError::ConditionFailed { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            number
        })
    };
    let writers: Vec<_> = (0..4).map(writer).collect();
    for keys in ["aesgcm 2 1", "aesgcm 3 2 1", "secretbox 1", "aescbc 2", "aesgcm 1"] {
        // As people do it: what was written with so far is still read.
        let mut providers = vec![keys];
        let all = ["aesgcm 1 2 3", "secretbox 1", "aescbc 2"];
        providers.extend(all.into_iter().filter(|provider| *provider != keys));
        place.write(&[("secrets", &providers)]);
        encryption.look();
        let mark = |text: Option<String>| text.unwrap_or_default();
        let before = mark(store.renewed());
        eventually("the file is read", || mark(encryption.mark()) != before).await;
        eventually("all is written anew", || store.renewed() == encryption.mark()).await;
    }
    stop.cancel();
    for writer in writers {
        assert!(writer.await.unwrap() > 0);
    }
    following.abort();
    let _ = following.await;
    let revision = store.snapshot().revision();
    drop(store);
    place.write(&[("secrets", &["aesgcm 1"])]);
    let store = place.open(&place.encryption().unwrap()).expect("the newest key alone reads everything");
    assert!(store.snapshot().revision() >= revision);
}

#[tokio::test]
async fn a_file_that_would_not_read_what_is_stored_does_not_count() {
    let place = Place::new();
    place.write(&[("secrets", &["aesgcm 1"])]);
    let encryption = place.encryption().unwrap();
    let store = place.open(&encryption).unwrap();
    put(&*store, SECRET, "hidden".into()).await;
    let mark = encryption.mark();
    let cases: [(Entries, &str); 3] = [
        (&[("secrets", &["aesgcm 2"])], "could not be read any more"),
        (&[("configmaps", &["aesgcm 1"])], "could not be read any more"),
        (&[], "at least one resources is required"),
    ];
    for (entries, expected) in cases {
        place.write(entries);
        let error = encryption.reload(&store.snapshot()).unwrap_err();
        assert!(error.contains(expected), "{error}");
        assert_eq!(encryption.mark(), mark);
    }
    std::fs::remove_file(place.file()).unwrap();
    assert!(encryption.reload(&store.snapshot()).unwrap_err().contains("No such file"));
    place.write(&[("secrets", &["aesgcm 1"])]);
    assert_eq!(encryption.reload(&store.snapshot()), Ok(false), "nothing has changed");
    place.write(&[("secrets", &["identity", "aesgcm 1"])]);
    assert_eq!(encryption.reload(&store.snapshot()), Ok(true));
    put(&*store, SECRET, "plain".into()).await;
    assert!(store.snapshot().get(SECRET).unwrap().sealed().is_none());
}

//! Tests of informers.

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::*;

fn map(name: &str, uid: &str, version: u32) -> ConfigMap {
    let metadata = ObjectMeta {
        name: Some(name.into()),
        namespace: Some("ns".into()),
        uid: Some(uid.into()),
        resource_version: Some(version.to_string()),
        ..ObjectMeta::default()
    };
    ConfigMap { metadata, ..ConfigMap::default() }
}

fn log(informer: &Informer<ConfigMap>) -> Arc<Mutex<Vec<String>>> {
    let said = Arc::new(Mutex::new(Vec::new()));
    let to = said.clone();
    informer.on_change(move |change| {
        let object = change.object();
        let sign = match change {
            Change::Added(_) => "+",
            Change::Updated { .. } => "~",
            Change::Deleted(_) => "-",
        };
        let (name, version) = (object.metadata.name.as_deref(), object.metadata.resource_version.as_deref());
        to.lock().push(format!("{sign}{}@{}", name.unwrap_or_default(), version.unwrap_or_default()));
    });
    said
}

fn list(informer: &Informer<ConfigMap>, objects: &[ConfigMap]) {
    let mut relist = None;
    informer.feed(&mut relist, Event::Init);
    objects.iter().for_each(|o| informer.feed(&mut relist, Event::InitApply(o.clone())));
    informer.feed(&mut relist, Event::InitDone);
}

#[test]
fn a_relist_infers_what_was_missed() {
    let informer = Informer::detached(drop_managed_fields);
    let said = log(&informer);
    list(&informer, &[map("a", "1", 1), map("b", "2", 2), map("c", "3", 3)]);
    assert!(informer.has_synced());
    said.lock().clear();
    list(&informer, &[map("b", "2", 2), map("c", "9", 7), map("d", "4", 8)]);
    assert_eq!(*said.lock(), ["-c@3", "+c@7", "+d@8", "-a@1"], "b is the same, c is another of that name");
}

#[test]
fn a_late_handler_hears_of_everything_once() {
    let informer = Informer::detached(drop_managed_fields);
    list(&informer, &[map("a", "1", 1)]);
    let said = log(&informer);
    informer.feed(&mut None, Event::Apply(map("a", "1", 2)));
    informer.feed(&mut None, Event::Delete(map("a", "1", 3)));
    assert_eq!(*said.lock(), ["+a@1", "~a@2", "-a@3"]);
}

#[tokio::test]
async fn a_handler_that_panics_is_told_again_and_holds_up_no_other() {
    let clock = Clock::manual(jiff::Timestamp::UNIX_EPOCH);
    let informer = Informer::on(drop_managed_fields, clock.clone());
    list(&informer, &[map("early", "0", 1)]);
    let bad = Arc::new(Mutex::new(Vec::new()));
    let to = bad.clone();
    informer.on_change(move |change: &Change<ConfigMap>| {
        let mut told = to.lock();
        told.push((change.object().metadata.name.clone().unwrap_or_default(), change.is_delete()));
        assert!(told.len() > 4, "not yet");
    });
    let said = log(&informer);
    informer.feed(&mut None, Event::Apply(map("a", "1", 2)));
    informer.feed(&mut None, Event::Apply(map("b", "2", 3)));
    informer.feed(&mut None, Event::Delete(map("b", "2", 4)));
    assert_eq!(*said.lock(), ["+early@1", "+a@2", "+b@3", "-b@4"], "the other handler misses nothing");
    assert_eq!(informer.panics(), 4);
    bad.lock().clear();
    for _ in 0..4 {
        bad.lock().push(("told before".into(), false));
    }
    let shared = informer.0.clone();
    let telling = tokio::spawn(async move { shared.tell_missed().await });
    clock.advance(Duration::from_secs(1));
    while bad.lock().len() < 7 {
        tokio::task::yield_now().await;
    }
    let told: BTreeSet<_> = bad.lock().iter().skip(4).cloned().collect();
    let expected = [("early", false), ("a", false), ("b", true)].map(|(name, gone)| (name.to_owned(), gone));
    assert_eq!(told, BTreeSet::from(expected), "each object as it is now");
    assert!(informer.0.missed.lock().is_empty());
    telling.abort();
}

#[test]
fn an_index_follows_the_objects() {
    let informer = Informer::detached(drop_managed_fields);
    list(&informer, &[map("a", "1", 1)]);
    informer.add_index("uid", |m: &ConfigMap| m.metadata.uid.clone().into_iter().collect());
    informer.feed(&mut None, Event::Apply(map("b", "2", 2)));
    assert_eq!(informer.indexed("uid", "1").len() + informer.indexed("uid", "2").len(), 2);
    informer.feed(&mut None, Event::Delete(map("a", "1", 3)));
    assert!(informer.indexed("uid", "1").is_empty());
}

//! What is put right, and what is left to whoever changed it.

use serde_json::json;

use super::*;

fn stored(resource: &str, name: &str) -> (Object, Object) {
    let all = bootstrap::of_group(GROUP);
    let wanted = all.into_iter().find(|(of, object)| of == resource && object.name() == name).unwrap().1;
    let mut current = wanted.clone();
    current.set(&["metadata", "uid"], "u");
    current.set(&["metadata", "generation"], 1);
    (wanted, current)
}

/// What happens to a stored object that somebody changed, if anything.
fn put_right(resource: &str, name: &str, change: impl Fn(&mut Object)) -> Option<Change> {
    let (wanted, mut current) = stored(resource, name);
    change(&mut current);
    let found = changes([&wanted].into_iter(), std::slice::from_ref(&current));
    assert!(found.len() < 2);
    if let Some(Change::Replace(object)) = found.first() {
        assert_eq!(object.uid(), "u", "it stays the same object");
        assert!(changes([&wanted].into_iter(), std::slice::from_ref(object)).is_empty(), "and is right then");
    }
    found.into_iter().next()
}

fn spec_of(change: Option<Change>) -> Value {
    match change {
        Some(Change::Replace(object)) => object.at(&["spec"]).cloned().unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn all_that_is_missing_comes_back_and_nothing_is_done_where_all_is_there() {
    let all = bootstrap::of_group(GROUP);
    assert!(all.len() > 15);
    let wanted = || all.iter().map(|(_, object)| object);
    assert_eq!(changes(wanted(), &[]).len(), all.len());
    for resource in ["flowschemas", "prioritylevelconfigurations"] {
        let stored: Vec<Object> =
            all.iter().filter(|(of, _)| of == resource).map(|(_, object)| object.clone()).collect();
        assert_eq!(changes(stored.iter(), &stored), []);
        for (at, missing) in stored.iter().enumerate() {
            let rest: Vec<Object> = stored[..at].iter().chain(&stored[at + 1..]).cloned().collect();
            assert_eq!(changes(stored.iter(), &rest), [Change::Create(missing.clone())]);
        }
    }
}

#[test]
fn mandatory_ones_are_put_back_whoever_changed_them() {
    for name in [EXEMPT, CATCH_ALL] {
        let (wanted, _) = stored("flowschemas", name);
        let changed = put_right("flowschemas", name, |object| {
            object.set(&["spec", "matchingPrecedence"], 77);
            object.set(&["metadata", "generation"], 2);
            object.set(&["metadata", "annotations", AUTO_UPDATE], "false");
        });
        assert_eq!(Some(&spec_of(changed)), wanted.at(&["spec"]));
        let annotation = put_right("flowschemas", name, |object| _ = object.remove(&["metadata", "annotations"]));
        assert!(matches!(annotation, Some(Change::Replace(object)) if follows(&object) == Some(true)));
    }
    let shares = |object: &mut Object| object.set(&["spec", "limited", "nominalConcurrencyShares"], 50);
    assert_eq!(
        spec_of(put_right("prioritylevelconfigurations", CATCH_ALL, shares))["limited"]["nominalConcurrencyShares"],
        5
    );
}

#[test]
fn the_places_of_the_exempt_level_are_for_its_owner() {
    let resource = "prioritylevelconfigurations";
    let own = |object: &mut Object| {
        object.set(&["spec", "exempt"], json!({"nominalConcurrencyShares": 7, "lendablePercent": 30}));
        object.set(&["metadata", "generation"], 2);
    };
    assert_eq!(put_right(resource, EXEMPT, own), None);
    let other = |object: &mut Object| object.set(&["spec"], json!({"type": "Limited", "limited": {}}));
    assert_eq!(spec_of(put_right(resource, EXEMPT, other))["type"], "Exempt");
}

#[test]
fn suggested_ones_belong_to_whoever_changed_them() {
    let changed = |generation: i64, annotation: Option<&'static str>| {
        move |object: &mut Object| {
            object.set(&["spec", "matchingPrecedence"], 77);
            object.set(&["metadata", "generation"], generation);
            match annotation {
                Some(value) => object.set(&["metadata", "annotations", AUTO_UPDATE], value),
                None => _ = object.remove(&["metadata", "annotations", AUTO_UPDATE]),
            }
        }
    };
    let precedence = |generation, annotation| {
        let found = put_right("flowschemas", "global-default", changed(generation, annotation));
        found.map(|change| spec_of(Some(change))["matchingPrecedence"].clone())
    };
    assert_eq!(precedence(2, Some("true")), Some(9900.into()), "it follows the release");
    assert_eq!(precedence(2, Some("false")), None);
    assert_eq!(precedence(2, None), Some(77.into()), "and says that it does not");
    assert_eq!(precedence(2, Some("perhaps")), Some(77.into()));
    assert_eq!(precedence(1, None), Some(9900.into()), "nobody changed what an older release made");
}

#[test]
fn what_no_release_has_goes_if_it_says_that_it_follows_one() {
    let old = |annotation: &str| {
        Object::from_value(json!({"metadata": {"name": "old", "annotations": {AUTO_UPDATE: annotation}}})).unwrap()
    };
    assert_eq!(changes([].into_iter(), &[old("true")]), [Change::Delete("old".into())]);
    for other in ["false", "", "yes"] {
        assert_eq!(changes([].into_iter(), &[old(other)]), []);
    }
}

//! Which keys share a history.

use super::*;

#[test]
fn every_resource_has_a_history_of_its_own() {
    for resource in Catalogue::builtin().iter() {
        let whole = prefix(&resource.group, &resource.plural, "");
        assert_eq!(history_group(&whole), whole);
        assert_eq!(history_group(&key(&resource.group, &resource.plural, "a", "b")), whole);
    }
    assert_eq!(history_group("/registry/example.com/widgets/a/b"), "/registry/example.com/widgets/");
    for above in ["", "/registry/", "/registry/apps/", "/registry/example.com/", "/other"] {
        assert_eq!(history_group(above), "");
    }
}

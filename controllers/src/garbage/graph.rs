//! Who owns whom: a plain value, changed by what the watches tell.

use std::collections::{HashMap, HashSet};

/// The finalizer of an owner that waits for its dependents.
pub(super) const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer of an owner whose dependents are to be set free.
pub(super) const ORPHAN: &str = "orphan";

/// Where an object is found. The resource is a number in the table of monitored resources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) resource: usize,
    pub(super) namespace: String,
    pub(super) name: String,
}

/// A reference from a dependent to its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) uid: String,
    pub(super) api_version: String,
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) blocks: bool,
}

/// An object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) owners: Vec<Owner>,
    /// It is being deleted and waits for its dependents.
    pub(super) waits: bool,
    /// It is being deleted and sets its dependents free first.
    pub(super) orphans: bool,
    /// It is being deleted.
    pub(super) deleting: bool,
}

/// All objects by uid, and what depends on each uid, be it known or not.
#[derive(Debug, Default)]
pub(super) struct Graph {
    nodes: HashMap<String, Node>,
    dependents: HashMap<String, HashSet<String>>,
    /// The group and kind of each resource, by its number.
    kinds: Vec<(String, String)>,
}

/// What a change asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// The objects to look at.
    pub(super) look: Vec<String>,
    /// Objects that name an owner in another namespace, each with the uid of that owner.
    pub(super) astray: Vec<(String, String)>,
}

impl Graph {
    /// Tells of which kind the objects of the resource with the next number are.
    pub(super) fn add_resource(&mut self, group: &str, kind: &str) {
        self.kinds.push((group.to_owned(), kind.to_owned()));
    }

    /// Whether a reference of an object in `namespace` means `owner` not only by its uid
    /// (`ownerReferenceMatchesCoordinates` in the reference). The version may differ: it is the same object in each.
    pub(super) fn means(&self, reference: &Owner, namespace: &str, owner: &Node) -> bool {
        let group = reference.api_version.split_once('/').map_or("", |(group, _)| group);
        let kind = self.kinds.get(owner.place.resource);
        reference.name == owner.place.name
            && !is_astray(namespace, owner)
            && kind.is_some_and(|(g, k)| g == group && *k == reference.kind)
    }

    pub(super) fn get(&self, uid: &str) -> Option<&Node> {
        self.nodes.get(uid)
    }

    /// The known dependents of `uid`.
    pub(super) fn dependents(&self, uid: &str) -> impl Iterator<Item = (&String, &Node)> {
        let uids = self.dependents.get(uid).into_iter().flatten();
        uids.filter_map(|uid| self.nodes.get_key_value(uid))
    }

    /// The dependents that keep `uid` while it waits.
    pub(super) fn blocking(&self, uid: &str) -> Vec<(String, bool)> {
        let blocks = |n: &Node| n.owners.iter().any(|o| o.uid == uid && o.blocks);
        self.dependents(uid).filter(|(_, n)| blocks(n)).map(|(u, n)| (u.clone(), n.waits)).collect()
    }

    /// Whether an object may be in a circle of owners: something that depends on it waits itself already. It need not be one,
    /// but an object that stopped blocking its owners without need only lets them go a little early.
    pub(super) fn may_be_in_a_circle(&self, uid: &str) -> bool {
        self.dependents(uid).any(|(_, dependent)| dependent.waits)
    }

    /// Takes in the newest state of an object. References that do not mean the object whose uid they name are looked at.
    pub(super) fn put(&mut self, uid: &str, node: Node) -> Found {
        let old = self.nodes.insert(uid.to_owned(), node.clone());
        let before = old.as_ref().map_or(&[][..], |o| &o.owners);
        let mut found = Found::default();
        let look = &mut found.look;
        for owner in before.iter().filter(|o| !node.owners.contains(o)) {
            if !node.owners.iter().any(|o| o.uid == owner.uid) {
                self.unlink(&owner.uid, uid);
            }
            // The owner may have waited for just this.
            look.extend(self.waiting(&owner.uid));
        }
        for owner in node.owners.iter().filter(|o| !before.contains(o)) {
            self.dependents.entry(owner.uid.clone()).or_default().insert(uid.to_owned());
            let known = self.nodes.get(&owner.uid);
            if known.is_none_or(|o| o.waits || !self.means(owner, &node.place.namespace, o)) {
                look.push(uid.to_owned());
            }
            if known.is_some_and(|o| is_astray(&node.place.namespace, o)) {
                found.astray.push((uid.to_owned(), owner.uid.clone()));
            }
        }
        if old.is_none() {
            for (dependent, there) in self.dependents(uid) {
                let mut references = there.owners.iter().filter(|o| o.uid == uid);
                if references.any(|o| !self.means(o, &there.place.namespace, &node)) {
                    look.push(dependent.clone());
                }
                if is_astray(&there.place.namespace, &node) {
                    found.astray.push((dependent.clone(), uid.to_owned()));
                }
            }
        }
        let was = old.as_ref().is_some_and(|o| o.waits);
        if node.waits && !was {
            look.extend(self.dependents(uid).map(|(u, _)| u.clone()));
        }
        if node.waits || node.orphans {
            look.push(uid.to_owned());
        }
        found
    }

    /// Takes an object out. Returns the objects to look at.
    pub(super) fn remove(&mut self, uid: &str) -> Vec<String> {
        let Some(node) = self.nodes.remove(uid) else { return Vec::new() };
        let mut look: Vec<String> = self.dependents(uid).map(|(u, _)| u.clone()).collect();
        for owner in &node.owners {
            self.unlink(&owner.uid, uid);
            look.extend(self.waiting(&owner.uid));
        }
        look
    }

    /// The objects of a resource.
    pub(super) fn of_resource(&self, resource: usize) -> Vec<String> {
        self.nodes.iter().filter(|(_, n)| n.place.resource == resource).map(|(u, _)| u.clone()).collect()
    }

    fn waiting(&self, uid: &str) -> Option<String> {
        self.nodes.get(uid).filter(|n| n.waits).map(|_| uid.to_owned())
    }

    fn unlink(&mut self, owner: &str, dependent: &str) {
        if let Some(set) = self.dependents.get_mut(owner) {
            set.remove(dependent);
            if set.is_empty() {
                self.dependents.remove(owner);
            }
        }
    }
}

/// Whether an owner is in another namespace than its dependent. One without a namespace may own things in any.
fn is_astray(namespace: &str, owner: &Node) -> bool {
    !owner.place.namespace.is_empty() && owner.place.namespace != namespace
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph() -> Graph {
        let mut graph = Graph::default();
        graph.add_resource("", "K");
        graph.add_resource("apps", "K");
        graph
    }

    fn node(name: &str, owners: &[(&str, bool)]) -> Node {
        let owner = |(uid, blocks): &(&str, bool)| Owner {
            uid: uid.to_string(),
            api_version: "v1".into(),
            kind: "K".into(),
            name: uid.to_string(),
            blocks: *blocks,
        };
        Node {
            place: Place { resource: 0, namespace: String::new(), name: name.into() },
            owners: owners.iter().map(owner).collect(),
            waits: false,
            orphans: false,
            deleting: false,
        }
    }

    #[test]
    fn dependents_are_looked_at_when_their_owner_goes() {
        let mut graph = graph();
        assert_eq!(graph.put("owner", node("owner", &[])), Found::default());
        assert_eq!(graph.put("pod", node("pod", &[("owner", true)])), Found::default(), "its owner is known");
        assert_eq!(graph.remove("owner"), ["pod"]);
    }

    #[test]
    fn a_dependent_of_nobody_is_looked_at() {
        let mut graph = graph();
        assert_eq!(graph.put("pod", node("pod", &[("owner", true)])).look, ["pod"]);
    }

    #[test]
    fn a_circle_shows_when_it_closes() {
        let mut graph = graph();
        for (uid, owner) in [("a", "c"), ("b", "a"), ("c", "b")] {
            graph.put(uid, node(uid, &[(owner, true)]));
        }
        graph.put("a", Node { waits: true, deleting: true, ..node("a", &[("c", true)]) });
        assert!(!graph.may_be_in_a_circle("b"));
        assert!(graph.may_be_in_a_circle("c"), "a waits and depends on c");
    }

    #[test]
    fn a_waiting_owner_is_looked_at_when_a_dependent_goes() {
        let mut graph = graph();
        graph.put("owner", node("owner", &[]));
        graph.put("pod", node("pod", &[("owner", true)]));
        let waiting = Node { waits: true, deleting: true, ..node("owner", &[]) };
        let mut look = graph.put("owner", waiting).look;
        look.sort();
        assert_eq!(look, ["owner", "pod"]);
        assert_eq!(graph.blocking("owner"), [("pod".to_owned(), false)]);
        assert_eq!(graph.remove("pod"), ["owner"]);
        assert!(graph.blocking("owner").is_empty());
    }

    /// A uid alone is no owner: another namespace, name, kind or group under it is looked at, whoever comes first.
    #[test]
    fn a_reference_that_means_something_else_is_looked_at() {
        let placed = |mut node: Node, resource: usize, namespace: &str| {
            node.place.resource = resource;
            node.place.namespace = namespace.into();
            node
        };
        let check = |owner: Node, dependent: Node, looked_at: bool, astray: bool| {
            let expect = Found {
                look: looked_at.then(|| "dep".to_owned()).into_iter().collect(),
                astray: astray.then(|| ("dep".to_owned(), "owner".to_owned())).into_iter().collect(),
            };
            let mut first = graph();
            first.put("owner", owner.clone());
            assert_eq!(first.put("dep", dependent.clone()), expect, "{owner:?} {dependent:?}");
            let mut late = graph();
            late.put("dep", dependent.clone());
            assert_eq!(late.put("owner", owner.clone()), expect, "{owner:?} after {dependent:?}");
        };
        let dependent = || placed(node("dep", &[("owner", false)]), 0, "ns");
        check(placed(node("owner", &[]), 0, "ns"), dependent(), false, false);
        check(placed(node("owner", &[]), 0, ""), dependent(), false, false);
        check(placed(node("owner", &[]), 0, "other"), dependent(), true, true);
        check(placed(node("owner", &[]), 1, "ns"), dependent(), true, false);
        check(placed(node("another", &[]), 0, "ns"), dependent(), true, false);
        let mut version = dependent();
        version.owners[0].api_version = "v2".into();
        check(placed(node("owner", &[]), 0, "ns"), version, false, false);
        let mut kind = dependent();
        kind.owners[0].kind = "L".into();
        check(placed(node("owner", &[]), 0, "ns"), kind, true, false);
        check(placed(node("owner", &[]), 0, "ns"), placed(dependent(), 0, ""), true, true);
    }
}

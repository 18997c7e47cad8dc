//! Files of a volume that lie at or below one another (`warningsForOverlappingVirtualPaths`).

use crate::validation::at::At;

/// So many paths of one volume are compared with one another at most.
const COMPARED_MAX: usize = 512;

/// A path in a volume, and what it is from.
#[derive(Clone, PartialEq)]
struct Place {
    path: String,
    source: String,
}

impl Place {
    fn shown(&self) -> String {
        match self.source.as_str() {
            "" => format!("{:?}", self.path),
            source => format!("{:?} ({source})", self.path),
        }
    }

    fn meets(&self, other: &Self) -> bool {
        let within = |a: &str, b: &str| a.strip_prefix(b).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        !other.path.is_empty() && (within(&self.path, &other.path) || within(&other.path, &self.path))
    }
}

/// Warnings about the volumes of a pod.
pub(super) fn of(spec: &At<'_>, out: &mut Vec<String>) {
    for volume in spec.field("volumes").items() {
        let name = volume.field("name").text();
        let plain = [
            (volume.at(&["configMap", "items"]), format!("ConfigMap {:?}", volume.at(&["configMap", "name"]).text())),
            (volume.at(&["secret", "items"]), format!("Secret {:?}", volume.at(&["secret", "secretName"]).text())),
            (volume.at(&["downwardAPI", "items"]), "DownwardAPI".to_string()),
        ];
        for (list, shown) in plain {
            let mut known = Vec::new();
            for place in items(&list, "") {
                meet(&mut known, place, |text| {
                    out.push(format!("volume {name:?} ({shown}): overlapping paths: {text}"))
                });
            }
        }
        let mut known = Vec::new();
        for source in volume.at(&["projected", "sources"]).items() {
            if source.is_empty() {
                out.push(format!("volume {name:?} (Projected) has no sources provided"));
            }
            for place in of_source(&source) {
                meet(&mut known, place, |text| {
                    out.push(format!("volume {name:?} (Projected): overlapping paths: {text}"))
                });
            }
        }
    }
}

fn meet(known: &mut Vec<Place>, mut place: Place, mut warn: impl FnMut(String)) {
    if known.len() >= COMPARED_MAX {
        return;
    }
    place.path.truncate(place.path.trim_end_matches('/').len());
    if !place.path.is_empty() {
        let met = known.iter().filter(|other| place.meets(other));
        met.for_each(|other| warn(format!("{} with {}", place.shown(), other.shown())));
    }
    known.push(place);
}

fn items(list: &At<'_>, source: &str) -> Vec<Place> {
    let paths = list.items().map(|item| item.field("path").text().to_string());
    paths.map(|path| Place { path, source: source.to_string() }).collect()
}

/// The places of the first kind that a source has.
fn of_source(source: &At<'_>) -> Vec<Place> {
    for (inner, shown) in source.fields(["configMap", "secret"]).iter().zip(["ConfigMap", "Secret"]) {
        if inner.field("items").is_set() {
            return items(&inner.field("items"), &format!("{shown} {:?}", inner.field("name").text()));
        }
    }
    let (downward, token) = (source.at(&["downwardAPI", "items"]), source.field("serviceAccountToken"));
    if downward.is_set() {
        return items(&downward, "DownwardAPI");
    }
    if token.is_set() {
        let path = token.field("path").text().to_string();
        return vec![Place { path, source: "ServiceAccountToken".into() }];
    }
    Vec::new()
}

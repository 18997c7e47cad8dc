//! `ImageLocality`: prefers nodes that have the pod's images already.

use super::SCORE_MAX;
use crate::cache::Cache;
use crate::node::NodeInfo;
use crate::pod::PodInfo;

/// Images below this size in bytes count for nothing.
const SIZE_MIN: i64 = 23 * 1024 * 1024;
/// Images over this size in bytes, for each container, count no more.
const SIZE_MAX: i64 = 1000 * 1024 * 1024;

/// Scores by the sizes of images present, each weighed by the share of nodes that have it.
pub(crate) fn score(pod: &PodInfo, nodes: &[&NodeInfo], cache: &Cache) -> Option<Vec<i64>> {
    if nodes.iter().all(|node| node.images.is_empty()) {
        return None;
    }
    let images: Vec<String> = pod.wanted.images.iter().map(|image| normalized(image)).collect();
    let spread: Vec<f64> = images
        .iter()
        .map(|image| {
            cache.nodes().filter(|node| node.images.contains_key(image)).count() as f64 / cache.node_count() as f64
        })
        .collect();
    let most = SIZE_MAX * i64::try_from(images.len()).unwrap_or(1);
    let score = |node: &&NodeInfo| {
        let found = images.iter().zip(&spread);
        let sum: f64 = found.map(|(image, share)| node.images.get(image).copied().unwrap_or(0) as f64 * share).sum();
        let bounded = (sum as i64).clamp(SIZE_MIN, most);
        SCORE_MAX * (bounded - SIZE_MIN) / (most - SIZE_MIN)
    };
    Some(nodes.iter().map(score).collect())
}

/// An image without a tag means its tag `latest`.
fn normalized(image: &str) -> String {
    if image.rfind(':') <= image.rfind('/') { format!("{image}:latest") } else { image.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_get_their_tag() {
        let check = |image: &str, expect: &str| assert_eq!(normalized(image), expect);
        check("nginx", "nginx:latest");
        check("nginx:1", "nginx:1");
        check("registry:5000/nginx", "registry:5000/nginx:latest");
        check("registry:5000/nginx:1", "registry:5000/nginx:1");
    }
}

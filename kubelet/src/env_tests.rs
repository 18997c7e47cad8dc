//! Tests of container environments.

use std::sync::Arc;

use super::*;

fn check(container: &str, expected: &str) {
    let pod: Pod = serde_json::from_value(serde_json::json!({
        "metadata": {"name": "p", "namespace": "n", "uid": "u", "labels": {"app": "x"}},
        "spec": {"containers": [], "nodeName": "node"},
    }))
    .expect("a pod");
    let container: Container = serde_json::from_str(container).expect("a container");
    let config_map = |data: &str| -> Arc<ConfigMap> {
        Arc::new(serde_json::from_str(&format!(r#"{{"data":{data}}}"#)).expect("a ConfigMap"))
    };
    let references = References {
        config_maps: HashMap::from([("m".to_owned(), config_map(r#"{"k":"v","l":"w"}"#))]),
        secrets: HashMap::new(),
    };
    let services = BTreeMap::from([("SVC".to_owned(), "s".to_owned())]);
    let around = Surroundings { pod_ips: vec!["10.0.0.1".into()], cpu_milli: 1500, ..Default::default() };
    let text = match make(&pod, &container, &references, services, &around) {
        Ok(pairs) => pairs.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" "),
        Err(message) => format!("error: {message}"),
    };
    assert_eq!(text, expected, "{container:?}");
}

#[test]
fn sources() {
    check(r#"{"name":"c"}"#, "SVC=s");
    check(
        r#"{"name":"c","env":[{"name":"A","value":"1"},{"name":"B","value":"$(A)$(SVC)$(C)"}]}"#,
        "SVC=s A=1 B=1s$(C)",
    );
    check(r#"{"name":"c","env":[{"name":"SVC","value":"mine"}]}"#, "SVC=mine");
    check(r#"{"name":"c","envFrom":[{"prefix":"P_","configMapRef":{"name":"m"}}]}"#, "SVC=s P_k=v P_l=w");
    check(r#"{"name":"c","envFrom":[{"configMapRef":{"name":"none"}}]}"#, r#"error: configmap "none" not found"#);
    check(r#"{"name":"c","envFrom":[{"configMapRef":{"name":"none","optional":true}}]}"#, "SVC=s");
    let from = |source: &str| format!(r#"{{"name":"c","env":[{{"name":"A","valueFrom":{source}}}]}}"#);
    check(&from(r#"{"fieldRef":{"fieldPath":"metadata.labels['app']"}}"#), "SVC=s A=x");
    check(&from(r#"{"fieldRef":{"fieldPath":"status.podIP"}}"#), "SVC=s A=10.0.0.1");
    check(&from(r#"{"resourceFieldRef":{"resource":"limits.cpu"}}"#), "SVC=s A=2");
    check(&from(r#"{"resourceFieldRef":{"resource":"limits.cpu","divisor":"1m"}}"#), "SVC=s A=1500");
    check(&from(r#"{"configMapKeyRef":{"name":"m","key":"k"}}"#), "SVC=s A=v");
    check(&from(r#"{"configMapKeyRef":{"name":"m","key":"z","optional":true}}"#), "SVC=s");
    check(&from(r#"{"configMapKeyRef":{"name":"m","key":"z"}}"#), "error: couldn't find key z in ConfigMap n/m");
}

#[test]
fn services() {
    let service: Service = serde_json::from_str(
        r#"{"metadata":{"name":"my-web","namespace":"n"},
            "spec":{"clusterIP":"10.0.0.7","ports":[{"name":"http","port":80},{"port":53,"protocol":"UDP"}]}}"#,
    )
    .expect("a service");
    let names = |namespace: &str, links: bool| -> Vec<String> {
        service_variables([&service].into_iter(), namespace, links)
            .into_iter()
            .map(|(k, v)| format!("{k}={v}"))
            .collect()
    };
    assert!(names("other", true).is_empty());
    assert!(names("n", false).is_empty());
    let all = names("n", true);
    for expected in [
        "MY_WEB_SERVICE_HOST=10.0.0.7",
        "MY_WEB_SERVICE_PORT=80",
        "MY_WEB_SERVICE_PORT_HTTP=80",
        "MY_WEB_PORT=tcp://10.0.0.7:80",
        "MY_WEB_PORT_53_UDP=udp://10.0.0.7:53",
        "MY_WEB_PORT_53_UDP_PROTO=udp",
    ] {
        assert!(all.iter().any(|one| one == expected), "{expected} is missing in {all:?}");
    }
}

//! Which rule is about which request, and what is no policy.

use api::UserInfo;

use super::*;

fn policy(rules: &str) -> Result<Policy, String> {
    Policy::parse(format!("apiVersion: audit.k8s.io/v1\nkind: Policy\n{rules}").as_bytes())
}

/// `verb group/resource/subresource namespace name` or `verb /path`, asked by alice of the group staff.
fn level(policy: &Policy, request: &str) -> &'static str {
    let user = UserInfo::new("alice", &["staff"]);
    let words: Vec<&str> = request.split(' ').collect();
    let mut asked = Attributes {
        user: &user,
        verb: words[0],
        namespace: "",
        group: "",
        version: "v1",
        resource: "",
        subresource: "",
        name: "",
        label_selector: "",
        field_selector: "",
        is_resource_request: false,
        path: words[1],
    };
    if !words[1].starts_with('/') {
        let mut parts = words[1].split(':').next_back().unwrap().split('/');
        asked.group = words[1].split_once(':').map_or("", |(group, _)| group);
        (asked.resource, asked.subresource) = (parts.next().unwrap(), parts.next().unwrap_or(""));
        (asked.namespace, asked.name) = (words.get(2).unwrap_or(&""), words.get(3).unwrap_or(&""));
        asked.is_resource_request = true;
    }
    policy.decide(&asked).level.as_str()
}

#[test]
fn the_first_rule_that_is_about_a_request_counts() {
    let policy = policy(
        "rules:\n\
         - {level: None, users: [bob]}\n\
         - {level: None, userGroups: [ops], verbs: [get]}\n\
         - {level: RequestResponse, resources: [{group: '', resources: [pods]}]}\n\
         - {level: Request, resources: [{group: '', resources: [pods/log, 'nodes/*', '*/scale']}]}\n\
         - {level: None, resources: [{group: '', resources: [configmaps], resourceNames: [leader]}]}\n\
         - {level: Request, namespaces: [kube-system], resources: [{group: apps}]}\n\
         - {level: Metadata, namespaces: ['']}\n\
         - {level: Request, userGroups: [staff], nonResourceURLs: ['/api*', /version]}\n\
         - {level: Metadata, verbs: [watch]}\n",
    )
    .unwrap();
    for (request, expected) in [
        ("get pods a p", "RequestResponse"),
        ("get pods/log a p", "Request"),
        ("get pods/exec a p", "None"),
        ("get pods/scale a p", "Request"),
        ("update deployments/scale a p", "Request"),
        ("get nodes/proxy  n", "Request"),
        ("get nodes  n", "Request"),
        ("get configmaps a leader", "None"),
        ("watch configmaps a leader", "None"),
        ("watch configmaps a other", "Metadata"),
        ("get apps:deployments kube-system d", "Request"),
        ("get apps:deployments a d", "None"),
        ("get namespaces  a", "Metadata"),
        ("get /api", "Request"),
        ("get /apis/apps", "Request"),
        ("get /version", "Request"),
        ("get /version/x", "None"),
        ("watch /other", "Metadata"),
    ] {
        assert_eq!(level(&policy, request), expected, "{request}");
    }
}

#[test]
fn stages_and_managed_fields_are_left_out_by_rule_and_for_all() {
    let policy = policy(
        "omitStages: [RequestReceived]\nomitManagedFields: true\nrules:\n\
         - {level: Metadata, verbs: [get], omitStages: [ResponseStarted], omitManagedFields: false}\n\
         - {level: Metadata, verbs: [list]}\n",
    )
    .unwrap();
    let user = UserInfo::default();
    let asked = |verb: &'static str| {
        let info = crate::RequestInfo { verb: verb.into(), ..Default::default() };
        policy.decide(&Attributes::of(&user, &info))
    };
    let got = asked("get");
    assert!(got.omit.has(Stage::RequestReceived) && got.omit.has(Stage::ResponseStarted));
    assert!(!got.omit.has(Stage::ResponseComplete) && !got.omit_managed_fields);
    let listed = asked("list");
    assert!(listed.omit.has(Stage::RequestReceived) && !listed.omit.has(Stage::ResponseStarted));
    assert!(listed.omit_managed_fields && asked("other").level == Level::None);
}

#[test]
fn a_policy_that_makes_no_sense_is_refused() {
    for (text, expected) in [
        ("rules: []", "loaded illegal policy with 0 rules"),
        ("rules: [{verbs: [get]}]", "rules[0].level: Required value"),
        (
            "rules: [{level: Some}]",
            "rules[0].level: Unsupported value: \"Some\": supported values: \"None\", \"Metadata\", \"Request\", \
             \"RequestResponse\"",
        ),
        (
            "rules: [{level: None, nonResourceURLs: [x, '/a*b']}]",
            "[rules[0].nonResourceURLs[0]: Invalid value: \"x\": non-resource URL rules must begin with a '/' \
             character, rules[0].nonResourceURLs[1]: Invalid value: \"/a*b\": non-resource URL wildcards '*' must be the \
             final character of the rule]",
        ),
        (
            "rules: [{level: None, resources: [{group: a/v1}]}]",
            "rules[0].resources.group: Invalid value: \"a/v1\": a lowercase RFC 1123 subdomain",
        ),
        (
            "rules: [{level: None, resources: [{group: a, resourceNames: [b]}]}]",
            "rules[0].resources.resourceNames: Invalid value: [\"b\"]: using resourceNames requires at least one",
        ),
        (
            "omitStages: [Late]\nrules: [{level: None}]",
            "omitStages[0]: Invalid value: \"Late\": allowed stages are RequestReceived,ResponseStarted,ResponseComplete,\
             Panic",
        ),
        (
            "rules: [{level: None, namespaces: [a], nonResourceURLs: ['*']}]",
            "rules[0].nonResourceURLs: Invalid value: [\"*\"]: rules cannot apply to both regular resources and",
        ),
    ] {
        let error = policy(text).unwrap_err();
        assert!(error.starts_with(expected), "{error}\n{expected}");
    }
    assert!(policy("rule: [{level: None}]\nrules: [{level: None}]").is_ok(), "a stray word is only told");
}

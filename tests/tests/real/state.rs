//! Walkthrough B: stateful sets, claims, storage classes; and volumes and environments of pods.

use tests::kubectl::{Failure, Kubectl, expect};
use tests::real::RealCluster;

const STATEFUL_SET: &str = r"
apiVersion: v1
kind: Service
metadata: {name: nginx}
spec: {clusterIP: None, selector: {app: nginx}, ports: [{port: 80, name: web}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: web}
spec:
  serviceName: nginx
  replicas: 2
  selector: {matchLabels: {app: nginx}}
  template:
    metadata: {labels: {app: nginx}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: nginx
        image: nginx:1.22
        ports: [{containerPort: 80, name: web}]
        volumeMounts: [{name: www, mountPath: /usr/share/nginx/html}]
  volumeClaimTemplates:
  - metadata: {name: www}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
";

/// B.1 to B.4
pub(crate) fn stateful_set(_: &RealCluster, kubectl: &Kubectl) -> Result<(), Failure> {
    kubectl.apply(STATEFUL_SET)?;
    kubectl.run("rollout status statefulset/web --timeout=90s")?;
    let started = |pod: &str| kubectl.run(&format!("get pod {pod} -o jsonpath={{.metadata.creationTimestamp}}"));
    if started("web-0")? > started("web-1")? {
        return Err("web-1 was created before web-0".into());
    }
    for pod in ["web-0", "web-1"] {
        expect(&kubectl.run(&format!("exec {pod} -- hostname"))?, pod)?;
        kubectl.words(&["exec", pod, "--", "sh", "-c", "hostname > /usr/share/nginx/html/index.html"], "")?;
    }
    kubectl.words(&["run", "client", "--image=busybox:1.35", "--", "sleep", "3600"], "")?;
    kubectl.eventually("get pod client", "Running")?;
    let address = kubectl.run("get pod web-1 -o jsonpath={.status.podIP}")?;
    kubectl.eventually("exec client -- nslookup web-1.nginx.b1-stateful-set.svc.cluster.local", address.trim())?;
    kubectl.eventually("exec client -- nslookup nginx.b1-stateful-set.svc.cluster.local", address.trim())?;
    kubectl.eventually("exec client -- nslookup -type=srv nginx.b1-stateful-set.svc.cluster.local", "web-1.nginx")?;
    kubectl.eventually("exec client -- wget -qO- http://web-0.nginx/", "web-0")?;
    let uid = kubectl.run("get pod web-0 -o jsonpath={.metadata.uid}")?;
    kubectl.run("delete pod -l app=nginx")?;
    kubectl.until("get pod web-0 -o jsonpath={.metadata.uid}", "another web-0", |now| now != uid.trim())?;
    kubectl.run("rollout status statefulset/web --timeout=90s")?;
    kubectl.eventually("exec web-0 -- cat /usr/share/nginx/html/index.html", "web-0")?;
    kubectl.eventually("get pvc www-web-0", "Bound")?;
    kubectl.run("scale statefulset web --replicas=4")?;
    kubectl.eventually("get statefulset web", "4/4")?;
    kubectl.words(&["patch", "sts", "web", "-p", r#"{"spec":{"replicas":1}}"#], "")?;
    kubectl.until("get pods -l app=nginx -o name", "web-0 alone", |names| names == "pod/web-0")?;
    expect(&kubectl.run("get pvc www-web-3")?, "Bound")
}

/// B.5
pub(crate) fn claims_and_classes(_: &RealCluster, kubectl: &Kubectl) -> Result<(), Failure> {
    expect(&kubectl.run("get storageclass")?, "(default)")?;
    kubectl.apply(
        r"
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
",
    )?;
    kubectl.eventually("get pvc data", "Pending")?;
    kubectl.apply(
        r"
apiVersion: v1
kind: Pod
metadata: {name: writer}
spec:
  restartPolicy: Never
  volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]
  containers:
  - name: writer
    image: busybox:1.35
    command: [sh, -c, 'echo kept > /data/file']
    volumeMounts: [{name: data, mountPath: /data}]
",
    )?;
    kubectl.eventually("get pod writer", "Completed")?;
    expect(&kubectl.run("get pvc data")?, "Bound")?;
    let volume = kubectl.run("get pvc data -o jsonpath={.spec.volumeName}")?;
    expect(&kubectl.run(&format!("get pv {}", volume.trim()))?, "Delete")?;
    kubectl.run("delete pod writer")?;
    kubectl.run("delete pvc data")?;
    kubectl.until("get pv -o name", "the volume is gone", |names| !names.contains(volume.trim()))?;
    Ok(())
}

/// ConfigMaps, secrets, the downward API and their updates.
pub(crate) fn volumes_and_environment(_: &RealCluster, kubectl: &Kubectl) -> Result<(), Failure> {
    kubectl.run("create configmap settings --from-literal=colour=blue")?;
    kubectl.run("create secret generic keys --from-literal=token=hidden")?;
    kubectl.apply(
        r"
apiVersion: v1
kind: Pod
metadata: {name: reader, labels: {tier: test}}
spec:
  terminationGracePeriodSeconds: 0
  volumes:
  - {name: settings, configMap: {name: settings}}
  - {name: keys, secret: {secretName: keys, defaultMode: 256}}
  - {name: about, downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}}
  - {name: memory, emptyDir: {medium: Memory}}
  - {name: image, image: {reference: 'nginx:1.22'}}
  initContainers:
  - {name: first, image: 'busybox:1.35', command: [sh, -c, 'echo init > /memory/file'], volumeMounts: [{name: memory, mountPath: /memory}]}
  containers:
  - name: reader
    image: busybox:1.35
    command: [sleep, '3600']
    env:
    - {name: COLOUR, valueFrom: {configMapKeyRef: {name: settings, key: colour}}}
    - {name: TOKEN, valueFrom: {secretKeyRef: {name: keys, key: token}}}
    - {name: POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
    - {name: BOTH, value: 'a-$(COLOUR)'}
    resources: {requests: {cpu: 10m, memory: 16Mi}, limits: {cpu: 100m, memory: 64Mi}}
    volumeMounts:
    - {name: settings, mountPath: /settings}
    - {name: keys, mountPath: /keys}
    - {name: about, mountPath: /about}
    - {name: memory, mountPath: /memory}
    - {name: settings, mountPath: /one/colour, subPath: colour}
    - {name: image, mountPath: /image}
    - {name: image, mountPath: /configuration, subPath: etc/nginx}
",
    )?;
    kubectl.eventually("get pod reader", "Running")?;
    let env = kubectl.run("exec reader -- env")?;
    for line in ["COLOUR=blue", "TOKEN=hidden", "BOTH=a-blue", "KUBERNETES_SERVICE_HOST="] {
        expect(&env, line)?;
    }
    expect(&kubectl.run("exec reader -- cat /settings/colour")?, "blue")?;
    expect(&kubectl.run("exec reader -- cat /one/colour")?, "blue")?;
    expect(&kubectl.run("exec reader -- cat /keys/token")?, "hidden")?;
    expect(&kubectl.run("exec reader -- cat /about/labels")?, "tier=\"test\"")?;
    expect(&kubectl.run("exec reader -- cat /memory/file")?, "init")?;
    expect(&kubectl.run("exec reader -- ls /image/usr/sbin")?, "nginx")?;
    expect(&kubectl.run("exec reader -- ls /configuration")?, "nginx.conf")?;
    let refused = kubectl.run("exec reader -- touch /image/file").err().unwrap_or_default();
    expect(&refused, "Read-only file system")?;
    expect(
        &kubectl.run("exec reader -- cat /var/run/secrets/kubernetes.io/serviceaccount/namespace")?,
        kubectl.namespace(),
    )?;
    expect(&kubectl.run("exec reader -- cat /etc/resolv.conf")?, "svc.cluster.local")?;
    kubectl.words(&["patch", "configmap", "settings", "-p", r#"{"data":{"colour":"green"}}"#], "")?;
    kubectl.eventually("exec reader -- cat /settings/colour", "green")?;
    expect(&kubectl.run("get pod reader -o jsonpath={.status.qosClass}")?, "Burstable")
}

//! The place of a machine in the cluster that it joins.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use rustls::server::ResolvesServerCert;

/// Who a machine is in a cluster, how it reaches the API, and what it has to know of the rest. A node is started from this
/// and from what its own command line says, so that it makes no difference where the control plane runs.
pub(super) struct Join {
    /// The name of its Node.
    pub node_name: String,
    /// Where the API server and other nodes reach it.
    pub address: IpAddr,
    /// The API as `system:node:NAME`.
    pub agent: kube::Client,
    /// The API as `system:kube-proxy`, who may read all services and their endpoints; a node may not.
    pub services: kube::Client,
    /// The certificate of the node's server, asked for at each handshake because it is renewed.
    pub serving: Arc<dyn ResolvesServerCert>,
    /// Who signs the certificates of the server's clients, as PEM.
    pub client_ca_pem: String,
    /// The addresses of its pods.
    pub pod_cidr: IpNet,
    /// The addresses of services.
    pub service_cidr: IpNet,
    /// The address of the service `kube-dns`.
    pub dns: IpAddr,
    /// The domain of services and pods.
    pub domain: String,
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::authentication::v1::SelfSubjectReview;
    use k8s_openapi::api::discovery::v1::EndpointSlice;
    use kube::Api;

    use crate::{Cluster, ClusterConfig};

    async fn name(client: &kube::Client) -> String {
        let reviews: Api<SelfSubjectReview> = Api::all(client.clone());
        let review = reviews.create(&Default::default(), &SelfSubjectReview::default()).await.unwrap();
        let user = review.status.and_then(|status| status.user_info).unwrap();
        [vec![user.username.unwrap()], user.groups.unwrap()].concat().join(" ")
    }

    #[tokio::test]
    async fn a_machine_is_a_node_and_reads_services_as_kube_proxy() {
        let config = ClusterConfig { node_name: "one".into(), ..ClusterConfig::in_memory() };
        let cluster = Cluster::start(config.clone()).await.unwrap();
        let join = cluster.control_plane.join(&config, "127.0.0.1:10250".parse().unwrap()).unwrap();
        assert_eq!(name(&join.agent).await, "system:node:one system:nodes system:authenticated");
        assert_eq!(name(&join.services).await, "system:kube-proxy system:authenticated");
        let slices = |client: &kube::Client| Api::<EndpointSlice>::all(client.clone());
        slices(&join.services).list(&Default::default()).await.unwrap();
        let refused = slices(&join.agent).list(&Default::default()).await.unwrap_err();
        assert!(matches!(&refused, kube::Error::Api(status) if status.code == 403), "{refused}");
        assert_eq!((join.node_name.as_str(), join.dns.to_string().as_str()), ("one", "10.43.0.10"));
        assert!(join.client_ca_pem.contains("BEGIN CERTIFICATE"));
    }

    #[tokio::test]
    async fn a_range_without_room_for_dns_takes_no_machine() {
        let config = ClusterConfig { service_cidr: "10.0.0.0/29".parse().unwrap(), ..ClusterConfig::in_memory() };
        let cluster = Cluster::start(config.clone()).await.unwrap();
        assert!(cluster.control_plane.join(&config, "127.0.0.1:10250".parse().unwrap()).is_err());
    }
}

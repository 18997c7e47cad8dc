//! The `/etc/hosts` file of a pod.

use std::{fmt::Write, io, os::unix::fs::PermissionsExt, path::PathBuf};

use k8s_openapi::api::core::v1::Pod;

use crate::{config::Config, pod};

/// The mode of the file (`etcHostsFile` is made with it, whatever the umask).
const FILE_MODE: u32 = 0o644;

/// The lines that every pod's file starts with.
const HEADER: &str = "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n";

/// The content of a pod's hosts file.
pub fn content(pod: &Pod, ips: &[String], cluster_domain: &str, host_file: &str) -> String {
    let mut text = if pod::host_network(pod) {
        format!("# Kubernetes-managed hosts file (host network).\n{host_file}")
    } else {
        HEADER.to_owned()
    };
    if !pod::host_network(pod) {
        let hostname = pod::hostname(pod);
        for ip in ips {
            let _ = match pod::domain(pod, cluster_domain) {
                Some(domain) => writeln!(text, "{ip}\t{hostname}.{domain}\t{hostname}"),
                None => writeln!(text, "{ip}\t{hostname}"),
            };
        }
    }
    let aliases = pod.spec.as_ref().and_then(|spec| spec.host_aliases.as_deref()).unwrap_or_default();
    if !aliases.is_empty() {
        text.push_str("\n# Entries added by HostAliases.\n");
        for alias in aliases {
            let names = alias.hostnames.as_deref().unwrap_or_default().join("\t");
            let _ = writeln!(text, "{}\t{names}", alias.ip);
        }
    }
    text
}

/// Writes the file and answers with its path.
///
/// # Errors
/// When it cannot be written.
pub fn write(config: &Config, pod: &Pod, ips: &[String]) -> io::Result<PathBuf> {
    let host_file = if pod::host_network(pod) { std::fs::read_to_string("/etc/hosts")? } else { String::new() };
    let directory = config.pod_dir(pod::uid(pod));
    std::fs::create_dir_all(&directory)?;
    let path = directory.join("etc-hosts");
    let text = content(pod, ips, &config.cluster_domain, &host_file);
    // The file is mounted into containers by its inode, so it is only written when it says something else.
    if std::fs::read_to_string(&path).ok().as_ref() != Some(&text) {
        std::fs::write(&path, text)?;
        // Containers under any user read it, whatever the umask of this process.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(FILE_MODE))?;
    }
    Ok(path)
}

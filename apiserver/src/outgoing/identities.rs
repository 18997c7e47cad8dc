//! As whom webhooks are called, by where they are (`defaultAuthenticationInfoResolver` in apiserver's `util/webhook`).

use std::path::{Path, PathBuf};

use super::KubeconfigError;
use super::kubeconfig::{File, Identity, User};

/// The users of a kubeconfig, whose names say where they are meant for.
#[derive(Debug)]
pub struct Identities {
    file: File,
    /// Where files are that users name.
    folder: PathBuf,
}

impl Identities {
    /// Reads a kubeconfig.
    ///
    /// # Errors
    /// [`KubeconfigError`]
    pub fn read(path: &Path) -> Result<Self, KubeconfigError> {
        let folder = path.parent().unwrap_or(Path::new("/")).to_path_buf();
        Ok(Self { file: File::read(path)?, folder })
    }

    /// As whom a server is called, by its host and port; as nobody if no user is for it.
    ///
    /// # Errors
    /// What is wrong with the user.
    pub(crate) fn of(&self, target: &str) -> Result<Identity, KubeconfigError> {
        self.find(target).map_or_else(|| Ok(Identity::default()), |user| user.identity(&self.folder))
    }

    /// The user of this very host, or of its domain, or of the host whatever the port if that is the usual one, or of all; else
    /// that of the current context.
    fn find(&self, target: &str) -> Option<&User> {
        let bare = target.strip_suffix(":443").map(|host| host.trim_start_matches('[').trim_end_matches(']'));
        self.at(target).or_else(|| self.at(bare?)).or_else(|| self.named("*")).or_else(|| {
            let current = &self.file.current_context;
            let context = self.file.contexts.iter().find(|context| !current.is_empty() && context.name == *current)?;
            self.named(&context.of.as_ref()?.user)
        })
    }

    fn at(&self, host: &str) -> Option<&User> {
        let domains = host.match_indices('.').map(|(dot, _)| format!("*{}", &host[dot..]));
        self.named(host).or_else(|| domains.into_iter().find_map(|domain| self.named(&domain)))
    }

    fn named(&self, name: &str) -> Option<&User> {
        self.file.users.iter().find(|user| user.name == name && !name.is_empty())?.of.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn check(users: &[&str], current: &str, target: &str, expected: Option<&str>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config");
        let users: String =
            users.iter().map(|name| format!("- {{name: '{name}', user: {{token: '{name}'}}}}\n")).collect();
        let contexts = "contexts: [{name: x, context: {user: u}}]\n";
        std::fs::write(&path, format!("current-context: '{current}'\n{contexts}users:\n{users}")).unwrap();
        let identity = Identities::read(&path).unwrap().of(target).unwrap();
        let sent = identity.credentials.authorization().await.unwrap();
        let sent = sent.as_ref().map(|sent| sent.to_str().unwrap().trim_start_matches("Bearer "));
        assert_eq!(sent, expected, "{target}");
    }

    #[tokio::test]
    async fn users_are_for_hosts() {
        let all = ["s.n.svc:8443", "s.n.svc", "*.n.svc", "*.svc:443", "*"];
        check(&all, "", "s.n.svc:8443", Some("s.n.svc:8443")).await;
        check(&all, "", "t.m.svc:443", Some("*.svc:443")).await;
        check(&all, "", "s.n.svc:9443", Some("*")).await;
        check(&all[1..3], "", "s.n.svc:443", Some("s.n.svc")).await;
        check(&all[1..3], "", "t.n.svc:443", Some("*.n.svc")).await;
        check(&all[1..3], "", "t.n.svc:8443", None).await;
        check(&["u"], "x", "t.n.svc:8443", Some("u")).await;
        check(&["u"], "", "t.n.svc:8443", None).await;
        check(&["u"], "y", "t.n.svc:8443", None).await;
        check(&["::1"], "", "[::1]:443", Some("::1")).await;
    }
}

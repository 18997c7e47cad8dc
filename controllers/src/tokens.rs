//! Secrets of type `kubernetes.io/service-account-token` hold a token of their service account, and go with it.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use client::{Action, Informer, ObjectKey, Selection};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::ResourceExt;
use kube::api::{DeleteParams, PostParams, Preconditions};
use parking_lot::Mutex;

use crate::context::Context;
use crate::error::{Error, Result, ignore_not_found, is_conflict};

/// Keys worked on at a time.
const WORKERS: usize = 2;
pub(crate) const TYPE: &str = "kubernetes.io/service-account-token";
/// The annotations that say whose token it is.
pub(crate) const ACCOUNT_NAME: &str = "kubernetes.io/service-account.name";
pub(crate) const ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";
/// The keys of the data.
const TOKEN: &str = "token";
const CERTIFICATE: &str = "ca.crt";
const NAMESPACE: &str = "namespace";

/// What the token in a Secret tells.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The namespace of both.
    pub namespace: String,
    /// The name of the service account.
    pub account: String,
    /// Its uid.
    pub account_uid: String,
    /// The name of the Secret.
    pub secret: String,
}

type Sign = dyn Fn(&Subject) -> Option<String> + Send + Sync;

/// Makes the tokens.
#[derive(Clone)]
pub struct Signer(Arc<Sign>);

impl Signer {
    /// A signer that asks `sign`, which has no answer if it cannot sign.
    pub fn new(sign: impl Fn(&Subject) -> Option<String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(sign))
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer")
    }
}

/// Whose token a Secret holds: the name of the account, and its uid once that is written down.
type Account = (String, Option<String>);

struct Tokens {
    context: Context,
    signer: Signer,
    secrets: Informer<Secret>,
    accounts: Informer<ServiceAccount>,
    /// The accounts of Secrets that are gone, until they no longer name them.
    gone: Arc<Mutex<HashMap<ObjectKey, Account>>>,
}

/// Runs the controller until the context is cancelled.
pub(crate) async fn run(context: Context) {
    let Some(signer) = context.config.signer.clone() else { return };
    let queue = context.queue();
    let accounts = context.informers.of::<ServiceAccount>();
    let secrets = context.informers.selected::<Secret>(secrets_with_tokens());
    let gone: Arc<Mutex<HashMap<ObjectKey, Account>>> = Arc::default();
    let (to, noted) = (queue.clone(), gone.clone());
    secrets.on_change(move |change| {
        let secret = change.object();
        let key = ObjectKey::of(&**secret);
        if change.is_delete()
            && let Some(account) = account_of(secret)
        {
            noted.lock().insert(key.clone(), account);
        }
        to.add(key);
    });
    let (to, all) = (queue.clone(), secrets.clone());
    accounts.on_change(move |change| {
        let account = change.object();
        if change.is_delete() {
            let theirs = |s: &Arc<Secret>| account_of(s).is_some_and(|(name, _)| name == account.name_any());
            let namespace = account.namespace().unwrap_or_default();
            all.list_in(&namespace).iter().filter(|s| theirs(s)).for_each(|secret| to.add(ObjectKey::of(&**secret)));
        }
    });
    secrets.wait_synced().await;
    accounts.wait_synced().await;
    let tokens = Arc::new(Tokens { context: context.clone(), signer, secrets, accounts, gone });
    context
        .run("tokens", queue, WORKERS, move |key| {
            let tokens = tokens.clone();
            async move { tokens.sync(key).await }
        })
        .await;
}

/// The Secrets of this type.
pub(crate) fn secrets_with_tokens() -> Selection {
    Selection { fields: Some(format!("type={TYPE}")), labels: None }
}

fn account_of(secret: &Secret) -> Option<Account> {
    let name = secret.annotations().get(ACCOUNT_NAME).filter(|name| !name.is_empty())?;
    Some((name.clone(), secret.annotations().get(ACCOUNT_UID).filter(|uid| !uid.is_empty()).cloned()))
}

/// What is gone or another by now needs nothing: a change that tells so is on its way.
fn settle<T>(outcome: std::result::Result<T, kube::Error>) -> Result<()> {
    match outcome {
        Err(error) if is_conflict(&error) => Ok(()),
        outcome => Ok(ignore_not_found(outcome).map(drop)?),
    }
}

impl Tokens {
    async fn sync(&self, key: ObjectKey) -> Result<Action> {
        let Some(secret) = self.secrets.get_key(&key) else {
            let account = self.gone.lock().remove(&key);
            if let Some(account) = account {
                self.forget(&key, account).await?;
            }
            return Ok(Action::Done);
        };
        let Some(wanted) = account_of(&secret) else { return Ok(Action::Done) };
        match self.account(&key.namespace, &wanted).await? {
            Some(account) => self.fill(&key, &secret, &account).await?,
            None => self.delete(&key, &secret).await?,
        }
        Ok(Action::Done)
    }

    /// The account, read from the API if it is not known yet.
    async fn account(&self, namespace: &str, (name, uid): &Account) -> Result<Option<Arc<ServiceAccount>>> {
        let is_it = |a: &Arc<ServiceAccount>| uid.is_none() || a.metadata.uid == *uid;
        if let Some(known) = self.accounts.get(namespace, name).filter(is_it) {
            return Ok(Some(known));
        }
        let read = self.context.api::<ServiceAccount>(namespace).get_opt(name).await?;
        Ok(read.map(Arc::new).filter(is_it))
    }

    async fn delete(&self, key: &ObjectKey, secret: &Secret) -> Result<()> {
        let preconditions = Preconditions { uid: secret.uid(), resource_version: None };
        let only = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        settle(self.context.api::<Secret>(&key.namespace).delete(&key.name, &only).await)
    }

    /// Writes what is missing in a Secret. A state that is no longer the newest is left alone: its successor comes.
    async fn fill(&self, key: &ObjectKey, secret: &Secret, account: &ServiceAccount) -> Result<()> {
        let Some(filled) = self.filled(key, secret, account)? else { return Ok(()) };
        settle(self.context.api::<Secret>(&key.namespace).replace(&key.name, &PostParams::default(), &filled).await)
    }

    fn filled(&self, key: &ObjectKey, secret: &Secret, account: &ServiceAccount) -> Result<Option<Secret>> {
        let has = |name: &str| secret.data.as_ref().and_then(|data| data.get(name)).filter(|bytes| !bytes.0.is_empty());
        let certificate = self.context.config.root_ca.as_bytes();
        let certified = certificate.is_empty() || has(CERTIFICATE).is_some_and(|bytes| bytes.0 == certificate);
        if certified && has(NAMESPACE).is_some() && has(TOKEN).is_some() {
            return Ok(None);
        }
        let mut filled = secret.clone();
        let data = filled.data.get_or_insert_default();
        if !certified {
            data.insert(CERTIFICATE.into(), ByteString(certificate.to_vec()));
        }
        if has(NAMESPACE).is_none() {
            data.insert(NAMESPACE.into(), ByteString(key.namespace.clone().into_bytes()));
        }
        let uid = account.uid().unwrap_or_default();
        if has(TOKEN).is_none() {
            let subject = Subject {
                namespace: key.namespace.clone(),
                account: account.name_any(),
                account_uid: uid.clone(),
                secret: key.name.clone(),
            };
            let token = (self.signer.0)(&subject).ok_or_else(|| Error::Invalid("a token cannot be signed".into()))?;
            data.insert(TOKEN.into(), ByteString(token.into_bytes()));
        }
        filled.annotations_mut().insert(ACCOUNT_NAME.into(), account.name_any());
        filled.annotations_mut().insert(ACCOUNT_UID.into(), uid);
        Ok(Some(filled))
    }

    /// Takes the name of a Secret that is gone off its account.
    async fn forget(&self, key: &ObjectKey, account: Account) -> Result<()> {
        let api = self.context.api::<ServiceAccount>(&key.namespace);
        let Some(mut account) = self.account(&key.namespace, &account).await?.map(Arc::unwrap_or_clone) else {
            return Ok(());
        };
        let Some(named) = account.secrets.as_mut() else { return Ok(()) };
        let before = named.len();
        named.retain(|reference| reference.name.as_deref() != Some(&key.name));
        if named.len() == before {
            return Ok(());
        }
        ignore_not_found(api.replace(&account.name_any(), &PostParams::default(), &account).await)?;
        Ok(())
    }
}

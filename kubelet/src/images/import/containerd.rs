//! containerd's content store, snapshots and image names, as an import or a volume needs them.

use std::collections::HashMap;

use containerd_client::{
    services::v1::{
        ApplyRequest, CreateImageRequest, CreateNamespaceRequest, CreateRequest, DeleteRequest, Image as ImageRecord,
        Info, ListRequest, Namespace, UpdateImageRequest, UpdateRequest, WriteAction, WriteContentRequest,
        content_client::ContentClient,
        diff_client::DiffClient,
        images_client::ImagesClient,
        leases_client::LeasesClient,
        namespaces_client::NamespacesClient,
        snapshots::{
            CommitSnapshotRequest, MountsRequest, PrepareSnapshotRequest, RemoveSnapshotRequest, StatSnapshotRequest,
            ViewSnapshotRequest, snapshots_client::SnapshotsClient,
        },
    },
    types,
};
use prost_types::FieldMask;
use sha2::{Digest, Sha256};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Status, transport::Channel};

use super::{
    Error,
    manifest::{Descriptor, Image},
};
use crate::{cri::Cri, runtime_events::NAMESPACE};

/// The snapshotter that CRI uses where it does not tell.
const SNAPSHOTTER_DEFAULT: &str = "overlayfs";
/// Requests that wait on their way to the content store.
const REQUESTS_MAX: usize = 4;

/// containerd, holding a lease that keeps what is made under it from garbage collection.
pub(crate) struct Store {
    channel: Channel,
    lease: String,
    snapshotter: String,
}

/// The snapshotter that CRI uses: the directory of the image file system carries its name.
async fn snapshotter(cri: &Cri) -> String {
    let usage = cri.image_fs().await.unwrap_or_default();
    let directory = usage.into_iter().find_map(|usage| usage.fs_id).map(|fs| fs.mountpoint).unwrap_or_default();
    let name = directory.rsplit('/').next().and_then(|last| last.strip_prefix("io.containerd.snapshotter.v1."));
    name.unwrap_or(SNAPSHOTTER_DEFAULT).to_owned()
}

impl Store {
    /// Makes the namespace of CRI and the lease, if nobody has yet.
    pub(crate) async fn open(cri: &Cri, lease: String) -> Result<Self, Error> {
        let channel = cri.channel();
        let namespace = Namespace { name: NAMESPACE.to_owned(), labels: HashMap::new() };
        let request = CreateNamespaceRequest { namespace: Some(namespace) };
        let store = Self { channel, lease, snapshotter: snapshotter(cri).await };
        // containerd tells of the new namespace inside the namespace of the call.
        let mut request = store.leased(request);
        request.metadata_mut().remove("containerd-lease");
        exists_is_fine(NamespacesClient::new(store.channel.clone()).create(request).await)?;
        // A lease cannot be made under itself.
        let mut request = store.leased(CreateRequest { id: store.lease.clone(), labels: HashMap::new() });
        request.metadata_mut().remove("containerd-lease");
        exists_is_fine(LeasesClient::new(store.channel.clone()).create(request).await)?;
        Ok(store)
    }

    /// Gives the lease up.
    pub(crate) async fn close(&self) {
        if let Err(error) = give_up(self.channel.clone(), &self.lease).await {
            tracing::warn!(%error, lease = %self.lease, "cannot give up a lease");
        }
    }

    /// The mounts that show the content of the snapshot `parent`, read-only, as the snapshot `key` of this lease.
    pub(crate) async fn view(&self, key: &str, parent: &str) -> Result<Vec<types::Mount>, Error> {
        let mut snapshots = SnapshotsClient::new(self.channel.clone());
        let view = ViewSnapshotRequest {
            snapshotter: self.snapshotter.clone(),
            key: key.to_owned(),
            parent: parent.to_owned(),
            labels: HashMap::new(),
        };
        match snapshots.view(self.leased(view)).await {
            Ok(made) => Ok(made.into_inner().mounts),
            Err(status) if status.code() == Code::AlreadyExists => {
                let again = MountsRequest { snapshotter: self.snapshotter.clone(), key: key.to_owned() };
                Ok(snapshots.mounts(self.leased(again)).await?.into_inner().mounts)
            }
            Err(status) => Err(status.into()),
        }
    }

    fn leased<T>(&self, message: T) -> Request<T> {
        let mut request = in_namespace(message);
        let lease = self.lease.parse().expect("names of leases are ASCII");
        request.metadata_mut().insert("containerd-lease", lease);
        request
    }

    /// A writer of one blob.
    pub(crate) fn writer(&self, what: &str) -> Result<Writer, Error> {
        let (requests, receiver) = mpsc::channel(REQUESTS_MAX);
        let request = self.leased(ReceiverStream::new(receiver));
        let mut client = ContentClient::new(self.channel.clone());
        let answers = tokio::spawn(async move {
            let mut stream = client.write(request).await?.into_inner();
            while stream.message().await?.is_some() {}
            Ok(())
        });
        Ok(Writer { requests, answers, reference: format!("{}-{what}", self.lease), offset: 0 })
    }

    /// Unpacks the layers into snapshots and ties all parts together for the garbage collector.
    pub(crate) async fn unpack(&self, image: &Image) -> Result<(), Error> {
        let mut parent = String::new();
        for (layer, diff_id) in image.layers.iter().zip(&image.diff_ids) {
            let chain = chain_id(&parent, diff_id);
            self.unpack_layer(layer, diff_id, &parent, &chain).await?;
            parent = chain;
        }
        let mut labels =
            HashMap::from([("containerd.io/gc.ref.content.config".to_owned(), image.config.digest.clone())]);
        for (index, layer) in image.layers.iter().enumerate() {
            labels.insert(format!("containerd.io/gc.ref.content.l.{index}"), layer.digest.clone());
        }
        self.label(&image.manifest.digest, labels).await?;
        let snapshot = format!("containerd.io/gc.ref.snapshot.{}", self.snapshotter);
        self.label(&image.config.digest, HashMap::from([(snapshot, parent)])).await
    }

    async fn unpack_layer(&self, layer: &Descriptor, diff_id: &str, parent: &str, chain: &str) -> Result<(), Error> {
        let mut snapshots = SnapshotsClient::new(self.channel.clone());
        let stat = StatSnapshotRequest { snapshotter: self.snapshotter.clone(), key: chain.to_owned() };
        if snapshots.stat(self.leased(stat)).await.is_ok() {
            return Ok(());
        }
        let key = format!("{} {chain}", self.lease);
        let prepare = PrepareSnapshotRequest {
            snapshotter: self.snapshotter.clone(),
            key: key.clone(),
            parent: parent.to_owned(),
            labels: HashMap::new(),
        };
        let mounts = snapshots.prepare(self.leased(prepare)).await?.into_inner().mounts;
        let apply = ApplyRequest { diff: Some(record(layer)), mounts, ..Default::default() };
        let applied = DiffClient::new(self.channel.clone()).apply(self.leased(apply)).await?.into_inner().applied;
        if applied.as_ref().is_none_or(|applied| applied.digest != diff_id) {
            let remove = RemoveSnapshotRequest { snapshotter: self.snapshotter.clone(), key };
            snapshots.remove(self.leased(remove)).await?;
            return Err(Error::Malformed(format!(
                "the layer {} unpacks to something else than {diff_id}",
                layer.digest
            )));
        }
        let commit = CommitSnapshotRequest {
            snapshotter: self.snapshotter.clone(),
            name: chain.to_owned(),
            key,
            labels: HashMap::new(),
        };
        exists_is_fine(snapshots.commit(self.leased(commit)).await)
    }

    async fn label(&self, digest: &str, labels: HashMap<String, String>) -> Result<(), Error> {
        let info = Info { digest: digest.to_owned(), labels, ..Default::default() };
        let update_mask = FieldMask { paths: vec!["labels".to_owned()] };
        let request = UpdateRequest { info: Some(info), update_mask: Some(update_mask) };
        ContentClient::new(self.channel.clone()).update(self.leased(request)).await?;
        Ok(())
    }

    /// Gives a manifest a name, in place of the one that had it.
    pub(crate) async fn name(&self, name: &str, manifest: &Descriptor) -> Result<(), Error> {
        let image = ImageRecord { name: name.to_owned(), target: Some(record(manifest)), ..Default::default() };
        let mut images = ImagesClient::new(self.channel.clone());
        let create = CreateImageRequest { image: Some(image.clone()), source_date_epoch: None };
        match images.create(self.leased(create)).await {
            Ok(_) => Ok(()),
            Err(status) if status.code() == Code::AlreadyExists => {
                let update_mask = FieldMask { paths: vec!["target".to_owned()] };
                let update =
                    UpdateImageRequest { image: Some(image), update_mask: Some(update_mask), source_date_epoch: None };
                images.update(self.leased(update)).await?;
                Ok(())
            }
            Err(status) => Err(status.into()),
        }
    }
}

/// Gives a lease up; what was made under it alone goes with it.
pub(crate) async fn give_up(channel: Channel, lease: &str) -> Result<(), Error> {
    let request = in_namespace(DeleteRequest { id: lease.to_owned(), sync: false });
    match LeasesClient::new(channel).delete(request).await {
        Err(status) if status.code() != Code::NotFound => Err(status.into()),
        _ => Ok(()),
    }
}

/// The names of all leases.
pub(crate) async fn leases(channel: Channel) -> Result<Vec<String>, Error> {
    let answer = LeasesClient::new(channel).list(in_namespace(ListRequest { filters: Vec::new() })).await?;
    Ok(answer.into_inner().leases.into_iter().map(|lease| lease.id).collect())
}

fn in_namespace<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("containerd-namespace", NAMESPACE.parse().expect("the namespace is ASCII"));
    request
}

/// Writes one blob.
pub(crate) struct Writer {
    requests: mpsc::Sender<WriteContentRequest>,
    answers: JoinHandle<Result<(), Status>>,
    reference: String,
    offset: i64,
}

impl Writer {
    /// Adds bytes.
    pub(crate) async fn write(&mut self, data: Vec<u8>) -> Result<(), Error> {
        let length = data.len() as i64;
        let request = WriteContentRequest {
            action: WriteAction::Write as i32,
            r#ref: self.reference.clone(),
            offset: self.offset,
            data,
            ..Default::default()
        };
        self.offset += length;
        // A store that has hung up says why when the blob is committed.
        let _ = self.requests.send(request).await;
        Ok(())
    }

    /// Ends the blob; one that is in the store already is no error.
    pub(crate) async fn commit(self, digest: &str, size: i64) -> Result<(), Error> {
        let request = WriteContentRequest {
            action: WriteAction::Commit as i32,
            r#ref: self.reference.clone(),
            total: size,
            expected: digest.to_owned(),
            offset: self.offset,
            ..Default::default()
        };
        let _ = self.requests.send(request).await;
        drop(self.requests);
        exists_is_fine(self.answers.await.map_err(|_| Error::Interrupted)?)
    }
}

fn record(descriptor: &Descriptor) -> types::Descriptor {
    types::Descriptor {
        media_type: descriptor.media_type.clone(),
        digest: descriptor.digest.clone(),
        size: descriptor.size,
        annotations: HashMap::new(),
    }
}

/// The name of the snapshot with all layers up to this one.
fn chain_id(parent: &str, diff_id: &str) -> String {
    if parent.is_empty() {
        return diff_id.to_owned();
    }
    let hash: String = Sha256::digest(format!("{parent} {diff_id}")).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hash}")
}

fn exists_is_fine<T>(result: Result<T, Status>) -> Result<(), Error> {
    match result {
        Err(status) if status.code() != Code::AlreadyExists => Err(status.into()),
        _ => Ok(()),
    }
}

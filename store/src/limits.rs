//! Every bound of the store, by name.

use std::time::Duration;

/// The longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 1024;

/// The largest value, in bytes. Above the 1.5 MiB that etcd accepts in one request by default.
pub const VALUE_BYTES_MAX: usize = 2 * 1024 * 1024;

/// How much longer a value may be as it is written to the disk: an encrypted one has the name of its key, and what the
/// key's keeper wants to know of it, before it.
pub const SEALED_OVERHEAD_BYTES_MAX: usize = 64 * 1024;

/// The largest transaction as it is written, in bytes of sealed values.
pub const SEALED_TRANSACTION_BYTES_MAX: usize = 2 * TRANSACTION_BYTES_MAX;

/// The longest mark of a renewal, in bytes.
pub const MARK_BYTES_MAX: usize = 4096;

/// The most operations in one transaction; etcd's default is 128.
pub const OPERATIONS_MAX: usize = 1024;

/// The largest transaction, keys and values together, in bytes.
pub const TRANSACTION_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How many events the history keeps of one group of keys.
pub const HISTORY_EVENTS_MAX: usize = 100_000;

/// How many bytes of replaced and deleted values the history keeps alive for one group of keys.
pub const HISTORY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How many for all groups.
pub const HISTORY_TOTAL_BYTES_MAX: usize = 128 * 1024 * 1024;

/// So long, everything is kept that these bounds allow: a client that comes back after that long finds what it
/// missed. (`eventFreshDuration` of the reference's watch cache is 75 seconds.)
pub const HISTORY_KEPT_FOR: Duration = Duration::from_secs(90);

/// What is older may take so many bytes of a group,
pub const HISTORY_OLDER_BYTES_MAX: usize = 8 * 1024 * 1024;

/// until it is this old (twice etcd's default interval of compaction),
pub const HISTORY_OLD_AFTER: Duration = Duration::from_secs(600);

/// after which only so many are left of a group: what a quiet one had last.
pub const HISTORY_IDLE_BYTES_MAX: usize = 64 * 1024;

/// How many groups of keys are remembered that have no events any more.
pub const HISTORY_GROUPS_MAX: usize = 4096;

/// Older values are packed once they are over so many bytes,
pub const HISTORY_FRESH_BYTES_MAX: usize = 2 * 1024 * 1024;

/// or this old.
pub const HISTORY_FRESH_FOR: Duration = Duration::from_secs(10);

/// Values smaller than this are not packed.
pub const PACKED_BYTES_MIN: usize = 1024;

/// After how many revisions the history keeps a whole (shared) map, from which revisions between are reached by
/// undoing events.
pub const MARK_EVERY_REVISIONS: u64 = 4096;

/// How many maps rebuilt for a reader of an older revision are kept for its next page.
pub const REBUILT_SNAPSHOTS_MAX: usize = 8;

/// How many batches one call of [`Watch::next`](crate::Watch::next) returns at most.
pub const WATCH_BATCHES_MAX: usize = 256;

/// How many batches are remembered of those that concern the watchers of one prefix, so that they need not look
/// through all.
pub const INTEREST_REVISIONS_MAX: usize = 1024;

/// How many bytes of commits may wait for the writer; further ones wait for room.
pub const QUEUE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// What a waiting commit counts at least, which bounds their number too.
pub const QUEUED_COMMIT_BYTES_MIN: usize = 1024;

/// A group takes no further commit once it holds this many bytes.
pub const GROUP_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The size of a preallocated log segment; a new one begins a checkpoint.
pub const SEGMENT_BYTES: u64 = 16 * 1024 * 1024;

/// A file of the log takes at most this part of its disk,
pub const SEGMENT_DISK_SHARE: u64 = 16;

/// but so much at least.
pub const SEGMENT_BYTES_MIN: u64 = 1024 * 1024;

/// With so much log behind the checkpoint, it is brought up as soon as nothing was written for [`CHECKPOINT_QUIET`].
pub const CHECKPOINT_AFTER_LOG_BYTES: u64 = 2 * 1024 * 1024;

/// How long nothing must have been written for a checkpoint before the log's file is full.
pub const CHECKPOINT_QUIET: Duration = Duration::from_secs(1);

/// An export is made once this many bytes were logged since the last one, or as many as it has, if that is more.
pub const EXPORT_AFTER_LOG_BYTES_MIN: u64 = 64 * 1024 * 1024;

/// The largest piece of a value in the checkpoint: sled puts larger ones into files that it never syncs.
pub const CHUNK_BYTES_MAX: usize = 4096;

/// How many bytes go into one batch of the checkpoint.
pub const CHECKPOINT_BATCH_BYTES_MAX: usize = 256 * 1024;

/// The checkpoint's page cache. It is only open while it is loaded or filled.
pub const CHECKPOINT_CACHE_BYTES: u64 = 4 * 1024 * 1024;

/// How far revisions jump when a tail was cut, so that none that anyone may have seen comes again.
pub const REVISION_JUMP: u64 = 1 << 20;

/// No store makes so many revisions a second for long: what one may have come to since a backup was made of it.
pub const REVISIONS_PER_SECOND_MAX: u64 = 200_000;

/// Nobody restores a backup that is older than a hundred years; a clock that says so is wrong.
pub const BACKUP_AGE_SECONDS_MAX: u64 = 100 * 366 * 24 * 3600;

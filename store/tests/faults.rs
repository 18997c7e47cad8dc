//! Power failures, full disks, failing syncs, torn and changed bytes.

#[path = "faults/damage.rs"]
mod damage;
#[path = "faults/directories.rs"]
mod directories;
#[path = "faults/disks.rs"]
mod disks;
#[path = "faults/filled.rs"]
mod filled;
#[path = "faults/layer.rs"]
mod layer;
#[path = "faults/load.rs"]
mod load;
#[path = "faults/mount.rs"]
mod mount;
#[path = "faults/power.rs"]
mod power;

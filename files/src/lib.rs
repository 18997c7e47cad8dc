//! How what this program keeps on the disk of a machine is made, whichever part of it writes.

pub mod private;

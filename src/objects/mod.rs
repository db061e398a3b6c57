//! Use cases over objects: stored files behind the policies of their buckets.

pub mod blobs;
pub mod sniff;
pub mod version;

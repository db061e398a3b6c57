//! What every test of the tree may use: one private Postgres a test process, a database a test.

pub mod caller;
mod cluster;
pub mod cut;
mod generated;
pub mod s3;
pub mod server;
pub mod smtp;
pub mod socket;

pub use cluster::{Database, admin, cluster, database, folder};
pub use generated::{generated, repository};

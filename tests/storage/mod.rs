//! Objects under `/storage/v1`.

mod granted;
mod hands;
mod resumable;
mod signed;
//! Objects: where their content lies, and how it gets there.

mod blobs;

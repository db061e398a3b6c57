//! Objects: where their content lies, and how it gets there.

mod blobs;

//! Objects: where their content lies, and how it gets there.

mod blobs;
//! Objects: what goes in, what comes out, and who may see of it.

mod buckets;
mod changes;
mod hostile;
mod inert;
mod lists;
mod reads;
//! Objects: where their content lies, how it gets there, what comes out, and who may see of it.

mod blobs;
mod granted;
mod hands;
mod reads;
mod resumable;
mod signed;
mod site;
mod uploads;

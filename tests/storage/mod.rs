//! Objects: where their content lies, how it gets there, what comes out, and who may see of it.

mod blobs;
mod buckets;
mod changes;
mod durable;
mod granted;
mod hands;
mod hostile;
mod inert;
mod lists;
mod matrix;
mod reads;
mod remote;
mod resumable;
mod signed;
mod site;
mod uploads;

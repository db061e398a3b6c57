//! Objects: where their content lies, how it gets there, what comes out, and who may see of it.

mod blobs;
mod granted;
mod hands;
mod matrix;
mod reads;
mod resumable;
mod signed;
mod site;
mod uploads;

//! Objects under `/storage/v1`.

mod granted;
mod hands;
mod resumable;
mod signed;

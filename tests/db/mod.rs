mod embedded;
mod lanes;
mod migrate;
mod pool;
mod target;

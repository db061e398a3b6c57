mod embedded;
mod lanes;
mod migrate;
mod pool;
mod sharing;
mod target;

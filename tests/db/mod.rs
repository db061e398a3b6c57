mod embedded;
mod migrate;

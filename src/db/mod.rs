//! Postgres: a worker's pipelined lanes, the shared pool, the statement cache, the embedded server,
//! system migrations, SQLSTATE → Error.

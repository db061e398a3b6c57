use std::process::ExitCode;

fn main() -> ExitCode {
    // Must be first: the private Postgres is started through this program.
    if let Some(code) = basewright::db::run_if_postgres_child() {
        return code;
    }
    ExitCode::SUCCESS
}

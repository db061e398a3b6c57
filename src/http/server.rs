//! The listener: actix-web with one worker a core, and the limits that hold before a handler runs.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_http::{Extensions, HttpService};
use actix_server::Server;
/// Stops a running server.
pub use actix_server::ServerHandle;
use actix_service::map_config;
use actix_web::dev::AppConfig;
use actix_web::middleware::from_fn;
/// The runtime that a server and what watches over it run on.
pub use actix_web::rt as runtime;
use actix_web::rt::net::TcpStream;
use actix_web::web;

use super::cors::Origins;
use super::peer::Proxies;
use super::realtime::{Sockets, Upgrade};
use super::sdk::Sdk;
use super::{frame, pages, routes};
use crate::app::{App, Worker};

/// How the server meets the world.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which pages may read answers.
    pub origins: Origins,
    /// Whether a caller without any credential is `anon`, not refused.
    pub keyless: bool,
    /// Who is believed about where requests come from.
    pub proxies: Proxies,
    /// The folder whose files are served at `/`, if it is there when they are asked for.
    pub public: PathBuf,
    /// Threads that serve.
    pub workers: usize,
}

/// Time for a request's head to arrive.
const HEAD: Duration = Duration::from_secs(5);
/// How long an idle connection is kept.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Time for a client to close its side.
const DISCONNECT: Duration = Duration::from_secs(5);
/// Time for requests to finish when the server stops, in seconds.
pub const DRAIN: u64 = 10;
/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4_096;
/// Connections of one worker in HTTP; more wait in the kernel.
const CONNECTIONS: usize = 10_000;
/// How long a client may leave an answer unread before its connection is dropped.
#[cfg(target_os = "linux")]
const WRITE_STALL: Duration = Duration::from_secs(30);

/// Lets the process hold as many files open as the machine grants it, and says how many: each connection is one, and
/// what a shell gives a process is often 1,024, which a few hundred slow clients would use up.
pub fn allow_connections() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    // None is no limit.
    let most = |limit: Option<u64>| limit.unwrap_or(u64::MAX);
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return most(current);
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => most(maximum),
        Err(error) => {
            tracing::warn!(%error, ?current, ?maximum, "the limit of open files could not be raised");
            most(current)
        }
    }
}

/// Serves on a bound socket. `worker` makes the parts of each thread, on that thread.
///
/// The server runs once the returned future is polled; its handle stops it. Signals are the caller's business.
pub fn serve(
    listener: TcpListener,
    app: Arc<App>,
    options: Options,
    worker: impl Fn() -> Worker + Send + Clone + 'static,
) -> io::Result<(Server, SocketAddr)> {
    serve_routes(listener, app, options, worker, routes::configure)
}

fn serve_routes(
    listener: TcpListener,
    app: Arc<App>,
    options: Options,
    worker: impl Fn() -> Worker + Send + Clone + 'static,
    routes: fn(&mut web::ServiceConfig),
) -> io::Result<(Server, SocketAddr)> {
    let address = listener.local_addr()?;
    if let Err(error) = rustix::net::listen(&listener, BACKLOG) {
        tracing::warn!(%error, "the queue of the listener could not be lengthened");
    }
    let data = web::Data::from(app);
    let workers = options.workers;
    let options = web::Data::new(options);
    let sdk = web::Data::new(Sdk::new()?);
    let builder = Server::build();
    let stopping = builder.graceful_shutdown_signal();
    let server = builder
        .workers(workers)
        .disable_signals()
        .max_concurrent_connections(CONNECTIONS)
        .shutdown_timeout(DRAIN)
        .listen(format!("http-{address}"), listener, move || {
            let worker = Rc::new(worker());
            let sockets = Sockets::new(data.clone(), Rc::clone(&worker));
            let stopping = stopping.clone();
            // The same application twice: for requests, and for those that ask for a socket.
            let application = || {
                let application = actix_web::App::new()
                    .app_data(data.clone())
                    .app_data(options.clone())
                    .app_data(sdk.clone())
                    .app_data(Rc::clone(&worker))
                    .app_data(Rc::clone(&sockets))
                    .configure(routes)
                    .default_service(web::to(pages::page))
                    .wrap(from_fn(frame::frame));
                map_config(application, |_| AppConfig::default())
            };
            HttpService::build()
                .graceful_shutdown_signal(move || {
                    let stopping = stopping.clone();
                    async move { stopping.notified().await }
                })
                .keep_alive(KEEP_ALIVE)
                .client_request_timeout(HEAD)
                .client_disconnect_timeout(DISCONNECT)
                .local_addr(address)
                .tcp_nodelay(true)
                .on_connect_ext(bound_stall)
                .upgrade(Upgrade(application()))
                .finish(application())
                .tcp()
        })?
        .run();
    Ok((server, address))
}

/// actix has no time-out for writing; the kernel's covers acknowledgements and a window that stays shut.
fn bound_stall(stream: &TcpStream, _: &mut Extensions) {
    #[cfg(target_os = "linux")]
    {
        let millis = u32::try_from(WRITE_STALL.as_millis()).unwrap_or(u32::MAX);
        if let Err(error) = rustix::net::sockopt::set_tcp_user_timeout(stream, millis) {
            tracing::debug!(%error, "the write time-out could not be set");
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = stream;
}

#[cfg(test)]
mod tests;

//! A way to Postgres that can be cut: nothing comes through any more, and nothing says so.

use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixStream};
use tokio::sync::watch;

/// A TCP port that leads to the socket of a Postgres.
pub struct Cut {
    pub port: u16,
    flows: watch::Sender<bool>,
}

impl Cut {
    /// Leads to where this URL does, which names a folder of sockets.
    pub async fn before(url: &str) -> Cut {
        let folder = url.split("host=").nth(1).unwrap().split('&').next().unwrap();
        let socket = PathBuf::from(folder.replace("%2F", "/")).join(".s.PGSQL.5432");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (flows, flowing) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = UnixStream::connect(&socket).await else { continue };
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                tokio::spawn(carry(from_client, to_server, flowing.clone()));
                tokio::spawn(carry(from_server, to_client, flowing.clone()));
            }
        });
        Cut { port, flows }
    }

    /// The same URL by this way.
    pub fn url(&self, url: &str) -> String {
        let (before, rest) = url.split_once("host=").unwrap();
        let after = rest.split_once('&').map_or(String::new(), |(_, after)| format!("&{after}"));
        format!("{before}host=127.0.0.1&port={}&sslmode=disable{after}", self.port)
    }

    /// Lets nothing through any more.
    pub fn cut(&self) {
        self.flows.send_replace(false);
    }
}

async fn carry(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut flowing: watch::Receiver<bool>,
) {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let Ok(read) = from.read(&mut buffer).await else { return };
        if read == 0
            || flowing.wait_for(|flows| *flows).await.is_err()
            || to.write_all(&buffer[..read]).await.is_err()
        {
            return;
        }
    }
}

/// How long a node may trust what it remembers after its stream fell silent.
pub const TRUSTED_FOR: Duration = Duration::from_secs(1);

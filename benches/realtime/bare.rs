//! The least that a broadcast can be: sockets of a thread each, frames as they are, pending ones joined into one
//! write. No handshake, no protocol, nobody is judged. What ours costs beyond it is ours.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::{LocalSet, spawn_local};

/// The argument that makes this program the bare server.
pub const ARGUMENT: &str = "serve-bare";

/// As many as the server has workers.
const THREADS: usize = 2;

/// The bare server, as a process of its own.
pub struct Bare {
    child: Child,
    pub address: String,
    control: std::net::TcpStream,
}

impl Bare {
    pub fn start() -> Bare {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let mut child = command.arg(ARGUMENT).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = [0; 12];
        child.stdout.take().unwrap().read_exact(&mut line).unwrap();
        let line = String::from_utf8(line.to_vec()).unwrap();
        let (sockets, control) = line.trim().split_once(' ').unwrap();
        let address = |port: &str| format!("127.0.0.1:{}", port.trim());
        let control = std::net::TcpStream::connect(address(control)).unwrap();
        control.set_nodelay(true).unwrap();
        Bare { child, address: address(sockets), control }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends each socket these frames.
    pub fn cast(&mut self, frames: &[Bytes]) {
        let mut order = u32::try_from(frames.len()).unwrap().to_be_bytes().to_vec();
        for frame in frames {
            order.extend_from_slice(&u32::try_from(frame.len()).unwrap().to_be_bytes());
            order.extend_from_slice(frame);
        }
        self.control.write_all(&order).unwrap();
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs until it is killed.
pub fn serve() {
    let control = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut port = 0;
    let casts: Vec<_> = (0..THREADS)
        .map(|_| {
            let socket = TcpSocket::new_v4().unwrap();
            socket.set_reuseport(true).unwrap();
            socket.bind(([127, 0, 0, 1], port).into()).unwrap();
            port = socket.local_addr().unwrap().port();
            let (cast, casts) = unbounded_channel();
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                LocalSet::new().block_on(&runtime, run(socket, casts));
            });
            cast
        })
        .collect();
    println!("{port:5} {:5}", control.local_addr().unwrap().port());
    std::io::stdout().flush().unwrap();
    let (mut orders, _) = control.accept().unwrap();
    let mut number = [0; 4];
    while orders.read_exact(&mut number).is_ok() {
        for _ in 0..u32::from_be_bytes(number) {
            orders.read_exact(&mut number).unwrap();
            let mut frame = vec![0; u32::from_be_bytes(number) as usize];
            orders.read_exact(&mut frame).unwrap();
            let frame = Bytes::from(frame);
            for cast in &casts {
                let _ = cast.send(frame.clone());
            }
        }
    }
}

#[derive(Clone)]
struct Connection {
    stream: Rc<TcpStream>,
    pending: Rc<RefCell<VecDeque<Bytes>>>,
}

async fn run(socket: TcpSocket, mut casts: UnboundedReceiver<Bytes>) {
    let connections: Rc<RefCell<Vec<Connection>>> = Rc::default();
    spawn_local(accept(socket.listen(4096).unwrap(), Rc::clone(&connections)));
    let mut frames = Vec::new();
    while casts.recv_many(&mut frames, 64).await > 0 {
        let joined = match frames.as_slice() {
            [one] => one.clone(),
            several => {
                let mut all = BytesMut::new();
                several.iter().for_each(|frame| all.extend_from_slice(frame));
                all.freeze()
            }
        };
        frames.clear();
        for connection in connections.borrow().iter() {
            send(connection, joined.clone());
        }
        tokio::task::yield_now().await;
    }
}

fn send(connection: &Connection, bytes: Bytes) {
    let mut pending = connection.pending.borrow_mut();
    if !pending.is_empty() {
        pending.push_back(bytes);
        return;
    }
    let written = connection.stream.try_write(&bytes).unwrap_or(0);
    if written < bytes.len() {
        pending.push_back(bytes.slice(written..));
        spawn_local(flush(connection.clone()));
    }
}

async fn flush(connection: Connection) {
    while let Some(mut bytes) = { connection.pending.borrow().front().cloned() } {
        while !bytes.is_empty() {
            if connection.stream.writable().await.is_err() {
                return;
            }
            match connection.stream.try_write(&bytes) {
                Ok(written) => bytes = bytes.slice(written..),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
        connection.pending.borrow_mut().pop_front();
    }
}

async fn accept(listener: TcpListener, connections: Rc<RefCell<Vec<Connection>>>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        stream.set_nodelay(true).unwrap();
        let connections = Rc::clone(&connections);
        spawn_local(async move {
            // One byte says that the other end is there.
            let mut hello = [0];
            if stream.read_exact(&mut hello).await.is_ok() {
                let connection = Connection { stream: Rc::new(stream), pending: Rc::default() };
                let _ = connection.stream.try_write(b"!");
                connections.borrow_mut().push(connection);
            }
        });
    }
}

//! [`Feed`]: the handle of a node's stream of changes: workers attach to it, handlers ask how current it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};

use super::cursor::Cursor;
use super::line::{Delivery, Order};
use super::ring::Ring;
use crate::catalog::Catalog;

/// Deliveries that may wait for one worker: it never waits for a socket, so this is a moment's worth.
const DELIVERIES: usize = 256;

/// How old the word that nothing is missing may be.
const CURRENT_WITHIN: Duration = Duration::from_secs(1);

/// A worker's place among those attached.
pub(super) type WorkerId = usize;

/// A node's stream of changes. Its clones are the same stream.
#[derive(Clone)]
pub struct Feed {
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    /// Where the stream is; `None` while there is none.
    pub(super) position: watch::Sender<Option<Cursor>>,
    /// When it was last known that nothing before this moment is missing.
    pub(super) current: Mutex<Option<Instant>>,
    /// The furthest place that somebody was told to wait for.
    pub(super) expected: AtomicU64,
    pub(super) orders: mpsc::UnboundedSender<(WorkerId, Order)>,
    /// What the running stream takes over.
    pub(super) ends: Mutex<Ends>,
    pub(super) nudge: tokio::sync::Notify,
    /// The version of the project that everybody is judged by.
    pub(super) catalog: watch::Sender<Option<Arc<Catalog>>>,
    /// How often the stream has told of changed roles.
    pub(super) roles: AtomicU64,
    /// Transactions and bytes of the replay window.
    window: Mutex<(usize, usize)>,
}

impl Shared {
    /// Keeps how full the window is, for whoever asks.
    pub(super) fn lag(&self, ring: &Ring) {
        *self.window.lock() = (ring.len(), ring.bytes());
    }
}

/// The stream's ends of its lines.
pub(super) struct Ends {
    pub(super) orders: Option<mpsc::UnboundedReceiver<(WorkerId, Order)>>,
    pub(super) workers: Vec<mpsc::Sender<Delivery>>,
}

/// A worker's line to the feed.
#[derive(Clone)]
pub struct Line {
    worker: WorkerId,
    orders: mpsc::UnboundedSender<(WorkerId, Order)>,
}

impl Line {
    /// Sends an order. Orders of one worker are carried out in their order.
    pub fn send(&self, order: Order) {
        // The stream ends with the process.
        let _ = self.orders.send((self.worker, order));
    }
}

impl Default for Feed {
    fn default() -> Feed {
        Feed::new()
    }
}

impl Feed {
    /// A stream that does not flow yet.
    pub fn new() -> Feed {
        let (orders, received) = mpsc::unbounded_channel();
        let ends = Ends { orders: Some(received), workers: Vec::new() };
        let shared = Shared {
            position: watch::Sender::new(None),
            current: Mutex::new(None),
            expected: AtomicU64::new(0),
            orders,
            ends: Mutex::new(ends),
            nudge: tokio::sync::Notify::new(),
            catalog: watch::Sender::new(None),
            roles: AtomicU64::new(0),
            window: Mutex::new((0, 0)),
        };
        Feed { shared: Arc::new(shared) }
    }

    /// A worker's line, and what comes back on it. Whoever holds the receiver must keep taking from it.
    pub fn attach(&self) -> (Line, mpsc::Receiver<Delivery>) {
        let (deliveries, received) = mpsc::channel(DELIVERIES);
        let mut ends = self.shared.ends.lock();
        ends.workers.push(deliveries);
        (Line { worker: ends.workers.len() - 1, orders: self.shared.orders.clone() }, received)
    }

    /// Puts a version of the project in force: every subscription is judged anew.
    pub fn judge_by(&self, catalog: Arc<Catalog>) {
        self.shared.catalog.send_replace(Some(catalog));
    }

    /// To be read before a caller's roles are asked for: the stream then knows whether they have changed since.
    pub fn roles_known(&self) -> u64 {
        self.shared.roles.load(Ordering::Acquire)
    }

    /// Transactions in the replay window, and the bytes of their rows in memory.
    pub fn window(&self) -> (usize, usize) {
        *self.shared.window.lock()
    }

    /// How long ago it was last known that nothing is missing.
    pub fn lag(&self) -> Option<Duration> {
        self.shared.current.lock().map(|at| at.elapsed())
    }

    /// Where the stream is.
    pub fn position(&self) -> Option<Cursor> {
        *self.shared.position.borrow()
    }

    /// Nothing that was committed more than a second ago is missing: what this node remembers of the database
    /// through the stream may be trusted.
    pub fn is_current(&self) -> bool {
        self.shared.current.lock().is_some_and(|at| at.elapsed() < CURRENT_WITHIN)
    }

    /// The cursor of a position of this stream's system, for somebody who will wait for it: the stream makes sure
    /// that it gets there soon, also where nothing more is written.
    pub fn expect(&self, lsn: u64) -> Option<Cursor> {
        let position = self.position()?;
        if self.shared.expected.fetch_max(lsn, Ordering::Relaxed) < lsn {
            self.shared.nudge.notify_one();
        }
        Some(position.after(lsn))
    }

    /// Waits until the stream has passed a position.
    pub async fn passed(&self, lsn: u64) {
        let _ = self.expect(lsn);
        let mut position = self.shared.position.subscribe();
        // The sender lives in this handle.
        let _ = position.wait_for(|at| at.is_some_and(|at| at.lsn >= lsn)).await;
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

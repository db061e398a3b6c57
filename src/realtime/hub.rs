//! [`Hub`]: what is said on topics reaches every worker of the process; who is on them is known here once.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::{Map, Value};
use tokio::sync::{Notify, Semaphore, SemaphorePermit, mpsc, watch};

use super::limits;
use super::line::ChannelKey;
use super::presence::Presence;
use super::protocol::{self, Version, quoted};

/// A topic. A private and a public one of the same name share nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TopicName {
    pub private: bool,
    /// With the prefix that it has on a socket: `realtime:NAME`.
    pub name: Arc<str>,
}

/// A channel of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    pub worker: usize,
    pub channel: ChannelKey,
}

/// What is said.
#[derive(Debug)]
pub enum What {
    /// JSON: `{"type":"broadcast","event":…,"payload":…}`.
    Text(Bytes),
    /// Bytes, which only clients of version 2 can be told.
    Binary { event: String, meta: String, payload: Bytes },
    /// JSON of `joins` and `leaves`.
    Presence { version: u64, payload: String },
}

/// Something said on a topic.
#[derive(Debug)]
pub struct Cast {
    pub topic: TopicName,
    /// Whose it is, if that channel is not to hear it itself.
    pub except: Option<Origin>,
    pub what: What,
    /// Built once for everybody, when the first needs it.
    frames: [OnceLock<Option<Bytes>>; 2],
}

impl Cast {
    pub fn new(topic: TopicName, except: Option<Origin>, what: What) -> Cast {
        Cast { topic, except, what, frames: Default::default() }
    }

    /// The frame for clients of a version; `None` if it cannot be told in that.
    pub fn frame(&self, version: Version) -> Option<&Bytes> {
        let place = match version {
            Version::One => &self.frames[0],
            Version::Two => &self.frames[1],
        };
        place.get_or_init(|| self.build(version)).as_ref()
    }

    fn build(&self, version: Version) -> Option<Bytes> {
        let text = |event: &str, payload: &[u8]| {
            Some(protocol::text(version, None, None, &quoted(&self.topic.name), event, &[payload]))
        };
        match (&self.what, version) {
            (What::Text(payload), _) => text("broadcast", payload),
            (What::Presence { payload, .. }, _) => text("presence_diff", payload.as_bytes()),
            (What::Binary { event, meta, payload }, Version::Two) => {
                protocol::binary_broadcast(&self.topic.name, event, meta, payload)
            }
            (What::Binary { .. }, Version::One) => None,
        }
    }

    fn size(&self) -> usize {
        match &self.what {
            What::Text(payload) | What::Binary { payload, .. } => payload.len(),
            What::Presence { payload, .. } => payload.len(),
        }
    }
}

/// The hub of a process. Its clones are the same.
#[derive(Clone)]
pub struct Hub {
    shared: Arc<Shared>,
}

struct Shared {
    workers: Mutex<Vec<mpsc::UnboundedSender<Arc<Cast>>>>,
    /// Bytes on their way to workers.
    waiting: AtomicUsize,
    room: Notify,
    presence: Mutex<Present>,
    sockets: Mutex<Sockets>,
    snapshots: Semaphore,
    /// How many sockets there are; told so that the last can be waited for.
    count: watch::Sender<u64>,
    draining: watch::Sender<bool>,
}

/// Who is on all topics.
#[derive(Default)]
struct Present {
    /// Counts changes, so that whoever was told the state knows which changes are in it.
    version: u64,
    topics: HashMap<TopicName, Presence>,
}

struct Sockets {
    most: u64,
    of_address: HashMap<IpAddr, u32>,
}

/// A socket's place among those that may be open.
pub struct Seat {
    shared: Arc<Shared>,
    address: Option<IpAddr>,
}

impl Seat {
    /// Where the socket comes from, if that is known.
    pub fn address(&self) -> Option<IpAddr> {
        self.address
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(address) = self.address {
            let mut sockets = self.shared.sockets.lock();
            if let Some(count) = sockets.of_address.get_mut(&address) {
                *count -= 1;
                if *count == 0 {
                    sockets.of_address.remove(&address);
                }
            }
        }
        self.shared.count.send_modify(|count| *count -= 1);
    }
}

impl Default for Hub {
    fn default() -> Hub {
        Hub::new(limits::SOCKETS)
    }
}

impl Hub {
    /// For at most this many sockets.
    pub fn new(most: u64) -> Hub {
        let shared = Shared {
            workers: Mutex::default(),
            waiting: AtomicUsize::new(0),
            room: Notify::new(),
            presence: Mutex::default(),
            sockets: Mutex::new(Sockets { most, of_address: HashMap::new() }),
            snapshots: Semaphore::new(limits::SNAPSHOTS),
            count: watch::Sender::new(0),
            draining: watch::Sender::new(false),
        };
        Hub { shared: Arc::new(shared) }
    }

    /// A worker's number, and what it is to tell its sockets. It must keep taking, and say so ([`Hub::told`]).
    pub fn attach(&self) -> (usize, mpsc::UnboundedReceiver<Arc<Cast>>) {
        let (sender, received) = mpsc::unbounded_channel();
        let mut workers = self.shared.workers.lock();
        workers.push(sender);
        (workers.len() - 1, received)
    }

    /// Says something to everybody on a topic. What is to reach other processes too leaves from here.
    pub fn publish(&self, cast: Cast) {
        let cast = Arc::new(cast);
        let workers = self.shared.workers.lock();
        for worker in workers.iter() {
            self.shared.waiting.fetch_add(cast.size(), Ordering::Relaxed);
            // A worker goes with the process.
            let _ = worker.send(Arc::clone(&cast));
        }
    }

    /// A worker has told its sockets.
    pub fn told(&self, cast: &Cast) {
        let before = self.shared.waiting.fetch_sub(cast.size(), Ordering::Relaxed);
        if before >= limits::HUB_BYTES {
            self.shared.room.notify_waiters();
        }
    }

    /// Whether so much is on its way that those who say more are to wait for [`Hub::room`].
    pub fn is_full(&self) -> bool {
        self.shared.waiting.load(Ordering::Relaxed) >= limits::HUB_BYTES
    }

    pub async fn room(&self) {
        let mut notified = std::pin::pin!(self.shared.room.notified());
        notified.as_mut().enable();
        if self.is_full() {
            notified.await;
        }
    }

    /// Puts a channel on a topic under a key, and tells everybody there.
    pub fn track(&self, topic: &TopicName, owner: Origin, key: &str, payload: Map<String, Value>) {
        let mut present = self.shared.presence.lock();
        let diff = present.topics.entry(topic.clone()).or_default().track(owner, key, payload);
        self.tell(&mut present, topic, diff);
    }

    /// Takes a channel from a topic, and tells everybody there.
    pub fn untrack(&self, topic: &TopicName, owner: Origin) {
        let mut present = self.shared.presence.lock();
        let Some(presence) = present.topics.get_mut(topic) else { return };
        let Some(diff) = presence.untrack(owner) else { return };
        if presence.is_empty() {
            present.topics.remove(topic);
        }
        self.tell(&mut present, topic, diff);
    }

    /// Under the lock, so that all workers are told in the order of the changes.
    fn tell(&self, present: &mut Present, topic: &TopicName, payload: String) {
        present.version += 1;
        let what = What::Presence { version: present.version, payload };
        self.publish(Cast::new(topic.clone(), None, what));
    }

    /// Who is on a topic, and up to which change.
    pub fn presence(&self, topic: &TopicName) -> (u64, String) {
        let present = self.shared.presence.lock();
        let state = present.topics.get(topic).map_or_else(|| "{}".to_owned(), Presence::state);
        (present.version, state)
    }

    /// Takes a place for a socket. `None` if there is none, in all or for that address.
    pub fn admit(&self, address: Option<IpAddr>) -> Option<Seat> {
        // Whoever comes from this machine is many behind a proxy.
        let counted = address.filter(|address| !address.is_loopback());
        let mut sockets = self.shared.sockets.lock();
        if *self.shared.count.borrow() >= sockets.most {
            return None;
        }
        if let Some(address) = counted {
            let count = sockets.of_address.entry(address).or_default();
            if *count >= limits::SOCKETS_OF_ADDRESS {
                return None;
            }
            *count += 1;
        }
        self.shared.count.send_modify(|count| *count += 1);
        Some(Seat { shared: Arc::clone(&self.shared), address })
    }

    /// Waits for its turn to read a snapshot, in the order in which they are asked for.
    pub async fn snapshot(&self) -> Option<SemaphorePermit<'_>> {
        self.shared.snapshots.acquire().await.ok()
    }

    /// Allows another number of sockets.
    pub fn allow(&self, most: u64) {
        self.shared.sockets.lock().most = most;
    }

    /// How many sockets are open.
    pub fn open(&self) -> u64 {
        *self.shared.count.borrow()
    }

    /// Asks all workers to close their sockets.
    pub fn drain(&self) {
        self.shared.draining.send_replace(true);
    }

    /// Tells when sockets are to be closed.
    pub fn draining(&self) -> watch::Receiver<bool> {
        self.shared.draining.subscribe()
    }

    /// Waits until all sockets are gone, but not for long.
    pub async fn emptied(&self, within: Duration) {
        let mut count = self.shared.count.subscribe();
        let _ = tokio::time::timeout(within, count.wait_for(|count| *count == 0)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_share_and_this_machine_has_no_limit() {
        let hub = Hub::new(5_000);
        let far: IpAddr = "192.0.2.1".parse().unwrap();
        let mut seats: Vec<Seat> =
            (0..limits::SOCKETS_OF_ADDRESS).map(|_| hub.admit(Some(far)).unwrap()).collect();
        assert!(hub.admit(Some(far)).is_none());
        let near: Vec<Seat> =
            (0..4_000).map(|_| hub.admit(Some("127.0.0.1".parse().unwrap())).unwrap()).collect();
        assert!(hub.admit(Some("192.0.2.2".parse().unwrap())).is_none(), "all places are taken");
        drop(near);
        seats.pop();
        assert!(hub.admit(Some(far)).is_some());
        drop(seats);
        assert_eq!(hub.open(), 0);
    }

    #[test]
    fn every_worker_hears_what_is_said_in_one_order() {
        let hub = Hub::default();
        let (first, mut one) = hub.attach();
        let (second, mut two) = hub.attach();
        assert_ne!(first, second);
        let topic = TopicName { private: false, name: "realtime:a".into() };
        let owner = Origin { worker: first, channel: ChannelKey { slot: 0, generation: 0 } };
        hub.track(&topic, owner, "k", Map::new());
        hub.publish(Cast::new(topic.clone(), Some(owner), What::Text(Bytes::from_static(b"{}"))));
        hub.untrack(&topic, owner);
        let kinds = |received: &mut mpsc::UnboundedReceiver<Arc<Cast>>| {
            std::iter::from_fn(|| received.try_recv().ok())
                .map(|cast| {
                    hub.told(&cast);
                    matches!(cast.what, What::Presence { .. })
                })
                .collect::<Vec<_>>()
        };
        assert_eq!((kinds(&mut one), kinds(&mut two)), (vec![true, false, true], vec![true, false, true]));
        assert_eq!(hub.shared.waiting.load(Ordering::Relaxed), 0);
        assert_eq!(hub.presence(&topic), (2, "{}".to_owned()));
    }
}

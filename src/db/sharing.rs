//! [`Sharing`]: requests of one shape that arrive while one of them is under way share the next statement.
//!
//! The first of a shape leaves at once, alone: a server with little to do pays nothing. Those that arrive until its
//! answer is there leave together when it is, as one [`Shared`] statement: one message, one plan, one commit. If such
//! a statement is refused nobody is told its error, which may be another one's: each of its requests runs alone then,
//! and so does the shape for a while.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lru::LruCache;
use tokio::sync::oneshot;

use super::lanes::{Group, Purpose};
use super::{DbError, Row};
use crate::sql::{Shared, Sql};

/// Shapes that are remembered.
const SHAPES: NonZeroUsize = NonZeroUsize::MIN.saturating_add(255);
/// Requests that leave together.
const TOGETHER: usize = 128;
/// Statements of one shape that are under way at once.
const UNDER_WAY: usize = 1;
/// The most bytes, of text and values, of a request that others may be sent with: they would wait for it to be sent,
/// and many large ones would be more than one statement can hold.
const LARGEST: usize = 16 << 10;
/// How long a shape whose shared statement was refused is not shared.
const ALONE_FOR: Duration = Duration::from_secs(10);

/// How a request gets its answer.
#[derive(Debug)]
pub enum Turn {
    /// It runs a statement of its own. What arrives meanwhile leaves when this is dropped.
    Alone(Option<Lead>),
    /// It was answered together with others.
    Answered(Result<Vec<Row>, DbError>),
}

/// The shapes of one group of lanes.
#[derive(Debug)]
pub(super) struct Sharing {
    shapes: Mutex<LruCache<Box<str>, Arc<Shape>>>,
}

#[derive(Debug)]
struct Shape {
    /// The types of a request's values: they are not in its text.
    oids: Box<[u32]>,
    /// `None` cannot be shared.
    shared: Option<Shared>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    under_way: usize,
    waiting: Vec<Waiting>,
    alone_until: Option<Instant>,
}

/// A request whose turn has not come.
#[derive(Debug)]
struct Waiting {
    values: Arc<Sql>,
    turn: oneshot::Sender<Turn>,
}

/// The one whose statement is under way. Its end sends off those who came meanwhile.
#[derive(Debug)]
pub struct Lead {
    group: Arc<Group>,
    shape: Arc<Shape>,
    /// Its task has not begun.
    idle: bool,
}

impl Drop for Lead {
    fn drop(&mut self) {
        let runtime = tokio::runtime::Handle::try_current().ok().filter(|_| !self.idle);
        if runtime.is_none() {
            // The runtime ends, and those who wait with it.
            self.shape.state().waiting.clear();
        }
        if let (false, Some(runtime)) = (self.shape.ends_here(), runtime) {
            let next = Lead { group: Arc::clone(&self.group), shape: Arc::clone(&self.shape), idle: true };
            runtime.spawn(next.go_on());
        }
    }
}

impl Lead {
    /// Sends off those who wait.
    async fn go_on(mut self) {
        self.idle = false;
        // Requests that have arrived already, and that their tasks have not looked at yet, come along.
        tokio::task::yield_now().await;
        let (waiting, alone) = self.shape.take();
        match &self.shape.shared {
            Some(shared) if waiting.len() > 1 && !alone => {
                let sql = shared.together(waiting.iter().map(|waiting| waiting.values.params()));
                self.run(sql, waiting).await;
            }
            Some(_) | None => {
                let mut lead = Some(self);
                for waiting in waiting {
                    drop(waiting.turn.send(Turn::Alone(lead.take())));
                }
            }
        }
    }

    /// Runs the statement of several requests and tells each its part.
    async fn run(self, sql: Sql, waiting: Vec<Waiting>) {
        match self.group.run(&sql).await {
            Ok(rows) => {
                let mut answers: Vec<Vec<Row>> = waiting.iter().map(|_| Vec::new()).collect();
                for row in rows {
                    let number = row.integer(0).and_then(|number| usize::try_from(number).ok()).unwrap_or(0);
                    if let Some(answer) = number.checked_sub(1).and_then(|at| answers.get_mut(at)) {
                        answer.push(row.after(1));
                    }
                }
                for (waiting, rows) in waiting.into_iter().zip(answers) {
                    drop(waiting.turn.send(Turn::Answered(Ok(rows))));
                }
            }
            Err(error) if error.is_refusal(self.group.purpose) => {
                self.shape.state().alone_until = Some(Instant::now() + ALONE_FOR);
                for waiting in waiting {
                    drop(waiting.turn.send(Turn::Alone(None)));
                }
            }
            // Nothing is known of what was written, or there is no database: that is everybody's answer.
            Err(error) => {
                for waiting in waiting {
                    drop(waiting.turn.send(Turn::Answered(Err(error.clone()))));
                }
            }
        }
    }
}

impl Shape {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A statement has ended. True if nobody waits for the next one, which then leaves at once.
    fn ends_here(&self) -> bool {
        let mut state = self.state();
        // Those who went away have no use for an answer, and what they asked for was not sent.
        state.waiting.retain(|waiting| !waiting.turn.is_closed());
        let done = state.waiting.is_empty();
        if done {
            state.under_way = state.under_way.saturating_sub(1);
        }
        done
    }

    /// Those who leave now; true if each has to run alone.
    fn take(&self) -> (Vec<Waiting>, bool) {
        let mut state = self.state();
        state.waiting.retain(|waiting| !waiting.turn.is_closed());
        let alone = state.alone_until.is_some_and(|until| Instant::now() < until);
        let count = state.waiting.len().min(TOGETHER);
        (state.waiting.drain(..count).collect(), alone)
    }
}

impl Sharing {
    pub(super) fn new() -> Sharing {
        Sharing { shapes: Mutex::new(LruCache::new(SHAPES)) }
    }

    /// The shape of these values' text, made now if it is new. One text with other types takes the place.
    fn shape(&self, values: &Sql, shared: impl FnOnce() -> Option<Shared>) -> Arc<Shape> {
        let mut shapes = self.shapes.lock().unwrap_or_else(PoisonError::into_inner);
        let oids = || values.params().iter().map(|param| param.oid);
        if let Some(shape) = shapes.get(values.text()).filter(|shape| oids().eq(shape.oids.iter().copied())) {
            return Arc::clone(shape);
        }
        let shape = Arc::new(Shape { oids: oids().collect(), shared: shared(), state: Mutex::default() });
        shapes.put(values.text().into(), Arc::clone(&shape));
        shape
    }
}

impl Group {
    /// Waits for a request's turn. `values` are its own, and its text is the name of its shape.
    pub(super) async fn turn(
        self: &Arc<Group>,
        values: &Arc<Sql>,
        shared: impl FnOnce() -> Option<Shared>,
    ) -> Turn {
        if values.size() > LARGEST {
            return Turn::Alone(None);
        }
        let shape = self.sharing.shape(values, shared);
        if !shape.shared.as_ref().is_some_and(|shared| shared.takes(values.params())) {
            return Turn::Alone(None);
        }
        let answer = {
            let mut state = shape.state();
            if let Some(until) = state.alone_until {
                if Instant::now() < until {
                    return Turn::Alone(None);
                }
                state.alone_until = None;
            }
            if state.under_way < UNDER_WAY {
                state.under_way += 1;
                None
            } else {
                let (turn, answer) = oneshot::channel();
                state.waiting.push(Waiting { values: Arc::clone(values), turn });
                Some(answer)
            }
        };
        let Some(answer) = answer else {
            return Turn::Alone(Some(Lead { group: Arc::clone(self), shape, idle: false }));
        };
        // Whoever was to answer is gone with the runtime, and what was written is not known.
        let stopping = || {
            let mut error = DbError::unreachable("the server is stopping");
            error.outcome_unknown = self.purpose == Purpose::Writing;
            error
        };
        answer.await.unwrap_or_else(|_| Turn::Answered(Err(stopping())))
    }
}

//! What time does to a worker's sockets, and what others do who change the project, a key or a user's roles.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_web::rt::spawn;
use actix_web::rt::time::sleep;
use tokio::time::Instant;
use uuid::Uuid;

use super::POLICY;
use super::channel::{Behind, Channel, Phase, Rows};
use super::sockets::{FAREWELL, GOING_AWAY, RESTART, Sockets};
use crate::app::now;
use crate::auth::token::{Holder, Verified};
use crate::realtime::cursor::Cursor;
use crate::realtime::limits;
use crate::realtime::line::ChannelKey;
use crate::realtime::visibility::Visibility;
use crate::sql::Sql;

/// How long a commit may take to be visible to queries after the stream has told of it, and how often that is asked.
const VISIBLE_WITHIN: Duration = Duration::from_secs(5);
const VISIBLE_AGAIN: Duration = Duration::from_millis(5);

impl Sockets {
    /// Looks at the time, once a second.
    pub(super) fn tick(self: &Rc<Self>) {
        self.clock.set(u32::try_from(self.started.elapsed().as_secs()).unwrap_or(u32::MAX));
        let (seconds, now) = (self.now(), now());
        let seconds_of = |span: Duration| u32::try_from(span.as_secs()).unwrap_or(u32::MAX);
        let (stall, idle, join) =
            (seconds_of(limits::STALL), seconds_of(limits::IDLE), seconds_of(limits::JOIN));
        let ring = self.app.keys();
        // A token dies with the key that signed it, too.
        let is_revoked = |verified: &Verified| {
            let refused = |jti: &String| self.app.revocations().contains(jti) || ring.revoked().contains(jti);
            let is_ours = !matches!(verified.holder, Holder::Foreign { .. });
            (is_ours && ring.find(&verified.key).is_none()) || verified.jti.as_ref().is_some_and(refused)
        };
        let desk = self.app.desk();
        let is_over = |verified: &Verified| {
            !verified.is_alive(now) || is_revoked(verified) || !desk.still_accepts(verified)
        };
        self.follow_catalog();
        let table = self.table.borrow().clone();
        for socket in &table {
            if !socket.is_drained() && seconds.saturating_sub(socket.took.get()) > stall {
                self.give_up(socket);
            } else if seconds.saturating_sub(socket.heard.get()) > idle {
                self.close(socket, GOING_AWAY, "no heartbeat");
            } else if socket.key.as_deref().is_some_and(is_over) {
                self.close(socket, POLICY, "the API key does not hold any more");
            }
            let over: Vec<Rc<Channel>> = socket
                .channels
                .borrow()
                .iter()
                .filter(|channel| channel.verified.borrow().as_deref().is_some_and(is_over))
                .cloned()
                .collect();
            for channel in over {
                self.expel(&channel, "the token has expired or was revoked");
            }
            let late: Vec<Rc<Channel>> = socket
                .channels
                .borrow()
                .iter()
                .filter(|channel| {
                    channel.phase.get() == Phase::Subscribed
                        && seconds.saturating_sub(channel.since.get()) >= join
                })
                .cloned()
                .collect();
            for channel in late {
                self.refuse_join(
                    &channel,
                    "UnableToSubscribeToPostgres: the stream of changes does not answer",
                );
            }
        }
    }

    /// Judges all channels anew where another project is in force.
    fn follow_catalog(self: &Rc<Self>) {
        let Ok(catalog) = self.app.catalog() else { return };
        let before = self.judged_by.replace(Some(Arc::clone(&catalog)));
        if before.is_some_and(|before| !Arc::ptr_eq(&before, &catalog)) {
            for channel in self.channels_of(Channel::is_joined) {
                self.rejudge(&channel);
            }
        }
    }

    /// These channels are told nothing of rows from a place on, until it is known which roles their caller has now.
    pub(super) fn suspend(self: &Rc<Self>, to: &[ChannelKey], xid: Option<u32>, cursor: Cursor) {
        let channels: Vec<Rc<Channel>> = to.iter().filter_map(|key| self.channel(*key)).collect();
        for channel in &channels {
            channel.suspended.set(true);
            self.hold(channel, cursor);
        }
        let sockets = Rc::clone(self);
        spawn(async move {
            if let Some(xid) = xid {
                sockets.visible(xid).await;
            }
            // What is not joined yet is judged when it is.
            for channel in channels.iter().filter(|channel| channel.is_joined()) {
                sockets.rejudge(channel);
            }
        });
    }

    /// Makes a channel wait at a place, or where it is behind.
    pub(super) fn hold(&self, channel: &Channel, cursor: Cursor) {
        let mut rows = channel.rows.borrow_mut();
        match &mut *rows {
            Rows::None | Rows::Asked => {}
            // It is not to ask before it is judged.
            Rows::Behind(behind) => behind.asked = true,
            Rows::Live => {
                *rows =
                    Rows::Behind(Behind { from: cursor, asked: true, slow: false, skip: None, until: None });
                channel.socket.behind.set(true);
            }
        }
    }

    /// Makes a channel that was held go on: what it asked for meanwhile was not answered.
    pub(super) fn ask_again(self: &Rc<Self>, channel: &Rc<Channel>) {
        if let Rows::Behind(behind) = &mut *channel.rows.borrow_mut() {
            behind.asked = false;
        }
        if channel.socket.is_drained() {
            self.drained(&channel.socket);
        }
    }

    /// A session is over: what was joined with it is left, and a socket that is left with nothing is closed.
    pub(super) fn end_session(self: &Rc<Self>, session: Uuid) {
        let is_its = |verified: &Verified| matches!(&verified.holder, Holder::Session { session: its, .. } if *its == session);
        let table = self.table.borrow().clone();
        for socket in &table {
            let over: Vec<Rc<Channel>> = socket
                .channels
                .borrow()
                .iter()
                .filter(|channel| channel.verified.borrow().as_deref().is_some_and(is_its))
                .cloned()
                .collect();
            if over.is_empty() {
                continue;
            }
            for channel in &over {
                self.expel(channel, "the session is over");
            }
            if socket.channels.borrow().is_empty() {
                self.close(socket, POLICY, "the session is over");
            }
        }
    }

    /// The roles of a user are others, as of a transaction: channels that hear no rows are judged anew. The stream
    /// suspends the others itself, between two changes.
    pub(super) fn follow_roles(self: &Rc<Self>, user: Option<Uuid>, xid: Option<u32>) {
        let whose = |verified: &Verified| match &verified.holder {
            Holder::Session { id, .. } => user.is_none_or(|user| user == *id),
            Holder::Key { .. } | Holder::Operator { .. } | Holder::Foreign { .. } => false,
        };
        let concerned = self.channels_of(|channel| {
            channel.is_joined()
                && matches!(*channel.rows.borrow(), Rows::None)
                && channel.verified.borrow().as_deref().is_some_and(whose)
        });
        if concerned.is_empty() {
            return;
        }
        let sockets = Rc::clone(self);
        spawn(async move {
            if let Some(xid) = xid {
                sockets.visible(xid).await;
            }
            for channel in &concerned {
                sockets.rejudge(channel);
            }
        });
    }

    /// Waits until what a transaction did can be read: the stream tells of it a moment earlier.
    async fn visible(&self, xid: u32) {
        let until = Instant::now() + VISIBLE_WITHIN;
        let mut sql = Sql::new();
        sql.raw("select pg_current_snapshot()::text");
        while Instant::now() < until {
            let seen = match self.worker.lanes().read(&sql).await {
                Ok(rows) => rows.first().and_then(|row| row.text(0)).and_then(Visibility::parse),
                Err(_) => None,
            };
            if seen.is_some_and(|seen| seen.sees(xid)) {
                return;
            }
            sleep(VISIBLE_AGAIN).await;
        }
    }

    /// Closes all sockets: the server stops.
    pub(super) fn drain(self: &Rc<Self>) {
        let table = self.table.borrow().clone();
        for socket in &table {
            self.close(socket, RESTART, FAREWELL);
        }
    }
}

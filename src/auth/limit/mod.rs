//! [`Limits`]: how often somebody may try, by where he comes from and by whom he claims to be.
//!
//! Bounded in memory, and kept by each server for itself. What is counted is what the server itself can tell: the address
//! of the network, and the account that was looked up; never another word of the request.

mod failures;
mod table;

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock, Reference as _};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::{Quota, RateLimiter};

use self::failures::{Failures, Reserved};
use self::table::{States, Table};
use crate::error::{AuthCode, Code, Error};
use crate::model::sign_in::{Rate, RateLimits};

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Counted {
    SignIn,
    SignUp,
    Anonymous,
    /// Mails that somebody causes.
    Mail,
    /// Mails that an address gets.
    MailTo,
    Verify,
    Refresh,
    /// Requests for records by nobody in particular.
    RestAnonymous,
}

/// Failures that are free before there is a wait: of an account, and of a network, which many may share.
const FREE_OF_ACCOUNT: u32 = 3;
const FREE_OF_NETWORK: u32 = 10;

struct Limit<C: Clock> {
    limiter: RateLimiter<u64, States, C, NoOpMiddleware<C::Instant>>,
    states: States,
    /// What one of them takes.
    period: Nanos,
}

impl<C: Clock> Limit<C> {
    fn new(rate: Rate, clock: C) -> Option<Limit<C>> {
        let count = NonZeroU32::new(rate.count)?;
        let period = rate.per / rate.count;
        let quota = Quota::with_period(period)?.allow_burst(count);
        let states = States::new();
        let limiter = RateLimiter::new(quota, states.clone(), clock);
        Some(Limit { limiter, states, period: period.into() })
    }

    /// Counts one, or says how long to wait.
    fn take(&self, key: u64) -> Result<(), Duration> {
        let refused = |not_until: governor::NotUntil<C::Instant>| {
            // What is left of the time in which somebody else was counted.
            not_until.wait_time_from(self.limiter.clock().now()).max(Duration::from_nanos(1))
        };
        self.limiter.check_key(&key).map_err(refused)
    }
}

/// The limits in force.
pub struct Limits<C: Clock = DefaultClock> {
    limits: [Option<Limit<C>>; 8],
    failures: Failures,
    /// Networks from which an account was reached lately: what strangers do to the account elsewhere does not count there.
    known: Table<u64>,
    keys: RandomState,
    clock: C,
    begun: C::Instant,
}

/// An attempt to prove something, which may fail.
#[must_use]
pub struct Attempt<'a, C: Clock = DefaultClock> {
    /// None where attempts are not limited.
    limits: Option<&'a Limits<C>>,
    network: Option<Reserved>,
    account: Option<Reserved>,
    /// The account as it is reached from this network.
    here: Option<u64>,
}

impl Limits {
    /// Limits at which nothing was counted yet.
    pub fn new(rates: &RateLimits) -> Limits {
        Limits::with_clock(rates, DefaultClock::default())
    }
}

impl<C: Clock + Clone> Limits<C> {
    fn with_clock(rates: &RateLimits, clock: C) -> Limits<C> {
        // In the order of `Counted`.
        let all = [
            rates.sign_in,
            rates.sign_up,
            rates.anonymous,
            rates.mail,
            rates.mail_to,
            rates.verify,
            rates.refresh,
            rates.rest_anonymous,
        ];
        Limits {
            limits: all.map(|rate| rate.and_then(|rate| Limit::new(rate, clock.clone()))),
            failures: Failures::new(),
            known: Table::new(),
            keys: RandomState::new(),
            begun: clock.now(),
            clock,
        }
    }

    /// Counts one for an address of the network.
    ///
    /// # Errors
    /// 429 with the seconds after which there is room again.
    pub fn from(&self, counted: Counted, address: IpAddr) -> Result<(), Error> {
        let Some(limit) = self.limit(counted) else { return Ok(()) };
        limit.take(self.network(counted, address)).map_err(|wait| refusal(counted, wait))
    }

    /// Counts one for an account or an address of mail, which is a [normal](super::email::normal) one.
    ///
    /// # Errors
    /// As above.
    pub fn of(&self, counted: Counted, account: &str) -> Result<(), Error> {
        let Some(limit) = self.limit(counted) else { return Ok(()) };
        limit.take(self.key(&(counted, account))).map_err(|wait| refusal(counted, wait))
    }

    /// Counts an attempt to prove something, for the network and for the account. Where attempts have failed before, each
    /// one waits longer. The caller says how it ended.
    ///
    /// # Errors
    /// As above. What is refused counts for nothing, so that whoever waits as long as he is told is let through.
    pub fn attempt(
        &self,
        counted: Counted,
        account: Option<&str>,
        address: IpAddr,
    ) -> Result<Attempt<'_, C>, Error> {
        let Some(limit) = self.limit(counted) else {
            return Ok(Attempt { limits: None, network: None, account: None, here: None });
        };
        let now = self.now();
        let network = self.network(counted, address);
        let here = account.map(|account| self.key(&(network, account)));
        let account = account.zip(here).map(|(account, here)| match self.known.get(here) {
            Some(_) => here,
            None => self.key(&(counted, account)),
        });
        let keys = [(Some(network), FREE_OF_NETWORK), (account, FREE_OF_ACCOUNT)];
        let mut wait = Duration::ZERO;
        let (mut reserved, mut taken) = ([None, None], [false, false]);
        for (at, (key, free)) in keys.into_iter().enumerate() {
            let Some(key) = key else { continue };
            match self.failures.begin(key, free, now) {
                Ok(begun) => reserved[at] = Some(begun),
                Err(nanos) => wait = wait.max(Duration::from_nanos(nanos)),
            }
            match limit.take(key) {
                Ok(()) => taken[at] = true,
                Err(longer) => wait = wait.max(longer),
            }
        }
        if wait.is_zero() {
            let [network, account] = reserved;
            return Ok(Attempt { limits: Some(self), network, account, here });
        }
        for (at, (key, _)) in keys.into_iter().enumerate() {
            if let Some(begun) = reserved[at] {
                self.failures.undo(begun);
            }
            if let (Some(key), true) = (key, taken[at]) {
                limit.states.give_back(key, limit.period);
            }
        }
        Err(refusal(counted, wait))
    }

    fn limit(&self, counted: Counted) -> Option<&Limit<C>> {
        self.limits[counted as usize].as_ref()
    }

    /// Nanoseconds since the limits began.
    fn now(&self) -> u64 {
        self.clock.now().duration_since(self.begun).as_u64()
    }

    /// A key that nobody outside can foresee.
    fn key(&self, what: &impl Hash) -> u64 {
        self.keys.hash_one(what)
    }

    /// Whoever has one address of an IPv6 network has 2^64 of them.
    fn network(&self, counted: Counted, address: IpAddr) -> u64 {
        let network = match address.to_canonical() {
            IpAddr::V4(address) => (4, u64::from(address.to_bits())),
            IpAddr::V6(address) => (6, (address.to_bits() >> 64) as u64),
        };
        self.key(&(counted, network))
    }
}

impl<C: Clock + Clone> Attempt<'_, C> {
    /// It failed.
    pub fn failed(self) {
        let Some(limits) = self.limits else { return };
        let now = limits.now();
        for (reserved, free) in [(self.network, FREE_OF_NETWORK), (self.account, FREE_OF_ACCOUNT)] {
            if let Some(reserved) = reserved {
                limits.failures.failed(reserved, free, now);
            }
        }
    }

    /// It succeeded.
    pub fn succeeded(self) {
        let Some(limits) = self.limits else { return };
        for reserved in [self.network, self.account].into_iter().flatten() {
            limits.failures.succeeded(reserved);
        }
        if let Some(here) = self.here {
            let now = limits.now();
            limits.known.change(here, |last| *last, |_| (Some(now), ()));
        }
    }
}

fn refusal(counted: Counted, wait: Duration) -> Error {
    let seconds = u32::try_from(wait.as_nanos().div_ceil(1_000_000_000)).unwrap_or(u32::MAX);
    let code = match counted {
        Counted::Mail | Counted::MailTo => Code::Auth(AuthCode::EmailRateLimit),
        Counted::SignIn | Counted::SignUp | Counted::Anonymous | Counted::Verify | Counted::Refresh => {
            Code::Auth(AuthCode::RequestRateLimit)
        }
        Counted::RestAnonymous => Code::TooManyRequests,
    };
    Error::new(code).retry_after(seconds)
}

#[cfg(test)]
mod tests;

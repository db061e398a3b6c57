//! [`Limits`]: how often somebody may try, by where he comes from and by whom he claims to be.
//!
//! Bounded in memory, and kept by each server for itself.

use std::net::IpAddr;
use std::num::NonZeroU32;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::error::{AuthCode, Error};
use crate::model::sign_in::{Rate, RateLimits};

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
}

/// Keys that one limit remembers at most.
const KEYS: usize = 100_000;

struct Limit {
    limiter: DefaultKeyedRateLimiter<String>,
}

/// The limits in force.
pub struct Limits {
    limits: Vec<Option<Limit>>,
    clock: DefaultClock,
}

impl Limits {
    /// Limits at which nothing was counted yet.
    pub fn new(rates: &RateLimits) -> Limits {
        let all = [
            rates.sign_in,
            rates.sign_up,
            rates.anonymous,
            rates.mail,
            rates.mail_to,
            rates.verify,
            rates.refresh,
        ];
        Limits {
            limits: all.into_iter().map(|rate| rate.and_then(limit)).collect(),
            clock: DefaultClock::default(),
        }
    }

    /// Counts one for an address of the network.
    ///
    /// # Errors
    /// 429 with the seconds after which there is room again.
    pub fn from(&self, counted: Counted, address: IpAddr) -> Result<(), Error> {
        self.count(counted, network(address))
    }

    /// Counts one for an address of mail.
    ///
    /// # Errors
    /// As above.
    pub fn of(&self, counted: Counted, email: &str) -> Result<(), Error> {
        self.count(counted, format!("@{email}"))
    }

    fn count(&self, counted: Counted, key: String) -> Result<(), Error> {
        let Some(limit) = &self.limits[counted as usize] else { return Ok(()) };
        if limit.limiter.len() >= KEYS {
            limit.limiter.retain_recent();
            if limit.limiter.len() >= KEYS {
                // Everybody who is not known yet shares what is left.
                return self.judge(limit, counted, &String::new());
            }
        }
        self.judge(limit, counted, &key)
    }

    fn judge(&self, limit: &Limit, counted: Counted, key: &String) -> Result<(), Error> {
        limit.limiter.check_key(key).map_err(|not_until| {
            let wait = not_until.wait_time_from(self.clock.now());
            let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
            let code = match counted {
                Counted::Mail | Counted::MailTo => AuthCode::EmailRateLimit,
                Counted::SignIn
                | Counted::SignUp
                | Counted::Anonymous
                | Counted::Verify
                | Counted::Refresh => AuthCode::RequestRateLimit,
            };
            Error::new(code).retry_after(seconds)
        })
    }
}

fn limit(rate: Rate) -> Option<Limit> {
    let count = NonZeroU32::new(rate.count)?;
    let quota = Quota::with_period(rate.per / rate.count)?.allow_burst(count);
    Some(Limit { limiter: RateLimiter::keyed(quota) })
}

/// Whoever has one address of an IPv6 network has 2^64 of them.
fn network(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}")
        }
    }
}

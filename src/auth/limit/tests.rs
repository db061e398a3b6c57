use std::net::{Ipv4Addr, Ipv6Addr};

use governor::clock::FakeRelativeClock;

use super::*;
use crate::model::sign_in::SignIn;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
const ADA: &str = "ada@example.test";
const SECOND: Duration = Duration::from_secs(1);

fn limits() -> (Limits<FakeRelativeClock>, FakeRelativeClock) {
    let clock = FakeRelativeClock::default();
    (Limits::with_clock(&SignIn::default().rate_limits, clock.clone()), clock)
}

/// The seconds that an answer says to wait; none where there was room.
fn told<T>(outcome: Result<T, Error>) -> Option<u64> {
    outcome.err().map(|error| u64::from(error.retry_after.unwrap()))
}

#[test]
fn whoever_waits_as_long_as_he_is_told_is_let_through_and_not_a_second_before() {
    for counted in [
        Counted::SignIn,
        Counted::SignUp,
        Counted::Anonymous,
        Counted::Mail,
        Counted::Verify,
        Counted::Refresh,
        Counted::RestAnonymous,
    ] {
        let (limits, clock) = limits();
        let mut room = 0;
        let wait = loop {
            clock.advance(Duration::from_micros(137));
            match told(limits.from(counted, HERE)) {
                None => room += 1,
                Some(wait) => break wait,
            }
        };
        assert!(room >= 10, "{counted:?}: {room}");
        assert_eq!(told(limits.from(counted, ELSEWHERE)), None);
        clock.advance(SECOND * u32::try_from(wait - 1).unwrap());
        assert_eq!(told(limits.from(counted, HERE)), Some(1), "{counted:?}");
        clock.advance(SECOND);
        assert_eq!(told(limits.from(counted, HERE)), None, "{counted:?}");
    }
}

#[test]
fn a_wait_that_two_limits_ask_for_is_the_longer_one() {
    let (limits, clock) = limits();
    // The account's attempts come from many networks, this one's are for many accounts.
    for n in 1..=10 {
        let there = IpAddr::V4(Ipv4Addr::new(198, 51, 100, n));
        drop(limits.attempt(Counted::SignIn, Some(ADA), there).ok().unwrap());
    }
    for n in 0..9 {
        drop(limits.attempt(Counted::SignIn, Some(&format!("u{n}@example.test")), HERE).ok().unwrap());
    }
    for _ in 0..3 {
        let wait = told(limits.attempt(Counted::SignIn, Some(ADA), HERE));
        assert_eq!(wait, Some(6), "what is refused takes nothing from the network's room");
    }
    clock.advance(SECOND * 5);
    assert_eq!(told(limits.attempt(Counted::SignIn, Some(ADA), HERE)), Some(1));
    clock.advance(SECOND);
    assert_eq!(told(limits.attempt(Counted::SignIn, Some(ADA), HERE)), None);
}

#[test]
fn failures_make_an_account_wait_wherever_they_come_from() {
    let (limits, clock) = limits();
    let there = |n: u8| IpAddr::V4(Ipv4Addr::new(198, 51, 100, n));
    for n in 1..=3 {
        limits.attempt(Counted::SignIn, Some(ADA), there(n)).ok().unwrap().failed();
    }
    let mut waits = Vec::new();
    for n in 4..=10 {
        let wait = told(limits.attempt(Counted::SignIn, Some(ADA), there(n))).unwrap();
        waits.push(wait);
        clock.advance(SECOND * u32::try_from(wait - 1).unwrap());
        assert_eq!(told(limits.attempt(Counted::SignIn, Some(ADA), there(n))), Some(1));
        clock.advance(SECOND);
        limits.attempt(Counted::SignIn, Some(ADA), there(n)).ok().unwrap().failed();
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60]);
    // Nobody else waits, and he himself not for good.
    assert_eq!(told(limits.attempt(Counted::SignIn, Some("bob@example.test"), HERE)), None);
    clock.advance(SECOND * 60);
    limits.attempt(Counted::SignIn, Some(ADA), HERE).ok().unwrap().succeeded();
    assert_eq!(told(limits.attempt(Counted::SignIn, Some(ADA), HERE)), None);
}

#[test]
fn where_somebody_signed_in_before_strangers_cannot_keep_him_out() {
    let (limits, _) = limits();
    limits.attempt(Counted::SignIn, Some(ADA), HERE).ok().unwrap().succeeded();
    let mut refused = 0;
    for n in 0..=255 {
        let there = IpAddr::V4(Ipv4Addr::new(198, 51, 100, n));
        match limits.attempt(Counted::SignIn, Some(ADA), there) {
            Ok(attempt) => attempt.failed(),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 240, "{refused}");
    limits.attempt(Counted::SignIn, Some(ADA), HERE).ok().unwrap().succeeded();
    // His own failures count there.
    for _ in 0..3 {
        limits.attempt(Counted::SignIn, Some(ADA), HERE).ok().unwrap().failed();
    }
    assert_eq!(told(limits.attempt(Counted::SignIn, Some(ADA), HERE)), Some(1));
    // One who knows the password is no nearer to the second factor.
    for n in 0..3 {
        let there = IpAddr::V4(Ipv4Addr::new(203, 0, 113, n));
        limits.attempt(Counted::Verify, Some(ADA), there).ok().unwrap().failed();
    }
    assert_eq!(told(limits.attempt(Counted::Verify, Some(ADA), HERE)), Some(1));
}

#[test]
fn an_ipv6_network_is_one_and_a_mapped_address_is_the_one_that_it_maps() {
    let (limits, _) = limits();
    let address = |text: &str| IpAddr::V6(text.parse::<Ipv6Addr>().unwrap());
    for n in 0..10 {
        assert_eq!(told(limits.from(Counted::SignIn, address(&format!("2001:db8:0:1::{n:x}")))), None);
    }
    assert!(told(limits.from(Counted::SignIn, address("2001:db8:0:1:ffff::1"))).is_some());
    assert_eq!(told(limits.from(Counted::SignIn, address("2001:db8:0:2::1"))), None);
    for _ in 0..10 {
        assert_eq!(told(limits.from(Counted::SignIn, address("::ffff:192.0.2.1"))), None);
    }
    assert!(told(limits.from(Counted::SignIn, HERE)).is_some());
}

#[test]
fn a_limit_that_is_off_counts_nothing() {
    let rates = RateLimits { sign_in: None, ..SignIn::default().rate_limits };
    let limits = Limits::with_clock(&rates, FakeRelativeClock::default());
    for _ in 0..1_000 {
        limits.attempt(Counted::SignIn, Some(ADA), HERE).ok().unwrap().failed();
    }
}

#[test]
fn two_million_strangers_take_no_more_memory_than_some() {
    let (limits, clock) = limits();
    let bytes = |limits: &Limits<FakeRelativeClock>| {
        let sign_in = limits.limits[Counted::SignIn as usize].as_ref().unwrap();
        (sign_in.states.bytes(), limits.failures.bytes())
    };
    while limits.from(Counted::SignIn, HERE).is_ok() {}
    let mut after_some = (0, 0);
    for n in 0..2_000_000_u32 {
        clock.advance(Duration::from_micros(1));
        let there = IpAddr::V4(Ipv4Addr::from_bits(n));
        limits.attempt(Counted::SignIn, Some(&format!("u{n}@example.test")), there).ok().unwrap().failed();
        if n == 1_000_000 {
            after_some = bytes(&limits);
            // He who is at his limit stays there, however many others come.
            assert!(limits.from(Counted::SignIn, HERE).is_err());
        }
    }
    let (states, failures) = bytes(&limits);
    assert_eq!((states, failures), after_some);
    assert!(states <= 2 << 20 && failures <= 3 << 20, "{states} {failures}");
}

//! Network addresses as `inet` prints and reads them.

use std::net::{IpAddr, Ipv6Addr};

use super::Scan;
use super::number::write_unsigned;

/// An address with an optional prefix length; all of its bits where none is given.
pub(crate) fn parse(text: &str) -> Option<(IpAddr, u8)> {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix {
        None => bits,
        Some(prefix) => {
            let mut scan = Scan::new(prefix);
            let number = scan.number(1, 3)?;
            // Postgres refuses zeros in front, at least for IPv6.
            let plain = !prefix.starts_with('0') || prefix == "0";
            u8::try_from(number).ok().filter(|number| scan.done() && plain && *number <= bits)?
        }
    };
    Some((address, prefix))
}

pub(crate) fn write(out: &mut Vec<u8>, address: IpAddr, prefix: u8) {
    let bits = match address {
        IpAddr::V4(address) => {
            write_dotted(out, address.octets());
            32
        }
        IpAddr::V6(address) => {
            write_v6(out, address);
            128
        }
    };
    if prefix != bits {
        out.push(b'/');
        write_unsigned(out, u64::from(prefix));
    }
}

fn write_dotted(out: &mut Vec<u8>, octets: [u8; 4]) {
    for (at, octet) in octets.into_iter().enumerate() {
        if at > 0 {
            out.push(b'.');
        }
        write_unsigned(out, u64::from(octet));
    }
}

/// The longest run of two or more zero words becomes `::`; an IPv4 address in the last two words is dotted
/// when it is mapped (`::ffff:1.2.3.4`) or compatible (`::1.2.3.4`), which is where Rust's own form differs.
fn write_v6(out: &mut Vec<u8>, address: Ipv6Addr) {
    let words = address.segments();
    let (mut start, mut length) = (0, 0);
    let mut at = 0;
    while at < 8 {
        let run = words[at..].iter().take_while(|word| **word == 0).count();
        if run > length && run >= 2 {
            (start, length) = (at, run);
        }
        at += run.max(1);
    }
    let dotted = start == 0 && (length == 6 || (length == 5 && words[5] == 0xffff));
    let mut at = 0;
    while at < 8 {
        if length > 0 && at == start {
            out.push(b':');
            at += length;
            if at == 8 {
                out.push(b':');
            }
            continue;
        }
        if at > 0 {
            out.push(b':');
        }
        if at == 6 && dotted {
            let [.., a, b, c, d] = address.octets();
            return write_dotted(out, [a, b, c, d]);
        }
        let word = words[at];
        let digits = (4 - word.leading_zeros() / 4).max(1);
        for digit in (0..digits).rev() {
            out.push(super::HEX[usize::from(word >> (4 * digit) & 15)]);
        }
        at += 1;
    }
}

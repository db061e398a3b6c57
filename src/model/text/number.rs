//! Integers, floats and decimals as Postgres prints and reads them.

use std::io::Write as _;

use bigdecimal::BigDecimal;
use bigdecimal::num_bigint::{BigInt, Sign};

use super::super::Decimal;
use super::Scan;

/// Digits before the point that a `numeric` holds at most.
const MAX_WHOLE: usize = 131_072;
/// Digits behind it.
pub(crate) const MAX_SCALE: usize = 16_383;

/// `00` to `99`, so that two digits are written at a time.
const PAIRS: &[u8; 200] = b"0001020304050607080910111213141516171819\
2021222324252627282930313233343536373839\
4041424344454647484950515253545556575859\
6061626364656667686970717273747576777879\
8081828384858687888990919293949596979899";

/// The two digits of a number below 100.
pub(crate) fn pair(number: u64) -> [u8; 2] {
    let at = (number % 100) as usize * 2;
    [PAIRS[at], PAIRS[at + 1]]
}

pub(crate) fn write_integer(out: &mut Vec<u8>, number: i64) {
    if number < 0 {
        out.push(b'-');
    }
    write_unsigned(out, number.unsigned_abs());
}

pub(crate) fn write_unsigned(out: &mut Vec<u8>, mut number: u64) {
    // 20 digits hold 2^64 - 1.
    let mut digits = [0; 20];
    let mut at = digits.len();
    while number >= 100 {
        at -= 2;
        digits[at..at + 2].copy_from_slice(&pair(number % 100));
        number /= 100;
    }
    if number >= 10 {
        at -= 2;
        digits[at..at + 2].copy_from_slice(&pair(number));
    } else {
        at -= 1;
        digits[at] = b'0' + number as u8;
    }
    out.extend_from_slice(&digits[at..]);
}

/// An optional sign and digits.
pub(crate) fn parse_integer(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// The parts of `[+-]digits[.digits][e[+-]digits]`.
struct Literal<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    exponent: i32,
}

impl<'a> Literal<'a> {
    fn parse(text: &'a str) -> Option<Literal<'a>> {
        let mut scan = Scan::new(text);
        let negative = scan.sign();
        let whole = scan.digits();
        let fraction = if scan.eat(b'.') { scan.digits() } else { &[] };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let exponent = if scan.eat(b'e') || scan.eat(b'E') {
            let negative = scan.sign();
            let digits = scan.digits();
            let start = digits.iter().position(|digit| *digit != b'0').unwrap_or(digits.len());
            // Nothing with a longer exponent is a value of any kind.
            if digits.is_empty() || digits.len() - start > 8 {
                return None;
            }
            let size = digits.iter().fold(0, |size, digit| size * 10 + i32::from(digit - b'0'));
            if negative { -size } else { size }
        } else {
            0
        };
        scan.done().then_some(Literal { negative, whole, fraction, exponent })
    }

    fn is_zero(&self) -> bool {
        self.whole.iter().chain(self.fraction).all(|digit| *digit == b'0')
    }
}

/// `NaN`, `Infinity`, `inf` and their signs, in any case.
enum Special {
    NaN,
    Infinity { negative: bool },
}

impl Special {
    fn parse(text: &str) -> Option<Special> {
        if text.eq_ignore_ascii_case("nan") {
            return Some(Special::NaN);
        }
        let negative = text.starts_with('-');
        let word = text.strip_prefix(['+', '-']).unwrap_or(text);
        (word.eq_ignore_ascii_case("infinity") || word.eq_ignore_ascii_case("inf"))
            .then_some(Special::Infinity { negative })
    }
}

/// `None` too for what overflows or vanishes: Postgres raises there instead of rounding.
pub(crate) fn parse_float(text: &str) -> Option<f64> {
    match Special::parse(text) {
        Some(Special::NaN) => return Some(f64::NAN),
        Some(Special::Infinity { negative: false }) => return Some(f64::INFINITY),
        Some(Special::Infinity { negative: true }) => return Some(f64::NEG_INFINITY),
        None => {}
    }
    let literal = Literal::parse(text)?;
    let number: f64 = text.parse().ok()?;
    (number.is_finite() && (number != 0.0 || literal.is_zero())).then_some(number)
}

/// The shortest digits that read back as the same number, laid out as Postgres does with
/// `extra_float_digits` at 1: fixed for exponents from -4 to 14, else `1.5e+20`.
pub(crate) fn write_float(out: &mut Vec<u8>, number: f64) {
    if number.is_nan() {
        out.extend_from_slice(b"NaN");
        return;
    }
    if number.is_sign_negative() {
        out.push(b'-');
    }
    if number.is_infinite() {
        out.extend_from_slice(b"Infinity");
        return;
    }
    if number == 0.0 {
        out.push(b'0');
        return;
    }
    let shortest = Shortest::of(number.abs());
    let digits = shortest.digits();
    let exponent = shortest.exponent;
    if (-4..15).contains(&exponent) {
        if exponent < 0 {
            out.extend_from_slice(b"0.");
            out.resize(out.len() + (-exponent - 1) as usize, b'0');
            out.extend_from_slice(digits);
        } else {
            let whole = exponent as usize + 1;
            if digits.len() <= whole {
                out.extend_from_slice(digits);
                out.resize(out.len() + whole - digits.len(), b'0');
            } else {
                out.extend_from_slice(&digits[..whole]);
                out.push(b'.');
                out.extend_from_slice(&digits[whole..]);
            }
        }
    } else {
        out.push(digits[0]);
        if digits.len() > 1 {
            out.push(b'.');
            out.extend_from_slice(&digits[1..]);
        }
        out.push(b'e');
        out.push(if exponent < 0 { b'-' } else { b'+' });
        let size = u64::from(exponent.unsigned_abs());
        if size >= 100 {
            out.push(b'0' + (size / 100) as u8);
        }
        out.extend_from_slice(&pair(size % 100));
    }
}

/// `d.ddd × 10^exponent` of a positive finite number.
struct Shortest {
    buffer: [u8; 20],
    length: usize,
    exponent: i32,
}

impl Shortest {
    fn of(number: f64) -> Shortest {
        let exact = Binary::of(number);
        let shortest = Shortest::format(number, None).even(number, exact);
        if !shortest.is_midway(exact) {
            return shortest;
        }
        // Postgres never prints a decimal that lies exactly half way to the next number, because some
        // readers round such a one wrongly. Rust does when the even neighbour is meant.
        (shortest.length..17)
            .map(|digits| Shortest::format(number, Some(digits)))
            .find(|longer| longer.reads_as(number) && !longer.is_midway(exact))
            .unwrap_or_else(|| Shortest::format(number, Some(16)))
    }

    /// Of two equally near decimals of the shortest length Postgres prints the even one, Rust the upper.
    fn even(self, number: f64, exact: Binary) -> Shortest {
        let digits = self.number();
        if digits.is_multiple_of(2)
            || Binary::decimal(digits * 10 - 5, self.scale() - 1) != Some(exact.reduced())
        {
            return self;
        }
        let mut lower = Shortest { ..self };
        // An odd digit has a lower neighbour.
        lower.buffer[lower.length.clamp(1, 20) - 1] -= 1;
        // Below a power of two numbers are closer together: there the lower one may be another number.
        if lower.reads_as(number) { lower } else { self }
    }

    /// `behind` digits behind the first, or as few as it takes.
    fn format(number: f64, behind: Option<usize>) -> Shortest {
        // Seventeen digits, a point, `e-` and three more fit.
        let mut text = [0u8; 32];
        let mut rest = &mut text[..];
        let written = match behind {
            None => write!(rest, "{number:e}"),
            Some(behind) => write!(rest, "{number:.behind$e}"),
        };
        debug_assert!(written.is_ok());
        let left = rest.len();
        let text = &text[..32 - left];
        let mut shortest = Shortest { buffer: [b'0'; 20], length: 0, exponent: 0 };
        let mut bytes = text.iter();
        for byte in bytes.by_ref() {
            match byte {
                b'.' => {}
                b'e' => break,
                digit => {
                    shortest.buffer[shortest.length.min(19)] = *digit;
                    shortest.length += 1;
                }
            }
        }
        let mut negative = false;
        for byte in bytes {
            match byte {
                b'-' => negative = true,
                digit => shortest.exponent = shortest.exponent * 10 + i32::from(digit - b'0'),
            }
        }
        if negative {
            shortest.exponent = -shortest.exponent;
        }
        while shortest.length > 1 && shortest.buffer[shortest.length - 1] == b'0' {
            shortest.length -= 1;
        }
        shortest
    }

    fn digits(&self) -> &[u8] {
        &self.buffer[..self.length.clamp(1, 20)]
    }

    /// The digits as a whole number.
    fn number(&self) -> u128 {
        self.digits().iter().fold(0, |number, digit| number * 10 + u128::from(digit - b'0'))
    }

    /// The power of ten that the last digit counts.
    fn scale(&self) -> i32 {
        self.exponent - (self.length as i32 - 1)
    }

    fn reads_as(&self, number: f64) -> bool {
        let digits = std::str::from_utf8(self.digits()).unwrap_or_default();
        format!("{digits}e{}", self.scale()).parse() == Ok(number)
    }

    /// The decimal is exactly the middle between a number and a neighbour.
    fn is_midway(&self, exact: Binary) -> bool {
        let Some(decimal) = Binary::decimal(self.number(), self.scale()) else { return false };
        let Binary { mantissa, power } = exact;
        let middle = |mantissa, power| decimal == Binary { mantissa, power };
        // Below a power of two the neighbour is half as far.
        let narrow = mantissa == 1 << 52 && middle(4 * mantissa - 1, power - 2);
        narrow || middle(2 * mantissa + 1, power - 1) || middle(2 * mantissa - 1, power - 1)
    }
}

/// `mantissa × 2^power`, exactly.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Binary {
    mantissa: u128,
    power: i32,
}

impl Binary {
    /// A positive finite number, with the mantissa that it is stored with.
    fn of(number: f64) -> Binary {
        let bits = number.to_bits();
        let (exponent, fraction) = ((bits >> 52) as i32 & 0x7ff, u128::from(bits & ((1 << 52) - 1)));
        if exponent == 0 {
            Binary { mantissa: fraction, power: -1074 }
        } else {
            Binary { mantissa: fraction | 1 << 52, power: exponent - 1075 }
        }
    }

    /// With an odd mantissa.
    fn reduced(self) -> Binary {
        if self.mantissa == 0 {
            return self;
        }
        let twos = self.mantissa.trailing_zeros();
        Binary { mantissa: self.mantissa >> twos, power: self.power + twos.cast_signed() }
    }

    /// `digits × 10^scale` with an odd mantissa; `None` if it is no binary fraction, or one of more bits than
    /// a middle between two numbers has.
    fn decimal(digits: u128, scale: i32) -> Option<Binary> {
        // Eighteen digits hold at most 25 fives, and a middle has at most 55 bits.
        if scale.abs() > 26 {
            return None;
        }
        let fives = 5u128.pow(scale.unsigned_abs());
        let mantissa = if scale >= 0 {
            digits.checked_mul(fives)?
        } else if digits.is_multiple_of(fives) {
            digits / fives
        } else {
            return None;
        };
        Some(Binary { mantissa, power: scale }.reduced())
    }
}

pub(crate) fn parse_decimal(text: &str) -> Option<Decimal> {
    match Special::parse(text) {
        Some(Special::NaN) => return Some(Decimal::NaN),
        Some(Special::Infinity { negative: false }) => return Some(Decimal::Infinity),
        Some(Special::Infinity { negative: true }) => return Some(Decimal::NegativeInfinity),
        None => {}
    }
    let literal = Literal::parse(text)?;
    let scale = literal.fraction.len() as i64 - i64::from(literal.exponent);
    let mut digits: Vec<u8> =
        literal.whole.iter().chain(literal.fraction).copied().skip_while(|digit| *digit == b'0').collect();
    let shift = usize::try_from(-scale).unwrap_or(0);
    let scale = usize::try_from(scale).unwrap_or(0);
    if scale > MAX_SCALE {
        return None;
    }
    if digits.is_empty() {
        return Some(Decimal::Finite(BigDecimal::new(BigInt::from(0), scale as i64)));
    }
    if (digits.len() + shift).saturating_sub(scale) > MAX_WHOLE {
        return None;
    }
    digits.resize(digits.len() + shift, b'0');
    let number = BigInt::parse_bytes(&digits, 10)?;
    let number = if literal.negative { -number } else { number };
    Some(Decimal::Finite(BigDecimal::new(number, scale as i64)))
}

/// Plain digits with as many behind the point as the decimal's scale says, as `numeric` prints.
pub(crate) fn write_decimal(out: &mut Vec<u8>, decimal: &Decimal) {
    let number = match decimal {
        Decimal::NaN => return out.extend_from_slice(b"NaN"),
        Decimal::Infinity => return out.extend_from_slice(b"Infinity"),
        Decimal::NegativeInfinity => return out.extend_from_slice(b"-Infinity"),
        Decimal::Finite(number) => number,
    };
    let (number, scale) = number.as_bigint_and_exponent();
    if number.sign() == Sign::Minus {
        out.push(b'-');
    }
    let digits = number.magnitude().to_string();
    match usize::try_from(scale) {
        // Arithmetic can make scales that no `numeric` has: their zeros are not worth the memory.
        _ if scale.unsigned_abs() > (MAX_WHOLE + MAX_SCALE) as u64 => {
            out.extend_from_slice(digits.as_bytes());
            out.push(b'e');
            write_integer(out, scale.saturating_neg());
        }
        Err(_) => {
            out.extend_from_slice(digits.as_bytes());
            if digits != "0" {
                out.resize(out.len() + scale.unsigned_abs() as usize, b'0');
            }
        }
        Ok(0) => out.extend_from_slice(digits.as_bytes()),
        Ok(scale) if digits.len() > scale => {
            let (whole, fraction) = digits.as_bytes().split_at(digits.len() - scale);
            out.extend_from_slice(whole);
            out.push(b'.');
            out.extend_from_slice(fraction);
        }
        Ok(scale) => {
            out.extend_from_slice(b"0.");
            out.resize(out.len() + scale - digits.len(), b'0');
            out.extend_from_slice(digits.as_bytes());
        }
    }
}

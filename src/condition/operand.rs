//! Typing of operands: what may be compared with what, and how literals, claims and captures take the kind
//! of the place where they stand.

use std::ops::Range;

use super::check::{Checker, closest};
use super::lex::Text;
use super::syntax::{Comparison, Expression};
use super::tree::{Operand, Source, Test};
use crate::model::{Attribute, Decimal, Kind, Scalar, Value};

pub(super) const INTERVAL: Kind = Kind::one(Scalar::Interval);
pub(super) const DECIMAL: Kind = Kind::one(Scalar::Decimal);
/// The longest exponent or row of digits of a number literal: past every `float`, short of what costs.
const MAX_DIGITS: usize = 400;

/// A value whose kind may still depend on its place.
#[derive(Clone, Debug)]
pub(super) enum Draft {
    Typed { operand: Operand, values: Option<Vec<String>> },
    Text(Text),
    Number(String),
    Boolean(bool),
    Null,
    List(Vec<(Draft, Range<usize>)>),
    Claim(Vec<String>),
    Capture(usize),
}

impl Draft {
    /// What the value is taken for when its place says nothing.
    pub(super) fn own_kind(&self) -> Option<Kind> {
        match self {
            Draft::Typed { operand, .. } => Some(operand.kind),
            Draft::Text(_) => Some(Kind::TEXT),
            Draft::Number(_) => Some(DECIMAL),
            Draft::Boolean(_) => Some(Kind::BOOLEAN),
            Draft::Null | Draft::List(_) | Draft::Claim(_) | Draft::Capture(_) => None,
        }
    }
}

pub(super) fn described(kind: Kind) -> String {
    let article = match kind.scalar {
        Scalar::Integer | Scalar::Interval | Scalar::Inet => "an",
        _ => "a",
    };
    format!("{article} {kind}")
}

impl Checker<'_> {
    pub(super) fn compare(
        &mut self,
        span: &Range<usize>,
        comparison: Comparison,
        left: &Expression,
        right: &Expression,
    ) -> Option<Test> {
        let drafts = (self.value(left), self.value(right));
        let (l, r) = (drafts.0?, drafts.1?);
        if matches!(l, Draft::Null) || matches!(r, Draft::Null) {
            let (draft, place) = if matches!(r, Draft::Null) { (l, left) } else { (r, right) };
            if comparison.orders() {
                return self.fault(
                    span,
                    "null has no order",
                    Some("null is tested with `== null` and `!= null`".to_owned()),
                );
            }
            let operand = self.for_null(draft, &place.span)?;
            return Some(Test::IsNull { operand, negated: comparison == Comparison::NotEqual });
        }
        let (l, r) = self.pair(span, (l, &left.span), (r, &right.span))?;
        let (a, b) = (l.kind, r.kind);
        let numbers = a.scalar.numeric() && b.scalar.numeric() && !a.array && !b.array;
        let days = matches!(
            (a.scalar, b.scalar),
            (Scalar::Date, Scalar::Timestamp) | (Scalar::Timestamp, Scalar::Date)
        ) && !a.array
            && !b.array;
        if a != b && !numbers && !days {
            let hint = match (a.scalar, b.scalar) {
                (Scalar::Uuid, Scalar::Text) | (Scalar::Text, Scalar::Uuid) if a.array == b.array => {
                    Some("a uuid becomes text by adding to text: `auth.id + ''`".to_owned())
                }
                _ if a.array != b.array => Some("an element of an array is looked for with `in`".to_owned()),
                _ => None,
            };
            return self.fault(span, format!("{} is compared with {}", described(a), described(b)), hint);
        }
        if a.scalar == Scalar::Json {
            return self.fault(
                span,
                "json can only be compared with null",
                Some("give what policies need a field of its own".to_owned()),
            );
        }
        if a.array && comparison.orders() {
            return self.fault(span, "arrays have no order", Some("compare their `size()`".to_owned()));
        }
        Some(Test::Compare { comparison, left: l, right: r })
    }

    fn for_null(&mut self, draft: Draft, span: &Range<usize>) -> Option<Operand> {
        match draft {
            Draft::Typed { operand, .. } => Some(operand),
            Draft::Claim(path) => {
                Some(Operand { text: self.text(span), kind: Kind::BOOLEAN, source: Source::AnyClaim(path) })
            }
            Draft::Capture(at) => {
                Some(Operand { text: self.text(span), kind: Kind::TEXT, source: Source::Capture(at) })
            }
            Draft::Text(_) | Draft::Number(_) | Draft::Boolean(_) | Draft::List(_) | Draft::Null => {
                self.fault(span, "a literal is compared with null", None)
            }
        }
    }

    /// Both sides of a comparison, each in the kind that the other asks for.
    fn pair(
        &mut self,
        span: &Range<usize>,
        (left, left_span): (Draft, &Range<usize>),
        (right, right_span): (Draft, &Range<usize>),
    ) -> Option<(Operand, Operand)> {
        Some(match (left, right) {
            (Draft::Typed { operand, values }, other) => {
                let kind = operand.kind;
                (operand, self.fit(other, right_span, kind, values.as_deref())?)
            }
            (other, Draft::Typed { operand, values }) => {
                let kind = operand.kind;
                (self.fit(other, left_span, kind, values.as_deref())?, operand)
            }
            (left, right) => {
                let captured = matches!(left, Draft::Capture(_)) || matches!(right, Draft::Capture(_));
                let Some(kind) = left.own_kind().or(right.own_kind()).or(captured.then_some(Kind::TEXT))
                else {
                    return self.fault(
                        span,
                        "nothing here says what kind the claims have",
                        Some("compare a claim with a field or a literal".to_owned()),
                    );
                };
                (self.fit(left, left_span, kind, None)?, self.fit(right, right_span, kind, None)?)
            }
        })
    }

    /// The value in the kind that its place asks for; `values` are those of an enum.
    pub(super) fn fit(
        &mut self,
        draft: Draft,
        span: &Range<usize>,
        kind: Kind,
        values: Option<&[String]>,
    ) -> Option<Operand> {
        let text = self.text(span);
        let literal =
            |value: Value, kind: Kind| Operand { text: text.clone(), kind, source: Source::Literal(value) };
        // Claims and captures stand for whole numbers of any size: the narrower kind would lose some.
        let wide = match kind.scalar {
            // Whole arrays are only ever compared with arrays of the very same kind.
            Scalar::Integer if !kind.array => Kind::BIGINT,
            _ => kind,
        };
        match draft {
            Draft::Typed { operand, .. } => {
                if kind == Kind::BOOLEAN && operand.kind != kind {
                    return self.fault(
                        span,
                        format!("`{text}` is {}, not a condition", described(operand.kind)),
                        Some("compare it with something".to_owned()),
                    );
                }
                Some(operand)
            }
            Draft::Boolean(truth) if kind == Kind::BOOLEAN => Some(literal(Value::Boolean(truth), kind)),
            Draft::Number(digits) if kind.scalar.numeric() && !kind.array => {
                let (value, kind) = self.number(&digits, span, kind)?;
                Some(literal(value, kind))
            }
            Draft::Text(written) if !kind.array && !kind.scalar.numeric() => {
                if let Some(stray) = written.stray.filter(|_| kind.scalar != Scalar::Bytes) {
                    return self.fault(
                        &stray,
                        "`\\` begins no escape here",
                        Some("there are `\\\\ \\' \\\" \\n \\r \\t \\u0000`; text without escapes is written r'…'".to_owned()),
                    );
                }
                if let Some(values) = values.filter(|_| kind.scalar == Scalar::Text)
                    && !values.contains(&written.value)
                {
                    let hint = closest(&written.value, values.iter().map(String::as_str))
                        .unwrap_or_else(|| format!("its values are {}", values.join(", ")));
                    return self.fault(
                        span,
                        format!("`{}` is none of the field's values", written.value),
                        Some(hint),
                    );
                }
                if kind.scalar == Scalar::Json {
                    return self.fault(span, "json can only be compared with null", None);
                }
                match Value::parse(kind, &written.value) {
                    Some(value) => Some(literal(value, kind)),
                    None => self.fault(
                        span,
                        format!("{text} is no {kind}"),
                        example(kind).map(|example| format!("for example {example}")),
                    ),
                }
            }
            Draft::List(items) if kind.array => {
                let mut elements = Vec::with_capacity(items.len());
                for (item, place) in items {
                    // Arrays compare only with arrays of the very same kind, so no element may be of a wider one.
                    let element = match &item {
                        Draft::Number(digits) => Value::parse(kind.element(), digits),
                        _ => match self.fit(item, &place, kind.element(), values)?.source {
                            Source::Literal(value) => Some(value),
                            _ => None,
                        },
                    };
                    let Some(element) = element else {
                        let text = self.text(&place);
                        return self.fault(
                            &place,
                            format!("`{text}` is no literal of kind {}", kind.element()),
                            None,
                        );
                    };
                    elements.push(element);
                }
                Some(literal(Value::Array(elements), kind))
            }
            Draft::Claim(path) => {
                Some(Operand { text, kind: wide, source: Source::Attribute(Attribute::Claim(path)) })
            }
            Draft::Capture(at) if !kind.array => {
                Some(Operand { text, kind: wide, source: Source::Capture(at) })
            }
            Draft::Text(_) if kind.scalar.numeric() && !kind.array => self.fault(
                span,
                format!("text stands where {} is expected", described(kind)),
                Some("numbers stand without quotes".to_owned()),
            ),
            Draft::Null => self.fault(
                span,
                "null stands where a value is expected",
                Some("null is tested with `== null` and `!= null`".to_owned()),
            ),
            Draft::List(_) => self.fault(
                span,
                format!("a list stands where {} is expected", described(kind)),
                Some("one of several is written `value in [ … ]`".to_owned()),
            ),
            Draft::Boolean(_) | Draft::Number(_) | Draft::Text(_) | Draft::Capture(_) => {
                self.fault(span, format!("`{text}` stands where {} is expected", described(kind)), None)
            }
        }
    }

    /// A number literal in the place of a number: exactly, so an integer's place may get a decimal.
    fn number(&mut self, digits: &str, span: &Range<usize>, kind: Kind) -> Option<(Value, Kind)> {
        let exponent = digits.split(['e', 'E']).nth(1).map_or(0, |exponent| {
            exponent.trim_start_matches(['+', '-']).trim_start_matches('0').parse::<usize>().unwrap_or(
                if exponent.bytes().any(|b| b.is_ascii_digit() && b != b'0') { usize::MAX } else { 0 },
            )
        });
        if digits.len() > MAX_DIGITS || exponent > MAX_DIGITS {
            return self.fault(span, "the number is too long", None);
        }
        let value = match kind.scalar {
            Scalar::Integer | Scalar::Bigint => {
                Value::parse(Kind::BIGINT, digits).map(|value| (value, Kind::BIGINT))
            }
            Scalar::Float => {
                return match Value::parse(kind, digits) {
                    Some(value) => Some((value, kind)),
                    None => self.fault(span, format!("{digits} is beyond a float"), None),
                };
            }
            _ => None,
        };
        match value.or_else(|| Value::parse(DECIMAL, digits).map(|value| (value, DECIMAL))) {
            Some(value) => Some(value),
            None => self.fault(span, format!("{digits} is no number"), None),
        }
    }

    pub(super) fn among(
        &mut self,
        span: &Range<usize>,
        value: &Expression,
        list: &Expression,
    ) -> Option<Test> {
        let drafts = (self.value(value), self.value(list));
        let (v, l) = (drafts.0?, drafts.1?);
        if matches!(v, Draft::Null | Draft::List(_)) {
            return self.fault(&value.span, "one value stands before `in`", None);
        }
        let (value, list) = match (v, l) {
            (v, Draft::List(items)) => self.among_literals(v, &value.span, items, &list.span)?,
            (v, Draft::Typed { operand, values }) => {
                if !operand.kind.array {
                    let hint = if operand.kind.scalar == Scalar::Text {
                        "text inside text is looked for with `contains`"
                    } else {
                        "compare with `==`"
                    };
                    return self.fault(
                        &list.span,
                        format!("`{}` is {}, not a list", operand.text, described(operand.kind)),
                        Some(hint.to_owned()),
                    );
                }
                let value = self.fit(v, &value.span, operand.kind.element(), values.as_deref())?;
                (value, operand)
            }
            (v, Draft::Claim(path)) => {
                let Some(kind) = v.own_kind() else {
                    return self.fault(
                        span,
                        "nothing here says what kind the claim has",
                        Some("look in a claim for a field or a literal".to_owned()),
                    );
                };
                let value = self.fit(v, &value.span, kind, None)?;
                let kind = Kind {
                    array: true,
                    scalar: if kind.scalar == Scalar::Integer { Scalar::Bigint } else { kind.scalar },
                };
                let text = self.text(&list.span);
                (value, Operand { text, kind, source: Source::Attribute(Attribute::Claim(path)) })
            }
            (_, Draft::Text(_) | Draft::Number(_) | Draft::Boolean(_) | Draft::Null | Draft::Capture(_)) => {
                return self.fault(
                    &list.span,
                    "a list, an array field or `auth.roles` stands after `in`",
                    Some("lists are written `['a', 'b']`".to_owned()),
                );
            }
        };
        let (a, b) = (value.kind, list.kind);
        let exact = |kind: Kind| matches!(kind.scalar, Scalar::Integer | Scalar::Bigint | Scalar::Decimal);
        if a.array || a.scalar == Scalar::Json || (a.scalar != b.scalar && !(exact(a) && exact(b))) {
            return self.fault(span, format!("{} is looked for in {}", described(a), described(b)), None);
        }
        Some(Test::Among { value, list })
    }

    fn among_literals(
        &mut self,
        value: Draft,
        value_span: &Range<usize>,
        items: Vec<(Draft, Range<usize>)>,
        list_span: &Range<usize>,
    ) -> Option<(Operand, Operand)> {
        let captured = matches!(value, Draft::Capture(_)).then_some(Kind::TEXT);
        let of_items = items.iter().find_map(|(item, _)| item.own_kind());
        let Some(kind) = value.own_kind().or(of_items).or(captured) else {
            return self.fault(value_span, "nothing here says what kind the claim has", None);
        };
        let values = match &value {
            Draft::Typed { values, .. } => values.clone(),
            _ => None,
        };
        let value = self.fit(value, value_span, kind, None)?;
        let mut elements = Vec::with_capacity(items.len());
        let mut element_kind = match kind.scalar {
            Scalar::Integer => Kind::BIGINT,
            _ => kind,
        };
        let mut sound = true;
        for (item, place) in items {
            if matches!(item, Draft::Typed { .. } | Draft::Claim(_) | Draft::Capture(_)) {
                sound = false;
                self.fault::<()>(
                    &place,
                    "a list holds literals",
                    Some("compare with this one by itself: `a == b || a in [ … ]`".to_owned()),
                );
                continue;
            }
            match self.fit(item, &place, kind, values.as_deref()) {
                Some(Operand { source: Source::Literal(literal), kind: found, .. }) => {
                    if found == DECIMAL {
                        element_kind = DECIMAL;
                    }
                    elements.push(literal);
                }
                Some(_) | None => sound = false,
            }
        }
        if !sound {
            return None;
        }
        if element_kind == DECIMAL {
            // One of the numbers is no bigint, so all of them stand as decimals.
            for element in &mut elements {
                if let Value::Integer(whole) = element {
                    *element = Value::Decimal(Decimal::Finite((*whole).into()));
                }
            }
        }
        let kind = Kind { array: true, ..element_kind };
        Some((
            value,
            Operand { text: self.text(list_span), kind, source: Source::Literal(Value::Array(elements)) },
        ))
    }
}

/// What a literal of the kind looks like.
fn example(kind: Kind) -> Option<&'static str> {
    match kind.scalar {
        Scalar::Uuid => Some("'018f3a5e-7c1b-7cc2-9d5b-0242ac120002'"),
        Scalar::Timestamp => Some("'2024-01-31T12:00:00Z'"),
        Scalar::Date => Some("'2024-01-31'"),
        Scalar::Time => Some("'12:30:00'"),
        Scalar::Interval => Some("duration(\"24h\")"),
        Scalar::Bytes => Some("'\\x00ff'"),
        Scalar::Inet => Some("'10.0.0.0/8'"),
        Scalar::Boolean => Some("true"),
        Scalar::Text | Scalar::Integer | Scalar::Bigint | Scalar::Float | Scalar::Decimal | Scalar::Json => {
            None
        }
    }
}

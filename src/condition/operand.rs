//! Typing of operands: what may be compared with what, and how literals, claims and captures take the kind
//! of the place where they stand.

use std::ops::Range;

use super::check::{Checker, closest};
use super::lex::Text;
use super::pattern::Pattern;
use super::syntax::{Comparison, Expression, Node, Word};
use super::tree::{Operand, Source, Test, TextTest};
use crate::model::{Attribute, Decimal, Interval, Kind, Scalar, Value};

const INTERVAL: Kind = Kind::one(Scalar::Interval);
const DECIMAL: Kind = Kind::one(Scalar::Decimal);
/// The longest exponent or row of digits of a number literal: past every `float`, short of what costs.
const MAX_DIGITS: usize = 400;
/// No duration is as long as this: so adding to a timestamp stays within what [`super::arithmetic`] guards.
const MAX_DURATION: i64 = super::arithmetic::MAX_HOURS * super::arithmetic::HOUR;

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
    fn own_kind(&self) -> Option<Kind> {
        match self {
            Draft::Typed { operand, .. } => Some(operand.kind),
            Draft::Text(_) => Some(Kind::TEXT),
            Draft::Number(_) => Some(DECIMAL),
            Draft::Boolean(_) => Some(Kind::BOOLEAN),
            Draft::Null | Draft::List(_) | Draft::Claim(_) | Draft::Capture(_) => None,
        }
    }
}

fn described(kind: Kind) -> String {
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

    pub(super) fn call_test(
        &mut self,
        span: &Range<usize>,
        receiver: Option<&Expression>,
        name: &Word,
        arguments: &[Expression],
    ) -> Option<Test> {
        let test = match name.text.as_str() {
            "startsWith" => Some(TextTest::StartsWith),
            "endsWith" => Some(TextTest::EndsWith),
            "contains" => Some(TextTest::Contains),
            "matches" => None,
            "size" | "lower" | "now" | "duration" => {
                return self.fault(
                    span,
                    "this is a value where a condition is expected",
                    Some("compare it with something".to_owned()),
                );
            }
            _ => return self.unknown_call(receiver.is_some(), name),
        };
        let Some(receiver) = receiver else {
            return self.fault(
                &name.span,
                format!("`{}` stands after the text that it tests", name.text),
                Some(format!("for example `title.{}('a')`", name.text)),
            );
        };
        let [argument] = arguments else {
            return self.fault(span, format!("`{}` takes one argument", name.text), None);
        };
        let value = self.value(receiver);
        let Some(test) = test else {
            let Node::Text(written) = &argument.node else {
                return self.fault(
                    &argument.span,
                    "a pattern is written out: it cannot come from a row or the caller",
                    None,
                );
            };
            let pattern = match Pattern::parse(&written.value) {
                Ok(pattern) => pattern,
                Err(inner) => {
                    // Positions inside the pattern are those of the text only while nothing was escaped.
                    let raw = self.text(&argument.span);
                    let offset = raw.find(written.value.as_str());
                    let place = offset.map_or(argument.span.clone(), |offset| {
                        argument.span.start + offset + inner.span.start
                            ..argument.span.start + offset + inner.span.end
                    });
                    return self.fault(&place, inner.message, inner.hint);
                }
            };
            let value = self.text_operand(value?, &receiver.span, &name.text)?;
            return Some(Test::Matches { value, pattern });
        };
        let argument_draft = self.value(argument);
        let (value, argument_draft) = (value?, argument_draft?);
        if let (Draft::Typed { operand, .. }, TextTest::Contains) = (&value, test)
            && operand.kind.array
        {
            return self.fault(
                span,
                "an array is not text",
                Some(format!("write `{} in {}`", self.text(&argument.span), operand.text)),
            );
        }
        let value = self.text_operand(value, &receiver.span, &name.text)?;
        let argument = self.text_operand(argument_draft, &argument.span, &name.text)?;
        Some(Test::Text { test, value, argument })
    }

    fn text_operand(&mut self, draft: Draft, span: &Range<usize>, of: &str) -> Option<Operand> {
        let operand = self.fit(draft, span, Kind::TEXT, None)?;
        if operand.kind == Kind::TEXT {
            return Some(operand);
        }
        let hint = (operand.kind == Kind::UUID)
            .then(|| format!("a uuid becomes text by adding to text: `({} + '')`", operand.text));
        self.fault(span, format!("`{of}` works on text, and this is {}", described(operand.kind)), hint)
    }

    fn unknown_call<T>(&mut self, after_value: bool, name: &Word) -> Option<T> {
        const METHODS: [&str; 8] =
            ["startsWith", "endsWith", "contains", "matches", "size", "lower", "exists", "all"];
        let hint = match name.text.as_str() {
            "has" => Some("null is tested with `!= null`".to_owned()),
            "starts_with" | "startswith" | "hasPrefix" => Some("did you mean `startsWith`?".to_owned()),
            "ends_with" | "endswith" | "hasSuffix" => Some("did you mean `endsWith`?".to_owned()),
            "length" | "len" | "count" => Some("did you mean `size`?".to_owned()),
            "upper" => Some("compare the `lower()` of both".to_owned()),
            "includes" | "any" | "some" => {
                Some("an element is looked for with `in`, a record with `exists`".to_owned())
            }
            "uid" => Some("the caller's id is `auth.id`".to_owned()),
            other => closest(
                other,
                if after_value { METHODS.as_slice() } else { &["now", "duration"] }.iter().copied(),
            ),
        };
        self.fault(&name.span, format!("there is no function `{}`", name.text), hint)
    }

    /// A value, its kind as yet open where its place decides.
    fn value(&mut self, expression: &Expression) -> Option<Draft> {
        let span = &expression.span;
        match &expression.node {
            Node::Text(text) => Some(Draft::Text(text.clone())),
            Node::Number(digits) => Some(Draft::Number(digits.clone())),
            Node::Boolean(truth) => Some(Draft::Boolean(*truth)),
            Node::Null => Some(Draft::Null),
            Node::List(items) => {
                let drafts: Vec<_> =
                    items.iter().map(|item| Some((self.value(item)?, item.span.clone()))).collect();
                drafts.into_iter().collect::<Option<_>>().map(Draft::List)
            }
            Node::Path(words) => self.path_value(words, span),
            Node::Sum { minus, left, right } => self.sum(span, *minus, left, right),
            Node::Call { receiver, name, arguments } => {
                self.call_value(span, receiver.as_deref(), name, arguments)
            }
            Node::Or(_) | Node::And(_) | Node::Not(_) | Node::Compare { .. } | Node::In { .. } => self.fault(
                span,
                "this is a condition where a value is expected",
                Some("join conditions with `&&` and `||`".to_owned()),
            ),
        }
    }

    fn typed(&self, span: &Range<usize>, kind: Kind, source: Source) -> Draft {
        Draft::Typed { operand: Operand { text: self.text(span), kind, source }, values: None }
    }

    fn call_value(
        &mut self,
        span: &Range<usize>,
        receiver: Option<&Expression>,
        name: &Word,
        arguments: &[Expression],
    ) -> Option<Draft> {
        match (name.text.as_str(), receiver) {
            ("now", None) => {
                if !arguments.is_empty() {
                    return self.fault(span, "`now` takes no arguments", None);
                }
                if self.scope.own_fields_only {
                    return self.fault(
                        span,
                        "a check holds at all times, so it cannot speak of `now()`",
                        Some("what depends on the time belongs in `policies`".to_owned()),
                    );
                }
                Some(self.typed(span, Kind::TIMESTAMP, Source::Now))
            }
            ("duration", None) => {
                let [Expression { node: Node::Text(written), span: place, .. }] = arguments else {
                    return self.fault(span, "`duration` takes a text: `duration(\"24h\")`", None);
                };
                let Some(microseconds) = duration(&written.value) else {
                    return self.fault(place, format!("{} is no duration", self.text(place)), Some("numbers with `h`, `m`, `s`, `ms` or `us`, less than 1,000 years: `1h30m`, `90s`; a week is `168h`".to_owned()));
                };
                let interval = Interval { months: 0, days: 0, microseconds };
                Some(self.typed(span, INTERVAL, Source::Literal(Value::Interval(interval))))
            }
            ("now" | "duration", Some(_)) => {
                self.fault(span, format!("`{}` stands by itself", name.text), None)
            }
            ("size" | "lower", None) => self.fault(
                &name.span,
                format!("`{}` stands after a value", name.text),
                Some(format!("for example `title.{}()`", name.text)),
            ),
            ("size", Some(receiver)) => {
                let (operand, _) = self.receiver(span, receiver, arguments)?;
                if operand.kind.array || matches!(operand.kind.scalar, Scalar::Text | Scalar::Bytes) {
                    return Some(self.typed(span, Kind::BIGINT, Source::Size(Box::new(operand))));
                }
                self.fault(
                    &receiver.span,
                    format!("{} has no size", described(operand.kind)),
                    Some("text, bytes and arrays have one".to_owned()),
                )
            }
            ("lower", Some(receiver)) => {
                let (operand, _) = self.receiver(span, receiver, arguments)?;
                if operand.kind == Kind::TEXT {
                    return Some(self.typed(span, Kind::TEXT, Source::Lower(Box::new(operand))));
                }
                self.fault(
                    &receiver.span,
                    format!("`lower` works on text, and this is {}", described(operand.kind)),
                    None,
                )
            }
            ("startsWith" | "endsWith" | "contains" | "matches" | "exists" | "all", _) => self.fault(
                span,
                "this is a condition where a value is expected",
                Some("use it by itself, or turn it around with `!`".to_owned()),
            ),
            (_, receiver) => self.unknown_call(receiver.is_some(), name),
        }
    }

    /// What `.size()` and `.lower()` stand after; a claim there is text.
    fn receiver(
        &mut self,
        span: &Range<usize>,
        receiver: &Expression,
        arguments: &[Expression],
    ) -> Option<(Operand, ())> {
        if !arguments.is_empty() {
            return self.fault(span, "this function takes no arguments", None);
        }
        let operand = match self.value(receiver)? {
            Draft::Typed { operand, .. } => operand,
            draft => self.fit(draft, &receiver.span, Kind::TEXT, None)?,
        };
        Some((operand, ()))
    }

    fn sum(
        &mut self,
        span: &Range<usize>,
        minus: bool,
        left: &Expression,
        right: &Expression,
    ) -> Option<Draft> {
        let drafts = (self.value(left), self.value(right));
        let (l, r) = (drafts.0?, drafts.1?);
        // A claim beside a value takes the kind that makes sense of the sum; `left` and `right` alone decide it.
        let beside = |kind: Option<Kind>| match kind {
            Some(kind) if kind.array => None,
            Some(kind) => match kind.scalar {
                Scalar::Integer | Scalar::Bigint | Scalar::Float | Scalar::Decimal => Some(DECIMAL),
                Scalar::Text | Scalar::Uuid => Some(Kind::TEXT),
                Scalar::Timestamp | Scalar::Date => Some(INTERVAL),
                Scalar::Interval => Some(Kind::TIMESTAMP),
                Scalar::Boolean | Scalar::Time | Scalar::Json | Scalar::Bytes | Scalar::Inet => None,
            },
            None => None,
        };
        let captured = |draft: &Draft| matches!(draft, Draft::Capture(_)).then_some(Kind::TEXT);
        let (left_kind, right_kind) = (
            l.own_kind().or_else(|| beside(r.own_kind())).or_else(|| captured(&l).or(captured(&r))),
            r.own_kind().or_else(|| beside(l.own_kind())).or_else(|| captured(&r).or(captured(&l))),
        );
        let (Some(left_kind), Some(right_kind)) = (left_kind, right_kind) else {
            return self.fault(
                span,
                "nothing here says what kind this sum has",
                Some("`+` joins texts, adds numbers, and adds a duration to a time".to_owned()),
            );
        };
        let l = self.fit(l, &left.span, left_kind, None)?;
        let r = self.fit(r, &right.span, right_kind, None)?;
        let (a, b) = (l.kind, r.kind);
        if a.array || b.array {
            return self.fault(span, "arrays cannot be added", None);
        }
        let textual = |kind: Kind| matches!(kind.scalar, Scalar::Text | Scalar::Uuid);
        let moment = |kind: Kind| matches!(kind.scalar, Scalar::Timestamp | Scalar::Date);
        if a.scalar.numeric() && b.scalar.numeric() {
            let source = Source::Calculate { minus, left: Box::new(l), right: Box::new(r) };
            return Some(self.typed(span, DECIMAL, source));
        }
        if textual(a) && textual(b) && (a == Kind::TEXT || b == Kind::TEXT) && !minus {
            let mut parts = Vec::new();
            for operand in [l, r] {
                match operand.source {
                    // One long sum is one concatenation.
                    Source::Concat(inner) => parts.extend(inner),
                    _ => parts.push(operand),
                }
            }
            return Some(self.typed(span, Kind::TEXT, Source::Concat(parts)));
        }
        if moment(a) && b == INTERVAL {
            let source = Source::Shift { minus, time: Box::new(l), interval: Box::new(r) };
            return Some(self.typed(span, Kind::TIMESTAMP, source));
        }
        if a == INTERVAL && moment(b) && !minus {
            let source = Source::Shift { minus, time: Box::new(r), interval: Box::new(l) };
            return Some(self.typed(span, Kind::TIMESTAMP, source));
        }
        let hint = if moment(a) && moment(b) {
            "move the difference to the other side: `a > b + duration(\"24h\")`"
        } else if moment(a) && b.scalar.numeric() {
            "how long is written `duration(\"24h\")`"
        } else {
            "`+` joins texts, adds numbers, and adds a duration to a time; `-` takes numbers and durations away"
        };
        let verb = if minus { "taken from" } else { "added to" };
        self.fault(span, format!("{} is {verb} {}", described(b), described(a)), Some(hint.to_owned()))
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

/// CEL's durations: numbers with a unit, one after the other, with an optional sign. In microseconds.
fn duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    if rest.is_empty() {
        return None;
    }
    let mut total: i64 = 0;
    while !rest.is_empty() {
        let unit_at = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(unit_at);
        let unit_end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let size: i64 = match unit {
            "h" => 3_600_000_000,
            "m" => 60_000_000,
            "s" => 1_000_000,
            "ms" => 1_000,
            "us" => 1,
            _ => return None,
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.len() > 6 {
            return None;
        }
        let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        total = total.checked_add(whole.checked_mul(size)?)?;
        if !fraction.is_empty() {
            let scale = 10_i64.checked_pow(u32::try_from(fraction.len()).ok()?)?;
            let scaled = fraction.parse::<i64>().ok()?.checked_mul(size)?;
            if scaled % scale != 0 {
                return None;
            }
            total = total.checked_add(scaled / scale)?;
        }
        rest = after;
    }
    (total < MAX_DURATION).then_some(if negative { -total } else { total })
}

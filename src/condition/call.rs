//! Typing of functions, tests and sums.

use std::ops::Range;

use super::check::{Checker, closest};
use super::operand::{DECIMAL, Draft, INTERVAL, described};
use super::pattern::Pattern;
use super::syntax::{Expression, Node, Word};
use super::tree::{Operand, Source, Test, TextTest};
use crate::model::{Interval, Kind, Scalar, Value};

/// No duration is as long as this: so adding to a timestamp stays within what [`super::arithmetic`] guards.
const MAX_DURATION: i64 = super::arithmetic::MAX_HOURS * super::arithmetic::HOUR;

impl Checker<'_> {
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
    pub(super) fn value(&mut self, expression: &Expression) -> Option<Draft> {
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

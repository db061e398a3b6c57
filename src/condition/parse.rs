//! Tokens → [`Syntax`]. Knows the grammar and its precedence; names and kinds mean nothing here.

use std::ops::Range;
use std::sync::Arc;

use super::Fault;
use super::lex::{Spanned, Token, lex};
use super::syntax::{Comparison, Expression, Node, Syntax, Word};

/// How deep a condition may nest. Every recursion over a tree is bounded by it.
pub(super) const MAX_DEPTH: usize = 64;

/// Reads a condition's text.
///
/// `||` binds loosest, then `&&`, then `!`, then comparing and `in`, then `+` and `-`.
///
/// # Errors
/// What is wrong and where; never panics, whatever the text.
pub fn parse(text: &str) -> Result<Syntax, Vec<Fault>> {
    let tokens = lex(text).map_err(|fault| vec![fault])?;
    let mut parser = Parser { text, tokens, at: 0, depth: 0 };
    let root = parser.whole().map_err(|fault| vec![fault])?;
    Ok(Syntax { text: Arc::from(text), root })
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Spanned>,
    at: usize,
    depth: usize,
}

type Parsed = Result<Expression, Fault>;

impl Parser<'_> {
    fn whole(&mut self) -> Parsed {
        if *self.peek() == Token::End {
            return Err(Fault {
                span: 0..self.text.len(),
                message: "the condition is empty".to_owned(),
                hint: Some("write `true` for a condition that always holds".to_owned()),
            });
        }
        let root = self.or()?;
        match self.peek() {
            Token::End => Ok(root),
            _ => Err(self.unexpected("the end of the condition")),
        }
    }

    fn peek(&self) -> &Token {
        // The last token is `End` and is never consumed, so `at` always points at one.
        self.tokens.get(self.at).map_or(&Token::End, |spanned| &spanned.token)
    }

    fn span(&self) -> Range<usize> {
        self.tokens.get(self.at).map_or(self.text.len()..self.text.len(), |spanned| spanned.span.clone())
    }

    fn take(&mut self) -> (Token, Range<usize>) {
        let taken = (self.peek().clone(), self.span());
        if self.at + 1 < self.tokens.len() {
            self.at += 1;
        }
        taken
    }

    fn is(&self, symbol: &str) -> bool {
        matches!(self.peek(), Token::Symbol(found) if *found == symbol)
    }

    fn eat(&mut self, symbol: &str) -> bool {
        let found = self.is(symbol);
        if found {
            self.take();
        }
        found
    }

    fn expect(&mut self, symbol: &str) -> Result<Range<usize>, Fault> {
        if self.is(symbol) { Ok(self.take().1) } else { Err(self.unexpected(&format!("`{symbol}`"))) }
    }

    fn unexpected(&self, wanted: &str) -> Fault {
        let span = self.span();
        let (message, hint) = match self.peek() {
            Token::End => (format!("the condition ends where {wanted} is expected"), None),
            Token::Name(name) => {
                let hint = match name.to_ascii_lowercase().as_str() {
                    "and" => Some("write `&&`"),
                    "or" => Some("write `||`"),
                    "not" => Some("write `!`"),
                    "is" => Some("null is tested with `== null` and `!= null`"),
                    "like" | "ilike" => Some("use `startsWith`, `endsWith`, `contains` or `matches`"),
                    "between" => Some("write `a >= low && a <= high`"),
                    _ => None,
                };
                (format!("`{name}` stands where {wanted} is expected"), hint)
            }
            Token::Symbol("!") => (
                format!("`!` stands where {wanted} is expected"),
                Some("`!` turns a condition around; compare a boolean with `== false`, or write `!(a in b)`"),
            ),
            Token::Symbol(symbol) => (format!("`{symbol}` stands where {wanted} is expected"), None),
            Token::Number(_) | Token::Text(_) => (
                format!("`{}` stands where {wanted} is expected", self.text.get(span.clone()).unwrap_or("")),
                None,
            ),
        };
        Fault { span, message, hint: hint.map(str::to_owned) }
    }

    /// Runs one level deeper, or refuses.
    fn deeper(&mut self, parse: impl FnOnce(&mut Self) -> Parsed) -> Parsed {
        if self.depth >= MAX_DEPTH {
            return Err(self.too_deep());
        }
        self.depth += 1;
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    /// An expression over its parts, unless the tree grows too high: chains of `+` and of calls lean to one side.
    fn made(&self, span: Range<usize>, node: Node) -> Parsed {
        let height = 1 + match &node {
            Node::Or(parts) | Node::And(parts) | Node::List(parts) => height(parts),
            Node::Not(inner) => inner.height,
            Node::Compare { left, right, .. } | Node::Sum { left, right, .. } => {
                left.height.max(right.height)
            }
            Node::In { value, list } => value.height.max(list.height),
            Node::Call { receiver, arguments, .. } => {
                receiver.as_ref().map_or(0, |receiver| receiver.height).max(height(arguments))
            }
            Node::Text(_) | Node::Number(_) | Node::Boolean(_) | Node::Null | Node::Path(_) => 0,
        };
        if height > MAX_DEPTH { Err(self.too_deep()) } else { Ok(Expression { span, node, height }) }
    }

    fn too_deep(&self) -> Fault {
        Fault {
            span: self.span(),
            message: format!("the condition nests deeper than {MAX_DEPTH} levels"),
            hint: Some("move parts of it into named conditions".to_owned()),
        }
    }

    fn or(&mut self) -> Parsed {
        self.deeper(|parser| parser.joined("||", Parser::and, Node::Or))
    }

    fn and(&mut self) -> Parsed {
        self.joined("&&", Parser::not, Node::And)
    }

    fn joined(
        &mut self,
        symbol: &str,
        mut part: impl FnMut(&mut Self) -> Parsed,
        join: impl FnOnce(Vec<Expression>) -> Node,
    ) -> Parsed {
        let first = part(self)?;
        if !self.is(symbol) {
            return Ok(first);
        }
        let mut parts = vec![first];
        while self.eat(symbol) {
            parts.push(part(self)?);
        }
        let span = whole_span(&parts);
        self.made(span, join(parts))
    }

    fn not(&mut self) -> Parsed {
        if !self.is("!") {
            return self.comparison();
        }
        let (_, bang) = self.take();
        let inner = self.deeper(|parser| if parser.is("!") { parser.not() } else { parser.sum() })?;
        // In CEL `!a == b` means `(!a) == b`; to many readers it means `!(a == b)`. Neither reading is safe to pick.
        if self.comparing() {
            return Err(Fault {
                span: bang.start..self.span().end,
                message: "`!` before a comparison can be read in two ways".to_owned(),
                hint: Some("put what is turned around in parentheses: `!(a == b)`".to_owned()),
            });
        }
        self.made(bang.start..inner.span.end, Node::Not(Box::new(inner)))
    }

    /// A comparison or `in` comes next.
    fn comparing(&self) -> bool {
        match self.peek() {
            Token::Symbol(symbol) => Comparison::from_symbol(symbol).is_some(),
            Token::Name(name) => name == "in",
            Token::Number(_) | Token::Text(_) | Token::End => false,
        }
    }

    fn comparison(&mut self) -> Parsed {
        let left = self.sum()?;
        if !self.comparing() {
            return Ok(left);
        }
        let (operator, _) = self.take();
        let right = self.sum()?;
        if self.comparing() {
            return Err(Fault {
                span: self.span(),
                message: "comparisons do not chain".to_owned(),
                hint: Some("join two of them with `&&`: `a < b && b < c`".to_owned()),
            });
        }
        let span = left.span.start..right.span.end;
        let (left, right) = (Box::new(left), Box::new(right));
        let node = match operator {
            Token::Symbol(symbol) => match Comparison::from_symbol(symbol) {
                Some(comparison) => Node::Compare { comparison, left, right },
                None => return Err(self.unexpected("a comparison")),
            },
            Token::Name(_) | Token::Number(_) | Token::Text(_) | Token::End => {
                Node::In { value: left, list: right }
            }
        };
        self.made(span, node)
    }

    fn sum(&mut self) -> Parsed {
        let mut left = self.postfix()?;
        loop {
            let minus = match self.peek() {
                Token::Symbol("+") => false,
                Token::Symbol("-") => true,
                _ => return Ok(left),
            };
            self.take();
            let right = self.postfix()?;
            let span = left.span.start..right.span.end;
            left = self.made(span, Node::Sum { minus, left: Box::new(left), right: Box::new(right) })?;
        }
    }

    fn postfix(&mut self) -> Parsed {
        let mut value = self.primary()?;
        while self.eat(".") {
            let name = self.word("a field or a test")?;
            if self.is("(") {
                let (arguments, end) = self.arguments()?;
                let span = value.span.start..end;
                value = self.made(span, Node::Call { receiver: Some(Box::new(value)), name, arguments })?;
                continue;
            }
            let span = value.span.start..name.span.end;
            match value.node {
                Node::Path(mut words) => {
                    words.push(name);
                    value = self.made(span, Node::Path(words))?;
                }
                Node::Or(_)
                | Node::And(_)
                | Node::Not(_)
                | Node::Compare { .. }
                | Node::In { .. }
                | Node::Sum { .. }
                | Node::Text(_)
                | Node::Number(_)
                | Node::Boolean(_)
                | Node::Null
                | Node::List(_)
                | Node::Call { .. } => {
                    return Err(Fault {
                        span: name.span,
                        message: format!("only a path has fields, so `.{}` cannot stand here", name.text),
                        hint: Some("tests and functions are written with parentheses: `.size()`".to_owned()),
                    });
                }
            }
        }
        Ok(value)
    }

    fn word(&mut self, wanted: &str) -> Result<Word, Fault> {
        match self.peek() {
            Token::Name(_) => {}
            _ => return Err(self.unexpected(wanted)),
        }
        match self.take() {
            (Token::Name(text), span) => Ok(Word { span, text }),
            (_, span) => Err(Fault { span, message: format!("{wanted} is expected"), hint: None }),
        }
    }

    fn arguments(&mut self) -> Result<(Vec<Expression>, usize), Fault> {
        self.expect("(")?;
        let mut arguments = Vec::new();
        if !self.is(")") {
            arguments.push(self.or()?);
            while self.eat(",") {
                arguments.push(self.or()?);
            }
        }
        let end = self.expect(")")?;
        Ok((arguments, end.end))
    }

    fn primary(&mut self) -> Parsed {
        match self.peek() {
            Token::Name(name) if name == "in" => return Err(self.unexpected("a value")),
            Token::Name(_) | Token::Number(_) | Token::Text(_) | Token::Symbol("(" | "[" | "-") => {}
            Token::Symbol(_) | Token::End => return Err(self.unexpected("a value or a condition")),
        }
        let (token, span) = self.take();
        let node = match token {
            Token::Name(text) => match text.as_str() {
                "true" => Node::Boolean(true),
                "false" => Node::Boolean(false),
                "null" => Node::Null,
                _ => {
                    let name = Word { span: span.clone(), text };
                    if self.is("(") {
                        let (arguments, end) = self.arguments()?;
                        let node = Node::Call { receiver: None, name, arguments };
                        return self.made(span.start..end, node);
                    }
                    Node::Path(vec![name])
                }
            },
            Token::Number(digits) => Node::Number(digits),
            Token::Text(text) => Node::Text(text),
            Token::Symbol("(") => {
                let inner = self.or()?;
                let end = self.expect(")")?;
                return Ok(Expression { span: span.start..end.end, ..inner });
            }
            Token::Symbol("[") => {
                let mut items = Vec::new();
                if !self.is("]") {
                    items.push(self.or()?);
                    while self.eat(",") && !self.is("]") {
                        items.push(self.or()?);
                    }
                }
                let end = self.expect("]")?;
                return self.made(span.start..end.end, Node::List(items));
            }
            Token::Symbol(_) | Token::End => {
                // Only `-` is left of what was let through above.
                return match self.take() {
                    (Token::Number(digits), number) => {
                        self.made(span.start..number.end, Node::Number(format!("-{digits}")))
                    }
                    (_, after) => Err(Fault {
                        span: span.start..after.end,
                        message: "`-` before anything but a number needs a left side".to_owned(),
                        hint: Some("write `0 - x`".to_owned()),
                    }),
                };
            }
        };
        self.made(span, node)
    }
}

fn height(parts: &[Expression]) -> usize {
    parts.iter().map(|part| part.height).max().unwrap_or(0)
}

fn whole_span(parts: &[Expression]) -> Range<usize> {
    let start = parts.first().map_or(0, |part| part.span.start);
    let end = parts.last().map_or(start, |part| part.span.end);
    start..end
}

//! What a request asks for, as syntax: no name in here has been looked up yet.

/// One level of a read: the collection itself or an embedded relation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Node {
    /// Empty selects nothing: an embed that only filters or joins (`comments()`). A missing `select` is [`Item::All`].
    pub select: Vec<Item>,
    /// All of these hold (they are AND-ed).
    pub filter: Vec<Filter>,
    pub order: Vec<Order>,
    pub limit: Option<u64>,
    pub offset: Option<u64>,
}

/// One item of `select`.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// `*`
    All,
    /// `alias:field->path::cast`
    Field { path: Path, alias: Option<String>, cast: Option<String> },
    /// `alias:target!hint!inner(…)`
    Embed(Embed),
    /// `count()`, `field.sum()` and so on: part of the dialect, off by default there and here.
    Aggregate { function: String },
}

/// A related collection inside `select`.
#[derive(Clone, Debug, PartialEq)]
pub struct Embed {
    pub alias: Option<String>,
    /// A collection, a relation field or a foreign key's name.
    pub target: String,
    pub hint: Option<String>,
    /// `!inner`: parents without a match are dropped.
    pub inner: bool,
    /// `...target(…)`
    pub spread: bool,
    pub node: Node,
}

impl Embed {
    /// The name under which nested parameters (`comments.order=…`) and the answer speak of it.
    pub fn key(&self) -> &str {
        self.alias.as_deref().unwrap_or(&self.target)
    }
}

/// A field, and a path into it when it holds JSON.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Path {
    pub field: String,
    /// `->a`, `->0`
    pub steps: Vec<Step>,
    /// The last step is `->>`: the result is text.
    pub text: bool,
}

impl Path {
    pub fn field(name: impl Into<String>) -> Path {
        Path { field: name.into(), steps: Vec::new(), text: false }
    }

    /// The name of the result when there is no alias: the last key, or the one before if the last is an index
    /// (as the dialect has it), else the field.
    pub fn output_name(&self) -> &str {
        self.steps
            .iter()
            .rev()
            .find_map(|step| match step {
                Step::Key(key) => Some(key.as_str()),
                Step::Index(_) => None,
            })
            .unwrap_or(&self.field)
    }
}

/// One step into a JSON value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    Key(String),
    /// Negative counts from the end.
    Index(i32),
}

/// A filter as written.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    And {
        terms: Vec<Filter>,
        negated: bool,
    },
    Or {
        terms: Vec<Filter>,
        negated: bool,
    },
    /// `path` may turn out to name an embed, for `comments=is.null`.
    Term {
        path: Path,
        negated: bool,
        test: Test,
    },
}

/// What a filter's term asks of its field.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    Compare {
        operator: Comparison,
        operand: Operand,
    },
    /// `is.null` and friends.
    Is(Is),
    IsDistinct(String),
    In(Vec<String>),
    /// `cs`, `cd`, `ov`: the operand as written.
    Contains(String),
    ContainedBy(String),
    Overlaps(String),
    /// `sl sr nxl nxr adj`: for ranges, of which no kind exists.
    Range {
        operator: &'static str,
        operand: String,
    },
    FullText {
        parser: FullText,
        config: Option<String>,
        query: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Comparison {
    Eq,
    Neq,
    Gt,
    Gte,
    Lt,
    Lte,
    /// `*` already stands as `%` in the operand of these two.
    Like,
    Ilike,
    Match,
    Imatch,
}

/// The right side of a comparison.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    One(String),
    /// `eq(any).{a,b}`: the elements of the array literal.
    Any(Vec<String>),
    /// `like(all).{a,b}`
    All(Vec<String>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Is {
    Null,
    NotNull,
    True,
    False,
    Unknown,
}

/// Which of Postgres' functions reads a full-text query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FullText {
    /// `fts`: `to_tsquery`
    Query,
    /// `plfts`: `plainto_tsquery`
    Plain,
    /// `phfts`: `phraseto_tsquery`
    Phrase,
    /// `wfts`: `websearch_to_tsquery`
    Web,
}

/// One term of `order`.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    /// `rel(field)`: order by a field of a to-one relation.
    pub relation: Option<String>,
    pub path: Path,
    pub descending: bool,
    /// `None`: Postgres' rule (nulls last ascending, first descending).
    pub nulls_first: Option<bool>,
}

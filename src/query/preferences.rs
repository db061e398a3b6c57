//! The `Prefer` header.

/// What a request prefers. `Default` is what no header means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preferences {
    pub returning: Option<Return>,
    pub count: Option<Count>,
    pub resolution: Option<Resolution>,
    /// `missing=default`: keys absent from some rows of a bulk insert take the column's default.
    pub missing_default: bool,
    pub strict: bool,
    pub max_affected: Option<u64>,
    /// What to say in `Preference-Applied`, in the order it was asked.
    pub applied: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Return {
    Minimal,
    HeadersOnly,
    Representation,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Count {
    Exact,
    Planned,
    Estimated,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resolution {
    MergeDuplicates,
    IgnoreDuplicates,
}

//! The `Prefer` header.

use super::parse::Fault;

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
    /// `cursor`: of a write, the place in the stream of changes by which it is told. Whether it can be had turns out
    /// later, so it is not among `applied`.
    pub cursor: bool,
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

impl Preferences {
    /// Reads the values of all `Prefer` headers: comma-separated, the first occurrence of a key counts.
    ///
    /// `max-affected` needs `handling=strict`, as the dialect has it. Sessions are in UTC, so that is the one
    /// time zone there is; a transaction always commits.
    ///
    /// # Errors
    /// [`Fault::Preferences`] with what is not known, if the handling is strict.
    pub fn parse<'a>(headers: impl IntoIterator<Item = &'a str>) -> Result<Preferences, Fault> {
        let mut preferences = Preferences::default();
        let mut seen = Vec::new();
        let mut max_affected = None;
        let mut unknown = Vec::new();
        let words = headers.into_iter().flat_map(|header| header.split(','));
        for word in words.map(str::trim).filter(|word| !word.is_empty()) {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            let known = match (key, value) {
                ("return", "minimal" | "headers-only" | "representation")
                | ("count", "exact" | "planned" | "estimated")
                | ("resolution", "merge-duplicates" | "ignore-duplicates")
                | ("missing", "default" | "null")
                | ("handling", "strict" | "lenient")
                | ("timezone", "UTC")
                | ("tx", "commit")
                | ("cursor", "") => true,
                ("max-affected", number) => number.parse::<u64>().is_ok(),
                _ => false,
            };
            if !known {
                unknown.push(word.to_owned());
                continue;
            }
            if seen.contains(&key) {
                continue;
            }
            seen.push(key);
            match (key, value) {
                ("return", "minimal") => preferences.returning = Some(Return::Minimal),
                ("return", "headers-only") => preferences.returning = Some(Return::HeadersOnly),
                ("return", _) => preferences.returning = Some(Return::Representation),
                ("count", "exact") => preferences.count = Some(Count::Exact),
                ("count", "planned") => preferences.count = Some(Count::Planned),
                ("count", _) => preferences.count = Some(Count::Estimated),
                ("resolution", "merge-duplicates") => {
                    preferences.resolution = Some(Resolution::MergeDuplicates);
                }
                ("resolution", _) => preferences.resolution = Some(Resolution::IgnoreDuplicates),
                ("missing", value) => preferences.missing_default = value == "default",
                ("handling", value) => preferences.strict = value == "strict",
                ("max-affected", number) => max_affected = number.parse().ok(),
                ("cursor", _) => {
                    preferences.cursor = true;
                    continue;
                }
                _ => {}
            }
            preferences.applied.push(word.to_owned());
        }
        if preferences.strict {
            if !unknown.is_empty() {
                return Err(Fault::Preferences(unknown));
            }
            preferences.max_affected = max_affected;
        } else {
            preferences.applied.retain(|word| !word.starts_with("max-affected="));
        }
        Ok(preferences)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preferences_may_be_joined_repeated_and_the_first_counts() {
        let preferences = Preferences::parse([
            "return=representation, count=exact",
            "count=planned,resolution=merge-duplicates,, missing=default",
        ])
        .unwrap();
        assert_eq!(
            preferences,
            Preferences {
                returning: Some(Return::Representation),
                count: Some(Count::Exact),
                resolution: Some(Resolution::MergeDuplicates),
                missing_default: true,
                strict: false,
                max_affected: None,
                cursor: false,
                applied: [
                    "return=representation",
                    "count=exact",
                    "resolution=merge-duplicates",
                    "missing=default"
                ]
                .map(str::to_owned)
                .to_vec(),
            }
        );
        assert_eq!(Preferences::parse([]).unwrap(), Preferences::default());
    }

    #[test]
    fn each_preference_is_told_apart() {
        let one = |header| Preferences::parse([header]).unwrap();
        assert_eq!(one("return=minimal").returning, Some(Return::Minimal));
        assert_eq!(one("return=headers-only").returning, Some(Return::HeadersOnly));
        assert_eq!(one("count=planned").count, Some(Count::Planned));
        assert_eq!(one("count=estimated").count, Some(Count::Estimated));
        assert_eq!(one("resolution=ignore-duplicates").resolution, Some(Resolution::IgnoreDuplicates));
        assert!(!one("missing=null").missing_default);
        assert!(one("cursor").cursor && one("cursor").applied.is_empty());
        assert!(one("handling=strict").strict && !one("handling=lenient").strict);
    }

    #[test]
    fn strict_handling_names_what_it_does_not_know() {
        let fault = Preferences::parse(["foo, handling=strict, count=some", "timezone=Mars/Base"]);
        let unknown = ["foo", "count=some", "timezone=Mars/Base"].map(str::to_owned).to_vec();
        assert_eq!(fault, Err(Fault::Preferences(unknown)));
        let error = crate::error::Error::from(fault.unwrap_err());
        assert_eq!(error.code.as_str(), "PGRST122");
        assert_eq!(error.details, Some("Invalid preferences: foo, count=some, timezone=Mars/Base".into()));
        assert!(Preferences::parse(["foo", "handling=lenient"]).unwrap().applied == ["handling=lenient"]);
    }

    #[test]
    fn max_affected_counts_only_under_strict_handling() {
        let strict = Preferences::parse(["max-affected=10, handling=strict"]).unwrap();
        assert_eq!(strict.max_affected, Some(10));
        assert_eq!(strict.applied, ["max-affected=10", "handling=strict"]);
        let lenient = Preferences::parse(["max-affected=10"]).unwrap();
        assert_eq!(lenient, Preferences::default());
    }
}

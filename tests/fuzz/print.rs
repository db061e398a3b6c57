//! A parsed request → parameters that mean the same: names and operands always quoted, everything in its place.

use basewright::query::request::{
    Comparison, Embed, Filter, FullText, Is, Item, Node, Operand, Order, Path, Step, Test,
};

/// The parameters of a request. `None` if no parameter can reach an embed that has some: only a request in which two
/// embeds go by one name comes to that.
pub fn parameters(node: &Node) -> Option<Vec<(String, String)>> {
    let mut list = vec![("select".to_owned(), items(&node.select))];
    modifiers(node, "", &mut list)?;
    Some(list)
}

fn modifiers(node: &Node, prefix: &str, list: &mut Vec<(String, String)>) -> Option<()> {
    for filter in &node.filter {
        list.push(match filter {
            Filter::And { terms, negated } => (format!("{prefix}{}and", not(*negated)), tree(terms)),
            Filter::Or { terms, negated } => (format!("{prefix}{}or", not(*negated)), tree(terms)),
            Filter::Term { path: field, negated, test: what } => {
                (format!("{prefix}{}", path(field)), format!("{}{}", not(*negated), test(what, false)))
            }
        });
    }
    if !node.order.is_empty() {
        list.push((format!("{prefix}order"), joined(&node.order, order)));
    }
    for (name, number) in [("limit", node.limit), ("offset", node.offset)] {
        list.extend(number.map(|number| (format!("{prefix}{name}"), number.to_string())));
    }
    let embeds: Vec<&Embed> = node
        .select
        .iter()
        .filter_map(|item| match item {
            Item::Embed(embed) => Some(embed),
            Item::All | Item::Field { .. } | Item::Aggregate { .. } => None,
        })
        .collect();
    for (place, embed) in embeds.iter().enumerate() {
        let first_by_key = |name: &str| embeds.iter().position(|other| other.key() == name);
        let first_by_target = |name: &str| embeds.iter().position(|other| other.target == name);
        let word = if first_by_key(embed.key()) == Some(place) {
            Some(embed.key())
        } else {
            let target = embed.target.as_str();
            (first_by_key(target).is_none() && first_by_target(target) == Some(place)).then_some(target)
        };
        match word {
            Some(word) => modifiers(&embed.node, &format!("{prefix}{}.", quoted(word)), list)?,
            None => {
                let mut none = Vec::new();
                modifiers(&embed.node, "", &mut none)?;
                if !none.is_empty() {
                    return None;
                }
            }
        }
    }
    Some(())
}

fn joined<T>(list: &[T], print: impl Fn(&T) -> String) -> String {
    list.iter().map(print).collect::<Vec<_>>().join(",")
}

fn not(negated: bool) -> &'static str {
    if negated { "not." } else { "" }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn path(path: &Path) -> String {
    let mut text = quoted(&path.field);
    for (at, step) in path.steps.iter().enumerate() {
        text += if path.text && at + 1 == path.steps.len() { "->>" } else { "->" };
        text += &match step {
            Step::Key(key) => quoted(key),
            Step::Index(index) => index.to_string(),
        };
    }
    text
}

fn items(list: &[Item]) -> String {
    joined(list, |item| match item {
        Item::All => "*".to_owned(),
        Item::Field { path: field, alias, cast } => {
            let cast = cast.as_deref().map(|cast| format!("::{cast}")).unwrap_or_default();
            format!("{}{}{cast}", aliased(alias.as_deref()), path(field))
        }
        Item::Embed(embed) => {
            let hint = embed.hint.as_deref().map(|hint| format!("!{}", quoted(hint))).unwrap_or_default();
            format!(
                "{}{}{}{hint}{}({})",
                if embed.spread { "..." } else { "" },
                aliased(embed.alias.as_deref()),
                quoted(&embed.target),
                if embed.inner { "!inner" } else { "" },
                items(&embed.node.select)
            )
        }
        // Which field it is of is not kept: there are none.
        Item::Aggregate { function } => format!("a.{function}()"),
    })
}

fn aliased(alias: Option<&str>) -> String {
    alias.map(|alias| format!("{}:", quoted(alias))).unwrap_or_default()
}

fn order(order: &Order) -> String {
    let field = match &order.relation {
        Some(relation) => format!("{}({})", quoted(relation), path(&order.path)),
        None => path(&order.path),
    };
    let nulls = match order.nulls_first {
        Some(true) => ".nullsfirst",
        Some(false) => ".nullslast",
        None => "",
    };
    format!("{field}{}{nulls}", if order.descending { ".desc" } else { ".asc" })
}

fn tree(terms: &[Filter]) -> String {
    let node = |filter: &Filter| match filter {
        Filter::And { terms, negated } => format!("{}and{}", not(*negated), tree(terms)),
        Filter::Or { terms, negated } => format!("{}or{}", not(*negated), tree(terms)),
        Filter::Term { path: field, negated, test: what } => {
            format!("{}.{}{}", path(field), not(*negated), test(what, true))
        }
    };
    format!("({})", joined(terms, node))
}

/// Operands are quoted in a tree only: elsewhere the quotes would be theirs.
fn test(test: &Test, in_tree: bool) -> String {
    let operand = |text: &str| if in_tree { quoted(text) } else { text.to_owned() };
    let array = |list: &[String]| {
        let literal = format!("{{{}}}", joined(list, |element| quoted(element)));
        if in_tree { quoted(&literal) } else { literal }
    };
    match test {
        Test::Compare { operator, operand: right } => {
            let word = match operator {
                Comparison::Eq => "eq",
                Comparison::Neq => "neq",
                Comparison::Gt => "gt",
                Comparison::Gte => "gte",
                Comparison::Lt => "lt",
                Comparison::Lte => "lte",
                Comparison::Like => "like",
                Comparison::Ilike => "ilike",
                Comparison::Match => "match",
                Comparison::Imatch => "imatch",
            };
            match right {
                Operand::One(text) => format!("{word}.{}", operand(text)),
                Operand::Any(list) => format!("{word}(any).{}", array(list)),
                Operand::All(list) => format!("{word}(all).{}", array(list)),
            }
        }
        Test::Is(is) => format!(
            "is.{}",
            match is {
                Is::Null => "null",
                Is::NotNull => "not_null",
                Is::True => "true",
                Is::False => "false",
                Is::Unknown => "unknown",
            }
        ),
        Test::IsDistinct(text) => format!("isdistinct.{}", operand(text)),
        Test::In(list) => format!("in.({})", joined(list, |element| quoted(element))),
        Test::Contains(text) => format!("cs.{}", operand(text)),
        Test::ContainedBy(text) => format!("cd.{}", operand(text)),
        Test::Overlaps(text) => format!("ov.{}", operand(text)),
        Test::Range { operator, operand: text } => format!("{operator}.{}", operand(text)),
        Test::FullText { parser, config, query } => {
            let word = match parser {
                FullText::Query => "fts",
                FullText::Plain => "plfts",
                FullText::Phrase => "phfts",
                FullText::Web => "wfts",
            };
            let config = config.as_deref().map(|config| format!("({config})")).unwrap_or_default();
            format!("{word}{config}.{}", operand(query))
        }
    }
}

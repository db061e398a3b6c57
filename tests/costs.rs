//! Which reads share a pipelined connection, which are kept prepared, and which are neither.

use std::collections::BTreeMap;

use basewright::model::Principal;
use basewright::project::{self, Sources};
use basewright::query::parse::{self, Bounds};
use basewright::query::plan::{Context, Cost, ReadPlan};
use uuid::Uuid;

/// What is measured is what is meant: `benches/requests.sh` asks of this project.
const BLOG: &str = include_str!("../benches/project/blog.yaml");

fn cost(query: &str) -> Cost {
    let files = BTreeMap::from([("basewright.yaml".to_owned(), BLOG.to_owned())]);
    let project = project::load(&Sources(files)).unwrap_or_else(|faults| panic!("{faults:?}"));
    let catalog = project.catalog(1).unwrap();
    let limits = &catalog.limits;
    let bounds = Bounds {
        embed_depth: limits.embed_depth,
        filter_terms: limits.filter_terms,
        in_values: limits.in_values,
    };
    let node = parse::read(&parse::parameters(query).unwrap(), &bounds).unwrap();
    let principal = Principal::user(Uuid::from_u128(1), &[]);
    let context = Context { catalog: &catalog, principal: &principal };
    ReadPlan::new(context, "post", &node).unwrap().statement(context).cost
}

#[test]
fn a_page_in_the_order_of_an_index_is_kept_prepared_with_its_embeds_and_shares_a_connection_without() {
    let page = "category=eq.1&order=created_at.desc&limit=20";
    assert_eq!(cost(page), Cost::ShortPage);
    for embeds in [
        "author(name)",
        "author(name),tag(name),comment(body,author(name))&comment.order=created_at.desc&comment.limit=3",
        "comment(body)&comment.hidden=is.false",
    ] {
        assert_eq!(cost(&format!("{page}&select=id,{embeds}")), Cost::Steady, "{embeds}");
    }
    assert_eq!(cost("id=eq.00000000-0000-4000-8000-000000000001&select=id,comment(id)"), Cost::Steady);
}

#[test]
fn a_nested_read_whose_plan_hangs_on_its_values_is_planned_for_them() {
    for query in [
        // All rows that match would be sorted, or there is no index to begin with.
        "category=eq.1&order=title&select=id,author(name)",
        "title=eq.x&select=id,author(name)",
        "select=id,author(name)&order=created_at.desc",
        // How many match is not known without the values.
        "category=eq.1&created_at=gt.2026-01-01&title=like.*x*&select=id,author(name)",
        "category=eq.1&select=id,author(name)&or=(live.is.true,title.eq.x)",
        "category=eq.1&select=id,comment(body)&comment.body=like.*x*",
        "category=eq.1&select=id,author(name)&author=not.is.null",
    ] {
        assert_eq!(cost(query), Cost::Unknown, "{query}");
    }
}

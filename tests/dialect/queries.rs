//! What the published `@supabase/postgrest-js` (2.109) sends, read by our parser.
//!
//! The query strings are those of its builder, recorded as it wrote them; beside each stands what it
//! means, in a short spelling of the tree.

use basewright::query::parse::{Bounds, parameters, read};
use basewright::query::request::{Filter, Item, Node, Operand, Order, Path, Step, Test};

const BOUNDS: Bounds = Bounds { embed_depth: 5, filter_terms: 500, in_values: 1_000 };

fn path(path: &Path) -> String {
    let mut text = format!("<{}>", path.field);
    for (at, step) in path.steps.iter().enumerate() {
        text += if path.text && at + 1 == path.steps.len() { "->>" } else { "->" };
        text += &match step {
            Step::Key(key) => format!("<{key}>"),
            Step::Index(index) => index.to_string(),
        };
    }
    text
}

fn item(item: &Item) -> String {
    let named = |alias: &Option<String>| alias.as_ref().map_or(String::new(), |alias| format!("{alias}="));
    match item {
        Item::All => "*".to_owned(),
        Item::Aggregate { function } => format!("{function}()"),
        Item::Field { path: field, alias, cast } => {
            let cast = cast.as_ref().map_or(String::new(), |cast| format!("::{cast}"));
            format!("{}{}{cast}", named(alias), path(field))
        }
        Item::Embed(embed) => format!(
            "{}{}{}{}{}({})",
            if embed.spread { "..." } else { "" },
            named(&embed.alias),
            embed.target,
            embed.hint.as_ref().map_or(String::new(), |hint| format!("!{hint}")),
            if embed.inner { " inner" } else { "" },
            node(&embed.node),
        ),
    }
}

fn filter(filter: &Filter) -> String {
    let not = |negated: bool| if negated { "not " } else { "" };
    let all = |terms: &[Filter], word: &str| terms.iter().map(self::filter).collect::<Vec<_>>().join(word);
    match filter {
        Filter::And { terms, negated } => format!("{}({})", not(*negated), all(terms, " & ")),
        Filter::Or { terms, negated } => format!("{}({})", not(*negated), all(terms, " | ")),
        Filter::Term { path: field, negated, test } => {
            format!("{}{} {}", not(*negated), path(field), operand(test))
        }
    }
}

fn operand(test: &Test) -> String {
    match test {
        Test::Compare { operator, operand } => match operand {
            Operand::One(value) => format!("{operator:?} {value}"),
            Operand::Any(values) => format!("{operator:?} any {values:?}"),
            Operand::All(values) => format!("{operator:?} all {values:?}"),
        },
        Test::Is(is) => format!("Is {is:?}"),
        Test::IsDistinct(value) => format!("IsDistinct {value}"),
        Test::In(values) => format!("In {values:?}"),
        Test::Contains(value) => format!("Contains {value}"),
        Test::ContainedBy(value) => format!("ContainedBy {value}"),
        Test::Overlaps(value) => format!("Overlaps {value}"),
        Test::Range { operator, operand } => format!("{operator} {operand}"),
        Test::FullText { parser, config, query } => format!("{parser:?} {config:?} {query}"),
    }
}

fn order(order: &Order) -> String {
    let field = match &order.relation {
        Some(relation) => format!("{relation}({})", path(&order.path)),
        None => path(&order.path),
    };
    let nulls = match order.nulls_first {
        None => "",
        Some(true) => " nulls first",
        Some(false) => " nulls last",
    };
    format!("{field}{}{nulls}", if order.descending { " desc" } else { "" })
}

fn node(node: &Node) -> String {
    let mut text = node.select.iter().map(item).collect::<Vec<_>>().join(", ");
    for term in &node.filter {
        text += &format!(" where {}", filter(term));
    }
    for term in &node.order {
        text += &format!(" order {}", order(term));
    }
    for (word, number) in [("limit", node.limit), ("offset", node.offset)] {
        if let Some(number) = number {
            text += &format!(" {word} {number}");
        }
    }
    text
}

#[test]
fn every_query_of_the_published_client_means_what_its_call_said() {
    for (query, expected) in CALLS {
        let read = parameters(query).and_then(|parameters| read(&parameters, &BOUNDS));
        let read = read.unwrap_or_else(|fault| panic!("{query}: {fault}"));
        assert_eq!(node(&read), *expected, "{query}");
    }
}

#[rustfmt::skip]
const CALLS: &[(&str, &str)] = &[
    ("select=*",
     "*"),
    ("select=id%2Ctitle%2Cauthor%3Aprofiles%28name%29",
     "<id>, <title>, author=profiles(<name>)"),
    ("select=%22a+b%22%2Cdata-%3Emeta-%3E%3Etitle%2Cn%3Adata-%3E0",
     "<a b>, <data>-><meta>->><title>, n=<data>->0"),
    ("select=id%3A%3Atext%2Ctotal%3Aprice%3A%3Anumeric",
     "<id>::text, total=<price>::numeric"),
    ("select=*%2Ccomments%28*%29%2Cauthor%21posts_author_fkey%21inner%28name%2Cteam%28*%29%29",
     "*, comments(*), author!posts_author_fkey inner(<name>, team(*))"),
    ("select=id%2C...author%28name%29",
     "<id>, ...author(<name>)"),
    ("select=id%2Ccomments%28count%29",
     "<id>, comments(<count>)"),
    ("select=count%28%29",
     "count()"),
    ("select=status%2Cprice.sum%28%29",
     "<status>, sum()"),
    ("select=*&title=eq.a%2Cb+%28c%29+%22d%22+%5Ce%26f%3Dg%2Bh%25i",
     r#"* where <title> Eq a,b (c) "d" \e&f=g+h%i"#),
    ("select=*&id=neq.1&id=gt.1&id=gte.1&id=lt.9&id=lte.9",
     "* where <id> Neq 1 where <id> Gt 1 where <id> Gte 1 where <id> Lt 9 where <id> Lte 9"),
    ("select=*&title=like.%25a_%25&title=ilike.*a*",
     "* where <title> Like %a_% where <title> Ilike %a%"),
    ("select=*&title=like%28all%29.%7B%25a%25%2C%25b%25%7D&title=like%28any%29.%7Ba%2Cb%2Cc%7D",
     r#"* where <title> Like all ["%a%", "%b%"] where <title> Like any ["a", "b", "c"]"#),
    ("select=*&title=ilike%28all%29.%7B%25a%25%7D&title=ilike%28any%29.%7Ba%2Cb%7D",
     r#"* where <title> Ilike all ["%a%"] where <title> Ilike any ["a", "b"]"#),
    ("select=*&deleted=is.null&live=is.true",
     "* where <deleted> Is Null where <live> Is True"),
    ("select=*&id=in.%281%2C2%2C3%29",
     r#"* where <id> In ["1", "2", "3"]"#),
    ("select=*&title=in.%28%22a%2Cb%22%2C%22c%29d%22%2C%22%28e%22%2Cf%22g%2Ch%29",
     r#"* where <title> In ["a,b", "c)d", "(e", "f\"g", "h"]"#),
    ("select=*&id=in.%28%29",
     "* where <id> In []"),
    ("select=*&tags=cs.%7Ba%2Cb%2Cc%7D&tags=cd.%7Bx%7D&tags=ov.%7By%2Cz%7D",
     "* where <tags> Contains {a,b,c} where <tags> ContainedBy {x} where <tags> Overlaps {y,z}"),
    ("select=*&data=cs.%7B%22a%22%3A%7B%22b%22%3A%5B1%2C%22x%22%5D%7D%7D",
     r#"* where <data> Contains {"a":{"b":[1,"x"]}}"#),
    ("select=*&span=cs.%5B1%2C2%29&span=sr.%5B1%2C2%29&span=nxl.%5B1%2C2%29&span=sl.%5B1%2C2%29&span=nxr.%5B1%2C2%29&span=adj.%5B1%2C2%29",
     "* where <span> Contains [1,2) where <span> sr [1,2) where <span> nxl [1,2) where <span> sl [1,2) where <span> nxr [1,2) where <span> adj [1,2)"),
    ("select=*&body=fts.%27fat%27+%26+%27cat%27&body=plfts%28english%29.fat+cat&body=phfts.fat+cat&body=wfts%28simple%29.%22fat%22+-cat",
     r#"* where <body> Query None 'fat' & 'cat' where <body> Plain Some("english") fat cat where <body> Phrase None fat cat where <body> Web Some("simple") "fat" -cat"#),
    ("select=*&id=eq.1&status=eq.live",
     "* where <id> Eq 1 where <status> Eq live"),
    ("select=*&status=not.is.null&id=not.in.%281%2C2%29&title=not.like.%25x%25",
     r#"* where not <status> Is Null where not <id> In ["1", "2"] where not <title> Like %x%"#),
    ("select=*&or=%28id.eq.1%2Cand%28status.eq.live%2Cnot.title.is.null%29%29",
     "* where (<id> Eq 1 | (<status> Eq live & not <title> Is Null))"),
    ("select=*%2Ccomments%28*%29&comments.or=%28id.eq.1%2Ctext.ilike.*x*%29",
     "*, comments(* where (<id> Eq 1 | <text> Ilike %x%))"),
    ("select=*&or=%28title.eq.%22a%2Cb%22%2Ctags.cs.%7Ba%2Cb%7D%2Cid.in.%281%2C2%29%29",
     r#"* where (<title> Eq a,b | <tags> Contains {a,b} | <id> In ["1", "2"])"#),
    ("select=*&data-%3E%3Ekind=eq.x&data-%3Ea-%3E0=gt.1",
     "* where <data>->><kind> Eq x where <data>-><a>->0 Gt 1"),
    ("select=*%2Ccomments%28*%2Cauthor%28*%29%29&comments.author.name=eq.x&comments.id=eq.2",
     "*, comments(*, author(* where <name> Eq x) where <id> Eq 2)"),
    ("select=*%2Ccomments%28%29&comments=not.is.null",
     "*, comments() where not <comments> Is Null"),
    ("select=*&order=a.asc%2Cb.desc%2Cc.asc.nullsfirst%2Cd.desc.nullslast",
     "* order <a> order <b> desc order <c> nulls first order <d> desc nulls last"),
    ("select=*%2Ccomments%28*%29&comments.order=id.desc&comments.limit=3",
     "*, comments(* order <id> desc limit 3)"),
    ("select=*%2Cauthor%28*%29&order=author%28name%29.asc%2Cdata-%3E%3Ek.asc",
     "*, author(*) order author(<name>) order <data>->><k>"),
    ("select=*%2Ccomments%28*%29&offset=10&limit=10&comments.offset=0&comments.limit=5",
     "*, comments(* limit 5 offset 0) limit 10 offset 10"),
    ("select=*&limit=0",
     "* limit 0"),
    ("select=*",
     "*"),
    ("select=*%2Cc%3Acomments%21inner%28*%29&c.text=eq.x&limit=1",
     "*, c=comments inner(* where <text> Eq x) limit 1"),
    ("columns=%22a%22%2C%22b+c%22&select=id",
     "<id>"),
    ("on_conflict=author%2Cslug&columns=%22id%22&select=*",
     "*"),
    ("id=eq.x.y&select=*",
     "* where <id> Eq x.y"),
    ("id=in.%28a%29",
     r#"* where <id> In ["a"]"#),
    ("select=*&title=match.%5Ea.*&title=imatch.b%7Cc",
     "* where <title> Match ^a.* where <title> Imatch b|c"),
    ("select=*&a=isdistinct.null&b=isdistinct.x",
     "* where <a> IsDistinct null where <b> IsDistinct x"),
    ("select=*&id=not.in.%28%22a%2Cb%22%2Cc%29",
     r#"* where not <id> In ["a,b", "c"]"#),
];

//! Reads of several parts, as the dice fall.

use super::*;

impl<'a> Walk<'a> {
    /// A filter of several terms, an embed or two, an order and a window, as the dice fall.
    pub(super) fn compound(&self, choices: &mut Random) -> Ask {
        let mut ask = self.level(self.table, choices, 0);
        for by in self.base().order {
            ask.order.push(by);
        }
        if choices.one_in(3) {
            ask.limit = Some(choices.below(4));
        }
        if choices.one_in(4) {
            ask.offset = Some(choices.below(3));
        }
        ask
    }

    fn level(&self, table: &'a Table, choices: &mut Random, depth: usize) -> Ask {
        let mut ask = Ask { items: vec![Item::All], ..Ask::default() };
        let ways: Vec<&'static Relation> = relations()
            .iter()
            .filter(|way| way.from == table.name && way.refusal(self.sight.who) == 0)
            .collect();
        if depth < 3 && !ways.is_empty() {
            for alias in ["one", "two"].iter().take(choices.below(3)) {
                let relation = *choices.pick(&ways);
                let target = self.sight.table(relation.target);
                let inside = self.level(target, choices, depth + 1);
                let spelled = choices.pick(&relation.spellings(self.sight.who)).clone();
                let inner = choices.one_in(3);
                let embed =
                    Embed { alias: Some(alias), spelled, relation, inner, spread: false, ask: inside };
                ask.items.push(Item::Embed(embed));
            }
            if choices.one_in(4) {
                let way = *choices.pick(&ways);
                let embed = self.hoist(way, choices, depth);
                ask.items.push(Item::Embed(embed));
            }
        }
        for _ in 0..choices.below(if depth == 0 { 3 } else { 2 }) {
            let filter = self.term(table, &ask, choices, 0);
            ask.filters.push(filter);
        }
        let knows: Vec<&Field> = table
            .fields
            .iter()
            .filter(|field| {
                !matches!(field.kind, Kind::Json | Kind::Tags)
                    && self.sight.who.knows(table).contains(field.name)
            })
            .collect();
        if choices.one_in(2) && !knows.is_empty() {
            let field = Path::of(choices.pick(&knows).name);
            let nulls_first = *choices.pick(&[None, Some(true), Some(false)]);
            ask.order.push(By { relation: None, field, descending: choices.one_in(2), nulls_first });
        }
        if depth > 0 && choices.one_in(3) {
            // Total, so that the page is one and no other.
            ask.order.push(By {
                relation: None,
                field: Path::of(table.handle),
                descending: false,
                nulls_first: None,
            });
            ask.limit = Some(1 + choices.below(2));
        } else if depth > 0 {
            ask.order.clear();
        }
        ask
    }

    /// A spread of some fields.
    fn hoist(&self, relation: &'static Relation, choices: &mut Random, depth: usize) -> Embed {
        let target = self.sight.table(relation.target);
        let known = self.sight.who.knows(target);
        let fields = target.fields.iter().filter(|field| known.contains(field.name));
        let mut items: Vec<Item> = fields
            .zip(HOISTED[depth])
            .map(|(field, alias)| Item::Field { alias: Some(alias), field: Path::of(field.name), cast: None })
            .collect();
        items.truncate(1 + choices.below(3));
        let mut ask = Ask { items, ..Ask::default() };
        if choices.one_in(2) {
            let filter = self.term(target, &ask, choices, 1);
            ask.filters.push(filter);
        }
        if choices.one_in(2) {
            ask.order.push(self.by_handle(target));
            ask.limit = choices.one_in(2).then_some(1);
        }
        // A field's own name would also be a filter's.
        let spelled = if relation.to_one { relation.constraint() } else { relation.spelled() };
        Embed { alias: None, spelled, relation, inner: choices.one_in(3), spread: true, ask }
    }

    fn term(&self, table: &'a Table, ask: &Ask, choices: &mut Random, depth: usize) -> Filter {
        if depth < 2 && choices.one_in(3) {
            let terms =
                (0..1 + choices.below(3)).map(|_| self.term(table, ask, choices, depth + 1)).collect();
            let not = choices.one_in(2);
            return if choices.one_in(2) { Filter::And { not, terms } } else { Filter::Or { not, terms } };
        }
        let embeds: Vec<String> = ask
            .items
            .iter()
            .filter_map(|item| match item {
                Item::Embed(embed) => Some(embed.key()),
                _ => None,
            })
            .collect();
        if !embeds.is_empty() && choices.one_in(4) {
            return Filter::Related { key: choices.pick(&embeds).clone(), exists: choices.one_in(2) };
        }
        if self.sight.who.searches(table) && choices.one_in(8) {
            let test = choices.pick(&self.at(table).searches()).clone();
            return Filter::Test { field: Path::of(SEARCH), not: choices.one_in(3), test };
        }
        let knows = self.sight.who.knows(table);
        let fields: Vec<&Field> = table.fields.iter().filter(|field| knows.contains(field.name)).collect();
        let mut tests = self.at(table).tests(choices.pick::<&Field>(&fields));
        tests.retain(|(_, test)| !(matches!(test, Test::Match(_)) && self.caller.who.role == Role::Anon));
        let (field, test) = choices.pick(&tests).clone();
        Filter::Test { field, not: choices.one_in(3), test }
    }
}

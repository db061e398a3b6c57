//! Relations in every form of an embed: nested, counted, joined, hoisted.

use super::*;

impl<'a> Walk<'a> {
    /// A relation in every form of an embed.
    pub(super) fn embeds(&mut self, relation: &'static Relation) {
        let name = self.table.name;
        let refusal = relation.refusal(self.sight.who);
        let spellings = relation.spellings(self.sight.who);
        if refusal != 0 {
            let code = if refusal == 400 { "PGRST200" } else { "42501" };
            for spelled in spellings {
                for query in [
                    format!("select={spelled}(*)"),
                    format!("select=x:{spelled}!inner(*)"),
                    format!("select={spelled}()&{}=is.null", spelled.split('!').next().unwrap()),
                    format!("select={spelled}(count)"),
                    format!("select=...{spelled}(*)"),
                ] {
                    self.refused(Request::get(format!("{name}?{query}")), refusal, code);
                }
            }
            return;
        }
        let target = self.sight.table(relation.target);
        let (handle, target_knows) = (target.handle, self.sight.who.knows(target));
        let by_handle = By { relation: None, field: Path::of(handle), descending: false, nulls_first: None };
        let nested: Vec<&'static Relation> = relations()
            .iter()
            .filter(|next| next.from == relation.target && next.refusal(self.sight.who) == 0)
            .collect();
        let field_tests: Vec<(Path, Test)> = target
            .fields
            .iter()
            .filter(|field| target_knows.contains(field.name))
            .flat_map(|field| {
                self.at(target)
                    .tests(field)
                    .into_iter()
                    .filter(|(_, test)| !matches!(test, Test::Match(_)))
                    .step_by(3)
                    .collect::<Vec<_>>()
            })
            .collect();
        for (at, spelled) in spellings.iter().enumerate() {
            let embed = |ask: Ask, alias, inner| Embed {
                alias,
                spelled: spelled.clone(),
                relation,
                inner,
                spread: false,
                ask,
            };
            let whole = Ask { items: vec![Item::All], ..Ask::default() };
            let with = |walk: &Walk<'_>, embeds: Vec<Embed>| {
                let handle = Item::Field { alias: None, field: Path::of(walk.table.handle), cast: None };
                let items = std::iter::once(handle).chain(embeds.into_iter().map(Item::Embed)).collect();
                Ask { items, ..walk.base() }
            };
            for inner in [false, true] {
                self.counted(with(self, vec![embed(whole.clone(), None, inner)]));
                self.ask(with(self, vec![embed(whole.clone(), Some("kin"), inner)]));
            }
            if at > 0 {
                continue;
            }
            self.spreads(spelled, relation);
            let counted = Ask { items: vec![Item::Count], ..Ask::default() };
            if !relation.to_one {
                self.ask(with(self, vec![embed(counted, Some("kin"), false)]));
                let page = Ask {
                    order: vec![By { descending: true, ..by_handle.clone() }],
                    limit: Some(1),
                    offset: Some(1),
                    ..whole.clone()
                };
                self.ask(with(self, vec![embed(page, None, false)]));
            }
            // Semi-joins and anti-joins.
            for exists in [false, true] {
                let mut ask =
                    with(self, vec![embed(Ask { items: vec![], ..Ask::default() }, Some("kin"), false)]);
                ask.filters.push(Filter::Related { key: "kin".to_owned(), exists });
                self.counted(ask.clone());
                let term = ask.filters.pop().unwrap();
                let never = Filter::Test { field: Path::of(self.table.handle), not: false, test: Test::Null };
                ask.filters.push(Filter::Or { not: exists, terms: vec![term, never] });
                self.ask(ask);
            }
            for (path, test) in &field_tests {
                let filter = Filter::Test { field: path.clone(), not: false, test: test.clone() };
                for inner in [false, true] {
                    let ask = Ask { filters: vec![filter.clone()], ..whole.clone() };
                    self.ask(with(self, vec![embed(ask, Some("kin"), inner)]));
                }
            }
            // What is hidden there is hidden here.
            let hidden: Vec<&str> = target
                .fields
                .iter()
                .map(|field| field.name)
                .filter(|field| !target_knows.contains(field))
                .collect();
            let to_one = relation.to_one;
            for field in hidden {
                let mut queries = vec![
                    format!("select={spelled}({field})"),
                    format!("select=x:{spelled}(*)&x.{field}=eq.1"),
                    format!("select=x:{spelled}!inner(*)&x.or=({field}.is.null)"),
                    format!("select=x:{spelled}(*)&x.order={field}"),
                    format!("select=...{spelled}({field})"),
                    format!("select=...{spelled}!inner(a:{field}::text)"),
                ];
                if to_one {
                    queries.push(format!("select=x:{spelled}(*)&order=x({field})"));
                    let key = spelled.split('!').next().unwrap();
                    queries.push(format!("select=...{spelled}()&order={key}({field})"));
                }
                for query in queries {
                    self.refused(Request::get(format!("{name}?{query}")), 400, "42703");
                }
            }
            if relation.to_one {
                for field in target.fields.iter().filter(|field| target_knows.contains(field.name)) {
                    if matches!(field.kind, Kind::Json | Kind::Tags) {
                        continue;
                    }
                    for descending in [false, true] {
                        let mut ask = with(self, vec![embed(whole.clone(), Some("kin"), false)]);
                        let by = By {
                            relation: Some("kin".to_owned()),
                            field: Path::of(field.name),
                            descending,
                            nulls_first: None,
                        };
                        ask.order.insert(0, by);
                        self.ask(ask);
                    }
                }
            }
            for next in &nested {
                for inner in [false, true] {
                    let inside = Embed {
                        alias: Some("next"),
                        spelled: next.spellings(self.sight.who)[0].clone(),
                        relation: next,
                        inner,
                        spread: false,
                        ask: whole.clone(),
                    };
                    let ask = Ask { items: vec![Item::All, Item::Embed(inside)], ..Ask::default() };
                    self.ask(with(self, vec![embed(ask, None, inner)]));
                }
            }
        }
    }

    /// A name that means several relationships to the caller is told with these, and with no other.
    pub(super) fn ambiguous(&mut self, relation: &Relation) {
        let all = relation.ambiguous(self.sight.who);
        // Each of them would ask the same.
        if all.first() != Some(&relation) {
            return;
        }
        let (name, target) = (self.table.name, relation.target);
        for select in [format!("{target}(*)"), format!("x:{target}!inner()"), format!("...{target}(*)")] {
            let told = all.iter().map(|relation| relation.told()).collect();
            let path = format!("{name}?select={}", encode(&select));
            self.push(Request::get(path), Expected::Ambiguous(told));
        }
    }

    /// A relation whose members are hoisted: fields in every position, orders, filters, and what leads on.
    pub(super) fn spreads(&mut self, spelled: &str, relation: &'static Relation) {
        let target = self.sight.table(relation.target);
        let known = self.sight.who.knows(target);
        let fields: Vec<&Field> = target.fields.iter().filter(|field| known.contains(field.name)).collect();
        let named = |alias, field: &Field, cast| Item::Field { alias, field: Path::of(field.name), cast };
        let each: Vec<Item> =
            fields.iter().zip(HOISTED[0]).map(|(field, alias)| named(Some(*alias), field, None)).collect();
        let spread = |items: Vec<Item>, inner| Embed {
            alias: None,
            spelled: spelled.to_owned(),
            relation,
            inner,
            spread: true,
            ask: Ask { items, ..Ask::default() },
        };
        let handle = Item::Field { alias: Some("own"), field: Path::of(self.table.handle), cast: None };
        let base = self.base();
        let with = |embed: Embed| Ask { items: vec![handle.clone(), Item::Embed(embed)], ..base.clone() };
        self.ask(Ask { items: vec![Item::Embed(spread(vec![Item::All], false))], ..base.clone() });
        for inner in [false, true] {
            self.counted(with(spread(each.clone(), inner)));
            self.ask(with(spread(each.clone(), inner)));
            self.ask(with(spread(each.iter().rev().take(1).cloned().collect(), inner)));
        }
        // Nothing hoisted, but a filter all the same.
        let key = spelled.split('!').next().unwrap().to_owned();
        for exists in [false, true] {
            let mut ask = with(spread(Vec::new(), false));
            ask.filters.push(Filter::Related { key: key.clone(), exists });
            self.counted(ask);
        }
        for field in fields {
            if field.kind != Kind::Json && field.kind != Kind::Tags {
                self.ask(with(spread(vec![named(Some("cast"), field, Some("text"))], false)));
                for descending in [false, true] {
                    let by =
                        By { relation: None, field: Path::of(field.name), descending, nulls_first: None };
                    let mut ask = with(spread(each.clone(), false));
                    if relation.to_one {
                        // By the record that is hoisted.
                        ask.order.insert(0, By { relation: Some(key.clone()), ..by });
                    } else if let Some(Item::Embed(embed)) = ask.items.last_mut() {
                        embed.ask.order = vec![by, self.by_handle(target)];
                        embed.ask.limit = Some(2);
                    }
                    self.ask(ask);
                }
            } else if field.kind == Kind::Json {
                let inside = Path { field: field.name, key: Some(("k", true)) };
                let item = Item::Field { alias: Some("inside"), field: inside, cast: None };
                self.ask(with(spread(vec![item], false)));
            }
            for (path, test) in self.at(target).tests(field).into_iter().step_by(4) {
                if matches!(test, Test::Match(_)) {
                    continue;
                }
                for inner in [false, true] {
                    let mut embed = spread(each.clone(), inner);
                    let (field, test) = (path.clone(), test.clone());
                    embed.ask.filters.push(Filter::Test { field, not: false, test });
                    self.ask(with(embed));
                }
            }
        }
        // From there on: an embed in the spread, and a spread in it.
        for next in relations().iter().filter(|next| next.from == relation.target) {
            if next.refusal(self.sight.who) != 0 {
                continue;
            }
            let far = self.sight.table(next.target);
            let known = self.sight.who.knows(far);
            let hoisted = far.fields.iter().filter(|field| known.contains(field.name)).zip(HOISTED[1]);
            let items = hoisted.map(|(field, alias)| named(Some(*alias), field, None)).collect();
            for next_spread in [false, true] {
                let inside = Embed {
                    alias: (!next_spread).then_some("next"),
                    spelled: next.spelled(),
                    relation: next,
                    inner: false,
                    spread: next_spread,
                    ask: Ask {
                        items: Vec::clone(&items),
                        order: vec![self.by_handle(far)],
                        ..Ask::default()
                    },
                };
                let mut embed = spread(each.clone(), false);
                embed.ask.items.push(Item::Embed(inside));
                self.ask(with(embed));
            }
        }
    }
}

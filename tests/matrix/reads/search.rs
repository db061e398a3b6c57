//! The declared full-text search.

use super::*;

impl<'a> Walk<'a> {
    /// The declared search finds what its caller sees whole, and is no field; to who does not know all of what it
    /// digests it is nothing.
    pub(super) fn search(&mut self) {
        let name = self.table.name;
        for query in ["select=search", "select=id,x:search::text", "order=search", "search->>a=eq.1"] {
            let is_test = query.contains("->>") && self.sight.who.searches(self.table);
            let (status, code) = if is_test { (404, "42883") } else { (400, "42703") };
            self.refused(Request::get(format!("{name}?{}", query.replace('>', "%3E"))), status, code);
        }
        if !self.sight.who.searches(self.table) {
            for query in ["search=fts.x", "search=not.wfts.x", "or=(search.plfts.x)", "search=fts(simple).("]
            {
                self.refused(Request::get(format!("{name}?{query}")), 400, "42703");
            }
            return;
        }
        for test in self.searches() {
            for not in [false, true] {
                let filter = Filter::Test { field: Path::of(SEARCH), not, test: test.clone() };
                self.ask(self.filtered(filter.clone()));
                self.counted(self.filtered(filter.clone()));
                let handle = Path::of(self.table.handle);
                let never = Filter::Test { field: handle, not: false, test: Test::Null };
                self.ask(self.filtered(Filter::Or { not: !not, terms: vec![filter.clone(), never] }));
                // From the other side of each relation.
                let table = self.table;
                for way in relations().iter().filter(|way| way.from == name) {
                    let back = relations().iter().find(|back| {
                        back.from == way.target && back.target == name && back.refusal(self.sight.who) == 0
                    });
                    let Some(back) = back else { continue };
                    for inner in [false, true] {
                        let embed = Embed {
                            alias: Some("kin"),
                            spelled: back.spelled(),
                            relation: back,
                            inner,
                            spread: false,
                            ask: Ask {
                                items: vec![Item::All],
                                filters: vec![filter.clone()],
                                ..Ask::default()
                            },
                        };
                        self.table = self.sight.table(back.from);
                        let handle =
                            Item::Field { alias: None, field: Path::of(self.table.handle), cast: None };
                        let ask = Ask { items: vec![handle, Item::Embed(embed)], ..self.base() };
                        self.ask(ask);
                        self.table = table;
                    }
                }
            }
        }
    }

    /// Searches for words of all records, seen or not.
    pub(super) fn searches(&self) -> Vec<Test> {
        let mut words = vec!["nothing".to_owned()];
        for row in self.world.rows(self.table.name) {
            let texts = self.table.search.iter().filter_map(|field| row[*field].as_str());
            words.extend(texts.flat_map(str::split_whitespace).map(str::to_lowercase));
        }
        words.sort();
        words.dedup();
        let parsers = ["fts", "plfts(simple)", "wfts", "phfts"];
        words.into_iter().zip(parsers.into_iter().cycle()).map(|(word, by)| Test::Search(by, word)).collect()
    }
}

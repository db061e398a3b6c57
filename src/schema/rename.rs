//! Which names move to which, and in what order, swaps and chains among them.

use std::collections::BTreeSet;

use crate::model::Name;

/// One move of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Move<T> {
    pub(super) from: Name,
    pub(super) to: Name,
    /// What is renamed.
    pub(super) what: T,
}

/// The renames that are still to be done: `(from, to)` pairs.
///
/// `asked` holds what the project wants: a name and its former name. A rename is due if the former name is there
/// and the new one is free, or becomes free by another rename. `done` answers whether a pair was carried out
/// before: without that, two fields that swapped their names would swap them again each time.
pub(super) fn due<'a>(
    asked: impl Iterator<Item = (&'a Name, Option<&'a Name>)>,
    present: &BTreeSet<&Name>,
    done: impl Fn(&Name, &Name) -> bool,
) -> Vec<(Name, Name)> {
    let mut due: Vec<(Name, Name)> = Vec::new();
    for (to, from) in asked {
        let Some(from) = from else { continue };
        let taken = due.iter().any(|(other, _)| other == from);
        if from != to && present.contains(from) && !taken && !done(from, to) {
            due.push((from.clone(), to.clone()));
        }
    }
    loop {
        let blocked = due
            .iter()
            .position(|(_, to)| present.contains(to) && !due.iter().any(|(leaves, _)| leaves == to));
        match blocked {
            Some(at) => drop(due.remove(at)),
            None => return due,
        }
    }
}

/// Orders moves so that each finds its new name free; a circle is opened through a name of our own.
pub(super) fn ordered<T: Clone>(mut moves: Vec<Move<T>>) -> Vec<Move<T>> {
    let mut ordered = Vec::with_capacity(moves.len());
    let mut opened = 0_usize;
    while !moves.is_empty() {
        let free = moves.iter().position(|one| !moves.iter().any(|other| other.from == one.to));
        match free {
            Some(at) => ordered.push(moves.remove(at)),
            None => {
                // Every target is held by another move: a circle. Step out of it and come back at the end.
                opened += 1;
                let held = Name::joined(&["basewright_moving", &opened.to_string()]);
                let first = moves[0].clone();
                ordered.push(Move { from: first.from, to: held.clone(), what: first.what });
                moves[0].from = held;
            }
        }
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn run(moves: &[(&str, &str)]) -> Vec<(String, String)> {
        let moves =
            moves.iter().map(|(from, to)| Move { from: name(from), to: name(to), what: () }).collect();
        ordered(moves).into_iter().map(|one| (one.from.to_string(), one.to.to_string())).collect()
    }

    #[test]
    fn a_chain_moves_from_its_end_and_a_circle_through_a_name_of_our_own() {
        assert_eq!(run(&[("a", "b"), ("b", "c")]), [("b", "c"), ("a", "b")].map(own));
        assert_eq!(
            run(&[("a", "b"), ("b", "a")]),
            [("a", "basewright_moving_1"), ("b", "a"), ("basewright_moving_1", "b")].map(own)
        );
        assert_eq!(run(&[("a", "b"), ("b", "a"), ("c", "d"), ("d", "c")]).len(), 6);
    }

    fn own((from, to): (&str, &str)) -> (String, String) {
        (from.to_owned(), to.to_owned())
    }

    #[test]
    fn a_rename_is_due_only_while_the_former_name_is_there_and_the_new_one_is_free() {
        let (a, b, c) = (name("a"), name("b"), name("c"));
        let due_of = |asked: &[(&Name, Option<&Name>)], present: &[&Name], done: bool| {
            due(asked.iter().copied(), &present.iter().copied().collect(), |_, _| done)
        };
        assert_eq!(due_of(&[(&b, Some(&a))], &[&a], false), [(a.clone(), b.clone())]);
        assert_eq!(due_of(&[(&b, Some(&a))], &[&b], false), []);
        assert_eq!(due_of(&[(&b, Some(&a))], &[&a, &b], false), []);
        let swap = [(&b, Some(&a)), (&a, Some(&b))];
        assert_eq!(due_of(&swap, &[&a, &b], false).len(), 2);
        assert_eq!(due_of(&swap, &[&a, &b], true), []);
        // b moves to c only if c is free, and then a may take its place.
        let chain = [(&b, Some(&a)), (&c, Some(&b))];
        assert_eq!(due_of(&chain, &[&a, &b], false).len(), 2);
        assert_eq!(due_of(&chain, &[&a, &b, &c], false), []);
    }
}

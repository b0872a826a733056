//! Tokens that we have on one line and Azure on another: the most of all deltas that such moves explain.
//!
//! Lines are nodes, and a move is an arc that carries no more than its tokens. Whatever lies outside of Azure's files
//! is one more node, which gives and takes without bound, and only what no other line gives or takes.

use std::collections::{BTreeMap, VecDeque};

use super::line_key::LineKey;
use super::quantity::Quantity;

/// The node of all that is outside.
const OUTSIDE: usize = 0;

/// Lines with what is left of their deltas, and the moves between them.
#[derive(Debug, Default)]
pub(super) struct Flow {
    places: BTreeMap<LineKey, usize>,
    /// What Azure has more on each node, or less.
    rests: Vec<Quantity>,
    /// Each arc is followed by its reverse, which carries what flows on it.
    arcs: Vec<Arc>,
    /// The arcs of each node.
    leaving: Vec<Vec<usize>>,
}

#[derive(Debug)]
struct Arc {
    to: usize,
    left: Quantity,
}

impl Flow {
    pub(super) fn new() -> Flow {
        let mut flow = Flow::default();
        flow.node(Quantity::ZERO);
        flow
    }

    fn node(&mut self, rest: Quantity) -> usize {
        self.rests.push(rest);
        self.leaving.push(Vec::new());
        self.rests.len() - 1
    }

    /// The node of a line; `rest` says what is left of its delta.
    fn place(&mut self, key: Option<&LineKey>, rest: &impl Fn(&LineKey) -> Quantity) -> usize {
        let Some(key) = key else { return OUTSIDE };
        if let Some(place) = self.places.get(key) {
            return *place;
        }
        let place = self.node(rest(key));
        self.places.insert(key.clone(), place);
        place
    }

    /// So many tokens of ours on one line may be Azure's on another; `None` is outside.
    pub(super) fn add(
        &mut self,
        from: Option<&LineKey>,
        to: Option<&LineKey>,
        tokens: Quantity,
        rest: impl Fn(&LineKey) -> Quantity,
    ) {
        let (from, to) = (self.place(from, &rest), self.place(to, &rest));
        for (begin, end, left) in [(from, to, tokens), (to, from, Quantity::ZERO)] {
            if let Some(leaving) = self.leaving.get_mut(begin) {
                leaving.push(self.arcs.len());
            }
            self.arcs.push(Arc { to: end, left });
        }
    }

    /// Returns what the moves explain of each line.
    pub(super) fn settle(mut self) -> Vec<(LineKey, Quantity)> {
        let before = self.rests.clone();
        for with_outside in [false, true] {
            for source in 1..self.rests.len() {
                while self.rest(source).is_negative() && self.augment(source, with_outside) {}
            }
        }
        while self.augment(OUTSIDE, true) {}
        let part = |place: usize| before.get(place).copied().unwrap_or_default() - self.rest(place);
        self.places.iter().map(|(key, place)| (key.clone(), part(*place))).collect()
    }

    fn rest(&self, node: usize) -> Quantity {
        self.rests.get(node).copied().unwrap_or_default()
    }

    /// Moves what it can from a node on the shortest way to one where Azure has more.
    fn augment(&mut self, source: usize, with_outside: bool) -> bool {
        let Some(way) = self.way(source, with_outside) else { return false };
        let sink = way.last().and_then(|arc| self.arcs.get(*arc)).map_or(source, |arc| arc.to);
        let ends = [(source, -self.rest(source)), (sink, self.rest(sink))];
        let of_ends = ends.into_iter().filter(|(node, _)| *node != OUTSIDE).map(|(_, most)| most);
        let of_arcs = way.iter().filter_map(|arc| self.arcs.get(*arc)).map(|arc| arc.left);
        let Some(moved) = of_ends.chain(of_arcs).min() else { return false };
        for arc in way {
            if let Some(arc) = self.arcs.get_mut(arc) {
                arc.left -= moved;
            }
            if let Some(reverse) = self.arcs.get_mut(arc ^ 1) {
                reverse.left += moved;
            }
        }
        for (node, change) in [(source, moved), (sink, -moved)] {
            if let Some(rest) = self.rests.get_mut(node).filter(|_| node != OUTSIDE) {
                *rest += change;
            }
        }
        true
    }

    /// The arcs from a node to the nearest where Azure has more, or to the outside.
    fn way(&self, source: usize, with_outside: bool) -> Option<Vec<usize>> {
        let mut reached: Vec<Option<usize>> = vec![None; self.rests.len()];
        let mut queue = VecDeque::from([source]);
        while let Some(node) = queue.pop_front() {
            for arc in self.leaving.get(node)?.iter().copied() {
                let Arc { to, left } = self.arcs.get(arc)?;
                let is_new = *to != source && reached.get(*to)?.is_none() && left.is_positive();
                if !is_new || (*to == OUTSIDE && !with_outside) {
                    continue;
                }
                *reached.get_mut(*to)? = Some(arc);
                if *to == OUTSIDE || self.rest(*to).is_positive() {
                    return self.back(source, *to, &reached);
                }
                queue.push_back(*to);
            }
        }
        None
    }

    /// The way that led to a node.
    fn back(&self, source: usize, mut node: usize, reached: &[Option<usize>]) -> Option<Vec<usize>> {
        let mut way = Vec::new();
        while node != source {
            let arc = (*reached.get(node)?)?;
            way.push(arc);
            node = self.arcs.get(arc ^ 1)?.to;
        }
        way.reverse();
        Some(way)
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::Date;
    use proptest::prelude::*;

    use super::super::line_key::{Basis, Subject};
    use super::super::measure::Measure;
    use super::*;

    fn line(day: i8) -> LineKey {
        let subject = Subject {
            basis: Basis::Metrics,
            resource: "r".into(),
            scope: "s".into(),
            measure: Measure::Input,
        };
        subject.on(Date::constant(2026, 11, day + 1))
    }

    proptest! {
        /// Deltas that such moves made are explained wholly, whatever the moves are.
        #[test]
        fn what_moved_is_found(
            moves in prop::collection::vec((0..6_i8, 0..6_i8, 1..100_u64, 0..=100_u64), 0..20)
        ) {
            let node = |n: i8| (n > 0).then(|| line(n));
            let mut rests: BTreeMap<LineKey, Quantity> = BTreeMap::new();
            let moves: Vec<_> = moves.into_iter().filter(|(from, to, ..)| from != to).collect();
            for (from, to, tokens, percent) in &moves {
                let moved = Quantity::of(tokens * percent / 100);
                for (end, change) in [(from, -moved), (to, moved)] {
                    if let Some(key) = node(*end) {
                        *rests.entry(key).or_default() += change;
                    }
                }
            }
            let rest = |key: &LineKey| rests.get(key).copied().unwrap_or_default();
            let mut flow = Flow::new();
            for (from, to, tokens, _) in &moves {
                flow.add(node(*from).as_ref(), node(*to).as_ref(), Quantity::of(*tokens), rest);
            }
            for (key, part) in flow.settle() {
                prop_assert_eq!(part, rest(&key));
            }
        }
    }
}

//! Chains of names: who is built on whom, who takes settings from whom.

/// The circles in a graph in which everything points at one thing at most. Each circle once, from its lowest member on.
pub(super) fn circles(next: &[Option<usize>]) -> Vec<Vec<usize>> {
    let mut seen_in = vec![usize::MAX; next.len()];
    let mut circles = Vec::new();
    for start in 0..next.len() {
        let mut at = start;
        while seen_in[at] == usize::MAX {
            seen_in[at] = start;
            match next[at] {
                Some(further) => at = further,
                None => break,
            }
        }
        // Met itself, in this very walk, and did not just run out.
        if seen_in[at] == start && next[at].is_some() {
            let mut circle = vec![at];
            while let Some(further) = next[circle[circle.len() - 1]].filter(|further| *further != at) {
                circle.push(further);
            }
            let lowest = circle.iter().enumerate().min_by_key(|(_, member)| **member).map_or(0, |(index, _)| index);
            circle.rotate_left(lowest);
            circles.push(circle);
        }
    }
    circles
}

/// An order in which everything comes after what it points at. What is in a circle comes anywhere.
pub(super) fn order(next: &[Option<usize>]) -> Vec<usize> {
    let mut placed = vec![false; next.len()];
    let mut order = Vec::with_capacity(next.len());
    let mut chain = Vec::new();
    for start in 0..next.len() {
        let mut at = Some(start);
        while let Some(member) = at.filter(|member| !placed[*member]) {
            placed[member] = true;
            chain.push(member);
            at = next[member];
        }
        order.extend(chain.drain(..).rev());
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn circles_are_found_once_each() {
        for (next, expected) in [
            (vec![None, Some(0), Some(1)], vec![]),
            (vec![Some(0)], vec![vec![0]]),
            (vec![Some(1), Some(0), Some(1), Some(2)], vec![vec![0, 1]]),
            (vec![Some(2), Some(0), Some(1), None, Some(5), Some(4)], vec![vec![0, 2, 1], vec![4, 5]]),
            (vec![Some(2), None, Some(3), Some(2)], vec![vec![2, 3]]),
        ] {
            assert_eq!(circles(&next), expected, "{next:?}");
        }
    }

    #[test]
    fn what_is_pointed_at_comes_first() {
        assert_eq!(order(&[Some(2), None, Some(1), Some(0)]), [1, 2, 0, 3]);
        assert_eq!(order(&[Some(1), Some(0)]).len(), 2);
    }
}

//! Squarified treemaps: a rectangle divided in proportion to weights, into pieces that are as square as they can be.
//! (Bruls, Huizing, van Wijk: "Squarified Treemaps", 2000.)

/// A rectangle; the origin is above and left.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Area {
    /// From the left.
    pub x: f64,
    /// From above.
    pub y: f64,
    /// To the right.
    pub width: f64,
    /// Downwards.
    pub height: f64,
}

impl Area {
    /// How large it is.
    pub fn size(&self) -> f64 {
        self.width * self.height
    }

    /// Cuts a strip off along the shorter side; the strip, and what is left.
    fn cut(self, size: f64) -> (Self, Self) {
        let Self { x, y, width, height } = self;
        if width >= height {
            let strip = if height > 0.0 { (size / height).min(width) } else { 0.0 };
            (Self { width: strip, ..self }, Self { x: x + strip, width: width - strip, ..self })
        } else {
            let strip = if width > 0.0 { (size / width).min(height) } else { 0.0 };
            (Self { height: strip, ..self }, Self { y: y + strip, height: height - strip, ..self })
        }
    }
}

/// One piece for each weight, in their order, which should be from the heaviest to the lightest. Together they are `area`;
/// a weight of nothing is a piece of nothing.
pub fn squarify(area: Area, weights: &[u64]) -> Vec<Area> {
    let mut left = weights;
    let mut space = area;
    let mut pieces = Vec::with_capacity(weights.len());
    while let Some((row, rest)) = row(space, left) {
        let (of_row, of_all) = (sum(row), sum(left));
        let share = if of_all > 0.0 { of_row / of_all } else { 0.0 };
        // What comes last takes all that is left, whatever was rounded.
        let (strip, beyond) =
            if rest.is_empty() { (space, Area { width: 0.0, ..space }) } else { space.cut(space.size() * share) };
        // The strip lies across the longer side, so its pieces follow each other along the shorter one.
        let along_y = space.width >= space.height;
        let mut done = 0.0;
        for weight in row {
            let part = if of_row > 0.0 { *weight as f64 / of_row } else { 0.0 };
            pieces.push(match along_y {
                true => Area { y: strip.y + strip.height * done, height: strip.height * part, ..strip },
                false => Area { x: strip.x + strip.width * done, width: strip.width * part, ..strip },
            });
            done += part;
        }
        (space, left) = (beyond, rest);
    }
    pieces
}

fn sum(weights: &[u64]) -> f64 {
    weights.iter().map(|weight| *weight as f64).sum()
}

/// As many of the weights as make the best strip, and the others; none when there are no more.
fn row(space: Area, weights: &[u64]) -> Option<(&[u64], &[u64])> {
    if weights.is_empty() {
        return None;
    }
    let side = space.width.min(space.height);
    let scale = space.size() / sum(weights).max(1.0);
    let mut best = (1, f64::INFINITY);
    for count in 1..=weights.len() {
        let Some((row, _)) = weights.split_at_checked(count) else { break };
        let worst = worst(row, side, scale);
        if worst > best.1 {
            break;
        }
        best = (count, worst);
    }
    weights.split_at_checked(best.0)
}

/// How far from square the worst piece of a strip is.
fn worst(row: &[u64], side: f64, scale: f64) -> f64 {
    let total = sum(row) * scale;
    let of = |weight: &u64| {
        let size = (*weight as f64 * scale).max(f64::MIN_POSITIVE);
        let ratio = side * side * size / (total * total).max(f64::MIN_POSITIVE);
        ratio.max(1.0 / ratio)
    };
    row.iter().map(of).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: Area = Area { x: 0.0, y: 0.0, width: 160.0, height: 90.0 };

    fn overlap(a: &Area, b: &Area) -> f64 {
        let along = |a: f64, aw: f64, b: f64, bw: f64| ((a + aw).min(b + bw) - a.max(b)).max(0.0);
        along(a.x, a.width, b.x, b.width) * along(a.y, a.height, b.y, b.height)
    }

    fn check(weights: &[u64]) {
        let pieces = squarify(WHOLE, weights);
        assert_eq!(pieces.len(), weights.len());
        let total = sum(weights);
        for (at, (piece, weight)) in pieces.iter().zip(weights).enumerate() {
            let share = if total > 0.0 { *weight as f64 / total } else { 0.0 };
            assert!(total == 0.0 || (piece.size() - share * WHOLE.size()).abs() < 1e-6, "{at}: {piece:?} is not {share}");
            assert!(piece.x >= -1e-9 && piece.x + piece.width <= WHOLE.width + 1e-6, "{piece:?}");
            assert!(piece.y >= -1e-9 && piece.y + piece.height <= WHOLE.height + 1e-6, "{piece:?}");
            for other in pieces.iter().skip(at + 1) {
                assert!(overlap(piece, other) < 1e-6, "{piece:?} {other:?}");
            }
        }
    }

    #[test]
    fn pieces_are_in_proportion_and_do_not_overlap() {
        for weights in [vec![], vec![0], vec![7], vec![6, 6, 4, 3, 2, 2, 1], vec![1; 50], vec![u64::from(u32::MAX), 1, 0, 0]] {
            check(&weights);
        }
    }

    #[test]
    fn pieces_are_as_square_as_in_the_paper() {
        let area = Area { x: 0.0, y: 0.0, width: 6.0, height: 4.0 };
        let pieces = squarify(area, &[6, 6, 4, 3, 2, 2, 1]);
        assert_eq!(pieces[0], Area { x: 0.0, y: 0.0, width: 3.0, height: 2.0 });
        assert_eq!(pieces[1], Area { x: 0.0, y: 2.0, width: 3.0, height: 2.0 });
        let ratio = |piece: &Area| (piece.width / piece.height).max(piece.height / piece.width);
        assert!(pieces.iter().all(|piece| ratio(piece) < 3.0), "{pieces:?}");
    }

    #[test]
    fn whatever_the_weights_are() {
        let mut state = 1u64;
        let mut next = |below: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) % below
        };
        for _ in 0..200 {
            let mut weights: Vec<u64> = (0..next(60)).map(|_| next(1_000_000)).collect();
            weights.sort_unstable_by(|a, b| b.cmp(a));
            check(&weights);
        }
    }
}

//! Measuring two servers in turn, round by round, so that what the machine does to one it does to the other. Must never
//! know what is measured.

use super::error::BenchError;
use super::figures::Measurement;

/// What the rounds yielded.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    pub(super) server: Vec<Measurement>,
    /// Empty without a second server.
    pub(super) floor: Vec<Measurement>,
}

/// Which server is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Server,
    Floor,
}

/// Measures `rounds` times; with a floor, both in each round, and who is first changes from round to round.
///
/// # Errors
/// The first that `measure` reports.
pub(super) fn alternate(
    rounds: usize,
    with_floor: bool,
    mut measure: impl FnMut(Side) -> Result<Measurement, BenchError>,
) -> Result<Rounds, BenchError> {
    let mut result = Rounds::default();
    for round in 0..rounds {
        let order = if round % 2 == 0 { [Side::Server, Side::Floor] } else { [Side::Floor, Side::Server] };
        for side in order {
            match side {
                Side::Server => result.server.push(measure(side)?),
                Side::Floor if with_floor => result.floor.push(measure(side)?),
                Side::Floor => {}
            }
        }
    }
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(rounds: usize, with_floor: bool) -> Vec<Side> {
        let mut order = Vec::new();
        let measured = alternate(rounds, with_floor, |side| {
            order.push(side);
            Ok(Measurement::default())
        });
        let Rounds { server, floor } = measured.unwrap();
        assert_eq!(server.len(), rounds);
        assert_eq!(floor.len(), if with_floor { rounds } else { 0 });
        order
    }

    #[test]
    fn who_is_first_changes_from_round_to_round() {
        use Side::{Floor, Server};
        assert_eq!(order(3, true), [Server, Floor, Floor, Server, Server, Floor]);
        assert_eq!(order(2, false), [Server, Server]);
    }
}

//! Tokens that end in the middle of a publish, however long they were said to be good for.

use crate::support::faults::Course;
use crate::sweep::{Stage, silence};

#[test]
fn a_token_that_ends_in_the_middle_is_asked_for_again() {
    let stage = Stage::new();
    // Fewer would end before all that are under way have used them.
    for life in [20, 40, 70] {
        let course = Course::with_tokens(life);
        let (job, _proxies) = stage.job(&course);
        job.publish(&silence()).outcome.expect("there is always another token");
        let found = stage.expected.judge(&stage.registries, &job, None);
        assert_eq!((found.wrong, found.missing), (Vec::new(), Vec::new()), "{life}");
        assert!(course.tokens() > stage.requests / life, "{life}: {} tokens", course.tokens());
    }
}

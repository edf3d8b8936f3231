//! `inherits`: a variant takes the settings of another one. What it is built on (`parent`) is something else.

use super::super::model::Published;
use super::super::problem::Problem;
use super::super::reader::Problems;
use super::graph::{circles, order};
use super::images::{Read, path, pointers};

/// Completes the settings of every variant: `components` and `destinations` that it does not give are those of the variant
/// it inherits from; `labels` and `args` are added to those.
pub(super) fn resolve<'t>(images: &mut [Read<'t>], problems: &mut Problems<'t>) {
    let next = pointers(images, |image| image.inherits.as_ref().map(|text| text.text));
    for circle in circles(&next) {
        let Some(inherits) = circle.first().and_then(|at| images[*at].inherits.as_ref()) else { continue };
        let message = match circle[..] {
            [own] => format!("`{}` inherits its own settings", images[own].key.text),
            _ => format!("the settings are inherited in a circle: {}", path(images, &circle)),
        };
        let problem = Problem::new(inherits.span.clone(), message, "expected a variant that does not inherit from this one");
        let others = circle.iter().skip(1).filter_map(|at| images[*at].inherits.as_ref());
        problems
            .report(others.fold(problem, |problem, inherits| problem.related(inherits.span.clone(), "further in the circle")));
    }
    for at in order(&next) {
        let Some(from) = next[at].filter(|from| *from != at) else { continue };
        let (args, settings) = (images[from].value.args.clone(), images[from].value.published.clone());
        let image = &mut images[at];
        for (name, value) in args {
            image.value.args.entry(name).or_insert(value);
        }
        if let (Some(published), Some(settings)) = (&mut image.value.published, settings) {
            take_over(published, settings, image.own.components, image.own.destinations);
        }
    }
}

fn take_over(published: &mut Published, settings: Published, own_components: bool, own_destinations: bool) {
    if !own_components {
        published.components = settings.components;
    }
    if !own_destinations {
        published.destinations = settings.destinations;
    }
    for (key, value) in settings.labels {
        published.labels.entry(key).or_insert(value);
    }
}

//! A plan to look at: a tree for the terminal, Graphviz, Mermaid.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::plan::{Action, Plan, Schedule, Step, StepId, Work};

/// The step on which this one stands, as a tree shows it: its parent image.
fn parent(step: &Step) -> Option<&StepId> {
    match &step.work {
        Work::Build(build) => Some(&build.parent),
        _ => None,
    }
}

/// What a step does, in a few words.
fn work(step: &Step) -> String {
    match &step.work {
        Work::Pull { reference } => format!("pull {reference}"),
        Work::Bootstrap { suite, packages } => format!("Debian {suite} from packages ({})", packages.join(", ")),
        Work::Artifact { version, url, sha256, .. } => format!("{version}, {}, sha256 {}…", url, sha256.short(12)),
        Work::Entrypoint => "compile the entrypoint".to_owned(),
        Work::Build(build) => build.context.clone(),
    }
}

/// The plan as a tree: every image under the one that it is built on, then what is handed to them.
pub fn tree(plan: &Plan) -> String {
    let mut children: BTreeMap<Option<&StepId>, Vec<&Step>> = BTreeMap::new();
    for step in plan.steps.iter().filter(|step| step.stage.is_some()) {
        children.entry(parent(step)).or_default().push(step);
    }
    let tags: BTreeMap<&StepId, String> =
        plan.variants.iter().map(|variant| (&variant.finished, variant.local_tags.join(", "))).collect();
    let mut text = format!(
        "{} for {}, profile {}, BUILD_DATE {}: {} variants, {} steps\n",
        plan.family,
        plan.platform,
        plan.profile,
        plan.build_date,
        plan.variants.len(),
        plan.steps.len()
    );
    let roots = children.get(&None).cloned().unwrap_or_default();
    let (grown, loose): (Vec<_>, Vec<_>) = roots.into_iter().partition(|step| children.contains_key(&Some(&step.id)));
    for root in grown {
        branch(&mut text, root, &children, &tags, "", "");
    }
    for step in loose {
        let _ = writeln!(text, "{}  {}", step.id, work(step));
    }
    for warning in &plan.warnings {
        let _ = writeln!(text, "warning: {warning}");
    }
    text
}

fn branch(
    text: &mut String,
    step: &Step,
    children: &BTreeMap<Option<&StepId>, Vec<&Step>>,
    tags: &BTreeMap<&StepId, String>,
    lead: &str,
    below: &str,
) {
    let input = step.input.short(16);
    let tags_of = tags.get(&step.id).map(|tags| format!("  → {tags}")).unwrap_or_default();
    let _ = writeln!(text, "{lead}{}  {}  [{input}]{tags_of}", step.id, work(step));
    let steps = children.get(&Some(&step.id)).map(Vec::as_slice).unwrap_or_default();
    for (at, child) in steps.iter().enumerate() {
        let (fork, pass) = if at + 1 == steps.len() { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        branch(text, child, children, tags, &format!("{below}{fork}"), &format!("{below}{pass}"));
    }
}

/// The plan for Graphviz: `cargo xtask plan --format dot | dot -Tsvg`.
pub fn dot(plan: &Plan) -> String {
    let mut text = format!("digraph \"{}\" {{\n  rankdir=BT; node [shape=box, fontname=\"sans-serif\"];\n", plan.family);
    for step in &plan.steps {
        let shape = match &step.work {
            Work::Build(build) if build.entrypoint => ", style=bold",
            Work::Build(_) => "",
            _ => ", shape=note",
        };
        let _ = writeln!(text, "  {:?} [label={:?}{shape}];", step.id.as_str(), format!("{}\n{}", step.id, step.input.short(16)));
        for need in &step.needs {
            let style = if parent(step) == Some(need) { "" } else { " [style=dashed]" };
            let _ = writeln!(text, "  {:?} -> {:?}{style};", step.id.as_str(), need.as_str());
        }
    }
    text + "}\n"
}

/// The plan for Mermaid, as Markdown draws it.
pub fn mermaid(plan: &Plan) -> String {
    let mut text = String::from("flowchart BT\n");
    let ids: BTreeMap<&StepId, usize> = plan.steps.iter().enumerate().map(|(at, step)| (&step.id, at)).collect();
    for (at, step) in plan.steps.iter().enumerate() {
        let _ = writeln!(text, "  s{at}[\"{}\"]", step.id);
        for need in &step.needs {
            let arrow = if parent(step) == Some(need) { "-->" } else { "-.->" };
            if let Some(need) = ids.get(need) {
                let _ = writeln!(text, "  s{at} {arrow} s{need}");
            }
        }
    }
    text
}

/// What a build would do: the steps that run, in their order, and what is there already.
pub fn dry_run(plan: &Plan, schedule: &Schedule) -> String {
    let mut text = String::new();
    let mut there = 0;
    for step in &plan.steps {
        match schedule.action(&step.id) {
            Action::Run => {
                let _ = writeln!(text, "run  {}  {}", step.id, work(step));
                if let Work::Build(build) = &step.work {
                    for (arg, value) in &build.args {
                        let _ = writeln!(text, "       {arg}={value}");
                    }
                }
            }
            Action::UpToDate => there += 1,
            Action::NotNeeded => {}
        }
    }
    for variant in &plan.variants {
        let _ = writeln!(text, "tag  {}  {}", variant.finished, variant.local_tags.join(", "));
    }
    let _ = writeln!(text, "{} to run, {there} up to date", schedule.running().count());
    for warning in &plan.warnings {
        let _ = writeln!(text, "warning: {warning}");
    }
    text
}

//! The scenarios that are text files beside this one: each holds, and each fails when what it guards against is planted.

use std::path::Path;

use coco_replicas::Mutant;
use coco_replicas::scenario::Scenario;

/// Name and text of every scenario, in order.
fn all() -> Vec<(String, Scenario)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut all: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "scenario"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let scenario = Scenario::parse(&std::fs::read_to_string(&path).unwrap());
            (name.clone(), scenario.unwrap_or_else(|error| panic!("{name}: {error}")))
        })
        .collect();
    all.sort_by(|one, other| one.0.cmp(&other.0));
    all
}

#[test]
fn every_scenario_holds() {
    for (name, scenario) in all() {
        if let Some((seed, failure)) = scenario.first_failure(None) {
            let story: Vec<_> = failure.story.lines().collect();
            let last = story[story.len().saturating_sub(60)..].join("\n");
            panic!("{name}, line {}, seed {seed}: {}\n{last}", failure.line, failure.why);
        }
    }
}

#[test]
fn every_scenario_fails_without_what_it_guards() {
    for (name, scenario) in all() {
        for mutant in &scenario.notices {
            assert!(scenario.first_failure(Some(*mutant)).is_some(), "{name} does not notice {}", mutant.name());
        }
    }
}

#[test]
fn the_eleven_known_bugs_have_a_scenario_each() {
    let all = all();
    for (number, mutant) in (1..=11).zip(Mutant::ALL) {
        let prefix = format!("t{number:02}_");
        let (name, scenario) = all.iter().find(|(name, _)| name.starts_with(&prefix)).expect(&prefix);
        assert!(scenario.notices.contains(&mutant), "{name} guards against {}", mutant.name());
    }
}

//! The guides keep what they promise: links lead somewhere, and every dependency is accounted for.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

const DEPENDENCIES: &str = "docs/dependencies.md";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every page that people read here.
fn pages() -> Vec<PathBuf> {
    let mut pages: Vec<PathBuf> = ["", "docs", "examples"]
        .iter()
        .flat_map(|folder| fs::read_dir(root().join(folder)).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    pages.sort();
    pages
}

/// The lines of a page outside of its blocks of code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut in_code = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        !in_code && !fence
    })
}

/// What the links of a page point at.
fn links(text: &str) -> Vec<&str> {
    prose(text)
        .flat_map(|line| line.split("](").skip(1))
        .filter_map(|rest| rest.split_once(')').map(|(target, _)| target))
        .collect()
}

/// The anchors that a page's headings have: lower case, words joined by hyphens, all else dropped.
fn anchors(text: &str) -> BTreeSet<String> {
    prose(text)
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            let heading = line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
            heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect()
        })
        .collect()
}

#[test]
fn every_relative_link_leads_to_a_file_and_a_heading_that_are_there() {
    let mut dead = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for link in links(&text).into_iter().filter(|link| !link.contains("://")) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            let there = target.exists()
                && (anchor.is_empty() || anchors(&fs::read_to_string(&target).unwrap()).contains(anchor));
            if !there {
                dead.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(dead.is_empty(), "{dead:#?}");
}

/// The names of every direct dependency of the workspace and of its members.
fn direct_dependencies() -> BTreeSet<String> {
    let read = |folder: &str| {
        let text = fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
        text.parse::<toml::Table>().unwrap()
    };
    let workspace = read("")["workspace"].as_table().unwrap().clone();
    let mut names: BTreeSet<String> = workspace["dependencies"].as_table().unwrap().keys().cloned().collect();
    for member in workspace["members"].as_array().unwrap() {
        let manifest = read(member.as_str().unwrap());
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            names
                .extend(manifest.get(kind).and_then(toml::Value::as_table).into_iter().flat_map(|t| t.keys().cloned()));
        }
    }
    names
}

#[test]
fn every_direct_dependency_has_its_line_and_no_line_is_left_over() {
    let text = fs::read_to_string(root().join(DEPENDENCIES)).unwrap();
    let lines: Vec<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` |").map(|(name, _)| name.to_owned()))
        .collect();
    let explained: BTreeSet<String> = lines.iter().cloned().collect();
    assert_eq!(lines.len(), explained.len(), "a dependency has two lines");
    let direct = direct_dependencies();
    let missing: Vec<_> = direct.difference(&explained).collect();
    let stale: Vec<_> = explained.difference(&direct).collect();
    assert!(missing.is_empty() && stale.is_empty(), "{DEPENDENCIES} lacks {missing:?} and has {stale:?} left over");
}

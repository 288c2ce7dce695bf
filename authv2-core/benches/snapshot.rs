//! Compiling an organization, resolving a member, and what both take of the memory.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark may stop where it cannot go on")]

mod organization;

use std::{fs, sync::Arc};

use authv2_core::permission::{Rights, Snapshot};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};

const MEMBERS: usize = 100_000;
const ROLES: usize = 1_000;
const SNAPSHOTS: usize = 20;

criterion_group!(benches, memory, speed);
criterion_main!(benches);

fn speed(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("snapshot");
    let model = organization::model(ROLES);
    let size = format!("{ROLES} roles, {} grants", ROLES * organization::GRANTS);
    group.bench_function(format!("compile {size}"), |bencher| {
        bencher.iter_batched(|| model.clone(), Snapshot::compile, BatchSize::LargeInput);
    });
    let snapshot = Snapshot::compile(model);
    let assignments = organization::assignments(snapshot.model(), 7);
    group.bench_function("rights of a member with 3 roles", |bencher| {
        bencher.iter(|| snapshot.rights(&assignments));
    });
    group.bench_function("summary of a member's permissions", |bencher| {
        let rights = snapshot.rights(&assignments);
        bencher.iter(|| snapshot.permissions(&rights, None));
    });
    group.finish();
}

/// First of all, before anything was freed that could be used again.
fn memory(_: &mut Criterion) {
    let model = organization::model(ROLES);
    let before = resident();
    let snapshots: Vec<Snapshot> = (0..SNAPSHOTS).map(|_| Snapshot::compile(model.clone())).collect();
    let each = (resident() - before) / SNAPSHOTS;
    println!("a snapshot of {ROLES} roles and {} grants: {} KiB resident", ROLES * organization::GRANTS, each / 1024);

    let snapshot = snapshots.first().unwrap();
    println!("the same by its own estimate: {} KiB", snapshot.weight() / 1024);
    let before = resident();
    let members: Vec<Arc<Rights>> = (0..MEMBERS)
        .map(|member| Arc::new(snapshot.rights(&organization::assignments(snapshot.model(), member))))
        .collect();
    println!("{MEMBERS} members with 3 roles each: {} KiB resident", (resident() - before) / 1024);
    let weight: usize = members.iter().map(|rights| rights.weight()).sum();
    println!("the same by their own estimate: {} KiB", weight / 1024);
}

/// The process's resident memory in bytes, as Linux tells it.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse::<usize>().unwrap() * 1024
}

//! What is said of a task that no host could ever run: what it asks for, what there is instead, and
//! what can be done.

use std::collections::BTreeMap;

use super::{
    super::{Host, Kind, Reason, words},
    HOSTS_MAX, Look,
};
use crate::{placement::Misfit, resources::Resources};

pub(super) fn never(needs: &Resources, looks: &[Look<'_>]) -> Vec<Reason> {
    let mut told: Vec<Reason> = looks.iter().take(HOSTS_MAX).map(of_host).collect();
    let there: Vec<String> = told.iter().map(|reason| reason.message.clone()).collect();
    let (asked, there) = (words::asked(needs), words::clauses(&there));
    let remedy = remedy(needs, looks);
    let head = format!("no host can ever run it: it asks for {asked}, but {there}; {remedy}");
    told.insert(0, Reason::new(Kind::NeverFits, head));
    told
}

/// Why a host can never take the task: what it has in place of what is asked for.
pub(super) fn of_host(look: &Look<'_>) -> Reason {
    let mut why: Vec<String> = look.ever.iter().map(|misfit| lacks(look.host, misfit)).collect();
    why.dedup();
    // `has 16 cores and 64 GiB of memory`
    for at in (1..why.len()).rev() {
        if why[at - 1].starts_with("has ") && why[at].starts_with("has ") {
            why[at] = why[at].replacen("has ", "", 1);
        }
    }
    let message = format!("{} {}", look.host.name, words::list(&why));
    Reason::new(Kind::NeverFits, message).on(look.host)
}

/// What a host is or has in place of what is asked for.
pub(super) fn lacks(host: &Host, misfit: &Misfit) -> String {
    match misfit {
        Misfit::Type => "does not run its type".to_owned(),
        Misfit::Host { .. } => "is another host".to_owned(),
        Misfit::Avoided => "has given it away".to_owned(),
        Misfit::Labels { missing } => {
            let not = words::labels(missing.iter());
            let other = missing.keys().filter_map(|key| host.labels.get_key_value(key));
            match words::labels(other) {
                labels if labels.is_empty() => format!("is not labelled {not}"),
                labels => format!("is labelled {labels}, not {not}"),
            }
        }
        Misfit::Slots => "runs no tasks".to_owned(),
        Misfit::Cpus { free, .. } => format!("has {}", words::cores(*free)),
        Misfit::Memory { free, .. } => format!("has {} of memory", words::bytes(*free)),
        Misfit::Gpus { .. } | Misfit::GpuMemory { .. } => format!("has {}", gpus(host)),
    }
}

/// `4 GPUs (NVIDIA A100, 40 GiB)`, `2 NVIDIA A100 (40 GiB) and 1 RTX 3090 (24 GiB)`
fn gpus(host: &Host) -> String {
    let mut kinds: BTreeMap<(&str, i64), usize> = BTreeMap::new();
    for gpu in host.report.iter().flat_map(|report| &report.gpus) {
        *kinds.entry((&gpu.model, gpu.memory_bytes)).or_default() += 1;
    }
    let kinds: Vec<_> = kinds.into_iter().collect();
    match kinds.as_slice() {
        [] => "no GPU".to_owned(),
        [((model, bytes), count)] => {
            format!("{} ({model}, {})", words::count(*count, "GPU", "GPUs"), words::bytes(*bytes))
        }
        several => {
            let one = |((model, bytes), count): &((&str, i64), usize)| {
                format!("{count} {model} ({})", words::bytes(*bytes))
            };
            words::list(&several.iter().map(one).collect::<Vec<_>>())
        }
    }
}

fn remedy(needs: &Resources, looks: &[Look<'_>]) -> String {
    let all = |is: fn(&Misfit) -> bool| looks.iter().all(|look| look.ever.iter().any(is));
    if all(|misfit| matches!(misfit, Misfit::Host { .. })) {
        format!("start a worker on {}, or create it anew for another host", needs.host)
    } else if all(|misfit| matches!(misfit, Misfit::Labels { .. })) {
        "start a worker with such labels, or create it anew without them".to_owned()
    } else {
        "start a worker on a host that has it, or create it anew with less".to_owned()
    }
}

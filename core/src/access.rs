//! Who may do what: the one place that is asked, and where departments and roles will be asked for.

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The name under which tasks are created.
    pub user: String,
    pub kind: PrincipalKind,
}

/// What kind of caller a token stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PrincipalKind {
    /// A person or program that owns tasks.
    Client,
    /// A worker process.
    Worker,
    /// Somebody who runs the installation.
    Admin,
    /// Nobody was asked for a token: loopback without authentication, as in `asyncflow dev`.
    Anonymous,
}

/// What a call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Get, list, count, wait for, watch tasks; their attempts and logs.
    ReadTasks,
    /// Create, update, cancel, retry, pause, resume, delete tasks of one's own; send signals.
    ChangeTasks,
    /// The same in another user's name.
    ActForOthers,
    ReadTaskTypes,
    ChangeTaskTypes,
    /// See workers, hosts and the governor's status.
    ReadOperations,
    /// Say what is wanted of hosts: cordon, drain, evict.
    ChangeHosts,
    /// The whole WorkerService.
    Work,
}

impl Verb {
    pub const ALL: [Verb; 8] = [
        Self::ReadTasks,
        Self::ChangeTasks,
        Self::ActForOthers,
        Self::ReadTaskTypes,
        Self::ChangeTaskTypes,
        Self::ReadOperations,
        Self::ChangeHosts,
        Self::Work,
    ];

    const fn words(self) -> &'static str {
        match self {
            Self::ReadTasks => "read tasks",
            Self::ChangeTasks => "create or change tasks",
            Self::ActForOthers => "act for another user",
            Self::ReadTaskTypes => "read task types",
            Self::ChangeTaskTypes => "create or change task types",
            Self::ReadOperations => "see workers and the governor",
            Self::ChangeHosts => "change hosts",
            Self::Work => "work as a worker",
        }
    }
}

/// The caller may not do this.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{user} may not {}", verb.words())]
pub struct Denied {
    pub user: String,
    pub verb: Verb,
}

/// Whether `principal` may do this.
///
/// # Errors
/// [`Denied`] if not.
pub fn permit(principal: &Principal, verb: Verb) -> Result<(), Denied> {
    let allowed = match principal.kind {
        PrincipalKind::Anonymous => true,
        PrincipalKind::Admin => verb != Verb::Work,
        PrincipalKind::Worker => matches!(verb, Verb::Work),
        PrincipalKind::Client => matches!(
            verb,
            Verb::ReadTasks | Verb::ChangeTasks | Verb::ReadTaskTypes | Verb::ReadOperations
        ),
    };
    if allowed { Ok(()) } else { Err(Denied { user: principal.user.clone(), verb }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_verbs_and_no_others() {
        let verbs = |kind| -> Vec<Verb> {
            let principal = Principal { user: "u".into(), kind };
            Verb::ALL.into_iter().filter(|verb| permit(&principal, *verb).is_ok()).collect()
        };
        assert_eq!(verbs(PrincipalKind::Anonymous), Verb::ALL);
        assert_eq!(verbs(PrincipalKind::Worker), [Verb::Work]);
        assert_eq!(verbs(PrincipalKind::Admin), Verb::ALL[..7]);
        assert!(!verbs(PrincipalKind::Client).contains(&Verb::ActForOthers));
        assert!(!verbs(PrincipalKind::Client).contains(&Verb::ChangeTaskTypes));
        assert!(!verbs(PrincipalKind::Client).contains(&Verb::ChangeHosts));
        assert!(!verbs(PrincipalKind::Client).contains(&Verb::Work));
    }
}
